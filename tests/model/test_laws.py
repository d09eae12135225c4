"""The laws: limits, monotonicity, gradients, and two of them against plain numerical versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_tsl.model import laws
from bayes_tsl.model.position_law import mean_polynomial, mean_shape

U = np.linspace(-3.0, 6.0, 181)


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


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
    found = mean_shape(rates, mean_polynomial(position, exponent))
    exact = ((1.0 + rates[:, None] * position) ** -exponent).mean(axis=1)
    np.testing.assert_allclose(found, exact, rtol=1e-3)


def test_relaxation_falls_with_curvature_and_has_no_seam() -> None:
    curvature = np.concatenate([[0.0], np.geomspace(1e-8, 2.0, 200)])
    phi = laws.relaxation(U[:, None], curvature)
    seam = laws.relaxation(U, 1.001e-5) - laws.relaxation(U, 0.999e-5)
    assert (np.diff(phi, axis=1) <= 1e-12).all()
    assert phi.shape == (len(U), 201)
    assert np.abs(seam).max() < 1e-6
