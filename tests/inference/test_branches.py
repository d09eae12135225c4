"""Fits with branches: what they add, what is saved, and what is refused."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl._common.jax_settings import float64
from bayes_tsl.data.branches import Branch
from bayes_tsl.inference.fitting import refit
from bayes_tsl.model.branches import branch_axis
from bayes_tsl.model.design import make_designs, padded
from bayes_tsl.model.lr_response import make_time_axis
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.single_run import trend
from bayes_tsl.model.time_axis import make_anchor
from tests.conftest import QUICK, TRUTH, refusal

pytestmark = pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")

ORIGIN, END = 3000.0, 8000.0
PLAN = bt.schedules.wsd(peak=1e-3, warmup=100, total=END, final=1e-5, decay=0.2)
TRIED = bt.schedules.splice(PLAN, bt.schedules.linear(peak=1e-3, total=3000, final=1e-5), at=2000.0)
PLANS = {"main": PLAN, "cooldown": TRIED}
LEFT = {"cooldown": ("main", 2000.0)}


@pytest.fixture(scope="module")
def losses() -> bt.LossTable:
    """The run until its end, and a cooldown of it, without drift and with the noise of a checkpoint."""
    anchor, rng = make_anchor(PLAN, ORIGIN), np.random.default_rng(0)
    sites = Priors().fixed() | {
        name: np.asarray(value) for name, value in TRUTH.items() if not name.startswith(("gap", "rate"))
    }
    steps = {"main": np.arange(200.0, END + 1.0, 200.0), "cooldown": np.arange(2100.0, 3001.0, 100.0)}
    frames = []
    for run, at in steps.items():
        past = np.append(at, ORIGIN)
        axis = make_time_axis(past, PLAN, anchor) if run == "main" else branch_axis(past, TRIED, PLAN, anchor)
        at_origin = make_time_axis([ORIGIN], PLAN, anchor)
        lag = np.concatenate([axis.lag[:-1], at_origin.lag])
        axis = axis._replace(u=np.append(axis.u[:-1], 0.0), lag=lag, gone=np.zeros_like(lag))
        with float64():
            loss = np.asarray(trend(axis, sites).floor)
        frames.append(pd.DataFrame({"run": run, "step": at, "loss": loss + 0.002 * rng.standard_normal(len(at))}))
    return bt.LossTable.from_frame(pd.concat(frames))


@pytest.fixture(scope="module")
def past(losses: bt.LossTable) -> bt.LossTable:
    return losses.until(ORIGIN)


@pytest.fixture(scope="module")
def informed(past: bt.LossTable) -> bt.Fit:
    return bt.fit(past, schedules=PLANS, branches=LEFT, **QUICK)


def test_a_cooldown_narrows_the_end_and_keeps_the_truth_inside(
    past: bt.LossTable, losses: bt.LossTable, informed: bt.Fit
) -> None:
    alone = bt.fit(past.select(run="main"), schedule=PLAN, **QUICK)
    truth = losses.select(run="main").mean_losses().loc[END]
    widths = {}
    for name, fit in {"alone": alone, "informed": informed}.items():
        lower, upper = (bt.forecast(fit, steps=[END]).quantile(q).item() for q in (0.05, 0.95))
        assert lower < truth < upper, name
        widths[name] = upper - lower
    assert widths["informed"] < 0.6 * widths["alone"]
    assert informed.runs == ["main"]
    assert informed.branches == ["cooldown"]
    assert alone.branches == []


def test_columns_of_the_table_do_the_same(past: bt.LossTable, informed: bt.Fit) -> None:
    frame = past.frame.assign(parent=None, branch_step=np.nan)
    frame.loc[frame["run"] == "cooldown", ["parent", "branch_step"]] = ["main", 2000.0]
    same = bt.fit(bt.LossTable.from_frame(frame), schedules=PLANS, **QUICK)
    for name, draws in informed.parameters().items():
        np.testing.assert_array_equal(same.parameters()[name], draws)


def test_a_saved_fit_has_its_branches(informed: bt.Fit, tmp_path: Path) -> None:
    informed.save(tmp_path / "fit.nc")
    again = bt.load_fit(tmp_path / "fit.nc")
    assert again == informed
    assert again.branches == ["cooldown"]
    for whole, kept in zip(jax.tree.leaves(padded(informed.design)), jax.tree.leaves(padded(again.design))):
        np.testing.assert_allclose(kept, whole, rtol=1e-12)
    assert refit(again, again.priors.widened(2.0)).branches == ["cooldown"]


def test_positions_inform_the_same_parameters(simulation: bt.Simulation, schedule: bt.Schedule) -> None:
    whole = simulation.losses.until(4000.0).frame.assign(run="main")
    branch = whole[whole["step"] > 3000.0].assign(run="again")
    table = bt.LossTable.from_frame(pd.concat([whole[whole["step"] <= 3400.0], branch]))
    fit = bt.fit(table, schedules={"main": schedule, "again": schedule}, branches={"again": ("main", 3000.0)}, **QUICK)
    assert fit.by_position
    rows = fit.design.branches
    assert rows is not None
    assert np.isfinite(rows.estimates.coefficients).all()
    assert fit.parameters()["gap_level"].mean() == pytest.approx(TRUTH["gap_level"], abs=0.1)


def test_single_losses_and_branches_do_not_go_together(past: bt.LossTable) -> None:
    with refusal("reduce_positions must be True; got False with branches or averaged weights. Leave it out."):
        bt.fit(past, schedules=PLANS, branches=LEFT, reduce_positions=False)


def test_branches_that_left_before_the_first_fitted_step_are_left_out_aloud(past: bt.LossTable) -> None:
    """With their own branches; what is left is a fit of the run alone."""
    again = past.select(run="cooldown").frame.assign(run="again")
    table = bt.LossTable.from_frame(pd.concat([past.frame, again]))
    warm = bt.schedules.wsd(peak=1e-3, warmup=2100, total=END, final=1e-5, decay=0.2)
    left = [Branch("cooldown", "main", 2000.0, warm), Branch("again", "cooldown", 2500.0, warm)]
    designs, notices = make_designs(table, {"main": warm}, branches=left)
    assert designs[0].branches is None
    reason = "they left before step 2200, from which on the run is fitted"
    assert f"Branches 'cooldown', 'again' are left out: {reason}." in notices
