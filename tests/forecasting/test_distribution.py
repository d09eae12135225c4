"""When a forecast reaches a target, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import bayes_tsl as bt
from bayes_tsl.forecasting.distribution import side_by_side
from tests.by_hand import TEN, WILD
from tests.conftest import refusal


def test_the_arrival_at_a_target() -> None:
    arrival = TEN.time_to(3.5, prob=0.8)
    xr.testing.assert_identical(arrival.draws, TEN.time_to(3.5))
    assert arrival.prob_within == 0.5
    assert arrival.lower == pytest.approx(10 + 20 * 0.5 / 0.9)  # the first draw falls by .9 within 20 steps
    assert arrival.median == pytest.approx(30.0)
    assert arrival.upper == np.inf
    assert str(arrival) == (
        "target 3.5: 50% likely to be reached by step 30; first step there: 30 (median), 21.1 to beyond 30 (80% interval)"
    )
    row = arrival.to_frame()
    assert list(row) == ["target", "prob_within", "median", "lower", "upper", "prob"]
    assert row.loc[0, "upper"] == "beyond 30"
    assert row.loc[0, "lower"] == arrival.lower


def test_a_target_that_no_draw_reaches_lies_beyond() -> None:
    arrival = TEN.time_to(2.0, prob=0.9)
    assert (arrival.prob_within, arrival.lower, arrival.median) == (0.0, np.inf, np.inf)
    assert str(arrival) == (
        "target 2: under 1% likely to be reached by step 30; "
        "first step there: beyond 30 (median), beyond 30 to beyond 30 (90% interval)"
    )


def test_by_is_the_first_step_that_is_sure_enough() -> None:
    arrival = TEN.time_to(3.75, prob=0.9)
    steps = np.sort(arrival.draws.to_numpy().ravel())
    for chance in np.arange(0.05, 1.0, 0.05):
        step = arrival.by(chance)
        assert np.mean(steps <= step) >= chance - 1e-9
        assert np.mean(steps < step) < chance - 1e-9
    with pytest.raises(bt.DataError, match=r"^chance must lie between 0 and 1; got 90\. 0\.9 is to be 90 % sure\.$"):
        arrival.by(90)


@given(st.lists(st.floats(2.0, 5.0), min_size=2, max_size=12))
def test_an_easier_target_is_nowhere_later_nor_less_likely(targets: list[float]) -> None:
    arrivals = [WILD.time_to(target, prob=0.9) for target in sorted(targets)]
    for name in ("median", "lower", "upper"):
        steps = np.array([getattr(arrival, name) for arrival in arrivals])
        assert (steps[1:] <= steps[:-1] + 1e-9).all(), name
    assert all(bool((easier.draws <= harder.draws + 1e-9).all()) for harder, easier in pairwise(arrivals))
    assert (np.diff([arrival.prob_within for arrival in arrivals]) >= 0).all()
    below = np.array([WILD.prob_below(target).to_numpy() for target in sorted(targets)])
    assert (np.diff(below, axis=0) >= 0).all()


def test_the_probability_at_one_step() -> None:
    assert float(TEN.prob_below(3.55, at=30)) == 0.5
    xr.testing.assert_identical(TEN.prob_below(3.55, at=30), TEN.prob_below(3.55).sel(step=30))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda ahead: ahead.time_to(3.0, prob=90), "prob must lie between 0 and 1; got 90. 0.9 is a 90 % interval."),
        (lambda ahead: ahead.time_to(-1, prob=0.9), "target must be a number above 0; got -1. It is a loss in nats per token."),
        (
            lambda ahead: ahead.prob_below(3.0, at=7),
            "at must be a step of the forecast (10, 20, 30); got 7. Forecast that step.",
        ),
    ],
)
def test_a_wrong_question_is_refused(ask, message: str) -> None:
    with refusal(message):
        ask(TEN)


def test_the_arrival_is_of_one_run() -> None:
    several = side_by_side([TEN, replace(TEN, run="b")])  # neither has coefficients
    assert several.time_to(3.5).dims == ("chain", "draw", "run")
    message = r"^forecast must be of a single run; got 'a', 'b'\. Choose one with forecast\.select\(run=\.\.\.\)\.$"
    with pytest.raises(bt.DataError, match=message):
        several.time_to(3.5, prob=0.9)
    assert several.select(run="b").time_to(3.5, prob=0.9).prob_within == 0.5
