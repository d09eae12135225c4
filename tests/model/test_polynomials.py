"""Polynomials in the logarithm of a positive parameter."""

from __future__ import annotations

import jax
import numpy as np

from bayes_tsl.model.polynomials import ORDER, interpolant, monomials, nodes

BOUNDS = (0.2, 2.0)


def test_an_interpolant_passes_through_its_nodes() -> None:
    values = np.sin(np.log(nodes(BOUNDS)))
    with jax.enable_x64(True):
        found = monomials(nodes(BOUNDS), BOUNDS) @ (interpolant() @ values)
    np.testing.assert_allclose(found, values, atol=1e-10)


def test_monomials_are_powers_of_the_scaled_logarithm() -> None:
    low, high = BOUNDS
    np.testing.assert_allclose(monomials(high, BOUNDS), np.ones(ORDER))
    np.testing.assert_allclose(monomials(low, BOUNDS), (-1.0) ** np.arange(ORDER))
    np.testing.assert_allclose(monomials(low**0.25 * high**0.75, BOUNDS), 0.5 ** np.arange(ORDER))
