"""NUTS on one model: from a design and priors to draws of every sample site.

Chains move in standard coordinates, ``mode + root x``, in which the curvature at the mode is the identity. Sizes matter here:
NumPyro shrinks the mass matrix that it learns towards .001, and a level known to .0006 nats would be sampled in steps far too
small. Global parameters share a dense mass matrix, the rest a diagonal one. Everything compiled takes the model's arguments as
arguments, so that a second fit of like shapes compiles nothing. Chains run in threads and stop at every block of transitions
to show progress, so that an interrupt takes effect soon. XLA's Cholesky is that of OpenBLAS, whose own threads wait for each
other by spinning: at these sizes one thread is faster, and with every core busy forty times faster.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.hmc import hmc
from numpyro.infer.util import ParamInfo, potential_energy
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from bayes_tsl._checks import require, require_number, require_seed

Model = Callable[..., None]
Values = dict[str, Any]
Array = NDArray[np.float64]

NUM_WARMUP = 500
TARGET_ACCEPT = 0.98  # at .95 one fit in ten has a divergence, at .98 hardly any (docs/benchmarks.md, cost)
_BLOCK = 25  # transitions between two looks at the clock
_MODE_STEPS = 500
_HALVINGS = 30
_CLIFF = 1e12  # potential where it cannot be computed
_FARTHEST = 12.0  # from typical values to the mode, on the real line, where priors have spreads of order one
_STIFFEST = 0.25  # least curvature of a block along any direction: its priors are of order one
_WIDEST = 4.0  # variance of starting points along any direction: priors are of order one there


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How chains run, checked; fields are the arguments of ``sample`` of the same names.

    Raises:
        DataError: a seed that is none, fewer than two chains, fewer than ten transitions, or no such acceptance.
    """

    seed: int
    chains: int
    num_warmup: int = NUM_WARMUP
    num_draws: int
    target_accept: float = TARGET_ACCEPT
    progress: bool

    def __post_init__(self) -> None:
        require_seed(self.seed)
        require(self.chains >= 2, "chains", "be 2 or more", self.chains, cure="R-hat compares chains; 4 are usual.")
        counts = [self.num_warmup, self.num_draws]
        require(min(counts) >= 10, "num_warmup and num_draws", "be 10 or more", counts, cure="500 and 1000 are usual.")
        require_number(self.target_accept, "target_accept", low=0.0, high=1.0, cure="0.98 is usual, 0.99 is safer.")


class Draws(NamedTuple):
    """What the chains brought back.

    Attributes:
        sites: every latent site (chain, draw, ...).
        stats: sampler statistics under their ArviZ names (chain, draw).
    """

    sites: dict[str, Array]
    stats: dict[str, Array]


class _Space(NamedTuple):
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


class Frame(NamedTuple):
    """Standard coordinates ``x``: the vector ``mode + root x``.

    Attributes:
        mode: of the posterior (parameter).
        root: of the covariance there, lower triangular (parameter, parameter).
    """

    mode: Any
    root: Any

    def place(self, x: Any) -> Any:
        """The vector at standard coordinates (..., parameter)."""
        return self.mode + x @ self.root.T


class Arrow(NamedTuple):
    """Standard coordinates of parameters that are shared, and of blocks that are independent given those.

    ``shared = mode + root x`` and ``block = mode + lean (root x) + roots x``: cost grows with the number of blocks, no faster.

    Attributes:
        mode: where ``x = 0`` lies (parameter).
        root: of the covariance of what is shared, the first parameters (shared, shared).
        lean: how a block moves with what is shared (block, place, shared).
        roots: of the covariance of each block given what is shared (block, place, place).
        places: which parameters make up a block (block, place).
    """

    mode: Any
    root: Any
    lean: Any
    roots: Any
    places: Any

    def place(self, x: Any) -> Any:
        """The vector at standard coordinates (..., parameter)."""
        shared = len(self.root)
        common = jnp.einsum("ij,...j->...i", self.root, x[..., :shared])
        own = jnp.einsum("bij,...bj->...bi", self.roots, x[..., self.places])
        moved = jnp.zeros(jnp.shape(x)).at[..., self.places].set(own + jnp.einsum("bij,...j->...bi", self.lean, common))
        return self.mode + moved.at[..., :shared].add(common)


