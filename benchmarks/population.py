"""Where the default priors come from: the public runs that models may be chosen on, each fitted whole, and what they share.

    python benchmarks/population.py [--quick]

Every run is fitted under wide priors. Of its parameters (logarithms of the positive ones) the posterior gives a mean and a
covariance; the wide prior is divided out of it, so that a run which says nothing of a parameter does not count. The
population is a normal around a regression on the logarithms of peak learning rate and progress, by the EM
algorithm (Dempster, Laird & Rubin 1977). Its covariance is written down as the regression of the heat's other parameters on
the heat, and a spread around it, WIDENED times as wide, since other families of runs will differ more than these do among
themselves. The result is bayes_tsl/population.json, which the package reads (--quick: four runs, written to out/quick).
"""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import by_hash, options, public_runs
from numpy.typing import NDArray
from tqdm import tqdm

import bayes_tsl as bt
from bayes_tsl.priors import Prior, lognormal, normal

Array = NDArray[np.float64]

WIDENED = 1.5
WIDE = {
    "heat": lognormal(0.25, 1.0),
    "heat_power": lognormal(0.8, 0.5),
    "heat_delay": lognormal(0.003, 1.0),
    "heat_memory": lognormal(0.03, 1.0),
    "heat_fade": normal(0.15, 0.3),
    "floor_curvature": lognormal(0.4, 0.8),
    "drift_scale": lognormal(0.02, 1.2),
}  # not the noise, which is a matter of how many tokens a checkpoint was evaluated on
FOLLOW = ("heat_power", "heat_delay", "heat_memory", "heat_fade")  # the heat
UNIT = {"peak": 1e-3, "progress": 2e4}
LEAST = 0.05  # spread of a parameter on which all runs seem to agree
SWEEPS = 300
TARGET = Path(bt.__file__).parent / "population.json"


class Likelihood(NamedTuple):
    """What one run says of its parameters: a normal in information form, flat where it says nothing."""

    precision: Array
    pull: Array


class Population(NamedTuple):
    """Parameters of a run are normal around ``weights`` times its covariates, with this covariance."""

    weights: Array
    covariance: Array


def scaled(prior: Prior, value: Array) -> Array:
    return value if prior.family == "normal" else np.log(value)


def likelihood(losses: bt.LossTable, schedule: bt.Schedule) -> Likelihood:
    """Posterior under wide priors, less those priors."""
    settings = {"chains": 2, "num_warmup": 300, "num_draws": 300, "progress": False, "throw": False}
    fit = bt.fit(losses, schedule=schedule, priors=bt.Priors(noise_scale=lognormal(0.002, 1.5), **WIDE), **settings)
    posterior = fit.data["posterior"].to_dataset()
    drawn = np.stack([scaled(prior, posterior[name].to_numpy().ravel()) for name, prior in WIDE.items()])
    centre = np.array([scaled(prior, np.array(prior.centre)) for prior in WIDE.values()])
    before = np.diag([prior.spread**-2.0 for prior in WIDE.values()])
    after = np.linalg.inv(np.cov(drawn))
    size, axes = np.linalg.eigh(after - before)
    precision = (axes * np.maximum(size, 0.0)) @ axes.T
    best = np.linalg.pinv(precision, rcond=1e-6) @ (after @ drawn.mean(axis=1) - before @ centre)
    return Likelihood(precision, precision @ best)


def population(runs: list[Likelihood], covariates: Array) -> Population:
    """EM: what each run is, given the population; then the regression and covariance of these (run, covariate)."""
    size = len(WIDE)
    weights, covariance = np.zeros((size, covariates.shape[1])), np.eye(size)
    weights[:, 0] = [scaled(prior, np.array(prior.centre)) for prior in WIDE.values()]
    for _ in range(SWEEPS):
        prior = np.linalg.inv(covariance)
        spread = np.stack([np.linalg.inv(run.precision + prior) for run in runs])
        mean = np.stack([s @ (run.pull + prior @ weights @ x) for s, run, x in zip(spread, runs, covariates)])
        weights = np.linalg.lstsq(covariates, mean, rcond=None)[0].T
        off = mean - covariates @ weights.T
        covariance = (off.T @ off + spread.sum(axis=0)) / len(runs) + LEAST**2 * np.eye(size) / len(runs)
    return Population(weights, covariance)


def written(found: Population) -> dict[str, dict[str, float]]:
    """The population, parameter by parameter, as the package reads it."""
    parameters, heat = {}, list(WIDE).index("heat")
    for i, (name, prior) in enumerate(WIDE.items()):
        slope = found.covariance[i, heat] / found.covariance[heat, heat] if name in FOLLOW else 0.0
        left = max(found.covariance[i, i] - slope**2 * found.covariance[heat, heat], LEAST**2)
        centre, per_peak, per_progress = found.weights[i]
        parameters[name] = {
            "centre": centre if prior.family == "normal" else np.exp(centre),
            "spread": WIDENED * np.sqrt(left),
            "with_heat": slope,
            "per_log_peak": per_peak,
            "per_log_progress": per_progress,
        }
    return {name: {key: round(float(value), 5) for key, value in one.items()} for name, one in parameters.items()}


def main() -> None:
    asked = options(__doc__, "population")
    warnings.simplefilter("ignore", bt.Notice)
    losses, plans, _ = public_runs()
    order = by_hash(losses.runs)
    chosen = order[: 4 if asked.quick else len(order) // 2]
    runs = [likelihood(losses.select(run=run), plans[run]) for run in tqdm(chosen, desc="fitting", unit="run")]
    seen = {
        "peak": [plans[run].peak for run in chosen],
        "progress": [float(plans[run].progress(plans[run].end)) for run in chosen],
    }
    covariates = np.column_stack([np.ones(len(chosen)), *(np.log(np.array(seen[name]) / UNIT[name]) for name in UNIT)])
    result = {
        "source": f"{len(chosen)} runs of lr-scheduling (Schaipp, Haegele et al.) and MultiPowerLaw (Luo et al.), 25M to 360M "
        "parameters, AdamW, 7,000 to 72,000 steps",
        "command": "python benchmarks/population.py",
        "versions": {name: version(name) for name in ("bayes_tsl", "numpyro", "jax")},
        "made": datetime.now(UTC).date().isoformat(),
        "unit": UNIT,
        "seen": {name: [min(values), max(values)] for name, values in seen.items()},
        "parameters": written(population(runs, covariates)),
    }
    target = asked.out / "population.json" if asked.quick else TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    print(f"wrote {target.name}")


if __name__ == "__main__":
    main()
