"""Many fits as one batch on an accelerator, beside fits of the same runs in two processes on two cores.

    python -m benchmarks.cost.batched [--quick]

Runs are simulated, 24 checkpoints each; WARMUP + DRAWS transitions of four chains each. A batch is ``jax.vmap`` of NUTS over
all chains of all fits: one program, whose every step waits for the longest trajectory of any chain, which DEPTH therefore
bounds. Whitening around the mode comes first, one fit after the other on the CPU; it and compiling are timed apart. A batch of
more than DISTINCT fits has several of each run, with other seeds. Means of all parameters are compared in posterior standard
deviations: ``apart``, where Monte Carlo alone makes ``by_chance``. --quick: two fits on whatever JAX has.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from multiprocessing import get_context
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from arviz import ess
from jax import lax
from numpyro.infer.hmc import hmc
from numpyro.infer.util import ParamInfo

import bayes_tsl as bt
from bayes_tsl._common.jax_settings import float64
from bayes_tsl.inference.fitting import typical_values
from bayes_tsl.inference.preconditioning import Whitening, constrained, potential, value_and_grad, whitening
from bayes_tsl.model.design import make_design, padded
from bayes_tsl.model.priors import default_priors
from bayes_tsl.model.simulation import simulate
from bayes_tsl.model.single_run import model, parameters
from benchmarks.common import SMALL_LM, keep, options

STEPS, ORIGIN = range(150, 2501, 50), 1300
DISTINCT, BATCHES, ON_CPU = 64, (64, 1024), 16  # fits
CHAINS, WARMUP, DRAWS = 4, 200, 200
DEPTH = 6  # at most 63 leapfrog steps, which few trajectories want once adapted
BLOCK = 50  # transitions of one call
NAMES = ("heat", "floor_slope", "floor_curvature", "drift_scale", "noise_scale")

Draws = dict[str, np.ndarray]  # (fit, chain, draw)


class Batch(NamedTuple):
    """Fits of one shape, each field with a first axis that counts them."""

    coordinates: Whitening
    args: tuple[Any, ...]


def losses_of(number: int) -> bt.LossTable:
    """The first half of a simulated run; priors reach below zero, where a run is drawn again."""
    for seed in count(number, DISTINCT):
        with suppress(bt.DataError):
            return simulate(steps=STEPS, schedule=SMALL_LM, origin=ORIGIN, seed=seed).losses.until(ORIGIN)
    raise AssertionError


def prepared(fits: int) -> Batch:
    """Designs, priors and coordinates, made on the CPU."""
    made = [_prepared(number) for number in range(min(fits, DISTINCT))]
    return jax.tree.map(lambda *parts: np.stack(parts), *[made[number % len(made)] for number in range(fits)])


def _prepared(number: int) -> Batch:
    priors = default_priors(SMALL_LM, origin=ORIGIN)
    design = padded(make_design(losses_of(number), SMALL_LM)[0])
    start, names = typical_values(design, priors), parameters(design, priors)
    with jax.default_device(jax.devices("cpu")[0]):
        around = whitening(model, design, priors, start=start, dense=names)
    return Batch(around, (design, priors))


def sampler(coordinates: Whitening, args: tuple[Any, ...]) -> tuple[Any, Any]:
    """NumPyro's two halves of NUTS, for one chain of one fit."""
    begin, step = hmc(potential_fn=partial(potential, model, coordinates, args), algo="NUTS")
    settings = {"num_warmup": WARMUP, "target_accept_prob": 0.98, "trajectory_length": None, "max_tree_depth": DEPTH}
    return partial(begin, dense_mass=[("dense",)], **settings), step


def begun(fit: Batch, key: jax.Array) -> Any:
    """The state of one chain, at the mode."""
    at = jax.tree.map(jax.numpy.asarray, fit.coordinates.origin())
    return sampler(*fit)[0](ParamInfo(at, *value_and_grad(model, fit.coordinates, fit.args, at)), rng_key=key)


def block(fit: Batch, state: Any) -> tuple[Any, Any]:
    """``BLOCK`` transitions of one chain."""
    begin, step = sampler(*fit)
    begin(ParamInfo(state.z, state.potential_energy, state.z_grad))

    def transition(state: Any, _: None) -> tuple[Any, Any]:
        state = step(state)
        return state, state.z

    return lax.scan(transition, state, None, length=BLOCK)


