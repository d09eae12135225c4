"""NUTS on one model: from a design and priors to draws of every sample site.

Chains start around a mode or an estimate, and move in coordinates whitened around it (``preconditioning``). Global parameters
share a dense mass matrix, the rest have a diagonal one. Everything compiled takes the model's arguments as arguments, so that a
second fit of like shapes compiles nothing. Chains run in threads, one BLAS thread each, and stop at every block of transitions
to show progress; an interrupt takes effect soon.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import xarray as xr
from jax import lax
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray
from numpyro.infer.hmc import hmc
from numpyro.infer.util import ParamInfo
from tqdm import tqdm

from bayes_tsl._common.blas import one_blas_thread
from bayes_tsl._common.dims import DRAWS
from bayes_tsl._common.jax_settings import float64
from bayes_tsl._common.validation import require, require_choice, require_number, require_seed, whole_number
from bayes_tsl.inference.diagnostics import diagnose
from bayes_tsl.inference.preconditioning import Coordinates, Model, Values, constrained, potential, value_and_grad

Array = NDArray[np.float64]

NUM_WARMUP = 500
AUTO_WARMUP = 300  # where draws are as few as pass the checks: converges as often (docs/modelling.md, sampling)
TARGET_ACCEPT = 0.98  # at .95 one fit in ten has a divergence, at .98 hardly any (docs/benchmarks.md, cost)
_ADAPTATION = {"dense_mass": [("dense",)], "trajectory_length": None}
_BLOCK = 25  # transitions between two looks at the clock
STAGES = (300, 500, 750, 1000)  # draws of a chain after which "auto" looks whether they are enough
LEAST_DRAWS = 10  # of a chain
_MOST_DRAWS = 10**7  # of all chains: more than memory has room for
_HALVINGS = 30
_MAPS = Path("/proc/self/maps")  # one line each, where the system is Linux
_MOST_MAPS = Path("/proc/sys/vm/max_map_count")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How chains run, checked; fields are the arguments of ``sample`` of the same names.

    Without ``num_warmup`` it is ``NUM_WARMUP``, and ``AUTO_WARMUP`` where ``num_draws`` is "auto".

    Raises:
        DataError: a seed that is none, fewer than two chains, fewer than ten transitions, or no such acceptance.
    """

    seed: int
    chains: int
    num_warmup: int | None = None
    num_draws: int | Literal["auto"]
    target_accept: float = TARGET_ACCEPT
    progress: bool

    def __post_init__(self) -> None:
        require_seed(self.seed)
        self._make_whole("chains", low=2, cure="R-hat compares chains; 4 are usual.")
        if self.num_warmup is None:
            object.__setattr__(self, "num_warmup", AUTO_WARMUP if self.num_draws == "auto" else NUM_WARMUP)
        self._make_whole("num_warmup", low=10, cure="500 are usual.")
        if isinstance(self.num_draws, str):
            require_choice(self.num_draws, "num_draws", ["auto"], cure="Or give a number; 1000 is usual.")
        else:
            self._make_whole("num_draws", low=LEAST_DRAWS, cure="1000 are usual.")
        draws = self.chains * (STAGES[-1] if self.num_draws == "auto" else self.num_draws)
        require(draws <= _MOST_DRAWS, "draws of all chains", f"be at most {_MOST_DRAWS}", draws, cure="4 x 1000 are usual.")
        require_number(self.target_accept, "target_accept", low=0.0, high=1.0, cure="0.98 is usual, 0.99 is safer.")

    def _make_whole(self, name: str, *, low: int, cure: str) -> None:
        object.__setattr__(self, name, whole_number(getattr(self, name), name, low=low, cure=cure))


class Draws(NamedTuple):
    """What the chains brought back.

    Attributes:
        sites: every latent site (chain, draw, ...).
        stats: sampler statistics under their ArviZ names (chain, draw).
    """

    sites: dict[str, Array]
    stats: dict[str, Array]


@one_blas_thread()
def sample(
    model: Model,
    *args: Any,
    coordinates: Coordinates,
    seed: int,
    chains: int,
    num_warmup: int,
    num_draws: int | Literal["auto"],
    target_accept: float,
    progress: bool,
    discarded: int | None = None,
) -> Draws:
    """Draw from the posterior of ``model(*args)``.  Call inside ``float64()``.

    Args:
        model: a NumPyro model; a function of a module, so that it is known again.
        args: its arguments, trees of arrays.
        coordinates: in which chains move, and around whose origin they start (``preconditioning.whitening``, ``block_arrow``).
        seed: the same seed gives the same draws on the same machine.
        chains: number of chains; as many threads as cores are used.
        num_warmup: transitions that adapt the sampler, per chain.
        num_draws: transitions kept, per chain; "auto" for as few as pass the checks, of ``STAGES``.
        target_accept: acceptance that the step size aims at; higher is slower and safer.
        progress: show a bar on stderr.
        discarded: transitions discarded, per chain, if not those that adapt the sampler.
    """
    _make_room()
    discarded = num_warmup if discarded is None else discarded
    tuning = {"num_warmup": num_warmup, "target_accept_prob": target_accept}
    rng = np.random.default_rng(seed)
    points = [_scatter(rng, partial(value_and_grad, model, coordinates, args), coordinates.origin()) for _ in range(chains)]
    keys = jax.random.split(jax.random.key(seed), chains)
    states = [_begin(model, coordinates, args, key, at, **tuning) for key, at in zip(keys, points)]
    block = partial(_block, model, coordinates, args, **tuning)
    stages = STAGES if num_draws == "auto" else (int(num_draws),)
    blocks: list[list[Any]] = [[] for _ in states]
    with tqdm(total=(discarded + stages[-1]) * chains, desc="compiling", unit="draw", disable=not progress) as bar:

        def run_to(kept: int) -> Draws:
            states[:] = _run(block, states, blocks, discarded + kept, discarded=discarded, bar=bar)
            traces = [jax.tree.map(lambda *parts: np.concatenate(parts)[discarded : discarded + kept], *own) for own in blocks]
            return Draws(*jax.tree.map(lambda *chain: np.stack(chain), *traces))

        draws = run_to(stages[0])
        for kept in stages[1:]:
            if _enough(draws):
                break
            draws = run_to(kept)
        bar.total = bar.n
    return draws


