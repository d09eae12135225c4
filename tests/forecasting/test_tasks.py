"""Forecasts of a task through forecasts of the loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import bayes_tsl as bt
from tests.conftest import refusal
from tests.task_values import link_by_hand


def of_loss(low: float, high: float, *, run: str = "new", test_set: str = "test") -> bt.Forecast:
    """A forecast that is as sure of all losses from ``low`` to ``high``."""
    draws = np.linspace(low, high, 600).reshape(2, 300, 1) + np.array([0.1, 0.0])
    coords = {"chain": [0, 1], "draw": np.arange(300), "step": [25_000.0, 40_000.0]}
    losses = xr.DataArray(draws, coords, ("chain", "draw", "step"), name="expected")
    history = xr.DataArray([3.0], {"step": [20_000.0]}, ("step",))
    return bt.Forecast(run, test_set, 20_000.0, losses, losses.rename("observed"), history)


def test_the_task_follows_the_loss(task: bt.TaskFit) -> None:
    ahead = bt.forecast_task(task, of_loss(2.99, 3.01))
    assert (ahead.test_set, ahead.quantity, ahead.run, ahead.origin) == ("bpb", "bpb", "new", 20_000.0)
    assert ahead.expected.mean(("chain", "draw")).to_numpy() == pytest.approx(link_by_hand(np.array([3.1, 3.0])), abs=0.01)
    assert ahead.history.size == 0
    assert 0.003 < float(ahead.expected[..., -1].std()) < float(ahead.observed[..., -1].std()) < 0.1
    assert ahead.draws().equals(bt.forecast_task(task, of_loss(2.99, 3.01)).draws())


def test_a_less_certain_loss_makes_a_less_certain_task(task: bt.TaskFit) -> None:
    sure, unsure = (bt.forecast_task(task, of_loss(3.0 - by, 3.0 + by)).expected[..., -1] for by in (0.01, 0.3))
    assert float(unsure.std()) > 2.0 * float(sure.std())
    losses = of_loss(2.7, 3.3).expected[..., -1].to_numpy().ravel()
    assert np.corrcoef(losses, bt.forecast_task(task, of_loss(2.7, 3.3)).expected[..., -1].to_numpy().ravel())[0, 1] > 0.9


def test_a_run_that_was_measured_starts_where_it_is(task: bt.TaskFit) -> None:
    rows = task.measured[task.measured["run"] == "small"]
    off = float((rows["value"] - link_by_hand(rows["loss"])).mean())
    loss = float(rows["loss"].iloc[-1])
    own, other = (bt.forecast_task(task, of_loss(loss, loss, run=run)) for run in ("small", "new"))
    assert own.history.to_numpy().tolist() == rows["value"].tolist()
    assert float(own.expected[..., -1].std()) < 0.7 * float(other.expected[..., -1].std())
    assert float(own.expected[..., -1].mean()) == pytest.approx(link_by_hand(loss) + off, abs=0.005)


def test_losses_below_all_measured_are_named(task: bt.TaskFit) -> None:
    ahead = bt.forecast_task(task, of_loss(2.4, 2.4))
    lowest = task.measured["loss"].min()
    assert ahead.notices == (f"The loss at step 40000 lies {lowest - 2.4:.2f} nats below all to which the link was fitted.",)
    assert not bt.forecast_task(task, of_loss(3.2, 3.2)).notices


def test_a_link_of_another_test_set_is_refused(task: bt.TaskFit) -> None:
    cure = "Forecast the loss on that test set, or fit the link to the losses on this one."
    with refusal(f"ahead must be of the test set 'web'; got 'books'. {cure}"):
        bt.forecast_task(replace(task, test_set="web"), of_loss(3.0, 3.0, test_set="books"))
    with refusal("task must be a TaskFit; got 'dict'. Make one with fit_task(losses, values, metric=...)."):
        bt.forecast_task({}, of_loss(3.0, 3.0))  # type: ignore[arg-type]
    with refusal("ahead must be a Forecast; got 'float'. Make one with fit.forecast(steps)."):
        bt.forecast_task(task, 3.0)  # type: ignore[arg-type]


def test_a_forecast_of_a_task_is_drawn_and_saved_as_such(task: bt.TaskFit, tmp_path: Path) -> None:
    ahead = bt.forecast_task(task, of_loss(2.9, 3.1))
    ahead.save(tmp_path / "task.nc")
    again = bt.load_forecast(tmp_path / "task.nc")
    assert (again.quantity, again.test_set) == ("bpb", "bpb")
    axes = again.plot(ax=Figure().subplots())
    assert axes.get_ylabel() == "bpb"
    assert [line.get_label() for line in axes.lines if not line.get_label().startswith("_")] == ["median"]
