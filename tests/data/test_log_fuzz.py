"""No file ends in a traceback: any bytes, and logs of every kind with pieces cut, doubled and swapped, are read or refused."""

from __future__ import annotations

import json
import re
import time
import warnings
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bayes_tsl as bt
from tests.data.test_log_formats import SHORT
from tests.data.test_log_kinds import REFUSED, RIGHT, log_of

SEEDS = [text.encode() for text, _ in SHORT.values()] + [log_of(kind).read_bytes() for kind in (*RIGHT, *REFUSED)]
PIECES = [
    *(
        b"nan",
        b"-inf",
        b"1e400",
        b"9" * 401,
        b"-1",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b"\x00",
        b"\xff\xfe",
        b"\r",
        b"\n\n",
        b'"',
        b"'",
    ),
    *(
        b",",
        b";",
        b"\t",
        b"\\ud800",
        b"\x1b[31m",
        b"step",
        b"loss",
        b"val_loss",
        b"1,234.5",
        b"1e20",
        b"{{",
        b"]]",
        b"%",
        b"$A_$B",
    ),
    *(b"run", b"lr", b"tokens", b"position", b"test_set", b"epoch", b"PAR1", b"\x1f\x8b", b":W&B", b"Group: ", b" - "),
]
NAMES = ("a.log", "a.csv", "a.tsv", "a.json", "a.jsonl", "a.parquet", "a.csv.gz", "val_loss")
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "metric": st.sampled_from(["all", "loss", "val_loss"]),
        "split": st.sampled_from(["eval", "train"]),
        "unit": st.sampled_from(["bits", "perplexity"]),
        "run": st.sampled_from(["run", "base"]),
        "step": st.sampled_from(["epoch", "step", "loss"]),
        "part": st.sampled_from([1, 2, "all", "join", "x"]),
        "pattern": st.sampled_from([r"(?P<step>\d+).*(?P<loss>\S+)", r"(?P<step>.*)(?P<loss>.*)(?P<lr>.*)"]),
    },
)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.2), st.sampled_from([*PIECES, None])), max_size=4)


def edited(seed: bytes, edits: list[tuple[float, float, bytes | None]]) -> bytes:
    """A log with pieces of it replaced by others, or doubled."""
    for start, share, piece in edits:
        at = int(start * len(seed))
        until = at + int(share * len(seed))
        seed = seed[:at] + (2 * seed[at:until] if piece is None else piece) + seed[until:]
    return seed


def read_or_refused(path: Path, content: bytes, options: dict[str, Any]) -> None:
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        try:
            table = bt.read_log(path, **options)
        except bt.DataError:
            return
    assert np.isfinite(table.frame["loss"].to_numpy(float)).all()
    table.frame.to_csv(path.with_name("out"), index=False)


EVERY = {"deadline": None, "suppress_health_check": list(HealthCheck)}
CASES = (st.sampled_from(SEEDS), EDITS, st.sampled_from(NAMES), OPTIONS)


@settings(max_examples=80, derandomize=True, **EVERY)
@given(*CASES)
def test_damaged_logs(tmp_path_factory: pytest.TempPathFactory, seed: bytes, edits: Any, name: str, options: Any) -> None:
    read_or_refused(tmp_path_factory.getbasetemp() / name, edited(seed, edits), options)


@settings(max_examples=60, derandomize=True, **EVERY)
@given(st.binary(max_size=300), st.sampled_from(NAMES), OPTIONS)
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str, options: Any) -> None:
    read_or_refused(tmp_path_factory.getbasetemp() / name, content, options)


@pytest.mark.slow
@settings(max_examples=20_000, **EVERY)
@given(*CASES)
def test_damaged_logs_for_long(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, edits: Any, name: str, options: Any
) -> None:
    read_or_refused(tmp_path_factory.getbasetemp() / name, edited(seed, edits), options)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ('{"step": 1, "val_loss": 3, "run": "a"}\n{"step": 2, "val_loss": 3}\n', {"run": "a"}),
        ("step,loss\n1,3\n2,2\n", {"step": "loss"}),
        ("a 1 b", {"pattern": "(?P<step>.*)(?P<loss>.*)"}),
        ("iter 5: loss 3\niter x: loss 3\niter 4: loss 3", {"pattern": r"iter (?P<step>\w+): loss (?P<loss>\d)"}),
    ],
)
def test_what_the_fuzz_found(content: str, options: dict[str, Any], tmp_path: Path) -> None:
    read_or_refused(tmp_path / "a.log", content.encode(), options)


