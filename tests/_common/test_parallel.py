"""Tasks: each result once, in the order of its item, kept under a name that nothing but its inputs decides."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayes_tsl._common.parallel import ResultStore, content_hash, one_line, run_tasks
from tests.conftest import refusal


def double(item: int) -> int:
    return 2 * item


def die(item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


def die_of_three(item: int) -> int:
    return die(item) if item == 3 else item


def folder_of_programs(item: int) -> str:
    import jax

    return jax.config.values["jax_compilation_cache_dir"]


def run(task, items: list[int], *, store: ResultStore | None = None, workers: int = 1) -> list:
    store = ResultStore(None, read=read, write=write) if store is None else store
    return run_tasks(
        task,
        items,
        kind=lambda item: item,
        load=lambda item: store.load(str(item)),
        save=lambda item, result: store.save(str(item), result),
        on_failure=lambda item, error: (item, type(error).__name__),
        workers=workers,
        client=None,
        title="numbers",
        unit="number",
        progress=False,
    )


def read(path: Path) -> int:
    return int(path.read_text())


def write(result: int, path: Path) -> None:
    path.write_text(str(result))


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert run(double, [3, 1, 2], workers=workers) == [6, 2, 4]


def test_a_kept_result_is_not_computed_again(tmp_path: Path) -> None:
    store, asked = ResultStore(tmp_path / "deep" / "store", read=read, write=write), []
    for items in ([1, 2], [1, 2, 3]):
        assert run(lambda item: (asked.append(item), 2 * item)[1], items, store=store) == [2 * item for item in items]
    assert asked == [1, 2, 3]
    assert sorted(path.name for path in (tmp_path / "deep" / "store").iterdir()) == ["1", "2", "3"]


def test_an_interruption_leaves_what_was_finished(tmp_path: Path) -> None:
    def interrupted(item: int) -> int:
        if item == 3:
            raise KeyboardInterrupt
        return item

    with pytest.raises(KeyboardInterrupt):
        run(interrupted, [1, 2, 3, 4], store=ResultStore(tmp_path, read=read, write=write))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_result_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def half(result: int, path: Path) -> None:
        path.write_text("1")
        raise OSError("disk full")

    store = ResultStore(tmp_path, read=read, write=half)
    with pytest.raises(OSError, match=r"^disk full$"):
        store.save("a", 12)
    assert list(tmp_path.iterdir()) == []
    assert store.load("a") is None


def test_a_worker_that_dies_is_a_failure_of_its_items() -> None:
    assert run(die, [1, 2], workers=2) == [(1, "BrokenProcessPool"), (2, "BrokenProcessPool")]


def test_a_worker_that_dies_fails_no_other_item() -> None:
    assert run(die_of_three, [3, 1, 2, 4, 5, 6], workers=2) == [(3, "BrokenProcessPool"), 1, 2, 4, 5, 6]


def test_workers_share_a_folder_of_programs_which_goes_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    [folder] = {*run(folder_of_programs, [1, 2, 3, 4], workers=2)}
    assert not Path(folder).exists()


def test_workers_keep_programs_where_the_user_wants_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    assert {*run(folder_of_programs, [1, 2], workers=2)} == {str(tmp_path)}


def test_the_first_of_every_kind_comes_first() -> None:
    asked: list[int] = []
    run(lambda item: asked.append(item) or item, [4, 4, 4, 2, 2, 1])
    assert asked == [4, 2, 1, 4, 4, 2]


def test_less_than_one_worker_is_refused() -> None:
    with refusal("workers must be 1 or more, a whole number; got 0. 1 is this process alone."):
        run(double, [1], workers=0)


def test_the_hash_of_inputs_is_the_one_that_old_folders_hold() -> None:
    frame = pd.DataFrame({"step": [1.0, 2.0], "loss": [3.5, 3.25]})
    assert content_hash((1, "a", 0.5, None), np.array([1.0, 2.0]), frame) == "9347cc84edcc4cfa1982b1fbecd7f225"
    assert content_hash((1, "a", 0.5, None), np.array([1.0, 2.5]), frame) != content_hash((1, "a", 0.5, None), frame)


def test_an_error_is_told_in_one_line() -> None:
    assert one_line(ValueError("no luck\n  at all")) == "no luck at all"
    assert one_line(ValueError()) == "ValueError"
