"""Fits with losses of averaged weights and with the noise of the gradient: what these add, and what is saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl._common.jax_settings import float64
from bayes_tsl.inference import schema
from bayes_tsl.inference.branch_groups import BRANCHES
from bayes_tsl.model.design import make_designs, padded
from bayes_tsl.model.gradient_noise import EXCESS_PER_NOISE
from bayes_tsl.model.lr_response import make_time_axis
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.single_run import trend
from bayes_tsl.model.time_axis import OF_STEPS, make_anchor
from tests.conftest import QUICK, TRUTH, refusal

pytestmark = pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")

ORIGIN, END, WINDOW = 3000.0, 8000.0, 400.0
PLAN = bt.schedules.wsd(peak=1e-3, warmup=100, total=END, final=1e-5, decay=0.2)
STEPS = np.arange(200.0, END + 1.0, 200.0)


def rows(run: str, averaged: float, *, seed: int) -> pd.DataFrame:
    """A run's losses, or those of its averaged weights, without drift and with the noise of a checkpoint."""
    anchor, steps = make_anchor(PLAN, ORIGIN), STEPS[averaged <= STEPS]
    floor = {name: np.asarray(value) for name, value in TRUTH.items() if not name.startswith(("gap", "rate"))}
    parts = make_time_axis(steps, PLAN, anchor, averaged=averaged), make_time_axis([ORIGIN], PLAN, anchor)
    axis = parts[0]._replace(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in OF_STEPS})
    with float64():
        loss = np.asarray(trend(axis, Priors().fixed() | floor).floor)
    noise = 0.002 * np.random.default_rng(seed).standard_normal(len(steps))
    return pd.DataFrame({"run": run, "step": steps, "loss": loss + noise, "averaged": averaged})


@pytest.fixture(scope="module")
def losses() -> bt.LossTable:
    return bt.LossTable.from_frame(pd.concat([rows("main", 0.0, seed=0), rows("main", WINDOW, seed=1)]))


@pytest.fixture(scope="module")
def informed(losses: bt.LossTable) -> bt.Fit:
    return bt.fit(losses.until(ORIGIN), schedule=PLAN, **QUICK)


def test_averaged_weights_narrow_the_end_and_keep_the_truth_inside(losses: bt.LossTable, informed: bt.Fit) -> None:
    alone = bt.fit(replace(losses.until(ORIGIN), averaged={}), schedule=PLAN, **QUICK)
    truth, widths = losses.mean_losses().loc[END], {}
    for name, fit in {"alone": alone, "informed": informed}.items():
        least, lower, upper, most = (bt.forecast(fit, steps=[END]).quantile(q).item() for q in (0.01, 0.05, 0.95, 0.99))
        assert least < truth < most, name
        widths[name] = upper - lower
    assert widths["informed"] < 0.85 * widths["alone"]
    assert "averaging" in schema.sampled_of(informed.data)
    assert "averaging" not in schema.sampled_of(alone.data)


def test_a_saved_fit_has_its_averages_and_they_are_no_branches(informed: bt.Fit, tmp_path: Path) -> None:
    informed.save(tmp_path / "fit.nc")
    again = bt.load_fit(tmp_path / "fit.nc")
    assert again == informed
    assert again.branches == []
    beside = again.design.branches
    assert beside is not None
    assert set(beside.averaged) == {WINDOW}
    assert beside.step.tolist() == [step for step in STEPS if 200.0 + WINDOW <= step <= ORIGIN]
    for whole, kept in zip(jax.tree.leaves(padded(informed.design)), jax.tree.leaves(padded(again.design))):
        np.testing.assert_allclose(kept, whole, rtol=1e-12)


def test_branches_of_older_files_have_no_averages(informed: bt.Fit) -> None:
    data = informed.data.copy(deep=True)
    data[BRANCHES] = data[BRANCHES].to_dataset().drop_vars(["averaged", "gone"])
    rows_of = schema.design_of(data).branches
    assert rows_of is not None
    assert not rows_of.averaged.any()
    assert not rows_of.axis.gone.any()


def test_single_losses_and_averages_do_not_go_together(losses: bt.LossTable) -> None:
    with refusal("reduce_positions must be True; got False with branches or averaged weights. Leave it out."):
        bt.fit(losses.until(ORIGIN), schedule=PLAN, reduce_positions=False)


def test_averages_of_several_runs_are_left_out_aloud(losses: bt.LossTable) -> None:
    other = pd.concat([rows("other", 0.0, seed=2), rows("main", 0.0, seed=0), rows("main", WINDOW, seed=1)])
    table = bt.LossTable.from_frame(other).until(ORIGIN)
    designs, notices = make_designs(table, {"main": PLAN, "other": PLAN})
    assert [design.branches for design in designs] == [None, None]
    left_out = "only those of a run that is fitted alone or with its branches are used, past its warm-up."
    assert f"Losses of averaged weights of 'main' are left out: {left_out}" in notices


def test_noise_of_the_gradient_is_in_the_prior_of_heat(losses: bt.LossTable) -> None:
    frame = rows("main", 0.0, seed=0).assign(gradient_noise=400.0)
    priors = Priors(heat=bt.priors.lognormal(0.3, 0.4))
    table = bt.LossTable.from_frame(frame).until(ORIGIN)
    fit = bt.fit(table, schedule=PLAN, priors=priors, **QUICK | {"num_draws": 50})
    assert fit.priors.heat.sd < EXCESS_PER_NOISE.sd
    assert fit.priors.heat != priors.heat
    assert replace(fit.priors, heat=priors.heat) == priors
