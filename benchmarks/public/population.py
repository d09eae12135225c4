"""Where the default priors come from: the public runs that models may be chosen on, each fitted whole, and what they share.

    python -m benchmarks.public.population [--quick]

Every run is fitted under wide priors; of each parameter (of the logarithm of the positive ones) its posterior gives a mean and
a standard deviation. Population centre and spread are their maximum-likelihood values under normal errors, so that a run which
says nothing of a parameter does not count; those of HEATED follow the logarithms of peak learning rate and progress. No spread
is written down below LEAST. The result is bayes_tsl/model/default_population.json, which the package reads
(--quick: four runs, written to out/quick).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from tqdm import tqdm

import bayes_tsl as bt
from bayes_tsl.model.priors import Prior, lognormal, normal
from benchmarks.common import SHORT, options
from benchmarks.public.curves import by_hash, public_runs

Array = NDArray[np.float64]

LEAST = 0.1  # spread of a parameter on which all runs seem to agree
LEAST_POWER = 0.2  # that of the heat's power: the true shape of the heat is not quite any of ours
WIDE = {
    "floor_curvature": lognormal(0.4, 0.8),
    "heat": lognormal(0.25, 1.0),
    "heat_power": lognormal(0.8, 0.5),
    "heat_fast_time": lognormal(0.003, 1.0),
    "heat_slow_time": lognormal(0.03, 1.0),
    "drift_scale": lognormal(0.02, 1.2),
}  # not the noise, which is a matter of how many tokens a checkpoint was evaluated on
GIVEN = {
    "heat_decay": normal(0.12, 0.1)
}  # what one run says little of: read off steps down at several times (docs/modelling.md)
HEATED = ("heat", "heat_power")
UNIT = {"peak": 1e-3, "progress": 2e4}
TARGET = Path(bt.__file__).parent / "model" / "default_population.json"


def scaled(prior: Prior, value: Array) -> Array:
    return value if prior.family == "normal" else np.log(value)


def whole_run(losses: bt.LossTable, schedule: bt.Schedule, wide: Mapping[str, Prior], **given: Prior) -> dict[str, Array]:
    """Draws of each parameter that has a wide prior (of its logarithm, if positive), from a whole run."""
    priors = bt.Priors(noise_scale=lognormal(0.002, 1.5), **wide, **given)
    drawn = bt.fit(losses, schedule=schedule, priors=priors, **SHORT | {"num_draws": 300}).parameters()
    return {name: scaled(prior, np.asarray(drawn[name])) for name, prior in wide.items()}


def estimates(losses: bt.LossTable, schedule: bt.Schedule) -> dict[str, float]:
    """Posterior mean and standard deviation of each parameter, from a whole run."""
    drawn = whole_run(losses, schedule, WIDE, **GIVEN)
    return {name: one.mean() for name, one in drawn.items()} | {f"{name}_sd": one.std() for name, one in drawn.items()}


def population(mean: Array, sd: Array, covariates: Array) -> tuple[Array, float]:
    """Regression weights and spread of a population of parameters (run) that are seen with errors (run, covariate)."""
    size = covariates.shape[1]

    def misfit(x: Array) -> float:
        variance = np.exp(2.0 * x[size]) + sd**2
        return 0.5 * float(np.sum((mean - covariates @ x[:size]) ** 2 / variance + np.log(variance)))

    found = np.concatenate([[np.median(mean)], np.zeros(size - 1), [np.log(0.3)]])
    for _ in range(3):  # the simplex search stops early
        found = minimize(misfit, found, method="Nelder-Mead", options={"maxiter": 4000}).x
    return found[:size], float(np.exp(found[size]))


def written(prior: Prior, weights: Array, spread: float) -> dict[str, float]:
    """A parameter's population as the package reads it."""
    centre, per_peak, per_progress = np.pad(weights, (0, 3 - len(weights)))
    numbers = {
        "centre": centre if prior.family == "normal" else np.exp(centre),
        "sd": spread,
        "per_log_peak": per_peak,
        "per_log_progress": per_progress,
    }
    return {name: round(float(number), 5) for name, number in numbers.items()}


def spread_within(table: pd.DataFrame, covariates: Array, kinds: pd.Series) -> dict[str, float]:
    """Spread of the log heat among the runs of each source, beyond its covariates."""
    source = kinds.str.split().str[0].to_numpy()
    mean, sd = table["heat"].to_numpy(), table["heat_sd"].to_numpy()
    one = {name: source == name for name in np.unique(source)}
    return {str(name): round(population(mean[at], sd[at], covariates[at])[1], 3) for name, at in one.items()}


def main() -> None:
    asked = options(__doc__, "population")
    warnings.simplefilter("ignore", bt.Notice)
    losses, plans, kinds = public_runs()
    order = by_hash(losses.runs)
    chosen = order[: 4 if asked.quick else len(order) // 2]
    table = pd.DataFrame([estimates(losses.select(run=run), plans[run]) for run in tqdm(chosen, desc="fitting", unit="run")])
    seen = {
        "peak": [plans[run].peak for run in chosen],
        "progress": [float(plans[run].progress(plans[run].end)) for run in chosen],
    }
    covariates = np.column_stack([np.ones(len(chosen)), *(np.log(np.array(seen[name]) / UNIT[name]) for name in UNIT)])
    parameters = {name: written(prior, np.array([prior.centre]), prior.sd) for name, prior in GIVEN.items()}
    for name, prior in WIDE.items():
        known = covariates if name in HEATED else covariates[:, :1]
        weights, spread = population(table[name].to_numpy(), table[f"{name}_sd"].to_numpy(), known)
        least = LEAST_POWER if name == "heat_power" else LEAST
        parameters[name] = written(prior, weights, max(spread, least))
    result = {
        "source": f"{len(chosen)} runs of lr-scheduling (Schaipp, Haegele et al.) and MultiPowerLaw (Luo et al.), 25M to 360M "
        "parameters, AdamW, 7,000 to 72,000 steps",
        "command": "python -m benchmarks.public.population",
        "versions": {name: version(name) for name in ("bayes_tsl", "numpyro", "jax")},
        "made": datetime.now(UTC).date().isoformat(),
        "unit": UNIT,
        "seen": {name: [min(values), max(values)] for name, values in seen.items()},
        "parameters": parameters,
    }
    target = asked.out / "population.json" if asked.quick else TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    print(f"spread of the heat, for one family of runs alone: {spread_within(table, covariates, kinds[chosen])}")
    print(f"wrote {target.name}")


if __name__ == "__main__":
    main()