def compiled(batch: Batch, fits: int) -> tuple[Batch, Any, Any]:
    """The batch where it is computed, its chains at the start, and what takes them ``BLOCK`` transitions further."""
    keys = jax.random.split(jax.random.key(0), (fits, CHAINS))
    batch = jax.device_put(batch)
    states = jax.jit(over_chains(begun))(batch, keys)
    return batch, states, jax.jit(over_chains(block)).lower(batch, jax.block_until_ready(states)).compile()


def over_chains(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a fit and a chain, for every fit and all of its chains."""
    return jax.vmap(jax.vmap(function, in_axes=(None, 0)))


def sampled(batch: Batch, states: Any, advance: Any) -> tuple[Draws, float]:
    """Draws of all fits, and the seconds that they took."""
    kept, start = [], time.perf_counter()
    for number in range((WARMUP + DRAWS) // BLOCK):
        states, moved = advance(batch, states)
        kept += [moved] if number >= WARMUP // BLOCK else []
        jax.block_until_ready(states)
        print(f"{(number + 1) * BLOCK} transitions, {time.perf_counter() - start:.0f} s", flush=True)
    seconds = time.perf_counter() - start
    read = jax.jit(over_chains(jax.vmap(parameters_at, in_axes=(None, 0))))
    parts = [jax.tree.map(np.asarray, read(batch, moved)) for moved in kept]
    return jax.tree.map(lambda *each: np.concatenate(each, axis=2), *parts), seconds


def parameters_at(fit: Batch, x: Any) -> dict[str, Any]:
    """Parameters of one draw."""
    sites = constrained(model, fit.args, fit.coordinates.sites(x))
    return {name: sites[name] for name in NAMES}


def on_two_cores(fits: int) -> tuple[Draws, float]:
    """The same by ``fit_each``, and its seconds."""
    os.environ |= {"JAX_PLATFORMS": "cpu"}
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    table = pd.concat([losses_of(number).frame.assign(run=f"{number:04d}") for number in range(fits)])
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = bt.fit_each(
            bt.LossTable.from_frame(table),
            SMALL_LM,
            folder=folder,
            workers=2,
            progress=False,
            chains=CHAINS,
            num_warmup=WARMUP,
            num_draws=DRAWS,
        )
        seconds = time.perf_counter() - start
        made = [bt.load_fit(name).data["posterior"] for name in done.sort_values("run")["file"]]
    return {name: np.stack([np.asarray(one[name]) for one in made]) for name in NAMES}, seconds


def apart(one: Draws, other: Draws) -> dict[str, float]:
    """Root mean square difference of posterior means, and what Monte Carlo makes of it, in standard deviations."""
    fits = min(len(one["heat"]), len(other["heat"]))
    pairs = [(one[name][fit], other[name][fit]) for name in NAMES for fit in range(fits)]
    off = [(a.mean() - b.mean()) / b.std() for a, b in pairs]
    chance = [1.0 / float(ess(a)) + 1.0 / float(ess(b)) for a, b in pairs]
    return {"apart": float(np.sqrt(np.mean(np.square(off)))), "by_chance": float(np.sqrt(np.mean(chance)))}


def rows(quick: bool) -> Iterator[dict[str, Any]]:
    sizes, cpu = ((2,), 2) if quick else (BATCHES, ON_CPU)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        reference, seconds = other.submit(on_two_cores, cpu).result()
    yield {"where": "two cores, fit_each", "fits": cpu, "sampling_s": seconds, "fits_per_s": cpu / seconds}
    for fits in sizes:
        with float64():
            start = time.perf_counter()
            batch = prepared(fits)
            whitened = (time.perf_counter() - start) * fits / min(fits, DISTINCT)
            start = time.perf_counter()
            made = compiled(batch, fits)
            compiling = time.perf_counter() - start
            draws, seconds = sampled(*made)
        took = {"whitening_s": whitened, "compiling_s": compiling, "sampling_s": seconds, "fits_per_s": fits / seconds}
        yield {"where": f"vmap, {jax.devices()[0].device_kind}", "fits": fits, **took, **apart(draws, reference)}


def main() -> None:
    asked = options(__doc__, "batched")
    made: list[dict[str, Any]] = []
    for row in rows(asked.quick):
        made.append(row)
        keep(pd.DataFrame(made), asked.table)


if __name__ == "__main__":
    main()
