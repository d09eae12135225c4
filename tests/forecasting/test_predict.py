"""What a forecast can be asked, against closed forms; and what it refuses."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import bayes_tsl as bt
from bayes_tsl.model.drift import draw_path
from tests.conftest import ORIGIN, STEPS, TRUTH

DIMS = ("chain", "draw", "step")


@pytest.fixture
def plain() -> bt.Forecast:
    """Normal draws of mean 3, 2.5, 2 at steps 10, 20, 30; the expected curves are straight, at quantiles of the same."""
    grid = stats.norm.ppf((np.arange(4000) + 0.5) / 4000).reshape(4, 1000, 1)
    mean = np.array([3.0, 2.5, 2.0])
    coords = {"chain": range(4), "draw": range(1000), "step": [10.0, 20.0, 30.0]}
    return bt.Forecast(
        run="a",
        test_set="test",
        origin=5.0,
        expected=xr.DataArray(mean + 0.1 * grid, coords, DIMS),
        observed=xr.DataArray(mean + 0.2 * grid, coords, DIMS),
        history=xr.DataArray([3.4, 3.2], {"step": [1.0, 5.0]}, "step"),
    )


def test_intervals_are_those_of_the_normal(plain: bt.Forecast) -> None:
    for kind, sd in (("observed", 0.2), ("expected", 0.1)):
        interval = plain.interval(prob=0.8, kind=kind)  # type: ignore[arg-type]
        np.testing.assert_allclose(interval["lower"], stats.norm.ppf(0.1, [3.0, 2.5, 2.0], sd), atol=1e-3)
        np.testing.assert_allclose(interval["upper"], stats.norm.ppf(0.9, [3.0, 2.5, 2.0], sd), atol=1e-3)
    assert interval["lower"].dims == ("step",)


def test_quantiles_have_names(plain: bt.Forecast) -> None:
    assert plain.quantile([0.25, 0.75]).dims == ("quantile", "step")
    np.testing.assert_allclose(plain.quantile(0.5), [3.0, 2.5, 2.0], atol=1e-3)


def test_probability_below(plain: bt.Forecast) -> None:
    np.testing.assert_allclose(plain.prob_below(2.4), stats.norm.cdf(2.4, [3.0, 2.5, 2.0], 0.2), atol=1e-3)


@pytest.mark.parametrize("target", [np.array(2.4), xr.DataArray(2.4), np.float32(2.4)])
def test_a_target_may_be_an_array_without_axes(plain: bt.Forecast, target: float) -> None:
    xr.testing.assert_allclose(plain.prob_below(target), plain.prob_below(2.4), atol=1e-3)
    assert float(plain.time_to(target).median()) == pytest.approx(float(plain.time_to(2.4).median()), rel=1e-6)


def test_time_to_target_joins_steps_by_straight_lines(plain: bt.Forecast) -> None:
    times = plain.time_to(2.25)
    assert times.dims == ("chain", "draw")
    assert float(times.median()) == pytest.approx(25.0, abs=0.01)
    late = plain.observed.isel(step=0, drop=True) > 3.0  # draws above the mean get there later
    assert float(times.where(late).min()) >= 25.0


def test_a_target_not_reached_stays_as_mass(plain: bt.Forecast) -> None:
    missed = float(np.isinf(plain.time_to(2.0)).mean())
    assert missed == pytest.approx(0.5, abs=1e-3)
    assert float(plain.time_to(3.5).max()) == 10.0
    assert bool(np.isinf(plain.time_to(0.5)).all())


def test_frame_has_the_columns_of_the_contract(plain: bt.Forecast) -> None:
    frame = plain.to_frame(prob=0.5)
    assert list(frame) == ["run", "step", "mean", "median", "lower", "upper", "prob", "sd"]
    np.testing.assert_allclose(frame["sd"], 0.2, rtol=1e-2)
    assert set(frame["prob"]) == {0.5}


def test_observed_is_wider_than_expected_and_grows(ahead: bt.Forecast) -> None:
    observed, expected = (draws.std(("chain", "draw")) for draws in (ahead.observed, ahead.expected))
    assert bool((observed > expected).all())
    assert float(expected[-1]) > 3 * float(expected[0])


def test_expected_is_the_mean_of_the_law(ahead: bt.Forecast, fit: bt.Fit) -> None:
    position = xr.DataArray(fit.positions.position, dims="position")
    law = ahead.coefficients["floor"] + (ahead.coefficients["gap"] / (1 + ahead.coefficients["rate"] * position)).mean(
        "position"
    )
    np.testing.assert_allclose(ahead.expected, law, rtol=0, atol=2e-5)  # the model's own polynomial of this mean


def test_forecast_starts_at_the_true_curve(fit: bt.Fit) -> None:
    soon = bt.forecast(fit, steps=[ORIGIN + 1e-3]).expected
    shape = np.mean(1 / (1 + np.exp(TRUTH["rate_level"]) * np.arange(64)))
    truth = TRUTH["floor_level"] + np.exp(TRUTH["gap_level"]) * shape
    assert abs(float(soon.mean()) - truth) < 3 * float(soon.std())
    assert float(soon.std()) < 0.01


def test_drift_ahead_has_the_variance_of_the_process() -> None:
    u = np.array([0.2, 0.5, 1.5])
    drawn = draw_path(np.random.default_rng(0), u, (20000,))
    np.testing.assert_allclose(drawn.var(axis=0), u**3 / 3, rtol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T)[0, 2], u[0] ** 2 * (3 * u[2] - u[0]) / 6, rtol=0.05)


def test_steps_may_come_in_any_order(fit: bt.Fit) -> None:
    xr.testing.assert_identical(
        bt.forecast(fit, steps=[7000, 5000, 5000]).observed, bt.forecast(fit, steps=[5000, 7000]).observed
    )


def test_another_future_schedule_changes_the_end(fit: bt.Fit) -> None:
    same = bt.forecast(fit, steps=STEPS[-3:], schedule=fit.schedule)
    xr.testing.assert_allclose(same.expected, bt.forecast(fit, steps=STEPS[-3:]).expected, atol=1e-4)
    hot = bt.schedules.constant(peak=float(fit.schedule.lr(ORIGIN)))
    kept = bt.forecast(fit, steps=STEPS[-3:], schedule=hot)
    cooled = bt.schedules.wsd(peak=float(fit.schedule.lr(ORIGIN)), total=8000, decay=0.2)
    annealed = bt.forecast(fit, steps=STEPS[-3:], schedule=cooled)
    assert float((annealed.expected - kept.expected).isel(step=-1).mean()) < -0.02


def test_any_weighting_of_positions_from_one_fit(fit: bt.Fit, simulation: bt.Simulation) -> None:
    steps, curve = [5000.0, 8000.0], simulation.losses.curve()
    plain, even = (bt.forecast(fit, steps=steps, weights=given) for given in (None, dict.fromkeys(range(64), 3)))
    xr.testing.assert_allclose(even.expected, plain.expected, atol=1e-9)
    xr.testing.assert_allclose(even.observed, plain.observed, atol=1e-9)
    first = bt.forecast(fit, steps=steps, positions=[0], weights={0: 2.0, 63: 0.0})
    alone = first.positions.sel(position=0)  # type: ignore[union-attr]
    np.testing.assert_allclose(first.observed.mean(DIMS[:2]), alone.mean(DIMS[:2]), atol=0.004)
    np.testing.assert_allclose(first.observed.std(DIMS[:2]), alone.std(DIMS[:2]), rtol=0.1)
    seen = curve.loc[first.history["step"], 0]
    assert np.abs(first.history - seen).mean() < 0.04  # the noise at a position is .03
    tail = bt.forecast(fit, steps=steps, weights=dict.fromkeys(range(57, 64), 1.0))
    inside = tail.interval(prob=0.99).sel(step=5000)
    assert float(inside["lower"]) < curve.loc[5000, 57:].mean() < float(inside["upper"])
    assert (tail.expected < first.expected).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"steps": [5000], "weights": {0: 1.0, 1: -1.0}},
            "weights must be numbers, none negative and one above 0; got 1, -1. Give {position: weight}.",
        ),
        (
            {"steps": [5000], "weights": {}},
            "weights must be numbers, none negative and one above 0; got none. Give {position: weight}.",
        ),
        ({"steps": [5000], "weights": [1.0]}, "weights must be a mapping; got 'list'. Give {position: weight}."),
        (
            {"steps": [5000], "weights": {64: 1.0}},
            "positions must be among those fitted; got 64. It was fitted to 0, 1, 2, 3, 4 and 59 more.",
        ),
        ({"steps": [3000]}, "steps must lie after the origin 4000; got 3000. Use Fit.coefficients() for the past."),
        ({"steps": []}, "steps must name at least one step; got 'none'. Give e.g. steps=[2000, 2500]."),
        ({"steps": [np.inf]}, "steps must be finite; got inf. Give steps that the run will reach."),
        (
            {"steps": [9000]},
            "schedule must reach the last forecast step 9000; got 8000. "
            "Give a schedule for the whole forecast, or forecast fewer steps.",
        ),
        (
            {"steps": [5000], "positions": [64]},
            "positions must be among those fitted; got 64. It was fitted to 0, 1, 2, 3, 4 and 59 more.",
        ),
        (
            {"steps": [5000], "seed": -1},
            "seed must be a whole number from 0 to 9223372036854775807; got -1. Any such number will do, e.g. 0.",
        ),
        (
            {"steps": [5000], "schedule": 1e-3},
            "schedule must be a Schedule; got 'float'. "
            "Make one with schedules.cosine(...), schedules.parse('cosine:...') or schedules.from_frame(table).",
        ),
        (
            {"steps": [5000], "schedule": bt.schedules.unknown()},
            "future schedule must be known; got 'unknown'. Pass schedule= to fit, and again to forecast.",
        ),
    ],
)
def test_what_cannot_be_forecast_is_refused(fit: bt.Fit, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}$"):
        bt.forecast(fit, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda ahead: ahead.interval(prob=90), "prob must lie between 0 and 1; got 90. 0.9 is a 90 % interval."),
        (lambda ahead: ahead.quantile(1.5), "quantile must lie between 0 and 1; got 1.5. 0.5 is the median."),
        (lambda ahead: ahead.prob_below(-1), "target must be a number above 0; got -1. It is a loss in nats per token."),
        (lambda ahead: ahead.time_to("low"), "target must be a number above 0; got 'low'. It is a loss in nats per token."),
        (lambda ahead: ahead.prob_below(True), "target must be a number above 0; got True. It is a loss in nats per token."),
        (
            lambda ahead: ahead.prob_below(xr.DataArray(-1.0)),
            "target must be a number above 0; got -1. It is a loss in nats per token.",
        ),
        (
            lambda ahead: ahead.to_frame(kind="both"),
            "kind must be one of 'observed', 'expected'; got 'both'. "
            "Ask for the next measurements, or for the curve that they scatter around.",
        ),
    ],
)
def test_a_wrong_question_is_refused(plain: bt.Forecast, ask, message: str) -> None:
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}$"):
        ask(plain)
