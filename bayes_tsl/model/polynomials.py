"""Functions of positive parameters, tabulated once and read inside the gradient as Chebyshev series in their logarithm.

A function that is costly to compute, such as a mean over thousands of positions, is evaluated at Chebyshev's points; the series
through them is within a small factor of the best polynomial of its order, and its coefficients come from a sum that is as
accurate as the values themselves (Trefethen, Approximation Theory and Approximation Practice, 2013, chapters 2 and 4).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.polynomial.chebyshev import chebpts1, chebvander
from numpy.typing import NDArray

ORDER = 16


def nodes(bounds: tuple[float, float], order: int = ORDER) -> NDArray[np.float64]:
    """Chebyshev's points between two positive bounds, evenly spread in the logarithm (order)."""
    low, high = np.log(bounds)
    return np.exp(low + (high - low) * 0.5 * (chebpts1(order) + 1.0))


def interpolant(order: int = ORDER) -> NDArray[np.float64]:
    """Matrix from values at ``nodes`` to the coefficients that ``basis`` multiplies (order, order).

    The discrete orthogonality of Chebyshev polynomials: ``c_k = (2 - [k = 0]) / n sum_j f(x_j) T_k(x_j)``, as in NumPy's
    ``chebinterpolate``.
    """
    matrix = np.asarray(chebvander(chebpts1(order), order - 1).T * (2.0 / order), np.float64)
    matrix[0] *= 0.5
    return matrix


def basis(value: ArrayLike, bounds: tuple[ArrayLike, ArrayLike], order: int = ORDER) -> Array:
    """Chebyshev polynomials ``T_0, T_1, ...`` of ``log value``, scaled so that ``bounds`` are -1 and 1 (..., order).

    Beyond the bounds they are those at the edge.
    """
    low, high = (jnp.log(bound) for bound in bounds)
    x = jnp.clip(2.0 * (jnp.log(value) - low) / (high - low) - 1.0, -1.0, 1.0)
    terms = [jnp.ones_like(x), x]
    for _ in range(order - 2):
        terms.append(2.0 * x * terms[-1] - terms[-2])
    return jnp.stack(terms, axis=-1)
