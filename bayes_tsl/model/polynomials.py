"""Functions of positive parameters, tabulated once and read inside the gradient as polynomials in their logarithm.

A function that is costly to compute, such as a mean over thousands of positions, is evaluated at Chebyshev's points; the
interpolating polynomial through them is within a small factor of the best of its order (Trefethen, Approximation Theory and
Approximation Practice, 2013, theorem 8.2).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.polynomial.chebyshev import chebpts1
from numpy.typing import NDArray

ORDER = 16


def nodes(bounds: tuple[float, float]) -> NDArray[np.float64]:
    """Chebyshev's points between two positive bounds, evenly spread in the logarithm (order)."""
    low, high = np.log(bounds)
    return np.exp(low + (high - low) * 0.5 * (chebpts1(ORDER) + 1.0))


def interpolant() -> NDArray[np.float64]:
    """Matrix from values at ``nodes`` to the coefficients that ``monomials`` multiply (order, order)."""
    return np.asarray(np.linalg.inv(np.vander(chebpts1(ORDER), increasing=True)), float)


def monomials(value: ArrayLike, bounds: tuple[float, float]) -> Array:
    """Powers ``1, x, x^2, ...`` of ``log value``, scaled so that ``bounds`` is the interval from -1 to 1 (..., order)."""
    low, high = np.log(bounds[0]), np.log(bounds[1])
    x = jnp.clip(2.0 * (jnp.log(value) - low) / (high - low) - 1.0, -1.0, 1.0)
    return x[..., None] ** np.arange(ORDER)
