"""Where the default priors come from: the public runs that models may be chosen on, each fitted whole, and what they share.

    python benchmarks/population.py [--quick]

Every run is fitted under wide priors; of the logarithm of each parameter its posterior gives a mean and a standard deviation.
Population centre and spread are their maximum-likelihood values under normal errors, so that a run which says nothing of a
parameter does not count; the heat's centre also follows the logarithm of the peak learning rate. Spreads are written
down WIDENED times as wide, since other families of runs will differ more than these do among themselves. The result is
bayes_tsl/population.json, which the package reads (--quick: four runs, written to out/quick).
"""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from common import by_hash, options, public_runs
from numpy.typing import NDArray
from scipy.optimize import minimize
from tqdm import tqdm

import bayes_tsl as bt
from bayes_tsl.priors import HEAT_AT, lognormal

WIDENED = 1.5
WIDE = {
    "floor_curvature": lognormal(0.4, 0.8),
    "heat": lognormal(0.25, 1.0),
    "heat_power": lognormal(0.8, 0.5),
    "heat_delay": lognormal(0.003, 1.0),
    "heat_memory": lognormal(0.03, 1.0),
    "drift_scale": lognormal(0.02, 1.2),
}  # not the noise, which is a matter of how many tokens a checkpoint was evaluated on
TARGET = Path(bt.__file__).parent / "population.json"


def estimates(losses: bt.LossTable, schedule: bt.Schedule) -> dict[str, float]:
    """Posterior mean and standard deviation of the log of each parameter, from a whole run."""
    settings = {"chains": 2, "num_warmup": 300, "num_draws": 300, "progress": False, "throw": False}
    posterior = (
        bt.fit(losses, schedule=schedule, priors=bt.Priors(noise_scale=lognormal(0.002, 1.5), **WIDE), **settings)
        .data["posterior"]
        .to_dataset()
    )
    logs = {name: np.log(posterior[name].to_numpy()) for name in WIDE}
    return {name: drawn.mean() for name, drawn in logs.items()} | {f"{name}_sd": drawn.std() for name, drawn in logs.items()}


def spread_over(mean: NDArray, sd: NDArray, covariate: NDArray) -> tuple[float, float, float]:
    """Centre, its slope in the covariate, and spread of a population that is seen with errors."""

    def misfit(x: NDArray) -> float:
        variance = np.exp(2.0 * x[2]) + sd**2
        return 0.5 * float(np.sum((mean - x[0] - x[1] * covariate) ** 2 / variance + np.log(variance)))

    found = minimize(misfit, [np.median(mean), 0.0, np.log(0.3)], method="Nelder-Mead", options={"maxiter": 4000})
    return float(found.x[0]), float(found.x[1]), float(np.exp(found.x[2]))


def main() -> None:
    asked = options(__doc__, "population")
    warnings.simplefilter("ignore", bt.Notice)
    losses, plans, _ = public_runs()
    order = by_hash(losses.runs)
    chosen = order[: 4 if asked.quick else len(order) // 2]
    table = pd.DataFrame([estimates(losses.select(run=run), plans[run]) for run in tqdm(chosen, desc="fitting", unit="run")])
    log_peak = np.log([plans[run].peak / HEAT_AT for run in chosen])
    parameters, per_peak = {}, 0.0
    for name in WIDE:
        covariate = log_peak if name == "heat" else np.zeros(len(chosen))
        centre, slope, spread = spread_over(table[name].to_numpy(), table[f"{name}_sd"].to_numpy(), covariate)
        parameters[name] = {"centre": round(float(np.exp(centre)), 5), "spread": round(WIDENED * max(spread, 0.05), 3)}
        per_peak = slope if name == "heat" else per_peak
    result = {
        "source": f"{len(chosen)} runs of lr-scheduling (Schaipp, Haegele et al.) and MultiPowerLaw (Luo et al.), 25M to 360M "
        "parameters, AdamW, 7,000 to 72,000 steps",
        "command": "python benchmarks/population.py",
        "versions": {name: version(name) for name in ("bayes_tsl", "numpyro", "jax")},
        "made": datetime.now(UTC).date().isoformat(),
        "heat_per_log_peak": round(per_peak, 3),
        "lognormal": parameters,
    }
    target = asked.out / "population.json" if asked.quick else TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    print(f"wrote {target.name}")


if __name__ == "__main__":
    main()
