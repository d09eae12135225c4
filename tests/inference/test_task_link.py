"""The link from test loss to a task: recovery, what lies beyond, its file, and what bad tables are answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import bayes_tsl as bt
from tests.conftest import SETTLED, refusal
from tests.task_values import checkpoints, link_by_hand, loss_table


def test_it_converges_and_finds_the_link(task: bt.TaskFit) -> None:
    assert task.converged, task.diagnostics.verdict
    assert (task.runs, task.metric, task.test_set, task.notices) == (["large", "medium", "small"], "bpb", "test", ())
    assert 0.3 < float(task.draws["apart"].mean() * task.line[1] / 0.01) < 3.0
    assert "bpb by the loss on test, 120 checkpoints" in repr(task)


def test_a_fit_that_was_saved_is_the_same(task: bt.TaskFit, tmp_path: Path) -> None:
    task.save(tmp_path / "task.nc")
    again = bt.load_task(tmp_path / "task.nc")
    pd.testing.assert_frame_equal(again.measured, task.measured)
    assert again.draws.equals(task.draws)
    assert (again.metric, again.test_set, again.runs) == (task.metric, task.test_set, task.runs)
    cure = "Save it again with ScalingFit.save, or fit again."
    with refusal(f"task.nc must hold a 'bayes_tsl scaling law 1'; got 'bayes_tsl task link 1'. {cure}"):
        bt.load_scaling(tmp_path / "task.nc")
    (tmp_path / "task.nc").write_bytes((tmp_path / "task.nc").read_bytes().replace(b"bpb", b"BPB"))
    cure = "Take another copy, or make it again."
    with refusal(f"task.nc must be as it was written; got 'another checksum'. {cure}"):
        bt.load_task(tmp_path / "task.nc")


def test_values_without_a_loss_are_named() -> None:
    table, quick = checkpoints(), SETTLED | {"num_warmup": 50, "num_draws": 20}
    sparse = loss_table(table[table["step"] % 1000 == 0])
    made = bt.fit_task(sparse, table, metric="bpb", throw=False, **quick)
    assert made.notices == ("60 of 120 values of bpb are left out: no loss is known at their step.",)
    blank = table.assign(bpb=table["bpb"].where(table["step"] % 1000 == 0))
    assert not bt.fit_task(loss_table(table), blank, metric="bpb", throw=False, **quick).notices


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda table: table.drop(columns="bpb"),
            "values must have columns run, step, bpb; got 'run', 'step', 'loss'. Add bpb.",
        ),
        (
            lambda table: table.drop(columns="run"),
            "values must have columns run, step, bpb; got 'step', 'loss', 'bpb'. Add run.",
        ),
        (
            lambda table: table.head(7),
            "bpb must have 8 checkpoints or more whose loss is known; got 7. Evaluate more checkpoints, or give their losses.",
        ),
        (
            lambda table: table.assign(bpb=-table["bpb"]),
            "bpb must fall as the loss falls; got 'a rank correlation of -1.00'. "
            "Give what falls with the loss: bits per byte, or 1 - accuracy in place of accuracy.",
        ),
        (
            lambda table: pd.concat([table, table.head(1)]),
            "bpb must have one value a checkpoint; got 500 as steps of more. Keep one.",
        ),
        (
            lambda table: table.assign(bpb="?"),
            "step and bpb must be numbers; got 0, 1, 2, 3, 4 and 115 more as rows of others. Correct these rows.",
        ),
    ],
)
def test_values_that_cannot_be_fitted_are_refused(change: object, message: str) -> None:
    table = checkpoints()
    with refusal(message):
        bt.fit_task(loss_table(table), change(table), metric="bpb")  # type: ignore[operator]


def test_losses_of_several_test_sets_are_refused() -> None:
    table = checkpoints()
    both = pd.concat([table.assign(test_set=name) for name in ("web", "books")])[["run", "test_set", "step", "loss"]]
    with refusal("losses must hold a single test_set; got 'books', 'web'. Choose one with losses.select(test_set=...)."):
        bt.fit_task(bt.LossTable.from_frame(both), table, metric="bpb")


def test_the_link_is_monotone_and_less_certain_beyond(task: bt.TaskFit) -> None:
    losses = np.array([2.3, 2.6, 3.0, 3.5, 4.0, 4.6])
    linked = task.link(losses)
    assert np.all(np.diff(linked, axis=-1) > 0)
    mean, spread = linked.mean(("chain", "draw")).to_numpy(), linked.std(("chain", "draw")).to_numpy()
    assert np.all(np.abs(mean - link_by_hand(losses)) < 3.0 * spread)
    assert spread[0] > 1.5 * spread[2]


def test_its_picture_has_the_checkpoints_and_the_link(task: bt.TaskFit) -> None:
    axes = bt.plot_task(task, ax=Figure().subplots())
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("mean test loss [nats/token]", "bpb")
    assert sum(len(points.get_xdata()) for points in axes.lines if points.get_marker() == "o") == 120
    middle = next(line for line in axes.lines if line.get_label() == "median")
    assert np.interp(3.0, *middle.get_data()) == pytest.approx(float(task.link([3.0]).median()), abs=0.002)
