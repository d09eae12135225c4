"""NUTS on one model: from a design and priors to draws of every sample site.

Chains move in standard coordinates, ``mode + root x``, in which the curvature at the mode is the identity. Sizes matter here:
NumPyro shrinks the mass matrix that it learns towards .001, and a level known to .0006 nats would be sampled in steps far too
small. Global parameters share a dense mass matrix, the rest a diagonal one. Chains run in threads, each on one compiled
transition, and stop at every block of transitions to show progress, so that an interrupt takes effect at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer import NUTS
from numpyro.infer.util import ParamInfo, constrain_fn, potential_energy
from scipy.optimize import minimize
from tqdm import tqdm

Model = Callable[..., None]
Values = dict[str, Any]
Array = NDArray[np.float64]

_BLOCK = 25  # transitions between two looks at the clock
_MODE_STEPS = 500
_HALVINGS = 30
_CLIFF = 1e12  # potential where it cannot be computed
_FARTHEST = 12.0  # from typical values to the mode, on the real line, where priors have spreads of order one
_WIDEST = 4.0  # variance of starting points along any direction: priors are of order one there


class Draws(NamedTuple):
    """What the chains brought back.

    Attributes:
        sites: every latent site (chain, draw, ...).
        stats: sampler statistics under their ArviZ names (chain, draw).
    """

    sites: dict[str, Array]
    stats: dict[str, Array]


class _Frame(NamedTuple):
    """Standard coordinates: ``unravel(mode + root x)``, where ``x`` joins ``dense`` and ``diagonal``.

    Attributes:
        mode: of the posterior in unconstrained space (parameter).
        root: of the covariance there; its columns are those of the dense parameters, then the others (parameter, parameter).
        dense: how many parameters share a dense mass matrix.
        unravel: from a flat vector to a value per site.
    """

    mode: Array
    root: Array
    dense: int
    unravel: Callable[[Any], Values]

    def place(self, x: Values) -> Any:
        """Flat vector of unconstrained values at standard coordinates ``x``."""
        return self.mode + self.root @ jnp.concatenate([x["dense"], x["diagonal"]])

    def split(self, x: Any) -> Values:
        """Standard coordinates as the sampler holds them."""
        return {"dense": x[: self.dense], "diagonal": x[self.dense :]}


def sample(
    model: Model,
    *args: Any,
    start: Values,
    dense: list[str],
    seed: int,
    chains: int,
    num_warmup: int,
    num_draws: int,
    target_accept: float,
    progress: bool,
) -> Draws:
    """Draw from the posterior of ``model(*args)``.  Call inside ``jax.enable_x64(True)``.

    Args:
        model: a NumPyro model.
        args: its arguments.
        start: a value for every latent site, away from the mode: the search from here learns the curvature on its way.
        dense: sites that share a dense mass matrix.
        seed: the same seed gives the same draws on the same machine.
        chains: number of chains; as many threads as cores are used.
        num_warmup: transitions that adapt the sampler and are thrown away, per chain.
        num_draws: transitions kept, per chain.
        target_accept: acceptance that the step size aims at; higher is slower and safer.
        progress: show a bar on stderr.
    """
    flat, unravel = ravel_pytree(_unconstrain(model, args, start))

    def potential(flat: Any) -> Any:
        return potential_energy(model, args, {}, unravel(flat))

    frame = _find_mode(potential, np.asarray(flat), unravel, dense)
    kernel = NUTS(
        potential_fn=lambda x: potential(frame.place(x)),
        dense_mass=[("dense",)],  # pyright: ignore[reportArgumentType]  a list of blocks is documented
        target_accept_prob=target_accept,
    )
    gradient = jax.jit(jax.value_and_grad(lambda x: potential(frame.place(x))))
    rng = np.random.default_rng(seed)
    points = [_scatter(rng, frame, gradient) for _ in range(chains)]
    states = [
        kernel.init(key, num_warmup, ParamInfo(x, *gradient(x)), (), {})
        for key, x in zip(jax.random.split(jax.random.key(seed), chains), points)
    ]
    traces = _run(kernel, states, num_warmup, num_draws, progress)
    standard, stats = jax.tree.map(lambda *parts: np.stack(parts), *traces)
    return Draws(over_draws(lambda x: constrain_fn(model, args, {}, unravel(frame.place(x))), standard), stats)


def over_draws(function: Callable[..., Any], *values: Any) -> Any:
    """Call ``function`` with every draw, one after the other: arrays (chain, draw, ...) in and out.

    A loop and not a batch: XLA's batched linear algebra on CPU can wait for itself for ever.
    """
    shape = jax.tree.leaves(values)[0].shape[:2]
    flat = jax.tree.map(lambda x: x.reshape(shape[0] * shape[1], *x.shape[2:]), values)
    drawn = jax.jit(lambda flat: lax.map(lambda one: function(*one), flat))(flat)
    return jax.tree.map(lambda x: np.asarray(x).reshape(*shape, *x.shape[1:]), drawn)


def _unconstrain(model: Model, args: tuple[Any, ...], start: Values) -> Values:
    """Starting values on the real line; supports are read off a trace that computes nothing."""
    with handlers.trace() as trace, handlers.substitute(data=start), handlers.seed(rng_seed=0):
        jax.eval_shape(lambda: model(*args))
    return {name: biject_to(trace[name]["fn"].support).inv(jnp.asarray(value)) for name, value in start.items()}


def _find_mode(potential: Callable[[Any], Any], flat: Array, unravel: Callable[[Any], Values], dense: list[str]) -> _Frame:
    """Mode and curvature by BFGS; where that runs away, by a search within bounds."""
    value_and_grad = jax.jit(jax.value_and_grad(potential))

    def objective(x: Array) -> tuple[Any, Array]:
        value, slope = (np.asarray(part) for part in value_and_grad(x))
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
        return _frame(flat, np.eye(len(flat)), unravel, dense)
    clipped = np.clip(scale, 1e-9 * min(scale[-1], _WIDEST), _WIDEST)
    return _frame(found.x, (axes * clipped) @ axes.T, unravel, dense)


def _frame(mode: Array, covariance: Array, unravel: Callable[[Any], Values], dense: list[str]) -> _Frame:
    index = unravel(jnp.arange(len(mode), dtype=float))
    order = np.concatenate([np.ravel(index[name]) for name in (*dense, *sorted(set(index) - set(dense)))]).astype(int)
    root = np.zeros_like(covariance)
    root[order] = np.linalg.cholesky(covariance[np.ix_(order, order)])
    return _Frame(mode, root, sum(np.size(index[name]) for name in dense), unravel)


def _scatter(rng: np.random.Generator, frame: _Frame, gradient: Callable[..., Any]) -> Values:
    """A point as far from the mode as the posterior is wide, drawn in where the posterior is narrower than its curvature says.

    A normal in d dimensions is d/2 above its mode, give or take; beyond 2 d a chain may never come back.
    """
    x = jnp.asarray(rng.standard_normal(len(frame.mode)))
    ceiling = float(gradient(frame.split(0.0 * x))[0]) + 2.0 * len(frame.mode)
    for _ in range(_HALVINGS):
        value, slope = gradient(frame.split(x))
        if value <= ceiling and all(np.isfinite(part).all() for part in jax.tree.leaves(slope)):
            break
        x = 0.5 * x
    return frame.split(x)


def _run(kernel: NUTS, states: list[Any], num_warmup: int, num_draws: int, progress: bool) -> list[Any]:
    """Run all chains; one (sites, stats) per chain, warm-up dropped."""

    def transition(state: Any, _: None) -> tuple[Any, Any]:
        state = kernel.sample(state, (), {})
        return state, (state.z, _statistics(state))

    block = jax.jit(lambda state: lax.scan(transition, state, None, length=_BLOCK)).lower(states[0]).compile()
    total = num_warmup + num_draws
    with tqdm(total=total * len(states), desc="sampling", unit="draw", disable=not progress) as bar:

        def chain(state: Any) -> Any:
            blocks = []
            with jax.enable_x64(True):  # a setting of each thread
                for done in range(0, total, _BLOCK):
                    state, drawn = block(state)
                    blocks.append(jax.tree.map(np.asarray, drawn))
                    bar.update(min(_BLOCK, total - done))
            return jax.tree.map(lambda *parts: np.concatenate(parts)[num_warmup:total], *blocks)

        with ThreadPoolExecutor(min(len(states), os.cpu_count() or 1)) as pool:
            return list(pool.map(chain, states))


def _statistics(state: Any) -> Values:
    return {
        "diverging": state.diverging,
        "energy": state.energy,
        "lp": -state.potential_energy,
        "n_steps": state.num_steps,
        "acceptance_rate": state.accept_prob,
        "step_size": state.adapt_state.step_size,
    }
