"""Priors of a new family of runs, learned from whole runs of others: three levels, by NUTS.

    python -m benchmarks.public.learned_priors [--quick] [--out FOLDER]

Each run is fitted whole under wide priors. Its posterior of parameter k (of the logarithm of a positive one), with the wide
prior divided out, is an estimate y with an error s. With covariates x of the run (logarithms of peak learning rate, tokens a
step, parameters and progress),

    y[r, k] ~ Normal(a[k] + x[r] b[k] + f[family of r, k], (t[k]^2 + s[r, k]^2)^(1/2)),    f[j, k] ~ Student-t(4, 0, o[k]),

t the spread of runs in a family and o that of families. Priors of a new run are the predictive of a new family at its
covariates, so they widen where these are far from all that was seen. Estimates are written to
benchmarks/results/learned_priors.csv. Printed is the regression on all families together (--quick: two runs of a family).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from numpy.typing import NDArray
from numpyro.infer import MCMC, NUTS
from tqdm import tqdm

import bayes_tsl as bt
from bayes_tsl.model.priors import Prior, lognormal, normal
from benchmarks.common import keep, options
from benchmarks.public import population
from benchmarks.public.families import Family, families

Array = NDArray[np.float64]

MOST = 8  # runs of a family, one test set each
WIDE = population.WIDE | {"heat_decay": normal(0.15, 0.15), "drift_scale": lognormal(0.05, 1.2)}
UNIT = {"peak": 1e-3, "batch_tokens": 1e5, "parameters": 1e8, "progress": 2e4}
NOT_LEARNED_FROM = ("repeated",)  # whose losses the law does not describe
LEAST = 0.05  # precision that the losses of a run must add to that of the wide prior, as a share of it


def covariates(schedule: bt.Schedule, known: Mapping[str, float]) -> dict[str, float]:
    """Logarithms of peak, tokens a step, parameters and progress at the end, in units of UNIT."""
    values = dict(known) | {"peak": schedule.peak, "progress": float(schedule.progress(schedule.end))}
    return {name: float(np.log(values[name] / unit)) for name, unit in UNIT.items()}


def estimate(task: tuple[str, str, bt.LossTable, bt.Schedule, dict[str, float]]) -> dict[str, object]:
    """Estimate and error of each parameter of one whole run, the wide prior divided out."""
    family, run, losses, schedule, known = task
    warnings.simplefilter("ignore", bt.Notice)
    drawn = population.whole_run(losses, schedule, WIDE)
    row: dict[str, object] = {"family": family, "run": run, **covariates(schedule, known)}
    for name, prior in WIDE.items():
        values, centre = drawn[name], population.scaled(prior, np.asarray(prior.centre))
        added = max(1.0 / values.var() - prior.sd**-2, LEAST * prior.sd**-2)
        row |= {
            name: float((values.mean() / values.var() - centre * prior.sd**-2) / added),
            f"{name}_error": float(added**-0.5),
        }
    return row


def on_first_set(losses: bt.LossTable, run: str) -> bt.LossTable:
    one = losses.select(run=run)
    return one.select(test_set=one.test_sets[0])


def estimates(by_name: Mapping[str, Family], workers: int) -> pd.DataFrame:
    tasks = [
        (name, run, on_first_set(family.losses, run), schedule, family.known.loc[run].to_dict())
        for name, family in by_name.items()
        if name not in NOT_LEARNED_FROM
        for run, schedule in family.schedules.items()
    ]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return pd.DataFrame(list(tqdm(pool.map(estimate, tasks), total=len(tasks), desc="fitting", unit="run")))


def regression(y: Array, error: Array, x: Array, family: NDArray[np.int64], count: int) -> None:
    """The three levels (run, parameter)."""
    shape = (y.shape[1],)
    intercept = numpyro.sample("intercept", dist.Normal(jnp.median(y, axis=0), 1.0).to_event(1))
    effect = numpyro.sample("effect", dist.Normal(0.0, 0.2).expand((x.shape[1], *shape)).to_event(2))
    families_apart = numpyro.sample("family_spread", dist.HalfNormal(0.5).expand(shape).to_event(1))
    runs_apart = numpyro.sample("run_spread", dist.HalfNormal(0.3).expand(shape).to_event(1))
    of_family = families_apart * numpyro.sample("family", dist.StudentT(4.0, 0.0, 1.0).expand((count, *shape)).to_event(2))
    expected = intercept + x @ effect + of_family[family]
    numpyro.sample("y", dist.Normal(expected, jnp.sqrt(runs_apart**2 + error**2)), obs=y)


def learn(table: pd.DataFrame, *, without: tuple[str, ...] = ()) -> dict[str, Array]:
    """Draws of the three levels, from every family but those left out."""
    kept = table[~table["family"].isin(without)]
    names, family = np.unique(kept["family"], return_inverse=True)
    y, error = kept[list(WIDE)].to_numpy(float), kept[[f"{name}_error" for name in WIDE]].to_numpy(float)
    sampler = MCMC(NUTS(regression, target_accept_prob=0.95), num_warmup=500, num_samples=1000, progress_bar=False)
    sampler.run(jax.random.key(0), y, error, kept[list(UNIT)].to_numpy(float), family, len(names))
    return {name: np.asarray(values, float) for name, values in sampler.get_samples().items()}


def priors_of_new_family(draws: Mapping[str, Array], at: Mapping[str, float], *, seed: int = 0) -> bt.Priors:
    """The predictive of a run of a new family at its covariates: median, and a spread from the 90 % interval."""
    rng, x = np.random.default_rng(seed), np.array([at[name] for name in UNIT])
    shape = draws["intercept"].shape
    new = draws["intercept"] + x @ draws["effect"]
    new = new + draws["family_spread"] * rng.standard_t(4.0, shape) + draws["run_spread"] * rng.standard_normal(shape)
    low, middle, high = np.quantile(new, [0.05, 0.5, 0.95], axis=0)
    made = {}
    for k, (name, wide) in enumerate(WIDE.items()):
        centre = middle[k] if wide.family == "normal" else np.exp(middle[k])
        made[name] = Prior(wide.family, float(centre), float((high[k] - low[k]) / 3.29))
    return bt.Priors(**made)


def main() -> None:
    asked = options(__doc__, "learned_priors")
    table = estimates(families(2 if asked.quick else MOST), asked.workers)
    keep(table, asked.table)
    draws = learn(table)
    shown = {name: draws[name].mean(axis=0) for name in ("intercept", "family_spread", "run_spread")}
    shown |= {f"per log {name}": draws["effect"][:, i].mean(axis=0) for i, name in enumerate(UNIT)}
    print(pd.DataFrame(shown, index=list(WIDE)).round(3).to_string())


if __name__ == "__main__":
    main()
