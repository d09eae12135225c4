"""Whitened coordinates, in which chains move: around the mode of one posterior, or by the Hessian of a block arrow.

Coordinates in which the Hessian is the identity spare NUTS from learning scales that differ by orders of magnitude
(docs/modelling.md, sampling). XLA's Cholesky is that of OpenBLAS, whose threads wait for each other by spinning: at these sizes
one thread is faster, and with every core busy forty times faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn
from scipy.optimize import minimize

from bayes_tsl._common.arrays import AnyArray
from bayes_tsl._common.blas import one_blas_thread
from bayes_tsl.model.tracing import traced_alone

Model = Callable[..., None]
Values = dict[str, Any]
Array = NDArray[np.float64]

_MODE_STEPS = 500
_CLIFF = 1e12  # potential where it cannot be computed
_FARTHEST = 12.0  # from typical values to the mode, on the real line, where priors have spreads of order one
_SMALL = 1e-4  # step along a direction whose curvature is sought, where priors have spreads of order one
_STIFFEST = 0.25  # least curvature of a block along any direction: its priors are of order one
_WIDEST = 4.0  # largest variance along any direction: priors are of order one there


class Whitening(NamedTuple):
    """Whitened coordinates ``x``: values on the real line ``mode + root x``.

    Attributes:
        dense, diagonal: the mode, by site: of sites that share a dense mass matrix, and of the others.
        root: of the covariance there, lower triangular, dense sites first (parameter, parameter).
    """

    dense: Values
    diagonal: Values
    root: AnyArray

    def origin(self) -> Values:
        """Coordinates of the mode, zeros: "dense" (parameter) and "diagonal" (parameter)."""
        size = sum(np.size(value) for value in self.dense.values())
        return {"dense": np.zeros(size), "diagonal": np.zeros(len(self.root) - size)}

    def sites(self, x: Values) -> Values:
        """A value per site, on the real line."""
        size = len(x["dense"])
        moved = self.root @ jnp.concatenate([x["dense"], x["diagonal"]])
        return _add(self.dense, moved[:size]) | _add(self.diagonal, moved[size:])


class BlockArrowWhitening(NamedTuple):
    r"""Whitened coordinates of parameters that are shared, and of blocks that are independent given those.

    Ordered as (shared, block 1, block 2, ...) the Hessian is a block arrow: ``H_ss`` for what is shared, ``H_bb`` within a
    block, ``H_sb`` between the two, zero between blocks. Elimination of the blocks gives, for whitened ``x``,

        shared = mode + root x_s,    root root' = (H_ss - sum_b H_sb H_bb^-1 H_bs)^-1
        block  = mode + regression (root x_s) + roots x_b,    regression = -H_bb^-1 H_bs,    roots roots' = H_bb^-1

    so cost grows with the number of blocks and no faster (arrowhead matrices; Golub & Van Loan, section 4.5).

    Attributes:
        shared, blocks: values on the real line where ``x = 0`` lies, by site; the first axis of a block's sites counts blocks.
        root: of the covariance of what is shared (shared, shared).
        regression: how a block moves with what is shared (block, index, shared).
        roots: of the covariance of each block given what is shared (block, index, index).
    """

    shared: Values
    blocks: Values
    root: AnyArray
    regression: AnyArray
    roots: AnyArray

    def origin(self) -> Values:
        """Coordinates of the mode, zeros: "dense" (shared) and "diagonal" (block, index)."""
        return {"dense": np.zeros(len(self.root)), "diagonal": np.zeros(self.roots.shape[:2])}

    def sites(self, x: Values) -> Values:
        """A value per site, on the real line."""
        moved = self.root @ x["dense"]
        own = self.regression @ moved + jnp.einsum("bij,bj->bi", self.roots, x["diagonal"])
        return _add(self.shared, moved) | jax.vmap(_add)(self.blocks, own)


Coordinates = Whitening | BlockArrowWhitening


@traced_alone
def potential(model: Model, coordinates: Coordinates, args: tuple[Any, ...], x: Values) -> Any:
    """Less the log density at whitened coordinates."""
    return potential_energy(model, args, {}, coordinates.sites(x))


def _add(sites: Values, flat: AnyArray) -> Values:
    """Values by site, moved by a vector of all of them (parameter)."""
    at, unravel = ravel_pytree(sites)
    return unravel(at + flat)


@one_blas_thread()
def whitening(model: Model, *args: Any, start: Values, dense: Sequence[str]) -> Whitening:
    """Whitening around the mode of the posterior.  Call inside ``float64()``.

    Args:
        model: a NumPyro model; a function of a module, so that it is known again.
        args: its arguments, trees of arrays.
        start: a value for every latent site, away from the mode: the search from here learns the curvature on its way.
        dense: sites that are to share a dense mass matrix.
    """
    flat, unravel = ravel_pytree(_parts(unconstrained(model, args, start), dense))

    def around(mode: Any, root: Array) -> Whitening:
        in_dense, in_diagonal = unravel(mode)
        return Whitening(in_dense, in_diagonal, root)

    around_start = around(flat, np.eye(len(flat)))
    size = len(around_start.origin()["dense"])

    def moved(x: Array) -> tuple[Any, Array]:
        value, slope = value_and_grad(model, around_start, args, {"dense": x[:size], "diagonal": x[size:]})
        return value, np.concatenate([slope["dense"], slope["diagonal"]])

    away, root = _mode(moved, len(flat))
    return around(flat + away, root)


def laplace(model: Model, *args: Any, start: Values) -> tuple[Values, Values]:
    """Mode of the posterior, and the variance around it on the real line; a value per site.  Call in x64."""
    around = whitening(model, *args, start=start, dense=[])
    variance = ravel_pytree(around.diagonal)[1](jnp.sum(around.root**2, axis=1))
    return jax.tree.map(np.asarray, (constrained(model, args, around.diagonal), variance))


@one_blas_thread()
def block_arrow(model: Model, *args: Any, start: Values, shared: Sequence[str]) -> BlockArrowWhitening:
    """Whitening around ``start``, of sites ``shared`` and others whose first axis counts independent blocks.

    Curvatures are differences of the gradient along one direction at a time, which give all blocks at once. Call inside
    ``float64()``.
    """
    in_shared, in_blocks = _parts(unconstrained(model, args, start), shared)
    blocks = len(next(iter(in_blocks.values())))
    size = sum(np.size(value) for value in in_shared.values()), sum(np.size(value) for value in in_blocks.values()) // blocks
    unit = np.broadcast_to(np.eye(size[1]), (blocks, size[1], size[1]))
    here = BlockArrowWhitening(in_shared, in_blocks, np.eye(size[0]), np.zeros((blocks, size[1], size[0])), unit)

    def gradient(dense: Any, diagonal: Any) -> Values:
        return value_and_grad(model, here, args, {"dense": dense, "diagonal": diagonal})[1]

    def curvature(dense: Any, diagonal: Any) -> Values:
        ahead, back = gradient(_SMALL * dense, _SMALL * diagonal), gradient(-_SMALL * dense, -_SMALL * diagonal)
        return jax.tree.map(lambda a, b: np.asarray(a - b) / (2.0 * _SMALL), ahead, back)

    across = [curvature(row, np.zeros((blocks, size[1]))) for row in np.eye(size[0])]
    within = [curvature(np.zeros(size[0]), np.tile(row, (blocks, 1)))["diagonal"] for row in np.eye(size[1])]
    between = np.stack([row["diagonal"] for row in across], axis=-1)
    roots = _root(np.stack(within, axis=-1), _STIFFEST)
    regression = -roots @ np.swapaxes(roots, 1, 2) @ between
    left = np.stack([row["dense"] for row in across]) + np.einsum("bis,bit->st", between, regression)
    return here._replace(root=_root(left, 1.0), regression=regression, roots=roots)


def _parts(sites: Values, first: Sequence[str]) -> tuple[Values, Values]:
    """Sites with these names, and the others."""
    return {name: sites[name] for name in first}, {name: sites[name] for name in sites if name not in first}


def _root(curvature: Array, least: float) -> Array:
    """Root of the inverse of a symmetric matrix whose eigenvalues count for ``least`` at least (..., parameter, parameter)."""
    scale, axes = np.linalg.eigh(0.5 * (curvature + np.swapaxes(curvature, -1, -2)))
    return axes / np.sqrt(np.maximum(scale, least))[..., None, :]


@partial(jax.jit, static_argnums=0)
@traced_alone
def unconstrained(model: Model, args: tuple[Any, ...], sites: Values) -> Values:
    """A value per site on the real line, from values on its support."""
    return unconstrain_fn(model, args, {}, sites)


@partial(jax.jit, static_argnums=0)
@traced_alone
def constrained(model: Model, args: tuple[Any, ...], sites: Values) -> Values:
    """A value per site on its support, from values on the real line."""
    return constrain_fn(model, args, {}, sites)


@partial(jax.jit, static_argnums=0)
def value_and_grad(model: Model, coordinates: Coordinates, args: tuple[Any, ...], x: Values) -> Any:
    """The potential at whitened coordinates, and its gradient."""
    return jax.value_and_grad(partial(potential, model, coordinates, args))(x)


def _mode(potential: Callable[[Array], Any], size: int) -> tuple[Array, Array]:
    """Mode, and a root of the covariance around it, by BFGS from zero; where that runs away, by a search within bounds."""

    def objective(x: Array) -> tuple[Any, Array]:
        value, slope = potential(x)
        return (value, slope) if np.isfinite(value) and np.isfinite(slope).all() else (_CLIFF, np.zeros_like(x))

    options = {"maxiter": _MODE_STEPS}
    found = minimize(objective, np.zeros(size), jac=True, method="BFGS", options=options)
    covariance = found.hess_inv
    if not (np.abs(found.x).max() < _FARTHEST and found.fun < _CLIFF):
        bounds = [(-_FARTHEST, _FARTHEST)] * size
        found = minimize(objective, np.zeros(size), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        covariance = found.hess_inv.todense()
    scale, axes = np.linalg.eigh(np.nan_to_num(0.5 * (covariance + covariance.T)))
    if found.fun >= _CLIFF or scale[-1] <= 0:
        return np.zeros(size), np.eye(size)
    clipped = np.clip(scale, 1e-9 * min(scale[-1], _WIDEST), _WIDEST)
    return found.x, np.linalg.cholesky((axes * clipped) @ axes.T)
