"""Priors that other families taught: a new family at its covariates, what is not known, and what lies beyond."""

from __future__ import annotations

import numpy as np
import pytest

import bayes_tsl as bt
from bayes_tsl.data.recipe import Recipe, make_recipe
from bayes_tsl.model.learned import beyond, learned, predictive
from bayes_tsl.model.priors import LearnedPriors, Priors, default_priors
from tests.conftest import refusal

PLAN = bt.schedules.cosine(peak=1e-3, warmup=300, total=20_000, final=1e-4)
RUN = {"peak": 1e-3, "batch_tokens": 1e5, "parameters": 1e8, "progress": 2e4}
LEVELS = {
    "covariates": {
        "peak": {"unit": 1.0, "seen": [0.5, 2.0], "mean": 0.5, "covariance": [1.0, 0.6]},
        "parameters": {"unit": 10.0, "seen": [5.0, 20.0], "mean": -0.5, "covariance": [0.6, 2.0]},
    },
    "families": ["one", "other"],
    "parameters": {
        "heat": {
            "mean": [-1.0, 0.3, 0.1, 0.2, -0.2],
            "covariance": np.diag([0.01, 0.02, 0.03, 0.04, 0.05]).tolist(),
            "family_variance": 0.09,
            "run_variance": 0.01,
        }
    },
}


def test_the_predictive_is_that_of_draws() -> None:
    """Of a new family with an unknown size: by drawing size, coefficients and departures."""
    rng, count = np.random.default_rng(0), 400_000
    size = -0.5 + 0.6 * (np.log(2.0) - 0.5) + np.sqrt(2.0 - 0.36) * rng.standard_normal(count)
    level = LEVELS["parameters"]["heat"]
    a, peak, parameters = (level["mean"][i] + level["covariance"][i][i] ** 0.5 * rng.standard_normal(count) for i in range(3))
    apart = np.sqrt(0.09) * rng.standard_normal(count) + 0.1 * rng.standard_normal(count)
    drawn = a + peak * np.log(2.0) + parameters * size + apart
    mean, sd = predictive(LEVELS, {"peak": 2.0})["heat"]
    assert mean == pytest.approx(drawn.mean(), abs=0.005)
    assert sd == pytest.approx(drawn.std(), rel=0.01)


def test_a_named_family_has_its_own_level_and_no_spread_of_families() -> None:
    known = {"peak": 2.0, "parameters": 10.0}
    new, own = (predictive(LEVELS, known, family)["heat"] for family in (None, "other"))
    assert own[0] - new[0] == pytest.approx(-0.2)
    assert own[1] ** 2 == pytest.approx(0.01 + 0.02 * np.log(2.0) ** 2 + 0.05 + 0.01)
    assert new[1] > own[1]


def test_the_more_is_known_the_narrower_the_priors() -> None:
    named = [{name: RUN[name] for name in list(RUN)[:count]} for count in range(5)]
    sd = [predictive(learned(), known)["heat"][1] for known in named]
    assert sd == sorted(sd, reverse=True)
    assert sd[0] > 1.2 * sd[-1]


def test_beyond_what_was_seen_priors_are_wider_and_say_so() -> None:
    far = RUN | {"parameters": 65e9}
    assert predictive(learned(), far)["heat"][1] > predictive(learned(), RUN)["heat"][1]
    [notice] = beyond(learned(), far)
    assert notice.startswith(
        "Priors were learned from models of 1.1e+06 to 4.2e+09 parameters; this run has 6.5e+10, 15.5 times"
    )
    assert beyond(learned(), RUN) == ()


def test_default_priors_follow_the_recipe() -> None:
    def heat(batch: float, parameters: float) -> float:
        return default_priors(PLAN, origin=5000, recipe=make_recipe(batch_tokens=batch, parameters=parameters)).heat.centre

    assert heat(4e5, 1e8) < heat(1e5, 1e8) < heat(1e5, 1e9), "less noise in a large batch, more heat in a large model"
    assert heat(4e5, 1e8) / heat(1e5, 1e8) == pytest.approx(4.0**-0.15, rel=0.15), "by the square-root rule"
    assert default_priors(bt.schedules.unknown(), origin=5000) == Priors()


@pytest.mark.parametrize("optimizer", ["muon", "sgd"])
def test_other_optimizers_do_not_use_the_peak(optimizer: str) -> None:
    plans = [bt.schedules.cosine(peak=peak, total=20_000) for peak in (1e-3, 2e-2)]
    recipe = Recipe(optimizer=optimizer)
    one, other = (default_priors(plan, origin=5000, recipe=recipe) for plan in plans)
    assert one == other
    assert one.heat.sd > default_priors(plans[0], origin=5000).heat.sd
    [notice] = LearnedPriors().notices(plans[0], origin=5000, recipe=recipe)
    assert f"the learning rate of {optimizer} is not compared" in notice


def test_steps_counted_in_tokens_are_the_same_run() -> None:
    tokens = 524_288.0
    counted = bt.schedules.cosine(peak=1e-3, warmup=300 * tokens, total=20_000 * tokens, final=1e-4)
    recipe = make_recipe(batch_tokens=tokens)
    steps, in_tokens = (
        default_priors(plan, origin=5000 * unit, recipe=recipe) for plan, unit in ((PLAN, 1.0), (counted, tokens))
    )
    assert in_tokens.heat.centre == pytest.approx(steps.heat.centre)
    assert in_tokens.drift_scale.sd == pytest.approx(steps.drift_scale.sd)


def test_families_are_named() -> None:
    assert bt.priors.family("lr_scheduling").priors(PLAN, origin=5000).heat.sd < default_priors(PLAN, origin=5000).heat.sd
    families = ", ".join(map(repr, learned()["families"]))
    cure = "Leave it out for a run of another kind."
    with refusal(f"family must be one of {families}; got 'llama'. {cure}"):
        bt.priors.family("llama")


def test_levels_say_where_they_come_from() -> None:
    assert set(learned()["parameters"]) <= set(Priors.__dataclass_fields__)
    assert learned()["command"] == "python -m benchmarks.public.learned_priors"
    assert {"source", "made", "versions"} <= set(learned())