class _Tuning(NamedTuple):
    """Settings of the sampler's adaptation; a key of what is compiled."""

    num_warmup: int
    target_accept: float


@threadpool_limits.wrap(limits=1, user_api="blas")
def sample(
    model: Model,
    *args: Any,
    start: Values,
    dense: list[str],
    frame: Frame | Arrow | None = None,
    seed: int,
    chains: int,
    num_warmup: int,
    num_draws: int,
    target_accept: float,
    progress: bool,
) -> Draws:
    """Draw from the posterior of ``model(*args)``.  Call inside ``jax.enable_x64(True)``.

    Args:
        model: a NumPyro model; a function of a module, so that it is known again.
        args: its arguments, trees of arrays.
        start: a value for every latent site, away from the mode: the search from here learns the curvature on its way.
        dense: sites that share a dense mass matrix.
        frame: standard coordinates, of the vector that ``unconstrained`` makes of ``start``; else looked for around the mode.
        seed: the same seed gives the same draws on the same machine.
        chains: number of chains; as many threads as cores are used.
        num_warmup: transitions that adapt the sampler and are thrown away, per chain.
        num_draws: transitions kept, per chain.
        target_accept: acceptance that the step size aims at; higher is slower and safer.
        progress: show a bar on stderr.
    """
    space, transforms, flat = _space(model, args, start, dense)
    frame = _find_mode(space, args, flat) if frame is None else frame
    rng = np.random.default_rng(seed)
    points = [_scatter(rng, space, frame, args) for _ in range(chains)]
    tuning = _Tuning(num_warmup, target_accept)
    keys = jax.random.split(jax.random.key(seed), chains)
    states = [_begin(space, tuning, frame, args, key, x) for key, x in zip(keys, points)]
    traces = _run(partial(_block, space, tuning, frame, args), states, num_warmup + num_draws, progress)
    moved, stats = jax.tree.map(lambda *parts: np.stack(parts)[:, num_warmup:], *traces)
    standard = np.concatenate([moved["dense"], moved["diagonal"]], axis=-1)
    unconstrained = space.unravel(frame.place(standard))
    return Draws({name: np.asarray(transforms[name](value)) for name, value in unconstrained.items()}, stats)


@threadpool_limits.wrap(limits=1, user_api="blas")
def laplace(model: Model, *args: Any, start: Values) -> tuple[Values, Values]:
    """Mode of the posterior, and the variance around it on the real line; a value per site.  Call in x64."""
    space, transforms, flat = _space(model, args, start, [])
    mode, root = _find_mode(space, args, flat)
    sites = {name: np.asarray(transforms[name](value)) for name, value in space.unravel(mode).items()}
    return sites, {name: np.asarray(value) for name, value in space.unravel(np.sum(root**2, axis=1)).items()}


@threadpool_limits.wrap(limits=1, user_api="blas")
def arrow(model: Model, *args: Any, start: Values, shared: list[str]) -> Arrow:
    """Standard coordinates around ``start``, of sites ``shared`` and others whose first axis counts independent blocks.

    Curvatures are read off products of the Hessian with one vector at a time, which tell of all blocks at once. Call inside
    ``jax.enable_x64(True)``.
    """
    space, _, mode = _space(model, args, start, shared)
    where = space.unravel(np.arange(len(mode)))
    blocks = [np.asarray(where[name]) for name, _ in space.layout if name not in shared]
    places = np.concatenate([block.reshape(len(block), -1) for block in blocks], axis=1)

    def curvature(direction: Array) -> Array:
        return np.asarray(_hessian_product(space, mode, args, direction))

    across = np.stack([curvature(row) for row in np.eye(space.dense, len(mode))])
    within = np.empty((*places.shape, places.shape[1]))
    for i, place in enumerate(places.T):
        within[:, :, i] = curvature(np.isin(np.arange(len(mode)), place).astype(float))[places]
    roots = _root(within, _STIFFEST)
    lean = -roots @ np.swapaxes(roots, 1, 2) @ np.moveaxis(across[:, places], 0, -1)
    left = across[:, : space.dense] + np.einsum("sbp,bpt->st", across[:, places], lean)
    return Arrow(mode, _root(left, 1.0), lean, roots, places)