@one_blas_thread()
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


def _make_room() -> None:
    """Let go of compiled programs before their memory maps, thousands for a fit, are more than the system allows.

    Beyond that limit the process dies (github.com/jax-ml/jax, issue 27201).
    """
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > int(_MOST_MAPS.read_text()) // 2:
        jax.clear_caches()


def _scatter(rng: np.random.Generator, potential: Callable[[Values], Any], mode: Values) -> ParamInfo:
    """A point as far from the mode as the posterior is wide, drawn in where the posterior is narrower than its curvature says.

    A normal in d dimensions is d/2 above its mode, give or take; beyond 2 d a chain may never come back.
    """
    flat, unravel = ravel_pytree(mode)
    away = rng.standard_normal(len(flat))
    ceiling = float(potential(mode)[0]) + 2.0 * len(flat)
    for _ in range(_HALVINGS):
        at = unravel(flat + away)
        value, slope = potential(at)
        if value <= ceiling and all(np.isfinite(each).all() for each in jax.tree.leaves(slope)):
            return ParamInfo(at, value, slope)
        away = 0.5 * away
    return ParamInfo(mode, *potential(mode))


def _sampler(model: Model, coordinates: Coordinates, args: tuple[Any, ...]) -> tuple[Callable[..., Any], ...]:
    """NumPyro's two halves of NUTS: how it begins, and one transition."""
    return hmc(potential_fn=partial(potential, model, coordinates, args), algo="NUTS")


@partial(jax.jit, static_argnums=0, static_argnames="num_warmup")
def _begin(model: Model, coordinates: Coordinates, args: tuple[Any, ...], key: Any, at: ParamInfo, **tuning: Any) -> Any:
    begin, _ = _sampler(model, coordinates, args)
    return begin(at, rng_key=key, **tuning, **_ADAPTATION)


@partial(jax.jit, static_argnums=0, static_argnames="num_warmup")
def _block(model: Model, coordinates: Coordinates, args: tuple[Any, ...], state: Any, **tuning: Any) -> tuple[Any, Any]:
    """The state after ``_BLOCK`` transitions, and of each the sites on their support and statistics (transition, ...)."""
    begin, step = _sampler(model, coordinates, args)
    begin(ParamInfo(state.z, state.potential_energy, state.z_grad), **tuning, **_ADAPTATION)  # tells step how to adapt

    def transition(state: Any, _: None) -> tuple[Any, Any]:
        state = step(state)
        return state, (state.z, _statistics(state))

    state, (moved, statistics) = lax.scan(transition, state, None, length=_BLOCK)
    return state, (jax.vmap(lambda x: constrained(model, args, coordinates.sites(x)))(moved), statistics)


def _run(
    block: Callable[[Any], tuple[Any, Any]],
    states: list[Any],
    blocks: list[list[Any]],
    total: int,
    *,
    discarded: int,
    bar: tqdm[Any],
) -> list[Any]:
    """States of all chains after ``total`` transitions, whose blocks are added to those so far; the bar names the phase."""
    stop = Event()

    def advance(state: Any, done: list[Any]) -> Any:
        state, drawn = block(state)
        bar.set_description("warm-up" if bar.n < discarded * len(states) else "sampling", refresh=False)
        bar.update(min(_BLOCK, total - len(done) * _BLOCK))
        done.append(jax.tree.map(np.asarray, drawn))
        return state

    def chain(state: Any, done: list[Any]) -> Any:
        with float64():  # a setting of each thread
            while len(done) * _BLOCK < total and not stop.is_set():
                state = advance(state, done)
        return state

    if not blocks[0]:
        states = [advance(states[0], blocks[0]), *states[1:]]  # compiled here, before threads would each compile it
    with ThreadPoolExecutor(min(len(states), os.cpu_count() or 1)) as pool:
        try:
            return list(pool.map(chain, states, blocks))
        finally:
            stop.set()  # on an interrupt, chains end with their block


def _enough(draws: Draws) -> bool:
    """Whether the chains agree, and are worth as many independent draws as the checks of a fit ask for."""
    sites = {name: ((*DRAWS, *(f"{name} {i}" for i in range(x.ndim - 2))), x) for name, x in draws.sites.items()}
    stats = {name: (DRAWS, draws.stats[name]) for name in ("diverging", "energy")}
    return diagnose({"": xr.Dataset(sites)}, xr.Dataset(stats)).enough


def _statistics(state: Any) -> Values:
    return {
        "diverging": state.diverging,
        "energy": state.energy,
        "lp": -state.potential_energy,
        "n_steps": state.num_steps,
        "acceptance_rate": state.accept_prob,
        "step_size": state.adapt_state.step_size,
    }