HARD = {
    "deep array": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "deep line": b'{"step": 1, "val_loss": 3}\n{"a":' + b"[" * 100_000 + b"\n",
    "long digits": b"step,loss\n1,3\n" + b"9" * 401 + b",2\n",
    "long loss": b'{"step": 1, "val_loss": ' + b"9" * 401 + b"}\n",
    "repeated start": b"step:1/2 " * 30_000 + b"\n",
    "repeated pair": b"    a=1" * 40_000 + b"\n",
    "repeated dict": b"{'loss': " * 30_000 + b"\n",
    "commas": b"step,loss\n" + b"," * 270_000 + b"\n",
    "digits": b"1" * 270_000 + b" val " + b"1" * 270_000 + b"\n",
    "thousands": b"step " + b"1,234" * 50_000 + b"\n",
}


@pytest.mark.parametrize("kind", HARD)
def test_hard_files_take_no_time(kind: str, tmp_path: Path) -> None:
    started = time.process_time()
    for name in ("a.log", "a.json", "a.csv"):
        read_or_refused(tmp_path / name, HARD[kind], {})
    assert time.process_time() - started < 10


LONG = "9" * 100
AS_TEXT = isinstance(pd.read_csv(StringIO(f"a\n{'9' * 401}"))["a"].iloc[0], str)  # by pandas 2
WORD = f"a number; got '{3 * LONG}'..."
STEP = f"{WORD} (line 2 of a.csv)" if AS_TEXT else f"finite and not negative; got {LONG}... at run='run'"
LOSS = f"{WORD} at step=1 (line 2 of" if AS_TEXT else f"finite; got {LONG}... at run='run', test_set='test', step=1 "


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"step,loss\n{'9' * 401},3\n", f"step must be {STEP}"),
        (f"step,loss\n1,{'9' * 401}\n", f"loss must be {LOSS}"),
        ("step,position,loss\n1,1e20,3\n", "position must be below 2**53, as whole numbers are; got 1e+20 at run='run', "),
    ],
)
def test_numbers_that_are_too_large_for_a_table(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}"):
        bt.read_losses(tmp_path / "a.csv")


def test_parquet_of_any_pandas_metadata_and_names_in_bytes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"step": [1, 2], "loss": [3.0, 2.0], "run": [b"\xff", b"\xff"]})
    pq.write_table(pa.Table.from_pandas(frame).replace_schema_metadata({"pandas": "{}"}), tmp_path / "a.parquet")
    assert bt.read_losses(tmp_path / "a.parquet").runs == ["\ufffd"]
    frame.drop(columns="run").set_axis(pd.MultiIndex.from_tuples([("step", "a"), ("loss", "a")]), axis=1).to_parquet(
        tmp_path / "b.parquet"
    )
    with pytest.raises(bt.DataError, match="got 'step/a', 'loss/a'"):
        bt.read_losses(tmp_path / "b.parquet")


def test_a_half_character_is_a_question_mark(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"step": at, "val_loss": 3, "run": "\ud800"}) for at in (1, 2)))
    with pytest.warns(bt.Notice):
        assert bt.read_log(tmp_path / "a.jsonl").runs == ["?"]


@pytest.mark.parametrize("content", ["1,3\n2,true\n", '{"step": 1, "val_loss": true}\n', '{"step": 2, "val_loss": [3.0]}\n'])
def test_a_loss_that_is_no_number_is_refused(content: str, tmp_path: Path) -> None:
    name = "a.jsonl" if content.startswith("{") else "a.csv"
    (tmp_path / name).write_text(f'{{"step": 0, "val_loss": 3}}\n{content}' if name == "a.jsonl" else f"step,loss\n{content}")
    with pytest.raises(bt.DataError, match="loss must be"):
        bt.read_log(tmp_path / name)
