"""When a forecast reaches a target, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import bayes_tsl as bt
from bayes_tsl.forecasting.distribution import side_by_side
from bayes_tsl.inference.posterior import example_fit
from tests.by_hand import TEN, WILD
from tests.conftest import refusal

STEPS = [1500, 2000, 2500]  # of all forecasts, so that they compile once


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
    xr.testing.assert_identical(TEN.interval(at=30), TEN.interval().sel(step=30, drop=True))


def test_between_two_steps_each_draw_is_a_straight_line_in_log_step() -> None:
    middle = float(np.sqrt(10.0 * 20.0))
    expected = 0.5 * (TEN.expected.sel(step=10) + TEN.expected.sel(step=20))
    np.testing.assert_allclose(TEN.draws("expected", at=middle), expected)
    assert float(TEN.prob_below(3.88, at=middle)) == 0.5
    assert float(TEN.interval(prob=0.5, at=middle)["lower"]) == pytest.approx(float(expected.quantile(0.25)))


def test_between_two_steps_the_noise_is_that_of_the_nearer() -> None:
    noise = xr.zeros_like(TEN.expected) + xr.DataArray([1.0, 2.0, 3.0], dims="step")
    noisy = replace(TEN, observed=TEN.expected + noise)
    for at, size in ((14.0, 1.0), (15.0, 2.0), (29.0, 3.0)):
        np.testing.assert_allclose(noisy.draws("observed", at=at) - noisy.draws("expected", at=at), size)


def test_rows_of_positions_come_before_those_of_the_mean() -> None:
    ahead = bt.forecast(example_fit(), STEPS, positions=[0, 255])
    frame = ahead.to_frame()
    assert list(frame)[:3] == ["run", "step", "position"]
    assert frame["position"].tolist()[:6] == [0.0] * 3 + [255.0] * 3
    at_zero, mean = frame[frame["position"] == 0], frame[frame["position"].isna()]
    np.testing.assert_allclose(at_zero["mean"], ahead.positions.sel(position=0).mean(("chain", "draw")))
    plain = replace(ahead, positions=None).to_frame()
    pd.testing.assert_frame_equal(mean.drop(columns="position").reset_index(drop=True), plain)
    pd.testing.assert_frame_equal(ahead.to_frame(kind="expected"), replace(ahead, positions=None).to_frame(kind="expected"))


def test_a_saved_forecast_is_the_same(tmp_path: Path) -> None:
    alone = bt.forecast(example_fit(), STEPS, positions=[0, 255])
    together = side_by_side([alone, replace(alone, run="b", origin=1100.0)])
    for ahead in (alone, together, TEN, replace(TEN, history=TEN.history[:0])):
        ahead.save(tmp_path / "forecast.nc")
        read = bt.load_forecast(tmp_path / "forecast.nc")
        assert (read.run, read.test_set, read.origin) == (ahead.run, ahead.test_set, ahead.origin)
        assert (read.notices, read.converged) == (ahead.notices, ahead.converged)
        pd.testing.assert_frame_equal(read.to_frame(), ahead.to_frame())
        assert all(read.select(run=run).origin == ahead.select(run=run).origin for run in ahead.runs)
        xr.testing.assert_identical(read.coefficients, ahead.coefficients)
        xr.testing.assert_identical(read.history.rename("mean_loss"), ahead.history.rename("mean_loss"))
    assert [path.name for path in tmp_path.iterdir()] == ["forecast.nc"]


CURE = "Save it again with Forecast.save, or forecast again."


def test_another_file_is_no_forecast(tmp_path: Path) -> None:
    path = tmp_path / "forecast.nc"
    with refusal(f"forecast must be a file; got '{path}'. Check the path."):
        bt.load_forecast(path)
    example_fit().save(path)
    with refusal(f"forecast.nc must hold a 'bayes_tsl forecast 1'; got 'bayes_tsl fit 5'. {CURE}"):
        bt.load_forecast(path)
    TEN.save(path)
    with refusal("forecast.nc must hold a 'bayes_tsl fit 5'; got 'bayes_tsl forecast 1'. Read it with load_forecast."):
        bt.load_fit(path)
    path.write_bytes(b"draws")
    with pytest.raises(bt.DataError, match=f"^forecast.nc must be a NetCDF file; got .*{CURE}$"):
        bt.load_forecast(path)
    TEN.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(bt.DataError, match=r"^forecast.nc must .*\.$"):
        bt.load_forecast(path)
    replace(TEN, observed=TEN.observed.where(TEN.observed < 3.9)).save(path)
    with refusal(f"forecast.nc, draws must be finite; got 'others'. {CURE}"):
        bt.load_forecast(path)


def test_methods_are_the_functions() -> None:
    ahead = example_fit().forecast(STEPS, seed=3)
    xr.testing.assert_identical(ahead.observed, bt.forecast(example_fit(), STEPS, seed=3).observed)
    axes = ahead.plot(target=3.5, ax=Figure().subplots())
    assert "target 3.5" in [text.get_text() for text in axes.texts]


def test_a_table_is_observed_after_the_origin() -> None:
    losses = bt.datasets.load().select("mix50_cosine")
    ahead = bt.forecast(example_fit(), STEPS)
    axes = ahead.plot(observed=losses, ax=Figure().subplots())
    later = next(line for line in axes.lines if line.get_label() == "measured later")
    means = losses.select(test_set="prose").after(1200).mean_losses()
    assert later.get_xydata().tolist() == [[step, loss] for step, loss in means.items()]
    with refusal("observed must be a LossTable; got 'list'. Give a LossTable, or a pandas Series of losses by step."):
        ahead.plot(observed=[3.0], ax=Figure().subplots())


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda ahead: ahead.time_to(3.0, prob=90), "prob must lie between 0 and 1; got 90. 0.9 is a 90 % interval."),
        (lambda ahead: ahead.time_to(-1, prob=0.9), "target must be a number above 0; got -1. It is a loss in nats per token."),
        (
            lambda ahead: ahead.prob_below(3.0, at=7),
            "at must lie within the steps of the forecast, 10 to 30; got 7. Forecast that step.",
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
