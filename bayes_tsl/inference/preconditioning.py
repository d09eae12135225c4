"""The latent sites of a model as one vector, the mode of its posterior, and whitening coordinates around a mode.

Coordinates in which the Hessian is the identity spare NUTS from learning scales that differ by orders of magnitude. XLA's
Cholesky
is that of OpenBLAS, whose threads wait for each other by spinning: at these sizes one thread is faster, and with every core
busy forty times faster.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.util import potential_energy
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

Model = Callable[..., None]
Values = dict[str, Any]
Array = NDArray[np.float64]

_MODE_STEPS = 500
_CLIFF = 1e12  # potential where it cannot be computed
_FARTHEST = 12.0  # from typical values to the mode, on the real line, where priors have spreads of order one
_STIFFEST = 0.25  # least curvature of a block along any direction: its priors are of order one
_WIDEST = 4.0  # variance of starting points along any direction: priors are of order one there


class FlatParameters(NamedTuple):
    """The latent sites of a model, laid out as one vector on the real line; a key of what is compiled.

    Attributes:
        model: a NumPyro model.
        layout: name and shape of each site; those that share a dense mass matrix first.
        dense: how many scalars these are.
    """

    model: Model
    layout: tuple[tuple[str, tuple[int, ...]], ...]
    dense: int

    def unravel(self, flat: Any) -> Values:
        """A value per site, of a vector (..., parameter)."""
        ends = np.cumsum([int(np.prod(shape)) for _, shape in self.layout])
        parts = jnp.split(flat, ends[:-1], axis=-1)
        return {name: part.reshape(*part.shape[:-1], *shape) for (name, shape), part in zip(self.layout, parts)}

    def potential(self, flat: Any, args: tuple[Any, ...]) -> Any:
        """Less the log density at a vector (parameter)."""
        return potential_energy(self.model, args, {}, self.unravel(flat))


class Whitening(NamedTuple):
    """Whitened coordinates ``x``: the vector ``mode + root x``.

    Attributes:
        mode: of the posterior (parameter).
        root: of the covariance there, lower triangular (parameter, parameter).
    """

    mode: Any
    root: Any

    def unwhiten(self, x: Any) -> Any:
        """The vector at whitened coordinates (..., parameter)."""
        return self.mode + x @ self.root.T


class BlockArrowWhitening(NamedTuple):
    r"""Whitened coordinates of parameters that are shared, and of blocks that are independent given those.

    Ordered as (shared, block 1, block 2, ...) the Hessian is a block arrow: ``H_ss`` for what is shared, ``H_bb`` within a
    block, ``H_sb`` between the two, zero between blocks. Elimination of the blocks gives, for whitened ``x``,

        shared = mode + root x_s,    root root' = (H_ss - sum_b H_sb H_bb^-1 H_bs)^-1
        block  = mode + regression (root x_s) + roots x_b,    regression = -H_bb^-1 H_bs,    roots roots' = H_bb^-1

    so cost grows with the number of blocks and no faster (arrowhead matrices; Golub & Van Loan, section 4.5).

    Attributes:
        mode: where ``x = 0`` lies (parameter).
        root: of the covariance of what is shared, the first parameters (shared, shared).
        regression: how a block moves with what is shared (block, index, shared).
        roots: of the covariance of each block given what is shared (block, index, index).
        indices: which parameters make up a block (block, index).
    """

    mode: Any
    root: Any
    regression: Any
    roots: Any
    indices: Any

    def unwhiten(self, x: Any) -> Any:
        """The vector at whitened coordinates (..., parameter)."""
        shared = len(self.root)
        common = jnp.einsum("ij,...j->...i", self.root, x[..., :shared])
        own = jnp.einsum("bij,...bj->...bi", self.roots, x[..., self.indices])
        moved = jnp.zeros(jnp.shape(x)).at[..., self.indices].set(own + jnp.einsum("bij,...j->...bi", self.regression, common))
        return self.mode + moved.at[..., :shared].add(common)


@threadpool_limits.wrap(limits=1, user_api="blas")
def laplace(model: Model, *args: Any, start: Values) -> tuple[Values, Values]:
    """Mode of the posterior, and the variance around it on the real line; a value per site.  Call in x64."""
    space, transforms, flat = flat_parameters(model, args, start, [])
    mode, root = find_mode(space, args, flat)
    sites = {name: np.asarray(transforms[name](value)) for name, value in space.unravel(mode).items()}
    return sites, {name: np.asarray(value) for name, value in space.unravel(np.sum(root**2, axis=1)).items()}


@threadpool_limits.wrap(limits=1, user_api="blas")
def block_arrow(model: Model, *args: Any, start: Values, shared: list[str]) -> BlockArrowWhitening:
    """Whitening around ``start``, of sites ``shared`` and others whose first axis counts independent blocks.

    Curvatures are read off products of the Hessian with one vector at a time, which give all blocks at once. Call inside
    ``jax.enable_x64(True)``.
    """
    space, _, mode = flat_parameters(model, args, start, shared)
    where = space.unravel(np.arange(len(mode)))
    blocks = [np.asarray(where[name]) for name, _ in space.layout if name not in shared]
    indices = np.concatenate([block.reshape(len(block), -1) for block in blocks], axis=1)

    def curvature(direction: Array) -> Array:
        return np.asarray(_hessian_product(space, mode, args, direction))

    across = np.stack([curvature(row) for row in np.eye(space.dense, len(mode))])
    within = np.empty((*indices.shape, indices.shape[1]))
    for i, index in enumerate(indices.T):
        within[:, :, i] = curvature(np.isin(np.arange(len(mode)), index).astype(float))[indices]
    roots = _root(within, _STIFFEST)
    regression = -roots @ np.swapaxes(roots, 1, 2) @ np.moveaxis(across[:, indices], 0, -1)
    left = across[:, : space.dense] + np.einsum("sbp,bpt->st", across[:, indices], regression)
    return BlockArrowWhitening(mode, _root(left, 1.0), regression, roots, indices)


def _root(curvature: Array, least: float) -> Array:
    """Root of the inverse of a symmetric matrix whose eigenvalues count for ``least`` at least (..., parameter, parameter)."""
    scale, axes = np.linalg.eigh(0.5 * (curvature + np.swapaxes(curvature, -1, -2)))
    return axes / np.sqrt(np.maximum(scale, least))[..., None, :]


def flat_parameters(
    model: Model, args: tuple[Any, ...], start: Values, dense: list[str]
) -> tuple[FlatParameters, dict[str, Any], Array]:
    """The sites as one vector, from the real line to the support of each, and the vector of ``start``."""
    names = [*dense, *sorted(set(start) - set(dense))]
    transforms = _transforms(model, args, start)
    space = FlatParameters(
        model, tuple((name, np.shape(start[name])) for name in names), sum(np.size(start[name]) for name in dense)
    )
    flat = np.concatenate([np.ravel(transforms[name].inv(jnp.asarray(start[name]))) for name in names]).astype(float)
    return space, transforms, flat


@partial(jax.jit, static_argnums=0)
def _hessian_product(space: FlatParameters, flat: Any, args: tuple[Any, ...], direction: Any) -> Any:
    return jax.jvp(jax.grad(lambda x: space.potential(x, args)), (flat,), (direction,))[1]


def _transforms(model: Model, args: tuple[Any, ...], start: Values) -> dict[str, Any]:
    """From the real line to the support of each site; supports are read off a trace that computes nothing."""
    with handlers.trace() as trace, handlers.substitute(data=start), handlers.seed(rng_seed=0):
        jax.eval_shape(lambda: model(*args))
    return {name: biject_to(trace[name]["fn"].support) for name in start}


@partial(jax.jit, static_argnums=0)
def value_and_grad(space: FlatParameters, flat: Any, args: tuple[Any, ...]) -> Any:
    """The potential at a vector (parameter), and its gradient."""
    return jax.value_and_grad(space.potential)(flat, args)


def find_mode(space: FlatParameters, args: tuple[Any, ...], flat: Array) -> Whitening:
    """Mode and curvature by BFGS; where that runs away, by a search within bounds."""

    def objective(x: Array) -> tuple[Any, Array]:
        value, slope = (np.asarray(part) for part in value_and_grad(space, x, args))
        return (value, slope) if np.isfinite(value) and np.isfinite(slope).all() else (_CLIFF, np.zeros_like(x))

    options = {"maxiter": _MODE_STEPS}
    found = minimize(objective, flat, jac=True, method="BFGS", options=options)
    covariance = found.hess_inv
    if not (np.abs(found.x - flat).max() < _FARTHEST and found.fun < _CLIFF):
        bounds = [(low, low + 2.0 * _FARTHEST) for low in flat - _FARTHEST]
        found = minimize(objective, flat, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        covariance = found.hess_inv.todense()
    scale, axes = np.linalg.eigh(np.nan_to_num(0.5 * (covariance + covariance.T)))
    if found.fun >= _CLIFF or scale[-1] <= 0:
        return Whitening(flat, np.eye(len(flat)))
    clipped = np.clip(scale, 1e-9 * min(scale[-1], _WIDEST), _WIDEST)
    return Whitening(found.x, np.linalg.cholesky((axes * clipped) @ axes.T))
