"""ArviZ, imported when first needed, and the few calls that differ between its versions 0.2x and 1.x.

Its import loads a plotting backend and warns, once a day, of its next version.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.threads import shared

_as_it_is = shared(lambda: warnings.catch_warnings(action="ignore", category=FutureWarning))
MAX_PARETO_K = 0.7  # however many the draws


def arviz() -> ModuleType:
    """The package ``arviz``."""
    with _as_it_is():
        import arviz
    return arviz


def pareto_smoothed(log_weights: NDArray[np.float64], *, relative_ess: float) -> tuple[NDArray[np.float64], float]:
    """Pareto-smoothed log weights, normalised (draw), and the shape k of their tail (Vehtari et al., arXiv 1507.02646)."""
    az = arviz()
    if _is_0(az):
        smoothed, k = az.psislw(log_weights, relative_ess)
    else:
        from arviz_stats.base import array_stats  # pyright: ignore[reportMissingImports]

        smoothed, k = array_stats.psislw(-log_weights, r_eff=relative_ess)
    return np.asarray(smoothed), float(k)


def largest_pareto_k(draws: int) -> float:
    """Largest Pareto k at which so many draws suffice: ``min(1 - 1 / log10(draws), 0.7)`` (arXiv 1507.02646).

    >>> largest_pareto_k(100), largest_pareto_k(4000)
    (0.5, 0.7)
    """
    return float(min(1.0 - 1.0 / np.log10(draws), MAX_PARETO_K))


def power_sensitivity(draws: Mapping[str, NDArray[np.float64]], log_density: NDArray[np.float64]) -> dict[str, float]:
    """How far each posterior moves, by name, as a factor of its density is raised to a power (arXiv 2107.14054).

    It is the slope of the cumulative Jensen-Shannon distance in the binary logarithm of the power.

    Args:
        draws: by name (chain, draw).
        log_density: of the factor (chain, draw).
    """
    az = arviz()
    data = inference_data({"posterior": draws, "log_likelihood": {"factor": log_density}})
    found = az.psens(data, component="likelihood") if _is_0(az) else az.psense(data, group="likelihood")
    return {name: float(found[name]) for name in draws}


def inference_data(groups: Mapping[str, Mapping[str, Any]]) -> Any:
    """Groups of arrays (chain, draw, ...) as what this version of ArviZ works on."""
    az = arviz()
    return az.from_dict(**groups) if _is_0(az) else az.from_dict(groups)


def stacked_comparison(data: Mapping[str, Any]) -> pd.DataFrame:
    """PSIS-LOO of models with stacking weights, best first: elpd, p, diff (below the best), se, dse, weight, pareto_k."""
    az = arviz()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large k, which the table shows
        loo = {name: az.loo(one, pointwise=True) for name, one in data.items()}
        exact = {} if _is_0(az) else {"round_to": "none"}
        table = az.compare(loo, method="stacking", **exact)
    table["pareto_k"] = [float(loo[str(name)].pareto_k.max()) for name in table.index]
    table = table.rename(columns={"elpd_loo": "elpd", "p_loo": "p", "elpd_diff": "diff"})
    table["diff"] = table["diff"].abs()  # a loss in 0.2x, a negative gain in 1.x
    return table[["elpd", "p", "diff", "se", "dse", "weight", "pareto_k"]].astype(float)


def _is_0(az: ModuleType) -> bool:
    return az.__version__.startswith("0.")
