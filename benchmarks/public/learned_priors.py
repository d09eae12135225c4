"""Where the default priors come from: whole runs of every family, and what they share at three levels, by NUTS.

    python -m benchmarks.public.learned_priors [--quick] [--workers N] [--out FOLDER]

Each run is fitted whole under wide priors. The posterior of its parameters theta (logarithms of positive ones), as a normal
with the wide prior divided out, is the likelihood exp(h' theta - theta' Q theta / 2): directions of which a run says nothing
have no part in Q. With covariates x of the run (logarithms of peak learning rate, tokens a step, parameters and progress),

    theta[r, k] ~ Normal(a[k] + x[r] b[k] + f[family of r, k], t[k]),    f[j, k] ~ StudentT(4, 0, o[k]),

t the spread of runs in a family and o that of families; theta is integrated out. Effects b have priors of sd EFFECT_SD around
zero, those of heat HEAT_EFFECTS. Posterior moments go to bayes_tsl/model/learned.json, which the package reads, the likelihoods
to benchmarks/results/learned_priors.csv. The first MOST runs of a family in the order of a hash of their names are used: of
lr_scheduling and multipowerlaw none of those that ``prefix`` judges (--quick: two, written to out/quick).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

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
from benchmarks.common import SHORT, keep, options
from benchmarks.public.families import Family, families

Array = NDArray[np.float64]

EFFECT_SD, FAMILY_SD, RUN_SD = 0.2, 0.5, 0.3  # prior sd of what a factor of e in a covariate does, and of the two spreads ...
LINEAR = 0.1  # ... and how much smaller they are for a parameter without a logarithm
HEAT_EFFECTS = {"peak": (0.3, 0.1), "batch_tokens": (-0.15, 0.05), "parameters": (0.1, 0.05), "progress": (0.0, 0.05)}
# ... but for heat, by Adam's square-root rule, lr / sqrt(batch), and by multi-power laws fitted to three sizes
MOST = 8  # runs of a family, one test set each
WIDE = {
    "floor_curvature": lognormal(0.4, 0.8),
    "heat": lognormal(0.25, 1.0),
    "heat_power": lognormal(0.8, 0.5),
    "heat_fast_time": lognormal(0.003, 1.0),
    "heat_slow_time": lognormal(0.03, 1.0),
    "heat_decay": normal(0.15, 0.15),
    "drift_scale": lognormal(0.05, 1.2),
}  # not the noise, which is a matter of how many tokens a checkpoint was evaluated on
SCALE = np.array([LINEAR if prior.family == "normal" else 1.0 for prior in WIDE.values()])
UNIT = {"peak": 1e-3, "batch_tokens": 1e5, "parameters": 1e8, "progress": 2e4}
NOT_LEARNED_FROM = ("repeated", "gpt_positions")  # whose losses the law does not describe, or only after an early bend
TARGET = Path(bt.__file__).parent / "model" / "learned.json"


def scaled(prior: Prior, value: Array) -> Array:
    return value if prior.family == "normal" else np.log(value)


def covariates(schedule: bt.Schedule, known: Mapping[str, float]) -> dict[str, float]:
    """Logarithms of peak, tokens a step, parameters and progress at the end, in units of UNIT."""
    values = dict(known) | {"peak": schedule.peak, "progress": float(schedule.progress(schedule.end))}
    return {name: float(np.log(values[name] / unit)) for name, unit in UNIT.items()}


def standard(prior: Prior, value: Array) -> Array:
    """Draws of a parameter in standard deviations from the centre of its wide prior."""
    return (scaled(prior, value) - scaled(prior, np.asarray(prior.centre))) / prior.sd


def summary(task: tuple[str, str, bt.LossTable, bt.Schedule, dict[str, float]]) -> dict[str, object]:
    """What the losses of one whole run say of its parameters: precision and pull, the wide prior divided out."""
    family, run, losses, schedule, known = task
    warnings.simplefilter("ignore", bt.Notice)
    priors = bt.Priors(noise_scale=lognormal(0.002, 1.5), **WIDE)
    drawn = bt.fit(losses, schedule=schedule, priors=priors, **SHORT | {"num_draws": 300}).parameters()
    z = np.stack([standard(prior, np.asarray(drawn[name])).ravel() for name, prior in WIDE.items()])
    inverse = np.linalg.inv(np.cov(z))
    value, axes = np.linalg.eigh(inverse - np.eye(len(WIDE)))
    informed = axes[:, value > 0.0]
    precision = (informed * value[value > 0.0]) @ informed.T
    pull = informed @ (informed.T @ (inverse @ z.mean(axis=1)))
    row: dict[str, object] = {"family": family, "run": run, **covariates(schedule, known)}
    row |= {f"pull {name}": value for name, value in zip(WIDE, pull)}
    pairs = zip(*np.triu_indices(len(WIDE)))
    names = list(WIDE)
    return row | {f"{names[i]} x {names[j]}": precision[i, j] for i, j in pairs}


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
        return pd.DataFrame(list(tqdm(pool.map(summary, tasks), total=len(tasks), desc="fitting", unit="run")))


def effect_prior(sd: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of what a factor of e in each covariate does (covariate, parameter)."""
    mean, spread = np.zeros((len(UNIT), len(WIDE))), np.tile(EFFECT_SD * SCALE, (len(UNIT), 1))
    heat = list(WIDE).index("heat")
    mean[:, heat], spread[:, heat] = np.array([HEAT_EFFECTS[name] for name in UNIT]).T
    return mean / sd, spread / sd