def _root(curvature: Array, least: float) -> Array:
    """Root of the inverse of a symmetric matrix whose eigenvalues count for ``least`` at least (..., parameter, parameter)."""
    scale, axes = np.linalg.eigh(0.5 * (curvature + np.swapaxes(curvature, -1, -2)))
    return axes / np.sqrt(np.maximum(scale, least))[..., None, :]


@threadpool_limits.wrap(limits=1, user_api="blas")
def over_draws(function: Callable[..., Any], fixed: tuple[Any, ...], *drawn: Any) -> Any:
    """``function(*fixed, *one)`` for every draw, one after the other: arrays (chain, draw, ...) in and out.

    A loop and not a batch: XLA's batched linear algebra on CPU can wait for itself for ever.
    """
    shape = jax.tree.leaves(drawn)[0].shape[:2]
    flat = jax.tree.map(lambda x: x.reshape(shape[0] * shape[1], *x.shape[2:]), drawn)
    return jax.tree.map(lambda x: np.asarray(x).reshape(*shape, *x.shape[1:]), _loop(function, fixed, flat))


@partial(jax.jit, static_argnums=0)
def _loop(function: Callable[..., Any], fixed: tuple[Any, ...], drawn: Any) -> Any:
    return lax.map(lambda one: function(*fixed, *one), drawn)


def _space(model: Model, args: tuple[Any, ...], start: Values, dense: list[str]) -> tuple[_Space, dict[str, Any], Array]:
    """The sites as one vector, from the real line to the support of each, and the vector of ``start``."""
    names = [*dense, *sorted(set(start) - set(dense))]
    transforms = _transforms(model, args, start)
    space = _Space(model, tuple((name, np.shape(start[name])) for name in names), sum(np.size(start[name]) for name in dense))
    flat = np.concatenate([np.ravel(transforms[name].inv(jnp.asarray(start[name]))) for name in names]).astype(float)
    return space, transforms, flat


@partial(jax.jit, static_argnums=0)
def _hessian_product(space: _Space, flat: Any, args: tuple[Any, ...], direction: Any) -> Any:
    return jax.jvp(jax.grad(lambda x: space.potential(x, args)), (flat,), (direction,))[1]


def _transforms(model: Model, args: tuple[Any, ...], start: Values) -> dict[str, Any]:
    """From the real line to the support of each site; supports are read off a trace that computes nothing."""
    with handlers.trace() as trace, handlers.substitute(data=start), handlers.seed(rng_seed=0):
        jax.eval_shape(lambda: model(*args))
    return {name: biject_to(trace[name]["fn"].support) for name in start}


@partial(jax.jit, static_argnums=0)
def _value_and_grad(space: _Space, flat: Any, args: tuple[Any, ...]) -> Any:
    return jax.value_and_grad(space.potential)(flat, args)


def _find_mode(space: _Space, args: tuple[Any, ...], flat: Array) -> Frame:
    """Mode and curvature by BFGS; where that runs away, by a search within bounds."""

    def objective(x: Array) -> tuple[Any, Array]:
        value, slope = (np.asarray(part) for part in _value_and_grad(space, x, args))
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
        return Frame(flat, np.eye(len(flat)))
    clipped = np.clip(scale, 1e-9 * min(scale[-1], _WIDEST), _WIDEST)
    return Frame(found.x, np.linalg.cholesky((axes * clipped) @ axes.T))


