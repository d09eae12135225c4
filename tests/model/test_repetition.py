"""What repeated data add to the loss: nothing in the first epoch, the same in each after it, and only where data repeat."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from bayes_tsl.data import schedules
from bayes_tsl.data.recipe import Recipe
from bayes_tsl.inference.run_inputs import priors_of
from bayes_tsl.model.lr_response import make_time_axis
from bayes_tsl.model.priors import OVERFITTING, default_priors, fixed
from bayes_tsl.model.single_run import trend
from bayes_tsl.model.time_axis import make_anchor

PLAN = schedules.cosine(peak=1e-3, warmup=100, total=8000)
ONCE = Recipe(batch=((0.0, 1e5),), unique_tokens=9e8)
OFTEN = Recipe(batch=((0.0, 1e5),), unique_tokens=1e8)  # 1,000 steps an epoch
SITES = {
    "floor_level": 3.0,
    "floor_slope": -0.3,
    "floor_curvature": 0.4,
    "heat": 0.3,
    "heat_power": 0.7,
    "heat_fast_time": 0.003,
    "heat_slow_time": 0.03,
    "heat_decay": 0.1,
}


def test_the_floor_rises_by_as_much_in_every_epoch_but_the_first() -> None:
    plan, steps = OFTEN.effective(PLAN), np.array([500.0, 1000.0, 2000.0, 6000.0, 3000.0])
    axis = make_time_axis(steps, plan, make_anchor(plan, 3000.0))
    with jax.enable_x64(True):
        without, with_it = (
            np.asarray(trend(axis, SITES | {"averaging": 1.0, "overfitting": each}).floor) for each in (0.0, 0.002)
        )
    np.testing.assert_allclose(with_it - without, 0.002 * (np.array([0.0, 0.0, 1.0, 5.0]) - 2.0), atol=1e-9)


@pytest.mark.parametrize(("recipe", "prior"), [(ONCE, fixed(0.0)), (OFTEN, OVERFITTING)])
def test_only_a_plan_that_repeats_its_data_has_a_prior_of_it(recipe: Recipe, prior: object) -> None:
    assert default_priors(recipe.effective(PLAN), origin=2000, recipe=recipe).overfitting == prior


def test_runs_that_are_fitted_together_have_one_kind_of_prior() -> None:
    recipes = {"once": ONCE, "often": OFTEN}
    plans = {run: recipe.effective(PLAN) for run, recipe in recipes.items()}
    made, _ = priors_of(plans, [2000.0, 2000.0], recipes, None, None)
    assert [own.overfitting for own in made] == [OVERFITTING, OVERFITTING]