def regression(pull: Array, precision: Array, x: Array, family: NDArray[np.int64], count: int) -> None:
    """The three levels: parameters of runs integrated out (run, parameter), in standard deviations of their wide priors."""
    sd, shape = np.array([prior.sd for prior in WIDE.values()]), (len(WIDE),)
    intercept = numpyro.sample("intercept", dist.Normal(0.0, 1.0).expand(shape).to_event(1))
    effect = numpyro.sample("effect", dist.Normal(*effect_prior(sd)).to_event(2))
    families_apart = numpyro.sample("family_spread", dist.HalfNormal(FAMILY_SD * SCALE / sd).to_event(1))
    runs_apart = numpyro.sample("run_spread", dist.HalfNormal(RUN_SD * SCALE / sd).to_event(1))
    of_family = families_apart * numpyro.sample("family", dist.StudentT(4.0, 0.0, 1.0).expand((count, *shape)).to_event(2))
    expected = intercept + x @ effect + of_family[family]
    own = jnp.eye(len(WIDE)) / runs_apart**2
    total, weighted = precision + own, pull + expected / runs_apart**2
    root = jnp.linalg.cholesky(total)
    white = jax.scipy.linalg.solve_triangular(root, weighted[..., None], lower=True)[..., 0]
    fit = (white**2).sum(-1) - (expected**2 / runs_apart**2).sum(-1)
    volume = 2.0 * jnp.log(jnp.diagonal(root, axis1=1, axis2=2)).sum(-1) + 2.0 * jnp.log(runs_apart).sum()
    numpyro.factor("runs", 0.5 * (fit - volume).sum())


def learn(table: pd.DataFrame, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The three levels, from every family but those left out, as ``bayes_tsl.model.learned`` reads them."""
    kept = table[~table["family"].isin(without)]
    names, family = np.unique(kept["family"], return_inverse=True)
    pull = kept[[f"pull {name}" for name in WIDE]].to_numpy(float)
    precision = np.zeros((len(kept), len(WIDE), len(WIDE)))
    for i, one in enumerate(WIDE):
        for j, other in enumerate(WIDE):
            precision[:, i, j] = kept[f"{one} x {other}" if i <= j else f"{other} x {one}"]
    x = kept[list(UNIT)].to_numpy(float)
    sampler = MCMC(
        NUTS(regression, target_accept_prob=0.95), num_warmup=500, num_samples=1000, num_chains=1, progress_bar=False
    )
    with jax.enable_x64(True):
        sampler.run(jax.random.key(0), pull, precision, x, family, len(names))
        draws = {name: np.asarray(values, float) for name, values in sampler.get_samples().items()}
    return {"covariates": distribution(x, family), "families": names.tolist(), "parameters": moments(draws)}


def distribution(x: Array, family: NDArray[np.int64]) -> dict[str, Any]:
    """How covariates are distributed, families weighted alike, and the range that was seen."""
    weight = 1.0 / np.bincount(family)[family]
    mean, covariance = np.average(x, axis=0, weights=weight), np.cov(x, rowvar=False, aweights=weight)
    return {
        name: {
            "unit": unit,
            "seen": [float(unit * np.exp(x[:, i].min())), float(unit * np.exp(x[:, i].max()))],
            "mean": mean[i],
            "covariance": covariance[i].tolist(),
        }
        for i, (name, unit) in enumerate(UNIT.items())
    }


def moments(draws: Mapping[str, Array]) -> dict[str, Any]:
    """Posterior moments of the levels of each parameter, in its own unit."""
    made = {}
    for k, (name, prior) in enumerate(WIDE.items()):
        of_family = draws["family_spread"][:, None, k] * draws["family"][..., k]
        levels = prior.sd * np.column_stack([draws["intercept"][:, k], draws["effect"][..., k], of_family])
        levels[:, 0] += scaled(prior, np.asarray(prior.centre))
        made[name] = {
            "mean": levels.mean(axis=0).tolist(),
            "covariance": np.cov(levels, rowvar=False).tolist(),
            "family_variance": float(prior.sd**2 * np.median(draws["family_spread"][:, k]) ** 2),
            "run_variance": float(prior.sd**2 * np.mean(draws["run_spread"][:, k] ** 2)),
        }
    return made


def main() -> None:
    asked = options(__doc__, "learned_priors")
    table = estimates(families(2 if asked.quick else MOST), asked.workers)
    keep(table, asked.table)
    levels = {
        "source": f"{len(table)} whole AdamW runs of {table['family'].nunique()} public families",
        "command": "python -m benchmarks.public.learned_priors",
        "versions": {name: version(name) for name in ("bayes_tsl", "numpyro", "jax")},
        "made": datetime.now(UTC).date().isoformat(),
        **learn(table),
    }
    target = asked.out / "learned.json" if asked.quick else TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(levels, default=float) + "\n")
    print(shown(levels).to_string())
    print(f"wrote {target.name}")


SPREADS = {"families": "family_variance", "runs": "run_variance"}


def shown(levels: Mapping[str, Any]) -> pd.DataFrame:
    """The levels of each parameter, as the table of docs/modelling.md has them."""
    rows = {}
    for name, one in levels["parameters"].items():
        mean, sd = np.array(one["mean"]), np.sqrt(np.diag(one["covariance"]))
        centre = mean[0] if WIDE[name].family == "normal" else np.exp(mean[0])
        effects = {f"per log {of}": f"{mean[1 + i]:+.2f} ± {sd[1 + i]:.2f}" for i, of in enumerate(UNIT)}
        spreads = {f"spread of {of}": f"{one[variance] ** 0.5:.2f}" for of, variance in SPREADS.items()}
        rows[name] = {"centre": f"{centre:.3g}"} | effects | spreads
    return pd.DataFrame(rows).T


if __name__ == "__main__":
    main()
