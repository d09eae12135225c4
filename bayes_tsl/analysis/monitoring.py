r"""Is the run still on the curve that was foreseen? How the forecast of its end moved, and an alarm.

A forecast's *observed* draws are whole paths, so what they say together of several later checkpoints can be asked. The
statistic of a path ``y`` is its mean standardised departure,

    T(y) = mean_t (y_t - mean_t) / sd_t,

``mean_t`` and ``sd_t`` those of the draws, and its p-value is twice the smaller share of draws whose ``T`` lies as far out or
farther. The draws are their own reference, however strongly steps depend on each other, and the checkpoints judged were not
seen by the forecast; so if it is right the p-value is uniform (Gelman, Meng & Stern, Stat. Sinica 6:733, 1996, of new data).
It sees a run that lies above or below its curve, not one that swings around it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.dims import STEP
from bayes_tsl._common.validation import require, require_number, require_seed, show
from bayes_tsl.data.loss_table import LossTable, require_losses
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.errors import Notice
from bayes_tsl.forecasting.baselines import Forecaster
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.forecasting.forecasters import tsl

Array = NDArray[np.float64]

LEVEL = 0.01  # p-value below which checkpoints raise an alarm: one look in a hundred does, of runs that are as foreseen


def predictive_p_value(ahead: Forecast, losses: LossTable) -> float:
    """P-value of later losses under a forecast, two-sided: small where the run has left the curve that was foreseen.

    Args:
        ahead: a forecast of one run, at the steps to judge.
        losses: of the same run and test set; checkpoints at other steps are left out.

    Returns:
        A probability above zero, at least twice the reciprocal of the number of draws.

    Raises:
        DataError: no checkpoint at a step of the forecast, another run or test set, or a forecast of several runs.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    >>> predictive_p_value(ahead, losses) > 0.01
    True
    """
    ahead.require_one_curve()
    require_losses(losses)
    means = losses.select(run=ahead.run, test_set=ahead.test_set).mean_losses()
    steps = np.intersect1d(ahead.steps, means.index)
    cure = "Forecast the steps of the checkpoints to judge."
    require(steps.size > 0, "losses", f"have a step among those forecast, {show(ahead.steps)}", means.index, cure=cure)
    return _p_value(ahead, means.loc[steps])


def tail_probability(draws: Array, observed: Array) -> float:
    """Two-sided tail probability of a path (step) among draws of it (draw, step), by mean standardised departure.

    >>> tail_probability(np.arange(-50.0, 51.0)[:, None], np.array([1000.0])) < 0.05
    True
    """
    centre, scale = draws.mean(axis=0), draws.std(axis=0, ddof=1)
    drawn, here = ((paths - centre) / scale for paths in (draws, observed))
    reference, departure = drawn.mean(axis=1), here.mean()
    farther = min(np.sum(reference >= departure), np.sum(reference <= departure))
    return float(min(2.0 * (farther + 1.0) / (len(draws) + 1.0), 1.0))


def forecast_revisions(
    losses: LossTable,
    *,
    at: Sequence[float],
    end: float,
    schedule: Schedule | None = None,
    forecaster: Forecaster = tsl,
    prob: float = 0.9,
    level: float = LEVEL,
    seed: int = 0,
) -> pd.DataFrame:
    """How the forecast of a run's end moved as checkpoints arrived, and whether what arrived was as foreseen.

    At each origin a forecast is made from nothing later, of the end and of the checkpoints until the next origin, which are
    then held against it. These windows do not overlap: of a run that is as foreseen, a share ``level`` of them raises an alarm.

    Args:
        losses: one run on one test set, so far or finished.
        at: steps at which to look; each origin is the last checkpoint until then.
        end: step to forecast.
        schedule: learning rate of the whole run.
        forecaster: what makes each forecast: by default a fit at its defaults, one per origin (half a minute each).
        prob: mass of the intervals.
        level: p-value below which the checkpoints after an origin raise an alarm, with a notice.
        seed: handed to the forecaster.

    Returns:
        One row per origin: origin, step (the end), mean, median, lower, upper, prob, sd of the forecast there [nats/token],
        observed (NaN until it is), converged; checkpoints (how many were judged), p_value (as ``predictive_p_value``; NaN
        without any), alarm.

    Raises:
        DataError: several runs, no origin, one without losses or not before ``end``, or what the forecaster refuses.

    >>> import bayes_tsl as bt
    >>> losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    >>> moved = forecast_revisions(losses, at=[1000, 1500], end=2500, forecaster=bt.baselines.last_value)
    >>> moved[["origin", "checkpoints", "alarm"]].to_numpy().tolist()
    [[1000.0, 10, False], [1500.0, 20, False]]
    """
    require_losses(losses)
    require_seed(seed)
    require_number(prob, "prob", low=0.0, high=1.0, cure="0.9 is a 90 % interval.")
    require_number(level, "level", low=0.0, high=1.0, cure="0.01 raises a false alarm in one look of a hundred.")
    means = losses.mean_losses()
    origins = _origins(means.index.to_numpy(float), at, end)
    rows = []
    for origin, until in zip(origins, [*origins[1:], end]):
        window = means.loc[(means.index > origin) & (means.index <= until)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)
            ahead = forecaster(losses.until(origin), steps=np.append(window.index, end), schedule=schedule, seed=seed)
        p_value = _p_value(ahead, window) if len(window) else np.nan
        outcome = {"observed": means.get(end, np.nan), "converged": ahead.converged}
        judged = {"checkpoints": len(window), "p_value": p_value, "alarm": bool(p_value < level)}
        rows.append({"origin": origin, **ahead.to_frame(prob=prob).drop(columns="run").iloc[-1], **outcome, **judged})
    for row in rows:
        if row["alarm"]:
            message = f"Losses after step {show(row['origin'])} are not as foreseen there (p = {row['p_value']:.2g})."
            warnings.warn(f"{message} Look for a change of the run, its data or its schedule.", Notice, stacklevel=2)
    return pd.DataFrame(rows)


def _origins(steps: Array, at: Sequence[float], end: float) -> Array:
    """The last checkpoint until each look, without repeats (origin)."""
    looks = np.unique(np.asarray(at, float))
    require(looks.size > 0, "at", "name at least one step", looks, cure="Give e.g. at=[1000, 1500].")
    bad = looks[~((looks >= steps[0]) & (looks < end))]
    rule = f"lie between the first checkpoint {show(steps[0])} and the end {show(end)}"
    require(bad.size == 0, "at", rule, bad, cure="Look where there is something to fit and something to forecast.")
    return np.unique(steps[np.searchsorted(steps, looks, side="right") - 1])


def _p_value(ahead: Forecast, means: pd.Series) -> float:
    """Of mean losses at some of the steps of a forecast (step)."""
    draws = ahead.observed.sel({STEP: means.index.to_numpy(float)}).to_numpy().reshape(-1, len(means))
    return tail_probability(draws, means.to_numpy(float))
