"""Does the machinery say what the model says? Simulation-based calibration of parameters and forecasts.

Runs are drawn from the priors, fitted, and forecast. If all is right, the rank of each true parameter among its posterior
draws is uniform (Talts et al., arXiv 1804.06788, theorem 1), and so is that of each later measurement among those of its
forecast.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import chisquare

from bayes_tsl._common.validation import require
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.errors import Notice
from bayes_tsl.forecasting.predict import forecast
from bayes_tsl.inference.fitting import fit
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.simulation import simulate

_THIN = 10  # draws between two that count, which are then nearly independent


def simulated_ranks(
    seeds: Iterable[int],
    *,
    schedule: Schedule,
    steps: ArrayLike,
    origin: float,
    positions: Iterable[float] = (),
    priors: Priors,
    fitted_priors: Priors | None = None,
    chains: int = 2,
    num_draws: int = 500,
) -> pd.DataFrame:
    """Ranks of the truth in simulated runs, one run per seed.

    Args:
        seeds: of the runs.
        schedule: learning rates of the whole run.
        steps: checkpoints; those up to ``origin`` are fitted, the others forecast (step).
        origin: last step that is fitted.
        positions: token positions; none for mean losses.
        priors: where the runs are drawn from.
        fitted_priors: those of the fit, if it is to be wrong.
        chains: of each fit.
        num_draws: of each chain.

    Returns:
        One row per run and quantity: seed, quantity (a parameter, or ``loss at STEP``), rank (share of draws below the truth),
        converged. Of a run whose position curve is too flat to identify gap and rate, these have no row.

    Example::

        import bayes_tsl as bt

        schedule = bt.schedules.cosine(peak=2e-3, warmup=100, total=2000)
        ranks = simulated_ranks(range(50), schedule=schedule, steps=range(200, 2001, 100), origin=1000, priors=bt.Priors())
    """
    step, rows = np.unique(np.asarray(steps, float)), []
    require(
        (step <= origin).any() and (step > origin).any(), "steps", f"lie on both sides of {origin:g}", step, cure="Add some."
    )
    for seed in seeds:
        run = simulate(steps=step, schedule=schedule, origin=origin, positions=tuple(positions), priors=priors, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)
            fitted = fit(
                run.losses.until(origin),
                schedule=schedule,
                priors=fitted_priors or priors,
                seed=seed,
                chains=chains,
                num_draws=num_draws,
                progress=False,
                throw=False,
            )
        later = run.losses.after(origin).mean_losses()
        ahead = forecast(fitted, steps=later.index.to_numpy(float), seed=seed)
        sampled = fitted.sampled()
        posterior = {name: sampled[name].to_numpy() for name in run.parameters if name in sampled}
        truth = dict(run.parameters)
        for i, (at, loss) in enumerate(later.items()):
            posterior[f"loss at {at:g}"], truth[f"loss at {at:g}"] = ahead.observed.to_numpy()[..., i], float(loss)
        for name, draws in posterior.items():
            rank = float(np.mean(draws[:, ::_THIN] < truth[name]))
            rows.append({"seed": seed, "quantity": name, "rank": rank, "converged": fitted.converged})
    return pd.DataFrame(rows)


def uniformity(ranks: pd.DataFrame, *, bins: int = 10) -> pd.DataFrame:
    """Are ranks uniform? One row per quantity.

    Args:
        ranks: what ``simulated_ranks`` returned.
        bins: of the histogram; five runs or more should fall into each.

    Returns:
        runs, chi2, p (of the chi-square test), p_corrected (Bonferroni, for the number of quantities), coverage_50 and
        coverage_90 (share of runs whose central interval covers the truth).

    Raises:
        DataError: too few runs for the bins.

    >>> ranks = pd.DataFrame({"quantity": "heat", "rank": (np.arange(50) + 0.5) / 50})
    >>> float(uniformity(ranks).loc["heat", "coverage_90"])
    0.92
    """
    rows = {}
    for name, part in ranks.groupby("quantity", sort=False):
        rank = part["rank"].to_numpy(float)
        rule = f"hold {5 * bins} runs for {bins} bins"
        require(len(rank) >= 5 * bins, "ranks", rule, len(rank), cure="Simulate more, or use fewer bins.")
        test = chisquare(np.histogram(rank, bins=bins, range=(0.0, 1.0))[0])
        inside = {f"coverage_{prob:.0f}": np.mean(np.abs(2.0 * rank - 1.0) <= prob / 100.0) for prob in (50.0, 90.0)}
        rows[name] = {"runs": len(rank), "chi2": float(test.statistic), "p": float(test.pvalue), **inside}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("quantity")
    table.insert(3, "p_corrected", np.minimum(table["p"] * len(table), 1.0))
    return table
