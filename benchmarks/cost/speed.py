"""Effective draws per second, against the model as a textbook would write it, on the same losses in one run.

    python -m benchmarks.cost.speed [--quick]

small_lm, half code, prose, the first half of the run. The textbook's model has the same laws and priors, a likelihood of every
loss at every position, every coefficient and the drift sampled as they stand, a free effect for each position, and
NumPyro's MCMC with its diagonal mass matrix. Both take 2 chains of 500 + 500 transitions; tsl aims at an acceptance of .95 and
runs its chains side by side, the textbook at NumPyro's own .8 and one after the other. The median of three fits each, taken in
turn (--quick: one, of a fifth of the transitions).
"""

from __future__ import annotations

import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from arviz import ess
from numpyro import handlers
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import initialize_model

import bayes_tsl as bt
from bayes_tsl.model import laws
from bayes_tsl.model.design import Design, make_design
from bayes_tsl.model.priors import Priors, default_priors
from bayes_tsl.model.single_run import model, parameters, trend, variances
from benchmarks.common import SHORT, SMALL_LM, keep, options


def textbook(design: Design, priors: Priors) -> None:
    """Every latent sampled as it stands in the equations."""
    sites = globals_of(design, priors)
    law, spread = trend(design.axis, sites), variances(design, sites)
    rows = jnp.eye(len(design.step))
    with numpyro.plate("step", len(design.step)):
        log_gap = numpyro.sample("log_gap", dist.Normal(law.log_gap, jnp.sqrt(spread.gap)))
        log_rate = numpyro.sample("log_rate", dist.Normal(law.log_rate, jnp.sqrt(spread.rate)))
    drift = numpyro.sample("drift", dist.MultivariateNormal(jnp.zeros(len(rows)), spread.drift + 1e-8 * rows))
    with numpyro.plate("step", len(design.step)):
        floor = numpyro.sample("floor", dist.Normal(law.floor + drift, jnp.sqrt(spread.noise)))
    with numpyro.plate("position", len(design.position)):
        effect = numpyro.sample("effect", dist.Normal(0.0, 0.3))
    noise = numpyro.sample("position_noise", dist.LogNormal(np.log(0.05), 1.0))
    gap, rate = jnp.exp(log_gap)[:, None], jnp.exp(log_rate)[:, None]
    expected = laws.reciprocal_loss(design.position, gap=gap, rate=rate, floor=floor[:, None]) + effect
    numpyro.sample("loss", dist.Normal(expected, noise), obs=design.losses)


def globals_of(design: Design, priors: Priors) -> dict[str, jax.Array]:
    """Values of what the package's model samples, from the same priors; its likelihood is left out."""
    with handlers.trace() as seen, handlers.block(hide_fn=lambda site: site.get("is_observed", False)):
        model(design, priors)
    return priors.fixed() | {name: site["value"] for name, site in seen.items() if site["type"] == "sample"}


def by_textbook(design: Design, priors: Priors, seed: int, size: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Draws of every site, and what is said of them, from ``size`` transitions after as many of warm-up."""
    settings = {"num_chains": 2, "chain_method": "sequential", "progress_bar": False}
    sampler = MCMC(NUTS(textbook), num_warmup=size, num_samples=size, **settings)
    sampler.run(jax.random.key(seed), design, priors, extra_fields=("diverging", "num_steps"))
    extra = sampler.get_extra_fields(group_by_chain=True)
    said = {"divergences": int(extra["diverging"].sum()), "leapfrogs": float(extra["num_steps"].mean())}
    return sampler.get_samples(group_by_chain=True), said


def by_package(losses: bt.LossTable, seed: int, size: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    fit = bt.fit(losses, schedule=SMALL_LM, seed=seed, **SHORT | {"num_warmup": size, "num_draws": size})
    stats = fit.data["sample_stats"]
    said = {"divergences": int(stats["diverging"].sum()), "leapfrogs": float(stats["n_steps"].mean())}
    return {str(name): values.to_numpy() for name, values in fit.data["posterior"].to_dataset().items()}, said


def gradient_time(written, design: Design, priors: Priors) -> float:
    """Seconds of one gradient of the log density: median of 200."""
    with jax.enable_x64(True):
        info = initialize_model(jax.random.key(0), written, model_args=(design, priors))
        gradient = jax.jit(jax.value_and_grad(info.potential_fn))
        jax.block_until_ready(gradient(info.param_info.z))
        times = []
        for _ in range(200):
            start = time.perf_counter()
            jax.block_until_ready(gradient(info.param_info.z))
            times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    asked = options(__doc__, "speed")
    warnings.simplefilter("ignore")
    losses = bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose").until(1250)
    design, _ = make_design(losses, SMALL_LM)
    priors = default_priors(SMALL_LM, origin=1250)
    names, size = parameters(design, priors), 100 if asked.quick else 500
    rows = []
    for seed in range(1 if asked.quick else 3):
        for name in ("tsl", "textbook"):
            start = time.perf_counter()
            if name == "tsl":
                sites, said = by_package(losses, seed, size)
            else:
                with jax.enable_x64(True):
                    sites, said = by_textbook(design, priors, seed, size)
            seconds = time.perf_counter() - start
            effective = [float(ess(np.asarray(sites[parameter]))) for parameter in names]
            rows.append(
                {"model": name, "seconds": seconds, "min_ess": min(effective), "median_ess": np.median(effective), **said}
            )
            print(rows[-1], flush=True)
    runs = pd.DataFrame(rows)
    runs["min_ess_per_s"], runs["median_ess_per_s"] = runs["min_ess"] / runs["seconds"], runs["median_ess"] / runs["seconds"]
    table = runs.groupby("model", sort=False).median()
    table["gradient_ms"] = [1e3 * gradient_time(written, design, priors) for written in (model, textbook)]
    ratio = (table.loc["tsl"] / table.loc["textbook"]).to_frame("tsl / textbook").T
    keep(pd.concat([table, ratio]).rename_axis("model").reset_index(), asked.table)


if __name__ == "__main__":
    main()
