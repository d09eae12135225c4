"""How good a forecast was, once the truth is known.

Every score is a loss: smaller is better (Gneiting & Raftery, JASA 2007). Coverage, width, PIT and R2 are not scores and say
what they are. Draws have their axis last: ``observed`` (...), ``draws`` (..., draw).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scoringrules as sr
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.dims import STEP
from bayes_tsl._common.intervals import draws_last, interval_along
from bayes_tsl._common.validation import require
from bayes_tsl.forecasting.distribution import Forecast, first_below

__all__ = [
    "brier",
    "covered",
    "crps",
    "interval_score",
    "log_score",
    "mse",
    "pinball",
    "pit",
    "r2",
    "score",
    "summarise",
    "time_to_score",
]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[np.float64]

PROBS = (0.5, 0.8, 0.9, 0.95)  # intervals whose coverage is reported
_SMALLEST_SD = 1e-9  # of draws that are all the same [nats]
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles whose pinball loss is averaged


def crps(observed: ArrayLike, draws: ArrayLike) -> Array:
    """Continuous ranked probability score of draws (...) [nats].

    ``E|X - y| - E|X - X'| / 2`` (Gneiting & Raftery 2007, eq. 21).

    >>> float(crps(1.0, [1.0, 1.0]))
    0.0
    """
    return np.asarray(sr.crps_ensemble(np.asarray(observed, float), np.asarray(draws, float)), float)


def log_score(observed: ArrayLike, draws: ArrayLike) -> Array:
    """Negative log density at the truth (...), of the normal with the draws' mean and standard deviation [log nats].

    A kernel over the draws would be infinite a few bandwidths beyond the last draw, and so would every average with it.

    >>> round(float(log_score(0.0, [-1.0, 1.0])), 4)
    1.2655
    """
    from scipy.stats import norm

    draws = np.asarray(draws, float)
    sd = np.maximum(draws.std(axis=-1, ddof=1), _SMALLEST_SD)
    return np.asarray(-norm.logpdf(np.asarray(observed, float), draws.mean(axis=-1), sd), float)


def interval_score(observed: ArrayLike, lower: ArrayLike, upper: ArrayLike, *, prob: float) -> Array:
    """Width of a central interval, plus ``2 / (1 - prob)`` times the distance by which it was missed (...) [nats].

    Gneiting & Raftery 2007, eq. 43.

    >>> float(interval_score(3.0, 1.0, 2.0, prob=0.5))
    5.0
    """
    truth, low, high = (np.asarray(values, float) for values in (observed, lower, upper))
    return np.asarray(sr.interval_score(truth, low, high, 1.0 - prob), float)


def pinball(observed: ArrayLike, quantile: ArrayLike, *, q: float) -> Array:
    """Quantile loss of a forecast ``q``-quantile (...) [nats].

    >>> float(pinball(3.0, 2.0, q=0.9))
    0.9
    """
    return np.asarray(sr.quantile_score(np.asarray(observed, float), np.asarray(quantile, float), q), float)


def pit(observed: ArrayLike, draws: ArrayLike) -> Array:
    """Probability integral transform (...): share of draws below the truth; uniform between 0 and 1 if calibrated.

    >>> float(pit(2.5, [1.0, 2.0, 3.0, 4.0]))
    0.5
    """
    return (np.asarray(draws, float) < np.asarray(observed, float)[..., None]).mean(axis=-1)


def covered(observed: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> NDArray[np.bool_]:
    """Whether the truth lies in the interval (...); its mean is the coverage.

    >>> covered([1.5, 3.0], 1.0, 2.0).tolist()
    [True, False]
    """
    observed = np.asarray(observed, float)
    return (observed >= np.asarray(lower, float)) & (observed <= np.asarray(upper, float))


def brier(happened: ArrayLike, probability: ArrayLike) -> Array:
    """Brier score of a probability (...), e.g. of ``Forecast.prob_below``: ``(probability - happened)^2``.

    >>> float(brier(True, 0.5))
    0.25
    """
    return np.asarray(sr.brier_score(np.asarray(happened, float), np.asarray(probability, float)), float)


def time_to_score(reached: ArrayLike, times: ArrayLike, *, horizon: float) -> Array:
    """CRPS of draws of a time to target, everything later than ``horizon`` counted as the horizon (...) [steps].

    A threshold-weighted CRPS (Gneiting & Ranjan, JBES 2011): proper, though neither a run nor a draw that has not got there
    by the end says when it would have.

    Args:
        reached: step at which the target was reached; infinite if it was not (...).
        times: draws of it, as ``Forecast.time_to`` gives them (..., draw).
        horizon: last step observed.

    >>> float(time_to_score(np.inf, [np.inf, np.inf], horizon=100.0))
    0.0
    """
    return crps(np.minimum(np.asarray(reached, float), horizon), np.minimum(np.asarray(times, float), horizon))


def mse(observed: ArrayLike, mean: ArrayLike) -> float:
    """Mean squared error of the mean [nats^2].

    >>> mse([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    return float(np.mean((np.asarray(mean, float) - np.asarray(observed, float)) ** 2))


def r2(observed: ArrayLike, mean: ArrayLike) -> float:
    """Share of the truth's variance that the mean explains: 1 is perfect, larger is better; NaN where the truth is constant.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    1.0
    """
    variance = float(np.var(np.asarray(observed, float)))
    return 1.0 - mse(observed, mean) / variance if variance > 0 else float("nan")


def score(ahead: Forecast, observed: pd.Series, *, target: float | None = None) -> pd.DataFrame:
    """Scores of a forecast at every step that was measured later.

    Args:
        ahead: the forecast; its *observed* draws are judged.
        observed: mean losses measured later (step).
        target: a loss to reach; its probability and time are judged too.

    Returns:
        One row per step: step, observed, mean, median, lower, upper (of 90 %), crps, log_score, interval_score, pinball, pit,
        and ``covered_50``, ``width_50`` and so on for each of ``PROBS``. With a target ``prob_below``, ``brier``, and
        ``time_score``, which is one for the whole forecast and counts what lies beyond the last step as that step.

    Raises:
        DataError: no step of the forecast was measured.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    >>> score(ahead, losses.mean_losses())[["step", "mean", "covered_90"]].round(2).to_numpy().tolist()
    [[1500.0, 3.7, True], [2000.0, 3.55, True], [2500.0, 3.48, True]]
    """
    shared = np.intersect1d(ahead.steps, observed.index.to_numpy(float))
    where = f"with {len(observed)} later measurements"
    cure = "Forecast the steps of losses.after(origin)."
    require(len(shared) > 0, "forecast", "have a step that was measured", ahead.steps, where=where, cure=cure)
    draws = draws_last(ahead.observed.sel({STEP: shared}))
    truth = observed.loc[shared].to_numpy(float)
    ends = {prob: interval_along(draws, prob, axis=1) for prob in PROBS}
    levels = np.quantile(draws, _LEVELS, axis=1)
    columns = {
        "step": shared,
        "observed": truth,
        "mean": draws.mean(axis=1),
        "median": levels[2],
        "lower": ends[0.9][0],
        "upper": ends[0.9][1],
        "crps": crps(truth, draws),
        "log_score": log_score(truth, draws),
        "interval_score": interval_score(truth, *ends[0.9], prob=0.9),
        "pinball": np.mean([pinball(truth, level, q=q) for q, level in zip(_LEVELS, levels)], axis=0),
        "pit": pit(truth, draws),
    }
    for prob, (low, high) in ends.items():
        columns |= {f"covered_{prob * 100:.0f}": covered(truth, low, high), f"width_{prob * 100:.0f}": high - low}
    if target is not None:
        chance = ahead.prob_below(target).sel({STEP: shared}).to_numpy()
        reached, times = first_below(truth, shared, target), draws_last(ahead.time_to(target))
        columns |= {
            "prob_below": chance,
            "brier": brier(truth < target, chance),
            "time_score": float(time_to_score(reached, times, horizon=float(shared[-1]))),
        }
    return pd.DataFrame(columns)


def summarise(scores: pd.DataFrame) -> pd.Series:
    """Averages over the steps of one scored forecast, and its error at the last step.

    ``coverage_*`` and ``width_*`` are of the intervals, ``endpoint_error`` is forecast less observed, ``r2`` larger is better.
    With a target ``endpoint_brier`` is the Brier score at the last step, and ``time_score`` that of the time to target.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    >>> float(summarise(score(ahead, losses.mean_losses()))["coverage_90"])
    1.0
    """
    last = scores.iloc[-1]
    means = scores[["crps", "log_score", "interval_score", "pinball"]].mean()
    intervals = {f"coverage_{p * 100:.0f}": scores[f"covered_{p * 100:.0f}"].mean() for p in PROBS}
    intervals |= {f"width_{p * 100:.0f}": scores[f"width_{p * 100:.0f}"].mean() for p in PROBS}
    errors = {
        "endpoint_error": last["mean"] - last["observed"],
        "mse": mse(scores["observed"], scores["mean"]),
        "r2": r2(scores["observed"], scores["mean"]),
    }
    if "brier" in scores:
        errors |= {"endpoint_brier": last["brier"], "time_score": last["time_score"]}
    return pd.concat([means, pd.Series(intervals | errors)]).astype(float)
