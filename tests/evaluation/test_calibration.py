"""The check of calibration: it passes what is right, and fails what is broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.evaluation.calibration import simulated_population_ranks, simulated_ranks, uniformity
from bayes_tsl.model.priors import family, lognormal, normal
from bayes_tsl.model.simulated_population import Plan

ORIGIN, RUNS = 4000.0, 40
STEPS = np.arange(700.0, 8001.0, 300.0)
SCHEDULE = bt.schedules.cosine(peak=1e-3, warmup=150, total=8000, final=1e-4)
PRIORS = replace(family("lr_scheduling").priors(SCHEDULE, origin=ORIGIN), floor_slope=normal(-0.15, 0.05))


def ranks_of(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"seed": range(len(values)), "quantity": "heat", "rank": values, "converged": True})


def simulated(fitted_priors: bt.Priors | None = None) -> pd.DataFrame:
    priors = family("lr_scheduling").priors(SCHEDULE, origin=ORIGIN)
    run = {"schedule": SCHEDULE, "steps": STEPS, "origin": ORIGIN, "priors": priors, "fitted_priors": fitted_priors}
    return uniformity(simulated_ranks(range(RUNS), num_draws=200, **run), bins=4)


def test_uniform_ranks_pass_and_others_fail() -> None:
    rng = np.random.default_rng(0)
    good = uniformity(ranks_of(rng.uniform(size=400)))
    assert good.loc["heat", "p"] > 0.01
    assert good.loc["heat", "coverage_90"] == pytest.approx(0.9, abs=0.04)
    for bad in (rng.beta(2.0, 2.0, 400), rng.beta(0.5, 0.5, 400), rng.beta(1.0, 1.5, 400)):
        assert uniformity(ranks_of(bad)).loc["heat", "p"] < 1e-3


def test_p_values_are_corrected_for_their_number() -> None:
    rng = np.random.default_rng(1)
    two = pd.concat([ranks_of(rng.uniform(size=100)), ranks_of(rng.uniform(size=100)).assign(quantity="drift_scale")])
    table = uniformity(two)
    np.testing.assert_allclose(table["p_corrected"], np.minimum(2.0 * table["p"], 1.0))


def test_too_few_runs_are_refused() -> None:
    with pytest.raises(bt.DataError, match="ranks must hold 50 runs for 10 bins; got 20"):
        uniformity(ranks_of(np.linspace(0, 1, 20)))


@pytest.mark.slow
def test_a_broken_model_is_found_out() -> None:
    """Fits that believe in a fifth of the drift: later losses fall outside, and the drift itself ranks too high."""
    priors = family("lr_scheduling").priors(SCHEDULE, origin=ORIGIN)
    small = lognormal(0.2 * priors.drift_scale.centre, 0.1)
    table = simulated(replace(priors, drift_scale=small))
    assert table.loc["drift_scale", "p_corrected"] < 0.01


@pytest.mark.slow
def test_the_model_is_not() -> None:
    table = simulated()
    assert (table["p_corrected"] > 0.01).all()


@pytest.mark.slow
def test_nor_is_the_model_of_several_runs() -> None:
    """A finished run and one seen for 2,500 of 8,000 steps, fitted together."""
    plans = {run: Plan(SCHEDULE, STEPS, origin) for run, origin in {"whole": 8000.0, "young": 2500.0}.items()}
    ranks = simulated_population_ranks(range(RUNS), plans=plans, priors=PRIORS, num_warmup=100, num_draws=200)
    table = uniformity(ranks, bins=4)
    assert (table["p_corrected"] > 0.01).all(), table["p_corrected"].nsmallest(3)
