"""Which law predicts checkpoints best? Leave-one-out densities of several fits of the same losses, and stacking weights.

Each checkpoint is predicted from all others, by Pareto-smoothed importance sampling (PSIS-LOO; Vehtari, Gelman & Gabry, arXiv
1507.04544), from the densities that a fit keeps (``model.densities.leave_one_out``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from bayes_tsl._common.dims import CHAIN, DRAW, STEP
from bayes_tsl._common.validation import require, show
from bayes_tsl.errors import Notice
from bayes_tsl.inference.arviz_groups import pointwise_log_likelihood
from bayes_tsl.inference.arviz_versions import MAX_PARETO_K, inference_data, stacked_comparison
from bayes_tsl.inference.posterior import Fit


def compare_laws(fits: Mapping[str, Fit]) -> pd.DataFrame:
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

    >>> from bayes_tsl.inference.posterior import example_fit
    >>> with warnings.catch_warnings(action="ignore"):  # of a large Pareto k: draws are few
    ...     table = compare_laws({"one": example_fit(), "another": example_fit()})
    >>> table["weight"].round(2).tolist(), table["diff"].tolist()
    ([0.5, 0.5], [0.0, 0.0])
    """
    require(len(fits) >= 2, "fits", "name at least two fits", len(fits), cure="Give {name: fit}.")
    first = next(iter(fits.values()))
    for name, fit in fits.items():
        same = fit.observed["mean_loss"].equals(first.observed["mean_loss"]) and fit.by_position == first.by_position
        require(same, "fits", f"be of the same losses as {show(next(iter(fits)))}", name, cure="Fit each to one table.")
    table = stacked_comparison({name: _inference_data(fit) for name, fit in fits.items()}).rename_axis("fit")
    strained = [str(name) for name, k in zip(table.index, table["pareto_k"].to_numpy(float)) if k > MAX_PARETO_K]
    if strained:
        message = f"Pareto k exceeds {MAX_PARETO_K} for {show(strained)}: compare them by the score of later checkpoints too."
        warnings.warn(message, Notice, stacklevel=2)
    return table


def log_likelihood(fit: Fit) -> xr.DataArray:
    """Log density of each checkpoint given the others (chain, draw, step); ``compare_laws`` sums what it smooths of this.

    >>> from bayes_tsl.inference.posterior import example_fit
    >>> log_likelihood(example_fit()).shape
    (2, 50, 21)
    """
    kept = fit.log_likelihood
    if kept is not None:
        return kept
    sampled = {name: values.to_numpy() for name, values in fit.sampled().items()}
    density = pointwise_log_likelihood(fit.design, fit.priors, sampled)
    return xr.DataArray(density, {STEP: fit.design.step}, (CHAIN, DRAW, STEP), name="mean_loss")


def _inference_data(fit: Fit) -> Any:
    scalars = {name: values.to_numpy() for name, values in fit.sampled().items() if values.ndim == 2}
    return inference_data({"posterior": scalars, "log_likelihood": {"loss": log_likelihood(fit).to_numpy()}})
