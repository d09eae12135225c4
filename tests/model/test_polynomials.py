"""Polynomials in the logarithm of a positive parameter."""

from __future__ import annotations

import jax
import numpy as np
from numpy.polynomial.chebyshev import chebvander

from bayes_tsl.model.polynomials import ORDER, basis, interpolant, nodes

BOUNDS = (0.2, 2.0)


def test_an_interpolant_passes_through_its_nodes() -> None:
    values = np.sin(np.log(nodes(BOUNDS)))
    with jax.enable_x64(True):
        found = basis(nodes(BOUNDS), BOUNDS) @ (interpolant() @ values)
    np.testing.assert_allclose(found, values, atol=1e-10)


def test_the_basis_is_chebyshev_in_the_scaled_logarithm() -> None:
    low, high = BOUNDS
    x = np.array([-1.0, -0.3, 0.0, 0.5, 1.0])
    values = low ** (0.5 * (1.0 - x)) * high ** (0.5 * (1.0 + x))
    with jax.enable_x64(True):
        found = basis(values, BOUNDS)
    np.testing.assert_allclose(found, chebvander(x, ORDER - 1), atol=1e-10)


def test_the_gradient_is_finite_at_the_bounds_and_beyond() -> None:
    for value in (0.1, *BOUNDS, 3.0):
        assert np.isfinite(jax.jacfwd(lambda x: basis(x, BOUNDS))(value)).all()
