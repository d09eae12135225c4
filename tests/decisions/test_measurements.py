"""What a measurement would be worth, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

import bayes_tsl as bt
from bayes_tsl.inference.posterior import example_fit
from tests.conftest import refusal

TRIED = bt.Measurement([1700], branch=bt.schedules.linear(peak=2e-3, total=1700))


def test_a_table_of_measurements() -> None:
    plans = {"as planned": None, "decay now": bt.schedules.decayed(example_fit().schedule, start=1200, total=2500)}
    options = {"cooldown": TRIED, "wait": bt.Measurement([1300, 1400, 1500])}
    cost = bt.Cost(per_step=0.1)
    worth = bt.worth_measuring(example_fit(), options, end=2500, plans=plans, cost=cost, value=1000.0)
    table = worth.to_frame()
    assert list(table.index) == ["cooldown", "wait"]
    assert table["cost"].to_list() == [50.0, 0.0]
    np.testing.assert_allclose(table["worth"], 1000.0 * table["gain"])
    np.testing.assert_allclose(table["net"], table["worth"] - table["cost"])
    ahead = bt.forecast(example_fit(), steps=[2500])
    lower, upper = (ahead.expected.quantile(q).item() for q in (0.05, 0.95))
    assert table["width_now"].iloc[0] == pytest.approx(upper - lower, rel=0.35), "other draws of the drift ahead"
    assert worth.perfect >= 0.0
    assert bt.worth_measuring(example_fit(), options, end=2500).to_frame()[["cost", "worth", "net"]].isna().all(axis=None)


def test_averaged_weights_say_what_heat_there_is() -> None:
    options = {"cooldown": TRIED, "averaged": bt.Measurement([1200], averaged=200), "short": bt.Measurement([1200], averaged=1)}
    worth = bt.worth_measuring(example_fit(), options, end=2500)
    narrower = worth.to_frame()["narrower"]
    assert narrower["averaged"] > 2.0 * abs(narrower["short"])
    assert narrower["short"] < 0.1, "an average over a step is no average"
    assert list(worth.left) == list(options)
    assert worth.taken["averaged"] == 0.0


def test_a_second_seed_says_what_waiting_does_but_for_the_spread_of_seeds() -> None:
    steps = [1300, 1400, 1500]
    options = {"wait": bt.Measurement(steps), "seed": bt.Measurement(steps, second_seed=True)}
    worth = bt.worth_measuring(example_fit(), options, end=2500, cost=bt.Cost(per_step=1.0))
    table = worth.to_frame()
    assert table["steps"].to_dict() == {"wait": 0.0, "seed": 1500.0}
    assert table["cost"].to_dict() == {"wait": 0.0, "seed": 1500.0}
    assert table.loc["seed", "narrower"] == pytest.approx(table.loc["wait", "narrower"], abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"options": {"all": bt.Measurement([1200], averaged=1200)}},
            "steps must lie between averaged 1200 and the origin 1200; got 1200. Average over steps that the run has made.",
        ),
        (
            {"options": {"both": bt.Measurement([1200], branch=TRIED.branch, averaged=100)}},
            "averaged must be 0; got 100 of a branch. Leave one of them out.",
        ),
        (
            {"options": {"both": bt.Measurement([1700], branch=TRIED.branch, second_seed=True)}},
            "second_seed must be False; got True of a branch or of averaged weights ('both'). Leave one of them out.",
        ),
        ({"options": {}}, "options must be measurements by name; got none. Give {name: bt.Measurement(steps=[...])}."),
        (
            {"options": {"late": bt.Measurement([1000])}},
            "steps must lie after the origin 1200; got 1000. Use Fit.coefficients() for the past.",
        ),
        ({"end": 1000}, "end must be a number above 1200; got 1000. It is the last step of the run."),
        ({"value": -1.0}, "value must be a number above 0; got -1. It is money per nat per token."),
        (
            {"options": {"far": bt.Measurement([1800], branch=bt.schedules.linear(peak=2e-3, total=1700))}},
            "schedule must reach the last forecast step 1800; got 1700. Give a schedule for the whole forecast, or forecast "
            "fewer steps.",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: dict, message: str) -> None:
    with refusal(message):
        bt.worth_measuring(example_fit(), **{"options": {"cooldown": TRIED}, "end": 2500, **arguments})
