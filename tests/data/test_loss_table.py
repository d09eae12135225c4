"""What a loss table takes, what it turns down and how it says so, and what its methods mean."""

from __future__ import annotations

import gzip
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import bayes_tsl as bt
from bayes_tsl.data.loss_table import COLUMNS, KEY, read_table
from tests.conftest import refusal

PLAIN = pd.DataFrame({"step": [100, 200, 300], "loss": [5.0, 4.5, 4.25]})
CORRECT = "Drop the row or correct it."
INF = float("inf")
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def table(**columns: Any) -> bt.LossTable:
    return bt.LossTable.from_frame(pd.DataFrame(columns))


def grid(*, steps: int = 6, positions: int = 5) -> pd.DataFrame:
    """Losses that are a sum of a part of the step and a part of the position, in long form."""
    step, position = (axis.ravel() for axis in np.mgrid[1 : steps + 1, 0:positions])
    return pd.DataFrame({"step": 100 * step, "position": position, "loss": 3.0 + 2.0 / step + 1.0 / (1.0 + position)})


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Runs with any checkpoints, and positions for all rows or for none, of which any may be missing."""
    steps = st.lists(st.integers(0, 10**12) | st.floats(0, 1e6), min_size=1, max_size=4, unique=True)
    by_position = draw(st.booleans())
    rows = []
    for run in draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True)):
        cells = [(run, step, i) for step in draw(steps) for i in (range(3) if by_position else [None])]
        rows += draw(st.lists(st.sampled_from(cells), min_size=1, unique=True))
    frame = pd.DataFrame(rows, columns=["run", "step", "position"]).astype({"position": float})
    losses = st.lists(st.floats(0, 20), min_size=len(frame), max_size=len(frame))
    return frame.assign(loss=draw(losses), tokens=2.0 * frame["step"])


def shuffled(frame: pd.DataFrame, order: list[int]) -> pd.DataFrame:
    return frame.iloc[np.argsort(np.resize(order, len(frame)), kind="stable")]


ORDERS = st.permutations(range(40))


@settings(deadline=None, max_examples=40)
@given(frames(), ORDERS)
def test_any_row_order_gives_the_same_table(frame: pd.DataFrame, order: list[int]) -> None:
    losses = bt.LossTable.from_frame(frame)
    assert_frame_equal(bt.LossTable.from_frame(shuffled(frame, order)).frame, losses.frame)
    assert_frame_equal(bt.LossTable.from_frame(losses.frame).frame, losses.frame)
    assert tuple(losses.frame.columns) == COLUMNS
    assert len(losses.frame) == len(frame)
    assert losses.frame["loss"].sum() == pytest.approx(frame["loss"].sum())
    assert losses.frame.equals(losses.frame.sort_values(KEY, ignore_index=True))


@settings(deadline=None, max_examples=25)
@given(frames(), ORDERS, st.data())
def test_repeated_rows_are_merged_and_counted(frame: pd.DataFrame, order: list[int], data: st.DataObject) -> None:
    repeated = data.draw(st.lists(st.integers(0, len(frame) - 1), min_size=1, max_size=5))
    longer = shuffled(pd.concat([frame, frame.iloc[repeated]]), order)
    with pytest.warns(bt.Notice, match=rf"^{len(repeated)} repeated rows of losses gave the same loss and are merged\.$"):
        merged = bt.LossTable.from_frame(longer)
    assert_frame_equal(merged.frame, bt.LossTable.from_frame(frame).frame)
    assert merged.notices == (f"{len(repeated)} repeated rows of losses gave the same loss and are merged.",)


@settings(deadline=None, max_examples=25)
@given(frames(), ORDERS, st.data())
def test_rows_that_disagree_are_refused(frame: pd.DataFrame, order: list[int], data: st.DataObject) -> None:
    chosen = frame.iloc[[data.draw(st.integers(0, len(frame) - 1))]]
    other = chosen.assign(loss=chosen["loss"] + 0.5)
    low, high = (f"{value:.10g}" for value in (chosen["loss"].iloc[0], other["loss"].iloc[0]))
    message = f"loss must be given once per run, test_set, step and position; got {low}, {high} at run="
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}.* of losses. Keep the right one; .* as of a resumed run.$"):
        bt.LossTable.from_frame(shuffled(pd.concat([frame, other]), order))


def test_merging_does_not_depend_on_the_row_order() -> None:
    frame = pd.DataFrame({"step": [1, 1, 2], "loss": [5.0, 5.0, 4.0], "loss_se": [np.nan, 0.1, 0.2]})
    with pytest.warns(bt.Notice, match="^1 repeated rows of losses gave the same loss and are merged.$"):
        both = [bt.LossTable.from_frame(rows).frame for rows in (frame, frame[::-1])]
    assert_frame_equal(*both)
    assert both[0]["loss_se"].tolist() == [0.1, 0.2]


@settings(deadline=None, max_examples=40)
@given(frames(), st.data())
def test_before_until_and_after_divide_the_steps(frame: pd.DataFrame, data: st.DataObject) -> None:
    losses = bt.LossTable.from_frame(frame)
    step = data.draw(st.sampled_from(losses.steps.tolist()))
    expected = {"before": losses.steps < step, "until": losses.steps <= step, "after": losses.steps > step}
    for name, kept in expected.items():
        if kept.any():
            np.testing.assert_array_equal(getattr(losses, name)(step).steps, losses.steps[kept])
        else:
            with pytest.raises(bt.DataError, match=r"^losses must have rows of step .*; got .* as steps\. Choose another\.$"):
                getattr(losses, name)(step)


def test_a_plain_frame_has_one_run_and_one_test_set() -> None:
    losses = bt.LossTable.from_frame(PLAIN.assign(comment="fine"))
    assert (losses.runs, losses.test_sets, losses.by_position) == (["run"], ["test"], False)
    assert losses.notices == ()
    assert losses.curve().columns.tolist() == [0]
    np.testing.assert_array_equal(losses.steps, [100, 200, 300])
    np.testing.assert_array_equal(losses.mean_losses(), [5.0, 4.5, 4.25])


def test_names_may_be_numbers_and_rows_may_share_an_index() -> None:
    losses = bt.LossTable.from_frame(pd.concat([PLAIN.assign(run=run) for run in (2, 1)]))
    assert losses.runs == ["1", "2"]
    assert losses.select(run="2").runs == ["2"]


def test_the_frame_that_came_in_is_left_alone() -> None:
    frame = PLAIN[::-1].copy()
    bt.LossTable.from_frame(frame)
    assert_frame_equal(frame, PLAIN[::-1])


def test_select_takes_run_and_test_set() -> None:
    losses = bt.datasets.load("small_lm")
    chosen = losses.select(run="mix20_cosine", test_set="code")
    assert (chosen.runs, chosen.test_sets, chosen.by_position) == (["mix20_cosine"], ["code"], True)
    assert chosen.curve().shape == (51, 256)
    assert losses.select(run="mix20_cosine").test_sets == ["code", "ood", "prose"]
    assert len(losses.select().frame) == len(losses.frame) == 6 * 51 * 256


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda losses: losses.select(run="mix"),
            "run must be one of 'mix20_cosine', 'mix50_cosine'; got 'mix'. Choose one of these.",
        ),
        (
            lambda losses: losses.select(test_set="Prose"),
            "test_set must be one of 'code', 'ood', 'prose'; got 'Prose'. Choose one of these.",
        ),
        (
            lambda losses: losses.before(25),
            "losses must have rows of step below 25; got 25, 50, 100, 150, 200 and 46 more as steps. Choose another.",
        ),
        (
            lambda losses: losses.until(24.5),
            "losses must have rows of step up to 24.5; got 25, 50, 100, 150, 200 and 46 more as steps. Choose another.",
        ),
        (
            lambda losses: losses.after(2500),
            "losses must have rows of step above 2500; got 25, 50, 100, 150, 200 and 46 more as steps. Choose another.",
        ),
        (
            lambda losses: losses.curve(),
            "losses must hold a single run; got 'mix20_cosine', 'mix50_cosine'. "
            "Choose one with losses.select(run=...), or --run on the command line.",
        ),
        (
            lambda losses: losses.select(run="mix20_cosine").mean_losses(),
            "losses must hold a single test_set; got 'code', 'ood', 'prose'. "
            "Choose one with losses.select(test_set=...), or --test-set on the command line.",
        ),
    ],
    ids=["run", "test_set", "before", "until", "after", "curve", "mean_losses"],
)
def test_what_is_not_there_is_said(call: Callable[[bt.LossTable], object], message: str) -> None:
    with refusal(message):
        call(bt.datasets.load("small_lm"))


def test_unknown_data_set() -> None:
    for ask in (bt.datasets.load, bt.datasets.about, bt.datasets.schedules):
        with refusal("data set must be one of 'small_lm', 'gpt_positions'; got 'large_lm'. These are bundled."):
            ask("large_lm")


def test_bundled_runs_have_the_learning_rates_and_tokens_that_are_said_of_them() -> None:
    for name in bt.datasets.NAMES:
        losses, runs, schedules = bt.datasets.load(name), bt.datasets.about(name), bt.datasets.schedules(name)
        assert losses.runs == sorted(runs.index) == sorted(schedules)
        for run, rows in losses.frame.groupby("run"):
            np.testing.assert_allclose(rows["lr"], schedules[run].lr(rows["step"]), rtol=2e-3)
            np.testing.assert_allclose(rows["tokens"], rows["step"] * runs.loc[run, "tokens_per_step"])
            assert rows["position"].max() + 1 == runs.loc[run, "context"]


def test_runs_by_position_are_whole_and_differ_as_they_are_named() -> None:
    losses, runs = bt.datasets.load("gpt_positions"), bt.datasets.about("gpt_positions")
    assert len(losses.frame) == 13 * 3 * 48 * 1024
    assert losses.test_sets == ["code", "ood", "prose"]
    assert runs["mixture"].map("mix{:.0%}".format).str.rstrip("%").tolist() == [run.split("_")[0] for run in runs.index]
    end = losses.select(test_set="prose").frame.query("step == 2400").groupby("run")["loss"].mean()
    assert end["mix50_cosine_large"] < end["mix50_cosine"] < end["mix50_cosine_small"]
    assert end["mix20_cosine"] < end["mix50_cosine"] < end["mix80_cosine"]
    assert runs.loc["mix50_cosine_large", "parameters"] > 9e7


def test_mean_of_a_whole_curve_is_the_plain_mean() -> None:
    losses = bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose")
    plain = losses.frame.groupby("step")["loss"].mean()
    np.testing.assert_allclose(losses.mean_losses(), plain, rtol=1e-12)
    assert losses.mean_losses().index.name == "step"


def test_missing_positions_and_checkpoints_do_not_move_the_mean() -> None:
    whole = grid()
    holes = whole[~((whole["step"] == 300) & (whole["position"] == 0)) & ~((whole["step"] == 600) & (whole["position"] > 2))]
    losses = bt.LossTable.from_frame(holes[holes["step"] != 200])
    expected = whole.groupby("step")["loss"].mean().drop(200)
    np.testing.assert_allclose(losses.mean_losses(), expected, rtol=1e-9)
    assert np.isnan(losses.curve().loc[300, 0])
    assert losses.curve().loc[600].isna().sum() == 2
    plain = holes.groupby("step")["loss"].mean()
    assert plain[300] < expected[300] - 0.05, "the plain mean would have looked like progress"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nan": (
        {"step": [1, 2], "loss": [3.0, np.nan]},
        f"loss must be finite; got nan at run='run', test_set='test', step=2 (row 1 of losses). {CORRECT}",
    ),
    "infinite": (
        {"run": ["a", "b"], "step": [1, 2], "position": [0, 17], "loss": [3.0, np.inf]},
        f"loss must be finite; got inf at run='b', test_set='test', step=2, position=17 (row 1 of losses). {CORRECT}",
    ),
    "negative": (
        {"step": [1, 2], "loss": [3.0, -0.5]},
        f"loss must not be negative; got -0.5 at run='run', test_set='test', step=2 (row 1 of losses). {CORRECT}",
    ),
    "words": (
        {"step": [1, 2], "loss": ["3.0", "diverged"]},
        f"loss must be a number; got 'diverged' at step=2 (row 1 of losses). {CORRECT}",
    ),
    "step of words": (
        {"step": ["1", "two"], "loss": [3.0, 2.0]},
        f"step must be a number; got 'two' (row 1 of losses). {CORRECT}",
    ),
    "no step": (
        {"step": [1, None], "loss": [3.0, 2.0]},
        f"step must be finite and not negative; got nan at run='run', test_set='test' (row 1 of losses). {CORRECT}",
    ),
    "step below zero": (
        {"step": [-1, 2], "loss": [3.0, 2.0]},
        f"step must be finite and not negative; got -1 at run='run', test_set='test' (row 0 of losses). {CORRECT}",
    ),
    "half a position": (
        {"step": [1, 2], "position": [0, 0.5], "loss": [3.0, 2.0]},
        f"position must be a whole number from 0; got 0.5 at run='run', test_set='test', step=2 (row 1 of losses). {CORRECT}",
    ),
    "endless position": (
        {"step": [1, 2], "position": [0, np.inf], "loss": [3.0, 2.0]},
        f"position must be a whole number from 0; got inf at run='run', test_set='test', step=2 (row 1 of losses). {CORRECT}",
    ),
    "no name": (
        {"run": ["a", None], "step": [1, 2], "loss": [3.0, 2.0]},
        f"run must be named; got nan at test_set='test', step=2 (row 1 of losses). {CORRECT}",
    ),
    "empty name": (
        {"test_set": ["a", ""], "step": [1, 2], "loss": [3.0, 2.0]},
        f"test_set must be named; got '' at run='run', step=2 (row 1 of losses). {CORRECT}",
    ),
    **{
        name: (
            {"step": [1, 2], "loss": [3.0, 2.0], name: [1.0, -1.0]},
            f"{name} must not be negative; got -1 at run='run', test_set='test', step=2 (row 1 of losses). {CORRECT}",
        )
        for name in ("tokens", "lr", "loss_se")
    },
    "infinite tokens": (
        {"step": [1, 2], "loss": [3.0, 2.0], "tokens": [1.0, np.inf]},
        f"tokens must be finite; got inf at run='run', test_set='test', step=2 (row 1 of losses). {CORRECT}",
    ),
    "some positions": (
        {"step": [1, 1, 2], "position": [0, 1, None], "loss": [3.0, 2.0, 2.5]},
        "position must be given in every row or in none; got 1 blank of 3 at run='run', test_set='test' of losses. "
        "Keep the rows per position, or those of the mean.",
    ),
    "tokens fall": (
        {"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "tokens": [10.0, None, 9.0]},
        "tokens must increase with step; got 9 at run='run', test_set='test' of losses. "
        "Sort out steps that were counted from the start again after a resume.",
    ),
    "tokens stand still": (
        {"step": [1, 2], "loss": [3.0, 2.0], "tokens": [10, 10]},
        "tokens must increase with step; got 10 at run='run', test_set='test' of losses. "
        "Sort out steps that were counted from the start again after a resume.",
    ),
    "disagreement": (
        {"step": [7, 7], "loss": [3.5, 2.25]},
        "loss must be given once per run, test_set, step and position; got 2.25, 3.5 at run='run', test_set='test', step=7 "
        "of losses. Keep the right one; keep='last' keeps the last, as of a resumed run.",
    ),
    "no loss": ({"step": [1], "nll": [2.0]}, "losses must have columns step and loss; got 'step', 'nll'. Add 'loss'."),
    "another lr": (
        {"step": [7, 7], "loss": [3.5, 3.5], "lr": [1e-3, 2e-3]},
        "lr must be given once per run, test_set, step and position; got 0.001, 0.002 at run='run', test_set='test', step=7 "
        "of losses. Keep the right one; keep='last' keeps the last, as of a resumed run.",
    ),
    "truth": (
        {"step": [1, 2], "loss": [True, False]},
        f"loss must be a number; got True at step=1 (row 0 of losses). {CORRECT}",
    ),
    "truth among numbers": (
        {"step": [1, 2], "loss": [3.0, True]},
        f"loss must be a number; got True at step=2 (row 1 of losses). {CORRECT}",
    ),
    "complex": (
        {"step": [1, 2], "loss": [2.5j, 1.0]},
        f"loss must be a number; got 2.5j at step=1 (row 0 of losses). {CORRECT}",
    ),
    "date": (
        {"step": pd.to_datetime(["2020-01-01"]), "loss": [1.0]},
        f"step must be a number; got 2020-01-01 00:00:00 (row 0 of losses). {CORRECT}",
    ),
    "no columns": ({}, "losses must have columns step and loss; got none. Add 'step', 'loss'."),
    "no rows": ({"step": [], "loss": []}, "losses must have at least one row; got none. Check that the log was written."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said(name: str) -> None:
    columns, message = REFUSED[name]
    with refusal(message):
        table(**columns)


@pytest.mark.parametrize("kind", [np.array, jax.numpy.float32], ids=["0-d", "jax"])
def test_scalars_of_arrays_are_numbers(kind: Callable[[float], object]) -> None:
    losses = table(step=[kind(100.0), kind(200.0)], loss=[kind(3.5), kind(3.25)]).mean_losses()
    assert losses.to_dict() == {100.0: 3.5, 200.0: 3.25}


def test_frames_of_other_packages_are_read() -> None:
    made = bt.LossTable.from_frame(pa.table({"step": [100, 200], "loss": [3.5, 3.25]}))
    assert made.mean_losses().to_dict() == {100.0: 3.5, 200.0: 3.25}


@pytest.mark.parametrize("cut", ["before", "until", "after"])
def test_a_table_is_cut_at_a_number(cut: str) -> None:
    with refusal("step must be a number above -inf; got 'x'."):
        getattr(table(step=[100], loss=[3.5]), cut)("x")


def test_a_frame_is_asked_for() -> None:
    with refusal("log must be a pandas DataFrame; got 'dict'. Make one with pandas.DataFrame(...)."):
        bt.LossTable.from_frame({"step": [1], "loss": [2.0]}, source="log")


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    ".parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("ending", WRITERS)
def test_files_give_the_table_of_their_frame(ending: str, tmp_path: Path) -> None:
    frame = grid().assign(run="a", tokens=lambda rows: rows["step"] * 4096.0)
    WRITERS[ending](frame.sample(frac=1, random_state=0), tmp_path / f"losses{ending}")
    assert_frame_equal(bt.read_losses(tmp_path / f"losses{ending}").frame, bt.LossTable.from_frame(frame).frame)
    assert_frame_equal(bt.read_losses(str(tmp_path / f"losses{ending}")).frame, bt.LossTable.from_frame(frame).frame)


def test_commas_that_end_every_line_are_no_column(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text("step,loss\n100,5.0,\n200,4.5,\n300,4.25,\n")
    assert_frame_equal(bt.read_losses(tmp_path / "losses.csv").frame, bt.LossTable.from_frame(PLAIN).frame)


def test_a_notice_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text("step,loss\n100,5.0\n100,5.0\n")
    with pytest.warns(bt.Notice, match=r"^1 repeated rows of losses\.csv gave the same loss and are merged\.$"):
        bt.read_losses(tmp_path / "losses.csv")


def test_a_column_given_twice_is_refused() -> None:
    with refusal("losses must have each column once; got 'loss' more than once. Rename or remove one."):
        bt.LossTable.from_frame(pd.DataFrame([[1, 3.0, 2.0]], columns=["step", "loss", "loss"]))


def test_names_in_a_csv_stay_as_written(tmp_path: Path) -> None:
    (tmp_path / "LOSSES.CSV").write_text("run,test_set,step,loss\n001,NA,100,5.0\nNA,null,100,4.5\nnan,1.0,100,4.25\n")
    losses = bt.read_losses(tmp_path / "LOSSES.CSV")
    assert losses.runs == ["001", "NA", "nan"]
    assert losses.test_sets == ["1.0", "NA", "null"]
    assert losses.select(run="001").curve().to_numpy().tolist() == [[5.0]]


UNREADABLE: dict[str, tuple[str, bytes, str]] = {
    "bad loss": (
        "log.csv",
        b"step,loss,position\n100,5.0,0\n200,nan,1\n",
        f"loss must be finite; got nan at run='run', test_set='test', step=200, position=1 (line 3 of log.csv). {CORRECT}",
    ),
    "bad word": (
        "log.csv.gz",
        gzip.compress(b"step,loss\n100,5.0\n200,4.5\n300,oops\n", mtime=0),
        f"loss must be a number; got 'oops' at step=300 (line 4 of log.csv.gz). {CORRECT}",
    ),
    "blank lines": (
        "log.csv",
        b'\nrun,step,loss\n\n  \n"a\nb",100,5.0\n\na,200,nan\n',
        f"loss must be finite; got nan at run='a', test_set='test', step=200 (line 8 of log.csv). {CORRECT}",
    ),
    "blank name": (
        "log.csv",
        b"run,step,loss\na,100,5.0\n,200,4.0\n",
        f"run must be named; got '' at test_set='test', step=200 (line 3 of log.csv). {CORRECT}",
    ),
    "column twice": (
        "log.csv",
        b"step,loss,loss\n100,5.0,4.0\n",
        "log.csv must have each column once; got 'loss' more than once. Rename or remove one.",
    ),
    "header alone": (
        "log.csv",
        b"step,loss\n",
        "log.csv must have at least one row; got none. Check that the log was written.",
    ),
    "empty": ("log.csv", b"", "log.csv must hold a table; got an empty file. Check that the log was written."),
    "empty, gz": ("log.csv.gz", b"", "log.csv.gz must hold a table; got an empty file. Check that the log was written."),
    "picture": (
        "log.csv",
        PNG,
        "log.csv must be a csv table; got 'utf-8' codec can't decode byte 0x89 in position 0: invalid start byte. "
        "Export it again.",
    ),
    "not zipped": (
        "log.csv.gz",
        PNG,
        "log.csv.gz must be a csv.gz table; got Not a gzipped file (b'\\x89P'). Export it again.",
    ),
    "longer row": (
        "log.csv",
        b"step,loss\n100,5.0\n200,4.5,9\n",
        "log.csv must be a csv table; got Error tokenizing data. C error: Expected 2 fields in line 3, saw 3. Export it again.",
    ),
    "all rows longer": (
        "log.csv",
        b"step,loss\n0,100,5.0\n1,200,4.5\n",
        "log.csv must be a csv table; got Length of header or names does not match length of data. "
        "This leads to a loss of data with index_col=False. Export it again.",
    ),
    "ending": (
        "log.xlsx",
        b"step,loss\n",
        "file ending must be one of '.csv', '.csv.gz', '.parquet'; got '.xlsx'. Convert log.xlsx to one of these.",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_wrong_with_a_file_is_said(name: str, tmp_path: Path) -> None:
    file, content, message = UNREADABLE[name]
    (tmp_path / file).write_bytes(content)
    with refusal(message):
        bt.read_losses(tmp_path / file)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("cut.csv.gz", gzip.compress(grid().to_csv().encode(), mtime=0)[:-30]),
        ("torn.csv.gz", gzip.compress(grid().to_csv().encode(), mtime=0)[:40] + b"\xff" * 60),
        ("empty.parquet", b""),
        ("picture.parquet", PNG),
    ],
)
def test_broken_files_are_no_tables(file: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(content)
    kind = file.partition(".")[2]
    with pytest.raises(
        bt.DataError, match=rf"^{re.escape(file)} must be a {re.escape(kind)} table; got .+\. Export it again\.$"
    ):
        bt.read_losses(tmp_path / file)


def test_a_file_must_exist(tmp_path: Path) -> None:
    with refusal(f"file must exist; got {str(tmp_path / 'none.csv')!r}. Check the path."):
        bt.read_losses(tmp_path / "none.csv")


def test_lines_of_a_csv_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "any.csv").write_text("name,value\na,1\nb,2\n")
    frame = read_table(tmp_path / "any.csv")
    assert (frame.index.name, frame.index.tolist()) == ("line", [2, 3])


def test_nothing_is_said_of_clean_data() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bt.datasets.load("small_lm").notices == ()


MEASURED = pd.DataFrame(
    {
        "run": ["a", "a", "a", "a", "b", "b"],
        "step": [100, 200, 200, 200, 100, 200],
        "loss": [5.0, 4.5, 4.4, 4.3, 5.1, 4.6],
        "averaged": [np.nan, 0, 50, 100, np.nan, np.nan],
        "gradient_noise": [2.0, 2.5, np.nan, 2.5, np.nan, np.nan],
    }
)


def test_losses_of_averaged_weights_and_gradient_noise_are_kept_beside_the_others() -> None:
    table = bt.LossTable.from_frame(MEASURED)
    assert_frame_equal(table.frame, bt.LossTable.from_frame(MEASURED.iloc[[0, 1, 4, 5]].iloc[:, :3]).frame)
    assert {span: part.frame["loss"].tolist() for span, part in table.averaged.items()} == {50.0: [4.4], 100.0: [4.3]}
    assert table.gradient_noise is not None
    assert table.gradient_noise["gradient_noise"].tolist() == [2.0, 2.5]


def test_they_are_cut_with_the_others() -> None:
    table = bt.LossTable.from_frame(MEASURED)
    assert table.select(run="b").averaged == {}
    assert list(table.select(run="a").averaged) == [50.0, 100.0]
    assert table.until(150).averaged == {}
    assert table.after(150).averaged[50.0].runs == ["a"]
    assert len(table.select(run="b").gradient_noise) == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            {"step": [100, 200], "averaged": [0, 50], "test_set": ["x", "y"]},
            "losses must have plain ones beside them; got 'none' averaged over 50 steps at run='run', test_set='y' of losses. "
            "Add rows with averaged 0, of the weights themselves.",
        ),
        (
            {"step": [100, 200], "averaged": [50, 50]},
            "losses must have plain ones beside them; got 'none' averaged over 50 steps at run='run', test_set='test' of "
            "losses. Add rows with averaged 0, of the weights themselves.",
        ),
        (
            {"step": [100, 200], "averaged": [0, -1]},
            f"averaged must not be negative; got -1 at run='run', test_set='test', step=200 (row 1 of losses). {CORRECT}",
        ),
        (
            {"step": [100, 200], "averaged": [0, INF]},
            f"averaged must be finite; got inf at run='run', test_set='test', step=200 (row 1 of losses). {CORRECT}",
        ),
        (
            {"step": [100, 200], "averaged": [0, "all"]},
            f"averaged must be a number; got 'all' at step=200 (row 1 of losses). {CORRECT}",
        ),
        (
            {"step": [100, 100], "position": [0, 1], "gradient_noise": [1.0, 2.0]},
            "gradient_noise must be given once per run and step; got 1, 2 at run='run', step=100 of losses. "
            "Give all rows of a checkpoint the same.",
        ),
        (
            {"step": [200, 200, 300], "averaged": [50, 50, 0], "loss": [4.0, 4.1, 4.0]},
            "loss must be given once per run, test_set, step and position; got 4, 4.1 at run='run', test_set='test', "
            "step=200 of losses, averaged over 50 steps. Keep the right one; keep='last' keeps the last, as of a resumed run.",
        ),
    ],
)
def test_what_is_wrong_with_them_is_one_line(rows: dict[str, list[Any]], message: str) -> None:
    with refusal(message):
        table(**{"loss": [4.0] * len(rows["step"]), **rows})


def test_the_last_row_of_a_checkpoint_can_be_kept(tmp_path: Path) -> None:
    rows = {"step": [100, 200, 300, 200, 300], "loss": [5.0, 4.5, 4.4, 4.6, 4.2], "averaged": [0, 0, 0, 0, 50]}
    notice = "1 rows of losses.csv were measured again later; the last row of each checkpoint is kept."
    pd.DataFrame(rows).to_csv(tmp_path / "losses.csv", index=False)
    with pytest.warns(bt.Notice, match=f"^{notice}$"):
        losses = bt.read_losses(tmp_path / "losses.csv", keep="last")
    assert losses.mean_losses().to_dict() == {100.0: 5.0, 200.0: 4.6, 300.0: 4.4}
    assert losses.notices == (notice,)
    assert losses.averaged[50.0].mean_losses().to_dict() == {300.0: 4.2}
    with refusal("keep must be one of 'last'; got 'first'. Or leave it out."):
        bt.read_losses(tmp_path / "losses.csv", keep="first")


def test_nothing_is_left_out_where_nothing_was_measured_again() -> None:
    frame = pd.DataFrame({"step": [100, 200], "loss": [5.0, 4.5]})
    assert bt.LossTable.from_frame(frame, keep="last").notices == ()


def test_a_table_has_a_length_and_is_selected_by_run() -> None:
    losses = bt.datasets.load()
    assert len(losses.select("mix20_cosine")) == len(losses) // 2 == 3 * 51 * 256
