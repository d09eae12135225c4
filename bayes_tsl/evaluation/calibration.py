"""Does the machinery say what the model says? Simulation-based calibration of parameters and forecasts.

Runs are drawn from the priors, fitted, and forecast. If all is right, the rank of each true parameter among its posterior
draws is uniform (Talts et al., arXiv 1804.06788, theorem 1), and so is that of each later measurement among those of its
forecast.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from bayes_tsl._common.dims import CHAIN, DRAW, DRAWS, STEP
from bayes_tsl._common.validation import floats, require
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.errors import Notice
from bayes_tsl.forecasting.predict import forecast
from bayes_tsl.inference.fitting import fit
from bayes_tsl.inference.nuts import NUM_WARMUP
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.inference.schema import chains_of
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.simulated_population import Plan, simulate_population
from bayes_tsl.model.simulation import Simulation, simulate

__all__ = [
    "simulated_population_ranks",
    "simulated_ranks",
    "uniformity",
]


def __dir__() -> list[str]:
    return __all__


_THIN = 10  # draws between two that count, which are then nearly independent


def simulated_ranks(
    seeds: Iterable[int],
    *,
    schedule: Schedule | str,
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
    step, rows = np.unique(floats(steps, "steps")), []
    require(
        (step <= origin).any() and (step > origin).any(), "steps", f"lie on both sides of {origin:g}", step, cure="Add some."
    )
    settings = {"priors": fitted_priors or priors, "chains": chains, "num_draws": num_draws}
    for seed in seeds:
        run = simulate(steps=step, schedule=schedule, origin=origin, positions=tuple(positions), priors=priors, seed=seed)
        fitted = _fitted(run.losses.until(origin), schedule=schedule, seed=seed, **settings)
        rows.append(_rows(_of_run(fitted, run, seed), seed, fitted))
    return pd.concat(rows, ignore_index=True)


def simulated_population_ranks(
    seeds: Iterable[int],
    *,
    plans: Mapping[str, Plan],
    priors: Priors,
    fitted_priors: Priors | None = None,
    chains: int = 2,
    num_warmup: int = NUM_WARMUP,
    num_draws: int = 500,
) -> pd.DataFrame:
    """Ranks of the truth in simulated runs of one population that are fitted together, one population per seed.

    Args:
        seeds: of the populations.
        plans: schedule, checkpoints and origin of each run by name; checkpoints after the origin are forecast.
        priors: of each run by itself, from which traits are counted; ``simulate_population`` says which can be drawn from.
        fitted_priors: those of the fit, if it is to be wrong.
        chains: of each fit.
        num_warmup: of each chain.
        num_draws: of each chain.

    Returns:
        As ``simulated_ranks``; quantities are e.g. ``trait_mean[heat]``, ``trait_spread[heat]``, ``RUN: heat`` and ``RUN: loss
        at STEP``.

    Example::

        import bayes_tsl as bt
        from bayes_tsl.model.simulated_population import Plan

        cosine = bt.schedules.cosine(peak=1e-3, warmup=150, total=8000, final=1e-4)
        plans = {run: Plan(cosine, range(400, 8001, 400), origin) for run, origin in {"whole": 8000, "young": 3200}.items()}
        priors = bt.Priors(floor_slope=bt.priors.normal(-0.15, 0.05))
        ranks = simulated_population_ranks(range(50), plans=plans, priors=priors)
    """
    rows = []
    settings = {"priors": fitted_priors or priors, "chains": chains, "num_warmup": num_warmup, "num_draws": num_draws}
    schedules = {run: plan.schedule for run, plan in plans.items()}
    table = pd.DataFrame([{"run": run, **plan.covariates} for run, plan in plans.items()])
    known = {"schedules": schedules, "runs": table, "covariates": [name for name in table if name != "run"]}
    for seed in seeds:
        made = simulate_population(plans, priors=priors, seed=seed)
        fitted = _fitted(made.past, **known, seed=seed, **settings)
        ranks = _of_population(fitted, made.population)
        for run, simulation in made.runs.items():
            ranks |= {f"{run}: {name}": rank for name, rank in _of_run(fitted.select(run=run), simulation, seed).items()}
        rows.append(_rows(ranks, seed, fitted))
    return pd.concat(rows, ignore_index=True)


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
    from scipy.stats import chisquare

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


def _fitted(losses: LossTable, **settings: Any) -> Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        return fit(losses, progress=False, throw=False, **settings)


def _of_run(fitted: Fit, run: Simulation, seed: int) -> dict[str, Any]:
    """Rank of each parameter of a run that was sampled, and of each of its losses after the origin."""
    sampled = fitted.sampled()
    ranks = {name: _rank(sampled[name], value) for name, value in run.parameters.items() if name in sampled}
    if run.losses.steps[-1] == fitted.origin:
        return ranks
    later = run.losses.after(fitted.origin).mean_losses()
    ahead = forecast(fitted, steps=later.index.to_numpy(float), seed=seed).observed
    return ranks | {f"loss at {at:g}": _rank(ahead.sel({STEP: at}), float(loss)) for at, loss in later.items()}


def _of_population(fitted: Fit, truth: xr.Dataset) -> dict[str, Any]:
    """Rank of each parameter of the population, as ``trait_mean[heat]``."""
    draws, ranks = chains_of(fitted.data)[0][""], {}
    for site, values in truth.items():
        each = _rank(draws[site], values).to_series()
        at = each.index.to_frame().agg(", ".join, axis=1)
        ranks |= dict(zip(f"{site}[" + at + "]", each))
    return ranks


def _rank(draws: xr.DataArray, truth: Any) -> xr.DataArray:
    """Share of nearly independent draws (chain, draw, ...) below the truth (...), which counts as half a draw itself."""
    thinned = draws.isel({DRAW: slice(None, None, _THIN)})
    return ((thinned < truth).sum(DRAWS) + 0.5) / (thinned.sizes[CHAIN] * thinned.sizes[DRAW] + 1)


def _rows(ranks: Mapping[str, Any], seed: int, fitted: Fit) -> pd.DataFrame:
    return pd.DataFrame(
        {"seed": seed, "quantity": list(ranks), "rank": np.array(list(ranks.values()), float), "converged": fitted.converged}
    )
