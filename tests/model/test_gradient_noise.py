"""What the noise of the gradient adds to the prior of the excess loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bayes_tsl as bt
from bayes_tsl.model.gradient_noise import EXCESS_PER_NOISE, with_gradient_noise
from bayes_tsl.model.priors import Priors, fixed, lognormal, normal

PLAN = bt.schedules.wsd(peak=1e-3, warmup=100, total=4000, final=0.0, decay=0.2)
SHAPE = {
    "heat_power": lognormal(0.7, 1e-6),
    "heat_fast_time": lognormal(0.003, 1e-6),
    "heat_slow_time": lognormal(0.03, 1e-6),
    "heat_decay": normal(0.1, 1e-6),
}
PRIORS = Priors(heat=lognormal(0.3, 0.4), **SHAPE)


def test_two_sources_of_a_lognormal_are_weighed_by_their_precisions() -> None:
    made = with_gradient_noise(PRIORS, {2000.0: 500.0}, PLAN, PLAN, origin=2000.0).heat
    decay = float((PLAN.progress(2000.0) / PLAN.progress(4000.0)) ** -0.1)
    measured = np.log(EXCESS_PER_NOISE.centre * 1e-3 * 500.0 / decay)
    weights = np.array([0.4, EXCESS_PER_NOISE.sd]) ** -2.0
    assert made.sd == pytest.approx(weights.sum() ** -0.5, rel=1e-4)
    assert np.log(made.centre) == pytest.approx(np.average([np.log(0.3), measured], weights=weights), abs=2e-3)


def test_doubt_about_the_decay_widens_it() -> None:
    doubtful = replace(PRIORS, heat_decay=normal(0.1, 0.5))
    sure, wide = (with_gradient_noise(own, {500.0: 500.0}, PLAN, PLAN, origin=500.0).heat.sd for own in (PRIORS, doubtful))
    assert wide > 1.05 * sure


@pytest.mark.parametrize("noise", [{}, {50.0: 500.0}, {2500.0: 500.0}, {1000.0: 0.0}])
def test_noise_in_the_warm_up_after_the_origin_or_of_zero_says_nothing(noise: dict[float, float]) -> None:
    assert with_gradient_noise(PRIORS, noise, PLAN, PLAN, origin=2000.0) == PRIORS


def test_noise_of_a_low_learning_rate_is_passed_over() -> None:
    early = with_gradient_noise(PRIORS, {3000.0: 500.0}, PLAN, PLAN, origin=3900.0)
    assert with_gradient_noise(PRIORS, {3000.0: 500.0, 3900.0: 900.0}, PLAN, PLAN, origin=3900.0) == early != PRIORS


def test_a_learning_rate_in_a_unit_of_its_own_and_a_fixed_heat_are_left_alone() -> None:
    relative = bt.schedules.constant(peak=1.0, total=4000)
    assert with_gradient_noise(PRIORS, {1000.0: 500.0}, relative, relative, origin=2000.0) == PRIORS
    known = replace(PRIORS, heat=fixed(0.2))
    assert with_gradient_noise(known, {1000.0: 500.0}, PLAN, PLAN, origin=2000.0) == known
