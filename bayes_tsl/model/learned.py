r"""What finished runs of several families taught: the parameters of a run of a new family, or of one that is named.

Parameter ``k`` (its logarithm, if positive) of a run with covariates ``x``, the logarithms of peak learning rate, tokens a
step, parameters and progress, is drawn at three levels,

    y_k ~ Normal(a_k + x b_k + f_k, t_k),    f_k ~ StudentT(4, 0, o_k) of the family.

``learned.json`` has the posterior moments of ``a, b`` and of ``f`` of every family that it was learned from, and of ``t`` and
``o``; ``python -m benchmarks.public.learned_priors`` makes it. A covariate that nobody gave is integrated over, as it is
distributed in those families given the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SLACK = 1.1  # factor beyond the range seen that is not worth a notice
SHOWN = {
    "peak": "peak learning rates of {}",
    "batch_tokens": "{} tokens a step",
    "parameters": "models of {} parameters",
    "progress": "{} steps at peak learning rate",
}


@cache
def learned() -> dict[str, Any]:
    """The three levels, and where they come from.

    >>> learned()["families"][:2]
    ['datablations', 'lr_scheduling']
    """
    return json.loads(files("bayes_tsl.model").joinpath("learned.json").read_text())


def predictive(
    levels: Mapping[str, Any], covariates: Mapping[str, float], family: str | None = None
) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of every parameter (of its logarithm, if positive) in a run of these covariates.

    Args:
        levels: what ``learned`` gives.
        covariates: in their units, those that are known; all else is integrated over.
        family: of the run; by default a new one, whose spread is a normal of the StudentT's scale.
    """
    names = list(levels["covariates"])
    x, x_cov = _completed(levels, covariates)
    row = np.concatenate([[1.0], x, [float(family == name) for name in levels["families"]]])
    at = slice(1, 1 + len(names))
    made = {}
    for name, one in levels["parameters"].items():
        mean, covariance = np.array(one["mean"]), np.array(one["covariance"])
        variance = row @ covariance @ row + np.sum(x_cov * (np.outer(mean[at], mean[at]) + covariance[at, at]))
        variance += one["run_variance"] + (one["family_variance"] if family is None else 0.0)
        made[name] = float(row @ mean), float(np.sqrt(variance))
    return made


def beyond(levels: Mapping[str, Any], covariates: Mapping[str, float]) -> tuple[str, ...]:
    """A notice for each covariate outside the range that was learned from: which, and how far."""
    notices = []
    for name, value in covariates.items():
        low, high = levels["covariates"][name]["seen"]
        far = max(low / value, value / high)
        if far > SLACK:
            what, seen = SHOWN[name], f"{low:.3g} to {high:.3g}"
            side = f"{far:.3g} times the largest" if value > high else f"the smallest over {far:.3g}"
            notices.append(f"Priors were learned from {what.format(seen)}; this run has {value:.3g}, {side}: they are wider.")
    return tuple(notices)


def _completed(levels: Mapping[str, Any], covariates: Mapping[str, float]) -> tuple[Array, Array]:
    """Mean and covariance of all log covariates given those that are known (covariate): a normal over families."""
    each = levels["covariates"]
    x = np.array([np.log(covariates.get(name, np.nan) / one["unit"]) for name, one in each.items()])
    mean = np.array([one["mean"] for one in each.values()])
    covariance = np.array([one["covariance"] for one in each.values()])
    known = np.isfinite(x)
    gain = covariance[:, known] @ np.linalg.inv(covariance[np.ix_(known, known)])
    return mean + gain @ (x - mean)[known], covariance - gain @ covariance[known]
