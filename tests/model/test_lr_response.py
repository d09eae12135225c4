"""The response to the learning rate: its shape, its lag against the differential equation, and its polynomial."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.data import schedules
from bayes_tsl.model.lr_response import MEETING, gone_by_averaging, lag, make_time_axis, relative_excess, response
from bayes_tsl.model.time_axis import TimeAxis, make_anchor
from tests.data.test_schedules import FINAL, PEAK, ROWS, TOTAL

SCHEDULES = {
    "constant": bt.schedules.constant(peak=1e-3),
    "constant after warm-up": bt.schedules.constant(peak=1e-3, warmup=50),
    "linear": bt.schedules.linear(peak=1e-3, warmup=100, total=4000),
    "cosine": bt.schedules.cosine(peak=2e-3, warmup=100, total=2500, final=2e-4),
    "wsd": bt.schedules.wsd(peak=2e-3, warmup=100, total=5000, final=1e-4),
    "table with a jump": bt.schedules.from_frame(pd.DataFrame({"step": [0, 2000, 2001, 4000], "lr": [1e-3, 1e-3, 2e-4, 2e-4]})),
}


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def axis_of(schedule: bt.Schedule, steps: np.ndarray, *, origin: float = 1500.0) -> TimeAxis:
    return make_time_axis(steps, schedule, make_anchor(schedule, origin))


COSINE = axis_of(SCHEDULES["cosine"], np.array([60.0, 400.0, 1500.0, 2400.0]))


def excess(axis: TimeAxis, power: float, fast: float, slow: float, weight: float, decay: float = 0.0) -> jax.Array:
    return relative_excess(axis, power=power, fast_time=fast, slow_time=slow, fast_weight=weight, decay=decay)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_excess_is_the_lag_that_it_interpolates(name: str) -> None:
    schedule, origin = SCHEDULES[name], 1500.0
    steps = np.array([30.0, 75.0, 300.0, 1500.0, 2001.0, 2100.0, 2450.0])
    powers, memories = np.array([0.2, 0.37, 0.7, 1.3, 2.0]), np.array([1e-3, 4e-3, 0.03, 0.3, 1.0])
    unit = schedule.progress(min(schedule.end, 1e9)) if np.isfinite(schedule.end) else schedule.progress(origin)
    lagged = lag(schedule, steps, powers=powers, times=memories * unit)
    expected = 0.3 * lagged[:, 1:2] + 0.7 * lagged
    axis = axis_of(schedule, steps, origin=origin)
    found = [[excess(axis, p, 4e-3, m, 0.3) for p in powers] for m in memories]
    error = np.moveaxis(np.array(found), 2, 0) - expected
    assert np.abs(error).max() < 0.001, f"largest error {np.abs(error).max():.5f}"
    assert np.sqrt(np.mean(error**2)) < 0.0002, f"root mean square error {np.sqrt(np.mean(error**2)):.5f}"


def test_the_excess_is_one_at_constant_learning_rate() -> None:
    axis = axis_of(SCHEDULES["constant"], np.array([1.0, 100.0, 5000.0]))
    np.testing.assert_allclose(excess(axis, 0.7, 0.01, 0.1, 0.2), 1.0, atol=1e-9)


def test_the_excess_decays_with_progress_and_has_its_stated_strength_at_the_end() -> None:
    schedule = bt.schedules.constant(peak=1e-3, total=4000)
    axis = axis_of(schedule, np.array([500.0, 1000.0, 4000.0]))
    np.testing.assert_allclose(excess(axis, 0.7, 0.01, 0.1, 0.2, 0.15), np.array([8.0, 4.0, 1.0]) ** 0.15, atol=1e-9)


def test_the_excess_lags_more_the_longer_its_memory() -> None:
    falling = [np.asarray(excess(COSINE, 0.7, time, time, 0.5))[2:] for time in (1e-3, 1e-2, 1e-1)]
    assert (np.diff(falling, axis=0) > 0).all()
    now = response(SCHEDULES["cosine"].lr([1500.0, 2400.0]) / 2e-3, 0.7)
    np.testing.assert_allclose(falling[0], now, atol=5e-3)


@pytest.mark.parametrize(("power", "memory", "edge"), [(0.05, 0.1, (0.2, 0.1)), (3.0, 0.1, (2.0, 0.1)), (0.7, 9.0, (0.7, 1.0))])
def test_lag_beyond_its_bounds_is_that_at_the_edge(power: float, memory: float, edge: tuple[float, float]) -> None:
    np.testing.assert_array_equal(excess(COSINE, power, 0.01, memory, 0.0), excess(COSINE, edge[0], 0.01, edge[1], 0.0))


@pytest.mark.parametrize("name", ROWS)
def test_lag_solves_its_differential_equation(name: str) -> None:
    """Against a loop over small steps, in each of which the learning rate stands still."""
    schedule, formula, _, _ = ROWS[name]
    powers, times, width = np.array([0.4, 1.0, 1.7]), np.array([2.0, 20.0, 200.0]), 0.05
    state, seen = np.full((3, 3), response(formula(0.0) / PEAK, powers)), []
    for count in range(round(400 / width)):
        relative = formula((count + 0.5) * width) / PEAK
        decay = np.exp(-relative * width / times)[:, None]
        state = decay * state + (1.0 - decay) * response(relative, powers)
        seen.append(state)
    steps = np.array([30.0, 45.0, 252.0, 330.0, 400.0])
    expected = np.array(seen)[np.round(steps / width).astype(int) - 1]
    np.testing.assert_allclose(lag(schedule, steps, powers=powers, times=times), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("power", [0.2, 0.6, 1.0, 1.4, 2.0])
def test_the_response_lies_between_a_power_and_a_hyperbola(power: float) -> None:
    relative = np.linspace(0.0, 1.0, 201)
    shape = response(relative, power)
    np.testing.assert_allclose(shape[[0, -1]], [0.0, 1.0], atol=1e-12)
    assert (np.diff(shape) > 0).all()
    np.testing.assert_allclose(response(MEETING, power), MEETING**power)
    near_peak = (1.0 - shape[-2]) / (1.0 - relative[-2])
    assert near_peak < power + 0.01 if power <= 1.0 else near_peak > power - 0.02


def test_lag_forgets_at_once_or_never() -> None:
    schedule, steps = schedules.cosine(peak=PEAK, total=TOTAL, final=FINAL), np.array([100.0, 400.0])
    lagged = lag(schedule, steps, powers=[0.5, 1.0], times=[1e-3, 1e9])
    assert lagged.shape == (2, 2, 2)
    at_once = response(schedule.lr(steps)[:, None] / PEAK, [0.5, 1.0])
    np.testing.assert_allclose(lagged[:, 0], at_once, atol=1e-3)
    np.testing.assert_allclose(lagged[:, 1], 1.0, atol=1e-6)


@pytest.mark.parametrize("at", [(0.7, 0.03, 0.02, 0.4, 0.2), (0.4**0.5, 1e-3**0.5, 1e-3**0.5, 0.4, 0.1)])
def test_gradients_match_finite_differences(at: tuple[float, ...]) -> None:
    gradients = jax.jacrev(lambda *x: excess(COSINE, *x), argnums=tuple(range(len(at))))(*at)
    for index, value in enumerate(at):
        width = 1e-4 * max(abs(value), 0.1)
        above, below = (excess(COSINE, *at[:index], value + sign * width, *at[index + 1 :]) for sign in (1, -1))
        np.testing.assert_allclose(gradients[index], (above - below) / (2 * width), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("window", [0.01, 0.5, 3.0, 40.0])
def test_averaging_takes_off_what_the_mean_of_a_correlated_noise_does(window: float) -> None:
    """Against the double integral of the correlation of a distance whose square relaxes in one unit of progress."""
    at = (np.arange(2000) + 0.5) / 2000 * window
    correlation = np.exp(-np.abs(at[:, None] - at) / 2.0)
    assert gone_by_averaging(window, 1.0) == pytest.approx(1.0 - correlation.mean(), abs=2e-4)


def test_averaged_weights_have_learned_less_and_hover_less() -> None:
    schedule = bt.schedules.constant(peak=1e-3, total=4000)
    steps, anchor = np.array([1000.0, 2000.0]), make_anchor(schedule, 2000.0)
    plain, averaged = make_time_axis(steps, schedule, anchor), make_time_axis(steps, schedule, anchor, averaged=400)
    np.testing.assert_allclose(averaged.u, make_time_axis(steps - 200, schedule, anchor).u, atol=1e-12)
    shape = {"power": 0.7, "fast_time": 0.01, "slow_time": 0.1, "fast_weight": 0.7, "decay": 0.0}
    expected = 1.0 - 0.7 * gone_by_averaging(400, 40.0) - 0.3 * gone_by_averaging(400, 400.0)
    np.testing.assert_allclose(relative_excess(averaged, **shape), expected, atol=1e-4)
    np.testing.assert_allclose(relative_excess(averaged, **shape, averaging=0.0), 1.0, atol=1e-4)
    np.testing.assert_array_equal(relative_excess(plain, **shape, averaging=0.0), relative_excess(plain, **shape))
