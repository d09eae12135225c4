"""The laws: limits, monotonicity, gradients, and two of them against plain numerical versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayes_tsl as bt
from bayes_tsl.model import laws
from bayes_tsl.model.design import make_clock, make_path, mean_shape

U = np.linspace(-3.0, 6.0, 181)

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


def path_of(schedule: bt.Schedule, steps: np.ndarray, *, origin: float = 1500.0) -> laws.Path:
    return make_path(steps, schedule, make_clock(schedule, origin))


COSINE = path_of(SCHEDULES["cosine"], np.array([60.0, 400.0, 1500.0, 2400.0]))


def heat(path: laws.Path, power: float, delay: float, memory: float, fast: float, fade: float = 0.0) -> jax.Array:
    return laws.heat_shape(path, power=power, delay=delay, memory=memory, fast=fast, fade=fade)


# name: a law of some scalars, and where to differentiate it
GRADIENTS: dict[str, tuple[Callable[..., jax.Array], tuple[float, ...]]] = {
    "reciprocal_shape": (lambda rate: laws.reciprocal_shape(jnp.arange(5), rate), (0.3,)),
    "reciprocal_loss": (lambda g, r, f: laws.reciprocal_loss(jnp.arange(5), gap=g, rate=r, floor=f), (1.5, 0.3, 3.0)),
    "relaxation, logarithmic": (lambda u, k: laws.relaxation(u, k), (1.7, 0.0)),
    "relaxation, nearly logarithmic": (lambda u, k: laws.relaxation(u, k), (1.7, 3e-5)),
    "relaxation, power law": (lambda u, k: laws.relaxation(u, k), (1.7, 0.5)),
    "relaxation, hyperbolic": (lambda u, k: laws.relaxation(u, k), (0.4, 1.0)),
    "relaxation, before the origin": (lambda u, k: laws.relaxation(u, k), (-2.0, 0.7)),
    "relaxation, accelerating": (lambda u, k: laws.relaxation(u, k), (1.3, -0.4)),
    "temporal_law": (lambda u, a, b, k: laws.temporal_law(u, level=a, slope=b, curvature=k), (0.8, 3.0, -0.3, 0.5)),
    "heat_shape": (lambda *x: heat(COSINE, *x), (0.7, 0.03, 0.02, 0.4, 0.2)),
    "heat_shape, mid scale": (lambda *x: heat(COSINE, *x), (0.4**0.5, 1e-3**0.5, 1e-3**0.5, 0.4, 0.1)),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_match_finite_differences(name: str) -> None:
    law, at = GRADIENTS[name]
    gradients = jax.jacrev(law, argnums=tuple(range(len(at))))(*at)
    for index, value in enumerate(at):
        width = 1e-4 * max(abs(value), 0.1)
        above, below = (law(*at[:index], value + sign * width, *at[index + 1 :]) for sign in (1, -1))
        expected = (above - below) / (2 * width)
        np.testing.assert_allclose(gradients[index], expected, rtol=1e-5, atol=1e-7)


def test_reciprocal_loss_runs_from_gap_plus_floor_to_floor() -> None:
    def loss(position: float) -> float:
        return float(laws.reciprocal_loss(position, gap=1.5, rate=0.25, floor=3.0))

    assert loss(0.0) == 4.5
    assert loss(4.0) == 3.75  # half the gap is closed at 1 / rate
    assert loss(1e12) == pytest.approx(3.0, abs=1e-9)


def test_reciprocal_loss_broadcasts_steps_against_positions() -> None:
    gap, rate, floor = (np.array(values)[:, None] for values in ([1.0, 1.5], [0.2, 0.4], [4.0, 3.0]))
    loss = laws.reciprocal_loss(np.arange(7), gap=gap, rate=rate, floor=floor)
    assert loss.shape == (2, 7)
    assert (np.diff(loss, axis=1) < 0).all()
    np.testing.assert_allclose(loss[1, 5], 3.0 + 1.5 / (1.0 + 0.4 * 5.0))


@pytest.mark.parametrize(
    ("curvature", "expected"),
    [
        (0.0, lambda s: np.log(s)),
        (1e-7, lambda s: np.log(s)),
        (1.0, lambda s: 1.0 - 1.0 / s),
        (0.4, lambda s: (1.0 - s**-0.4) / 0.4),
        (-0.3, lambda s: (s**0.3 - 1.0) / 0.3),
    ],
    ids=["logarithmic", "limit", "hyperbolic", "power law", "accelerating"],
)
def test_temporal_law_of_progress(curvature: float, expected: Callable[[np.ndarray], np.ndarray]) -> None:
    law = laws.temporal_law(U, level=3.0, slope=-0.4, curvature=curvature)
    np.testing.assert_allclose(law, 3.0 - 0.4 * expected(np.exp(U)), rtol=0, atol=1e-5)


def test_temporal_law_converges_to_level_plus_slope_over_curvature() -> None:
    assert float(laws.temporal_law(60.0, level=3.0, slope=-0.4, curvature=0.5)) == pytest.approx(3.0 - 0.4 / 0.5)


@pytest.mark.parametrize("curvature", [0.0, 1e-6, 0.99e-5, 1.01e-5, 1e-3, 0.3, 1.0, 2.0])
def test_relaxation_rises_from_zero_with_slope_one(curvature: float) -> None:
    phi = laws.relaxation(U, curvature)
    assert (np.diff(phi) > 0).all()
    assert float(laws.relaxation(0.0, curvature)) == 0.0
    assert float(jax.grad(laws.relaxation)(0.0, curvature)) == pytest.approx(1.0)


@pytest.mark.parametrize(("last", "exponent"), [(63, 1.0), (4095, 1.0), (1023, 0.6)])
def test_the_mean_over_positions_is_read_off_a_polynomial(last: int, exponent: float) -> None:
    position, rates = np.arange(last + 1.0), np.geomspace(2e-3, 20.0, 101)
    found = laws.mean_shape(rates, mean_shape(position, exponent))
    exact = ((1.0 + rates[:, None] * position) ** -exponent).mean(axis=1)
    np.testing.assert_allclose(found, exact, rtol=1e-3)


def test_relaxation_falls_with_curvature_and_has_no_seam() -> None:
    curvature = np.concatenate([[0.0], np.geomspace(1e-8, 2.0, 200)])
    phi = laws.relaxation(U[:, None], curvature)
    seam = laws.relaxation(U, 1.001e-5) - laws.relaxation(U, 0.999e-5)
    assert (np.diff(phi, axis=1) <= 1e-12).all()
    assert phi.shape == (len(U), 201)
    assert np.abs(seam).max() < 1e-6


@pytest.mark.parametrize("name", SCHEDULES)
def test_heat_shape_is_the_lag_that_it_interpolates(name: str) -> None:
    schedule, origin = SCHEDULES[name], 1500.0
    steps = np.array([30.0, 75.0, 300.0, 1500.0, 2001.0, 2100.0, 2450.0])
    powers, memories = np.array([0.2, 0.37, 0.7, 1.3, 2.0]), np.array([1e-3, 4e-3, 0.03, 0.3, 1.0])
    unit = schedule.progress(min(schedule.end, 1e9)) if np.isfinite(schedule.end) else schedule.progress(origin)
    lag = schedule.lag(steps, powers=powers, times=memories * unit)
    expected = 0.3 * lag[:, 1:2] + 0.7 * lag
    path = path_of(schedule, steps, origin=origin)
    found = [[heat(path, p, 4e-3, m, 0.3) for p in powers] for m in memories]
    error = np.moveaxis(np.array(found), 2, 0) - expected
    assert np.abs(error).max() < 0.001, f"largest error {np.abs(error).max():.5f}"
    assert np.sqrt(np.mean(error**2)) < 0.0002, f"root mean square error {np.sqrt(np.mean(error**2)):.5f}"


def test_heat_shape_is_one_at_constant_learning_rate() -> None:
    path = path_of(SCHEDULES["constant"], np.array([1.0, 100.0, 5000.0]))
    np.testing.assert_allclose(heat(path, 0.7, 0.01, 0.1, 0.2), 1.0, atol=1e-9)


def test_heat_fades_with_progress_and_has_its_stated_strength_at_the_end() -> None:
    schedule = bt.schedules.constant(peak=1e-3, total=4000)
    path = path_of(schedule, np.array([500.0, 1000.0, 4000.0]))
    np.testing.assert_allclose(heat(path, 0.7, 0.01, 0.1, 0.2, 0.15), np.array([8.0, 4.0, 1.0]) ** 0.15, atol=1e-9)


def test_heat_lags_more_the_longer_its_memory() -> None:
    falling = [np.asarray(heat(COSINE, 0.7, time, time, 0.5))[2:] for time in (1e-3, 1e-2, 1e-1)]
    assert (np.diff(falling, axis=0) > 0).all()
    now = bt.schedules.heating(SCHEDULES["cosine"].lr([1500.0, 2400.0]) / 2e-3, 0.7)
    np.testing.assert_allclose(falling[0], now, atol=5e-3)


@pytest.mark.parametrize(("power", "memory", "edge"), [(0.05, 0.1, (0.2, 0.1)), (3.0, 0.1, (2.0, 0.1)), (0.7, 9.0, (0.7, 1.0))])
def test_lag_beyond_its_bounds_is_that_at_the_edge(power: float, memory: float, edge: tuple[float, float]) -> None:
    np.testing.assert_array_equal(heat(COSINE, power, 0.01, memory, 0.0), heat(COSINE, edge[0], 0.01, edge[1], 0.0))


def test_monomials_are_powers_of_the_scaled_logarithm() -> None:
    low, high = laws.POWERS
    np.testing.assert_allclose(laws.monomials(high, laws.POWERS), np.ones(laws.ORDER))
    np.testing.assert_allclose(laws.monomials(low, laws.POWERS), (-1.0) ** np.arange(laws.ORDER))
    np.testing.assert_allclose(laws.monomials(low**0.25 * high**0.75, laws.POWERS), 0.5 ** np.arange(laws.ORDER))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-4.0, 4.0), min_size=8, max_size=8))
def test_drift_covariance_is_one_and_knows_no_way_across_the_origin(u: list[float]) -> None:
    with jax.enable_x64(True):
        covariance = np.asarray(laws.drift_covariance(np.array(u)))
    across = np.multiply.outer(u, u) <= 0
    np.testing.assert_array_equal(covariance, covariance.T)
    assert (covariance[across] == 0).all()
    assert np.linalg.eigvalsh(covariance).min() > -1e-10 * max(covariance.max(), 1.0)


@pytest.mark.parametrize(("s", "t"), [(0.5, 2.0), (2.0, 0.5), (1.5, 1.5), (-0.7, -2.0)])
def test_drift_covariance_integrates_that_of_a_wiener_process_twice(s: float, t: float) -> None:
    midpoints = (np.arange(1500) + 0.5) / 1500
    wiener = np.minimum.outer(abs(s) * midpoints, abs(t) * midpoints)
    assert float(laws.drift_covariance([s, t])[0, 1]) == pytest.approx(wiener.mean() * s * t, rel=1e-5)
