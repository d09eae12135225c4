r"""The laws of the model, as pure functions of JAX arrays.

Over token positions, the loss of one checkpoint is reciprocal (``position_law``; Xiong et al., arXiv 2404.17785):

    L_i = gap / (1 + rate * i) + floor

Over training, each coefficient follows one temporal law in log progress ``u = log(S / S_origin)``:

    c(u) = level + slope * phi(u, curvature),    phi(u, k) = (1 - exp(-k u)) / k

which is logarithmic in ``S`` as ``k -> 0``, hyperbolic at ``k = 1`` and a power law for any ``k``. The floor also carries the
excess loss of the learning rate (``lr_response``) and the drift (``drift``). All are counted from the origin (``u = 0``), so
that level and slope are the coefficient and its velocity there.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from bayes_tsl.model.position_law import reciprocal_loss, reciprocal_shape

__all__ = ["reciprocal_loss", "reciprocal_shape", "relaxation", "temporal_law"]


def __dir__() -> list[str]:
    return __all__


def relaxation(u: ArrayLike, curvature: ArrayLike) -> Array:
    """``phi(u, k) = (1 - exp(-k u)) / k``, and its limit ``u`` at ``k = 0``.  Slope one at ``u = 0``.

    >>> float(relaxation(2.0, 0.0))
    2.0
    """
    u, k = jnp.asarray(u), jnp.asarray(curvature)
    small = jnp.abs(k) < 1e-5
    safe = jnp.where(small, 1.0, k)
    series = u * (1.0 - 0.5 * k * u)
    return jnp.where(small, series, -jnp.expm1(-safe * u) / safe)


def temporal_law(u: ArrayLike, *, level: ArrayLike, slope: ArrayLike, curvature: ArrayLike) -> Array:
    """A coefficient over log progress: ``level + slope * phi(u, curvature)``.

    >>> float(temporal_law(0.0, level=3.0, slope=-0.3, curvature=0.5))
    3.0
    """
    return jnp.asarray(level) + jnp.asarray(slope) * relaxation(u, curvature)