def _scatter(rng: np.random.Generator, space: _Space, frame: Frame | Arrow, args: tuple[Any, ...]) -> Array:
    """A point as far from the mode as the posterior is wide, drawn in where the posterior is narrower than its curvature says.

    A normal in d dimensions is d/2 above its mode, give or take; beyond 2 d a chain may never come back.
    """
    x = rng.standard_normal(len(frame.mode))
    ceiling = float(_value_and_grad(space, frame.mode, args)[0]) + 2.0 * len(frame.mode)
    for _ in range(_HALVINGS):
        value, slope = _value_and_grad(space, frame.place(x), args)
        if value <= ceiling and np.isfinite(slope).all():
            break
        x = 0.5 * x
    return x


def _sampler(space: _Space, frame: Frame | Arrow, args: tuple[Any, ...]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """NumPyro's two halves of NUTS in standard coordinates: how it begins, and one transition."""

    def potential(x: Values) -> Any:
        return space.potential(frame.place(jnp.concatenate([x["dense"], x["diagonal"]])), args)

    return hmc(potential_fn=potential, algo="NUTS")


@partial(jax.jit, static_argnums=(0, 1))
def _begin(space: _Space, tuning: _Tuning, frame: Frame | Arrow, args: tuple[Any, ...], key: Any, x: Any) -> Any:
    begin, _ = _sampler(space, frame, args)
    return begin({"dense": x[: space.dense], "diagonal": x[space.dense :]}, rng_key=key, **_adaptation(tuning))


@partial(jax.jit, static_argnums=(0, 1))
def _block(space: _Space, tuning: _Tuning, frame: Frame | Arrow, args: tuple[Any, ...], state: Any) -> tuple[Any, Any]:
    begin, step = _sampler(space, frame, args)
    begin(ParamInfo(state.z, state.potential_energy, state.z_grad), **_adaptation(tuning))  # tells step how to adapt

    def transition(state: Any, _: None) -> tuple[Any, Any]:
        state = step(state)
        return state, (state.z, _statistics(state))

    return lax.scan(transition, state, None, length=_BLOCK)


def _adaptation(tuning: _Tuning) -> dict[str, Any]:
    return {
        "num_warmup": tuning.num_warmup,
        "target_accept_prob": tuning.target_accept,
        "dense_mass": [("dense",)],
        "trajectory_length": None,
    }


def _run(block: Callable[[Any], tuple[Any, Any]], states: list[Any], total: int, progress: bool) -> list[Any]:
    """Run all chains for ``total`` transitions; one (sites, stats) per chain."""
    stop = Event()
    with tqdm(total=total * len(states), desc="sampling", unit="draw", disable=not progress) as bar:

        def chain(state: Any, blocks: list[Any]) -> Any:
            with jax.enable_x64(True):  # a setting of each thread
                while len(blocks) * _BLOCK < total and not stop.is_set():
                    state, drawn = block(state)
                    bar.update(min(_BLOCK, total - len(blocks) * _BLOCK))
                    blocks.append(jax.tree.map(np.asarray, drawn))
            return jax.tree.map(lambda *parts: np.concatenate(parts)[:total], *blocks)

        first, drawn = block(states[0])  # compiled here, before threads would each compile it
        bar.update(min(_BLOCK, total))
        with ThreadPoolExecutor(min(len(states), os.cpu_count() or 1)) as pool:
            begun = [[jax.tree.map(np.asarray, drawn)], *([] for _ in states[1:])]
            try:
                return list(pool.map(chain, [first, *states[1:]], begun))
            finally:
                stop.set()  # on an interrupt, chains end with their block


def _statistics(state: Any) -> Values:
    return {
        "diverging": state.diverging,
        "energy": state.energy,
        "lp": -state.potential_energy,
        "n_steps": state.num_steps,
        "acceptance_rate": state.accept_prob,
        "step_size": state.adapt_state.step_size,
    }
