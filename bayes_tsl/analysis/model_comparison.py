"""Which law do the checkpoints speak for? Leave-one-out densities of several fits of the same losses, and their average.

Each checkpoint is predicted from all others, by Pareto-smoothed importance sampling (PSIS-LOO; Vehtari, Gelman & Gabry, arXiv
1507.04544). Drift ties checkpoints together, so the density of one is conditional on the others within a draw (Burkner, Gabry
& Vehtari, arXiv 1810.10559, eq. 5); its own noise weight, of which nothing else tells, is integrated out.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import gamma

from bayes_tsl._common.dims import CHAIN, DRAW, STEP
from bayes_tsl._common.validation import require, require_seed, show
from bayes_tsl.errors import Notice
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.inference.diagnostics import arviz
from bayes_tsl.inference.nuts import over_draws
from bayes_tsl.inference.posterior import Fit, design_of
from bayes_tsl.model.design import Design
from bayes_tsl.model.single_run import TAIL, Sites, chain, mean_over_positions, spread_of, trend

MAX_PARETO_K = 0.7
_WEIGHTS = gamma.ppf((np.arange(24) + 0.5) / 24, TAIL / 2.0, scale=2.0 / TAIL)


def compare(fits: Mapping[str, Fit]) -> pd.DataFrame:
    """Rank fits of the same losses by how well each checkpoint is predicted from the others.

    Args:
        fits: by name, of the same checkpoints of one run on one test set, all with positions or all without.

    Returns:
        One row per fit, best first: elpd (sum of log predictive densities), p (effective number of parameters), diff (elpd
        below the best), se and dse (standard errors of elpd and diff), weight (stacking: shares of a model-averaged forecast,
        see ``average``; Yao et al., arXiv 1704.02030), pareto_k (the largest; above 0.7 one checkpoint weighs so much that its
        term is uncertain, which a notice says).

    Raises:
        DataError: fewer than two fits, or fits of different losses.
    """
    require(len(fits) >= 2, "fits", "name at least two fits", len(fits), cure="Give {name: fit}.")
    first = next(iter(fits.values()))
    for name, fit in fits.items():
        same = _seen(fit).equals(_seen(first)) and _by_position(fit) == _by_position(first)
        require(same, "fits", f"be of the same losses as {show(next(iter(fits)))}", name, cure="Fit each to one table.")
    az = arviz()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large k, which the table shows
        loo = {name: az.loo(_inference_data(az, fit), pointwise=True) for name, fit in fits.items()}
        table = az.compare(loo, method="stacking")
    table["pareto_k"] = [float(loo[name].pareto_k.max()) for name in table.index]
    strained = [str(name) for name, k in table["pareto_k"].items() if k > MAX_PARETO_K]
    if strained:
        said = f"Pareto k exceeds {MAX_PARETO_K} for {show(strained)}: compare them by the score of later checkpoints too."
        warnings.warn(said, Notice, stacklevel=2)
    columns = {"elpd_loo": "elpd", "p_loo": "p", "elpd_diff": "diff", "se": "se", "dse": "dse", "weight": "weight"}
    return table.rename(columns=columns).rename_axis("fit")[[*columns.values(), "pareto_k"]].astype(float)


def average(forecasts: Mapping[str, Forecast], weights: Mapping[str, float], *, seed: int = 0) -> Forecast:
    """Model-averaged forecast: draws of each in proportion to its weight.

    Args:
        forecasts: by name, of one run at the same steps.
        weights: of each, e.g. ``compare(fits)["weight"]``; scaled to sum to one.
        seed: of the choice of draws.

    Raises:
        DataError: a forecast without a weight, a negative weight, or forecasts of different steps.
    """
    require_seed(seed)
    names = list(forecasts)
    missing = [name for name in names if name not in weights]
    require(names and not missing, "weights", "name every forecast", missing, where="without one", cure="Give one for each.")
    share = np.array([float(weights[name]) for name in names])
    require((share >= 0).all() and share.sum() > 0, "weights", "be positive, or zero", share, cure="Stacking weights are.")
    first = forecasts[names[0]]
    for name in names[1:]:
        same = np.array_equal(forecasts[name].steps, first.steps)
        require(
            same, f"forecast {name!r}", f"be at the steps of {names[0]!r}", forecasts[name].steps, cure="Use the same steps."
        )
    rng = np.random.default_rng(seed)
    total = first.observed.sizes[CHAIN] * first.observed.sizes[DRAW]
    source = np.sort(rng.choice(len(names), size=total, p=share / share.sum()))
    picked = {name: rng.choice(_count(forecasts[name]), np.sum(source == i)) for i, name in enumerate(names)}

    def mixed(kind: str) -> xr.DataArray:
        flat = [getattr(forecasts[name], kind).to_numpy().reshape(-1, len(first.steps))[picked[name]] for name in names]
        drawn = np.concatenate(flat)[None]
        return xr.DataArray(
            drawn, {CHAIN: [0], DRAW: np.arange(drawn.shape[1]), STEP: first.steps}, (CHAIN, DRAW, STEP), name=kind
        )

    shares = ", ".join(f"{name} {part:.2f}" for name, part in zip(names, share / share.sum()))
    notices = dict.fromkeys(notice for ahead in forecasts.values() for notice in ahead.notices)
    return Forecast(
        run=first.run,
        test_set=first.test_set,
        origin=first.origin,
        expected=mixed("expected"),
        observed=mixed("observed"),
        history=first.history,
        notices=(f"Averaged over {shares}.", *notices),
        converged=all(ahead.converged for ahead in forecasts.values()),
    )


def log_likelihood(fit: Fit) -> xr.DataArray:
    """Log density of each checkpoint given the others (chain, draw, step); ``compare`` sums what it smooths of this."""
    design, posterior = design_of(fit), fit.data["posterior"].to_dataset()
    sampled = {str(name): values.to_numpy() for name, values in posterior.items() if values.attrs.get("sampled")}
    with jax.enable_x64(True):
        density = over_draws(_leave_one_out, (design, fit.priors.fixed()), sampled)
    beyond = design.summary.log_density if design.by_position else 0.0
    return xr.DataArray(density + beyond, {STEP: design.step}, (CHAIN, DRAW, STEP), name="log_likelihood")


def _leave_one_out(design: Design, fixed: Sites, drawn: Sites) -> jax.Array:
    """Log density of the estimates of each checkpoint given those of the others and one draw (step)."""
    sites = {**fixed, **drawn}
    law, spread = trend(design.path, sites), spread_of(design, sites)
    gap, rate, mean = chain(design, spread)
    seen = jnp.asarray(design.summary.coefficients)
    density, off_gap, off_rate = jnp.zeros(len(seen)), 0.0, 0.0
    if design.by_position:
        off_gap = seen[:, 0] - law.log_gap
        left = seen[:, 1] - law.log_rate - rate.gap * off_gap
        off_rate = seen[:, 1] - law.log_rate
        density = _normal(off_gap, gap.scale**2) + _normal(left, rate.scale**2)
    off = seen[:, 2] - mean_over_positions(design, law) - mean.gap * off_gap - mean.rate * off_rate
    precision = jnp.linalg.inv(spread.drift + jnp.diag(mean.scale**2))
    variance = 1.0 / jnp.diag(precision)
    known = variance - spread.noise
    each = known + spread.noise * sites["weight"] / jnp.asarray(_WEIGHTS)[:, None]
    by_weight = _normal(precision @ off * variance, each)
    return density + jax.nn.logsumexp(by_weight, axis=0) - jnp.log(len(_WEIGHTS))


def _normal(off: Any, variance: Any) -> jax.Array:
    return -0.5 * (off**2 / variance + jnp.log(2.0 * jnp.pi * variance))


def _inference_data(az: Any, fit: Fit) -> Any:
    posterior = fit.data["posterior"].to_dataset()
    scalars = {
        str(name): values.to_numpy() for name, values in posterior.items() if values.attrs.get("sampled") and values.ndim == 2
    }
    return az.from_dict(posterior=scalars, log_likelihood={"loss": log_likelihood(fit).to_numpy()})


def _seen(fit: Fit) -> xr.DataArray:
    return fit.data["observed_data"].to_dataset()["mean_loss"]


def _by_position(fit: Fit) -> bool:
    return "gap" in fit.data["posterior"]


def _count(ahead: Forecast) -> int:
    return ahead.observed.sizes[CHAIN] * ahead.observed.sizes[DRAW]
