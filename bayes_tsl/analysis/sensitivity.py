"""How much of a forecast, and of each parameter, is the prior's doing?

A factor of the posterior, prior or likelihood, is raised to a power near one by weights of the draws in hand, Pareto-smoothed;
nothing is fitted again (power-scaling; Kallioinen et al., arXiv 2107.14054). Every prior here is normal, of positive parameters
in the logarithm, so that its power ``alpha`` is the same prior with a spread ``alpha^-1/2`` times as large. Weights bear such
spreads from 0.9 to 1.1, and seldom one of 2. So

    shift = log2(widen) * (median at alpha 0.8 - median at alpha 1.25) / log2(1.25)

carries what a median does near one to a spread ``widen`` times as large, in a straight line in the logarithm of the spread.
``refit=True`` fits again instead; docs/benchmarks.md has the two side by side.

Scaled are the priors of the parameters that NUTS moves in (``single_run.parameters``): all together for a forecast, its own for
a parameter. Noise weights, coefficients of checkpoints and position effects belong to the model of the losses, and keep their
distributions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.intervals import draws_first
from bayes_tsl._common.validation import require, require_number, require_seed
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.forecasting.predict import forecast
from bayes_tsl.inference.arviz_groups import joint_log_likelihood
from bayes_tsl.inference.arviz_versions import largest_pareto_k, pareto_smoothed, power_sensitivity
from bayes_tsl.inference.fitting import refit as fit_again
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.model.single_run import parameters

Array = NDArray[np.float64]

DECIDES = 0.5  # of the width of an interval: a median that moves by more was put there by the prior
POWERS = (0.8, 1.25)  # of the prior, between which the slope is taken
SENSITIVE = 0.05  # power sensitivity from which a factor matters (arXiv 2107.14054)


def prior_sensitivity(
    fit: Fit,
    *,
    steps: ArrayLike,
    schedule: Schedule | None = None,
    widen: float = 2.0,
    prob: float = 0.9,
    seed: int = 0,
    refit: bool = False,
    progress: bool = False,
) -> pd.DataFrame:
    """Forecast medians under the fit's priors and under wider ones, by weights of the draws, or by one more fit.

    Args:
        fit: what the past says under its priors; of a run that was fitted by itself.
        steps: later steps, in any order (step).
        schedule: as for ``forecast``.
        widen: by how much every prior's spread grows.
        prob: mass of the interval that the shift is measured by.
        seed: of the drift and noise ahead.
        refit: fit the same losses under the wider priors instead: exact, and slower than the fit was.
        progress: show a bar of that fit on stderr.

    Returns:
        One row per step: median, wider (the median under the wider priors), shift [nats/token], share (of the width of the
        interval), prior_decides (whether that is more than ``DECIDES``), pareto_k (of the weights; missing for a refit),
        trusted (weights: whether Pareto k is small enough for so many draws; refit: whether its chains converged).

    Raises:
        DataError: as ``forecast``; ``widen`` is not positive; or other runs have informed the fit.

    >>> from bayes_tsl.inference.posterior import example_fit
    >>> moved = prior_sensitivity(example_fit(), steps=[2000, 2500])
    >>> moved["prior_decides"].tolist(), moved["trusted"].tolist()
    ([False, False], [True, True])
    """
    require_seed(seed)
    require_number(widen, "widen", low=0.0, cure="2 doubles every spread.")
    _require_alone(fit)
    ahead = forecast(fit, steps=steps, schedule=schedule, seed=seed)
    median, interval = ahead.quantile(0.5).to_numpy(), ahead.interval(prob=prob)
    if refit:
        wider_fit = fit_again(fit, fit.priors.widened(widen), progress=progress)
        shift = forecast(wider_fit, steps=steps, schedule=schedule, seed=seed).quantile(0.5).to_numpy() - median
        pareto_k, trusted = np.nan, wider_fit.converged
    else:
        scaled = power_scaled(draws_first(ahead.observed), _log_prior(fit).ravel(), relative_ess=fit.relative_ess)
        shift, pareto_k = -2.0 * np.log2(widen) * scaled.slope, scaled.pareto_k
        trusted = pareto_k <= largest_pareto_k(fit.diagnostics.draws)
    share = shift / (interval["upper"] - interval["lower"]).to_numpy()
    table = {
        "median": median,
        "wider": median + shift,
        "shift": shift,
        "share": share,
        "prior_decides": abs(share) > DECIDES,
        "pareto_k": pareto_k,
        "trusted": trusted,
    }
    return pd.DataFrame(table, pd.Index(ahead.steps, name="step"))


def parameter_sensitivity(fit: Fit) -> pd.DataFrame:
    """What decides each parameter, the losses or its prior: how far its posterior moves as either is power-scaled.

    Args:
        fit: what the past says under its priors; of a run that was fitted by itself.

    Returns:
        One row per parameter: prior and likelihood (power sensitivity to the parameter's own prior, and to all checkpoints
        together: slope of the cumulative Jensen-Shannon distance in the binary logarithm of the power), decided_by: "data"
        where the first is below ``SENSITIVE``, else "prior" where the second is below it, else "both".

    Raises:
        DataError: other runs have informed the fit.

    >>> from bayes_tsl.inference.posterior import example_fit
    >>> table = parameter_sensitivity(example_fit())
    >>> bool(table.loc["noise_scale", "likelihood"] > table.loc["noise_scale", "prior"])
    True
    """
    _require_alone(fit)
    draws = _standardised(fit)
    own = {name: power_sensitivity({name: values}, -0.5 * values**2)[name] for name, values in draws.items()}
    table = pd.DataFrame({"prior": own, "likelihood": power_sensitivity(draws, _log_likelihood(fit))}).rename_axis("parameter")
    informed, moved = (table[name].to_numpy() >= SENSITIVE for name in ("likelihood", "prior"))
    return table.assign(decided_by=np.select([~moved, ~informed], ["data", "prior"], "both"))


class PowerScaled(NamedTuple):
    """What power-scaling does to medians: their slope in the binary logarithm of the power (quantity), and Pareto k."""

    slope: Array
    pareto_k: float


def power_scaled(draws: Array, log_density: Array, *, relative_ess: float) -> PowerScaled:
    """Slope of posterior medians in the power of one factor of the density, between ``POWERS``.

    Args:
        draws: of each quantity (draw, quantity).
        log_density: of the factor (draw).
        relative_ess: independent draws that one draw is worth.
    """
    medians, tails = [], []
    for power in POWERS:
        log_weights, k = pareto_smoothed((power - 1.0) * log_density, relative_ess=relative_ess)
        medians.append(np.quantile(draws, 0.5, axis=0, weights=np.exp(log_weights), method="inverted_cdf"))
        tails.append(k)
    return PowerScaled((medians[1] - medians[0]) / np.log2(POWERS[1] / POWERS[0]), max(tails))


def _log_prior(fit: Fit) -> Array:
    """Log prior density of all parameters together, up to a constant (chain, draw)."""
    return -0.5 * np.sum(np.square(list(_standardised(fit).values())), axis=0)


def _standardised(fit: Fit) -> dict[str, Array]:
    """Parameters, or their logarithms, in standard deviations from the centres of their priors (chain, draw)."""
    drawn, centre = fit.parameters(), fit.design.centre
    return {name: fit.priors.standardised(name, drawn[name], centre) for name in parameters(fit.design, fit.priors)}


def _log_likelihood(fit: Fit) -> Array:
    """Log density of all checkpoints together (chain, draw)."""
    kept = fit.joint_log_likelihood
    if kept is not None:
        return kept.to_numpy()
    return joint_log_likelihood(fit.design, fit.priors, {name: values.to_numpy() for name, values in fit.sampled().items()})


def _require_alone(fit: Fit) -> None:
    cure = "Fit it with fit(losses.select(run=...), schedule=...)."
    require(not fit.pooled, "fit", "be of a run fitted by itself", fit.runs, where="that others have informed", cure=cure)
    cure = "Fit one with losses.select(test_set=...)."
    require(not fit.test_sets, "fit", "be of a single test set", fit.test_sets, cure=cure)
