"""Schedules that matter: the future is another than the past, and the forecast follows the plan."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.model.priors import family
from tests.conftest import SETTLED, means

pytestmark = pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
ORIGIN, END = 4000.0, 8000.0
STEPS = np.arange(400.0, END + 1, 200.0)


def table(*rows: tuple[float, float]) -> bt.Schedule:
    return bt.schedules.from_frame(pd.DataFrame(rows, columns=["step", "lr"]))


PLANS = {
    "constant": bt.schedules.constant(peak=2e-3, warmup=150, total=END),
    "cosine": bt.schedules.cosine(peak=2e-3, warmup=150, total=END, final=2e-4),
    "linear to zero": bt.schedules.linear(peak=2e-3, warmup=150, total=END),
    "decay not begun": bt.schedules.wsd(peak=2e-3, warmup=150, total=END, decay=0.2),
    "two steps down": table((0, 0), (150, 2e-3), (3000, 2e-3), (3001, 1e-3), (6000, 1e-3), (6001, 2e-4), (END, 2e-4)),
    "warm restart": table((0, 0), (150, 2e-3), (5000, 1e-4), (5001, 2e-3), (END, 1e-3)),
}


def inside(plan: bt.Schedule, seed: int) -> float:
    """Share of a simulated run's later checkpoints inside the 95 % interval, which must also be of use."""
    priors = family("lr_scheduling").priors(plan, origin=ORIGIN)
    run = bt.simulate(steps=STEPS, schedule=plan, origin=ORIGIN, priors=priors, seed=seed)
    losses = means(run)
    fit = bt.fit(losses.until(ORIGIN), schedule=plan, priors=priors, num_draws=200, throw=False, **SETTLED)
    ahead = bt.forecast(fit, steps=STEPS[STEPS > ORIGIN])
    interval, truth = ahead.interval(prob=0.95), losses.mean_losses().loc[ahead.steps].to_numpy()
    assert float(interval["upper"][-1] - interval["lower"][-1]) < 0.6
    return float(np.mean((truth >= interval["lower"].to_numpy()) & (truth <= interval["upper"].to_numpy())))


@pytest.mark.slow
def test_intervals_hold_whatever_the_plan() -> None:
    """Six plans, a run each: checkpoints of a run stand or fall together, so one run may fall."""
    shares = {name: inside(plan, seed) for seed, (name, plan) in enumerate(PLANS.items())}
    assert np.mean(list(shares.values())) > 0.8, shares
    assert np.sum(np.array(list(shares.values())) < 0.5) <= 1, shares


@pytest.mark.slow
def test_a_restart_raises_the_loss_and_a_decay_lowers_it() -> None:
    losses = means(bt.simulate(steps=STEPS, schedule=PLANS["constant"], origin=ORIGIN, seed=3))
    fit = bt.fit(losses.until(ORIGIN), schedule=PLANS["constant"], num_draws=500, throw=False, **SETTLED)
    hotter = table((0, 0), (150, 2e-3), (4000, 2e-3), (4001, 4e-3), (END, 4e-3))
    decayed = bt.schedules.decayed(PLANS["constant"], start=ORIGIN, total=6000)
    plans = bt.what_if(fit, {"constant": None, "hotter": hotter, "decayed": decayed}, steps=[4200, 6000])
    at = {name: float(ahead.expected[..., 0].mean()) for name, ahead in plans.forecasts.items()}
    assert at["decayed"] < at["constant"] < at["hotter"]
