"""Pictures of forecasts: the losses so far, where they go, how sure that is. All draw on ``ax`` if given one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._common.dims import CHAIN, STEP
from bayes_tsl._common.validation import show
from bayes_tsl.data.loss_table import mean_series
from bayes_tsl.forecasting.alternatives import WhatIf
from bayes_tsl.forecasting.distribution import Forecast, Kind
from bayes_tsl.plots.style import (
    AHEAD,
    PAST,
    TRUTH,
    as_text,
    draw_bands,
    draw_learning_rate,
    finish,
    mark_origin,
    mark_unconverged,
    one_axes,
    require_axes,
    stacked_axes,
    write_notices,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_forecast(
    ahead: Forecast, *, observed: Any = None, target: float | None = None, kind: Kind = "observed", ax: Axes | None = None
) -> Axes:
    """Observed past, median ahead with 50 and 90 % bands, and the origin; what the forecast has to say is written below.

    Args:
        ahead: the forecast.
        observed: later measurements to show beside it: a pandas Series (index: step), or a ``LossTable``, of which those after
            the origin are shown.
        target: loss to mark with a line.
        kind: whose bands to draw, those of the next measurements or of the expected curve.
        ax: where to draw; a new figure by default.

    Raises:
        DataError: ``kind`` is neither observed nor expected.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> plot_forecast(ahead, target=3.5, ax=Figure().subplots()).get_title()
    'mix50_cosine, prose'
    """
    ahead.require_one_curve()
    draws = ahead.draws(kind)
    ax = one_axes(ax)
    history = ahead.history
    ax.plot(history[STEP], history, "o", ms=3.5, color=PAST, label="observed")
    draw_bands(ax, draws, start=(ahead.origin, float(history[-1])))
    if observed is not None:
        later = mean_series(observed, run=ahead.run, test_set=ahead.test_set, after=ahead.origin)
        ax.plot(later.index, later.to_numpy(), "o", ms=3.5, mfc="white", color=TRUTH, label="observed later")
    if target is not None:
        ax.axhline(target, lw=1.0, ls="--", color=PAST, label=f"target {show(float(target))}")
    mark_origin(ax, ahead.origin)
    ax.set(xlabel="step", ylabel="mean test loss [nats/token]", title=as_text(f"{ahead.run}, {ahead.test_set}"))
    mark_unconverged(ax, ahead.converged)
    write_notices(ax, ahead.notices)
    ax.legend(frameon=False)
    return ax


def plot_what_if(plans: WhatIf, *, prob: float = 0.9, ax: Sequence[Axes] | None = None) -> list[Axes]:
    """Several schedules for one run: the expected loss with its interval, and below it the learning rate of each.

    Args:
        plans: what ``what_if`` returned.
        prob: mass of the bands.
        ax: two axes, for loss and learning rate; a new figure by default.

    Raises:
        DataError: ``ax`` has another number of axes.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> plans = {"as planned": None, "decay now": bt.schedules.decayed(example_fit().schedule, start=1200, total=2500)}
    >>> compared = bt.what_if(example_fit(), plans, steps=[1500, 2000, 2500])
    >>> [panel.get_ylabel() for panel in plot_what_if(compared, ax=Figure().subplots(2, 1))]
    ['mean test loss [nats/token]', 'learning rate']
    """
    axes = stacked_axes() if ax is None else require_axes(ax, 2, "loss and learning rate")
    upper, lower = axes
    first = next(iter(plans.forecasts.values()))
    upper.plot(first.history[STEP], first.history, "o", ms=3.5, color=PAST, label="observed")
    for name, ahead in plans.forecasts.items():
        x = np.append(ahead.origin, ahead.steps)
        interval = ahead.interval(prob=prob, kind="expected")
        bounds = [np.append(first.history[-1], interval[bound]) for bound in ("lower", "upper")]
        (line,) = upper.plot(x, np.append(first.history[-1], ahead.quantile(0.5, kind="expected")), lw=1.8, label=as_text(name))
        upper.fill_between(x, bounds[0], bounds[1], color=line.get_color(), alpha=0.2, lw=0)
        draw_learning_rate(lower, plans.schedules[name], ahead.steps[-1], lw=1.4, color=line.get_color())
    for panel in axes:
        mark_origin(panel, first.origin)
    upper.set(ylabel="mean test loss [nats/token]", title=as_text(f"{first.run}, {first.test_set}"))
    mark_unconverged(upper, first.converged)
    lower.set(xlabel="step", ylabel="learning rate", ylim=(0.0, None))
    write_notices(lower, first.notices)
    upper.legend(frameon=False)
    return axes


def plot_forecast_revisions(drift: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """How the forecast of a run's end moved: its median and interval from each origin, and where checkpoints raised an alarm.

    Args:
        drift: what ``forecast_revisions`` returned.
        ax: where to draw; a new figure by default.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    >>> moved = bt.forecast_revisions(losses, at=[1000, 1500], end=2500, forecaster=bt.baselines.last_value)
    >>> plot_forecast_revisions(moved, ax=Figure().subplots()).get_title()
    'forecast of step 2500'
    """
    ax = one_axes(ax)
    names = ("origin", "median", "lower", "upper")
    origin, median, lower, upper = (drift[name].to_numpy(float) for name in names)
    alarm, converged = drift["alarm"].to_numpy(bool), drift["converged"].to_numpy(bool)
    end, prob, observed = (float(drift[name].to_numpy()[0]) for name in ("step", "prob", "observed"))
    ax.fill_between(origin, lower, upper, color=AHEAD, alpha=0.2, lw=0, label=f"{prob:.0%}")
    ax.plot(origin, median, "o-", ms=4, lw=1.8, color=AHEAD, label="median")
    if alarm.any():
        ax.plot(origin[alarm], median[alarm], "o", ms=10, mfc="none", mew=1.8, color=TRUTH, label="not as foreseen after")
    if np.isfinite(observed):
        ax.axhline(observed, lw=1.0, ls="--", color=PAST, label="observed")
    ax.set(xlabel="origin [step]", ylabel="mean test loss [nats/token]", title=f"forecast of step {show(end)}")
    if not converged.all():
        ax.set_title("NOT ALL CONVERGED", loc="right", color=TRUTH, fontsize=10, fontweight="bold")
    return finish([ax])[0]


def plot_prior_predictive(predictive: xr.Dataset, *, observed: Any = None, runs: int = 10, ax: Axes | None = None) -> Axes:
    """Losses that the priors allow: median, 50 and 90 % bands, and some of the runs drawn.

    Args:
        predictive: what ``prior_predictive`` returned.
        observed: measurements to show beside it: a pandas Series (index: step), or a ``LossTable`` of one run.
        runs: how many single runs to draw.
        ax: where to draw; a new figure by default.

    Example::

        import bayes_tsl as bt

        schedule = bt.schedules.cosine(peak=2e-3, warmup=100, total=2500)
        predictive = bt.prior_predictive(schedule=schedule, steps=range(200, 2501, 100), origin=1200, loss=3.8)
        bt.plot_prior_predictive(predictive)
    """
    ax = one_axes(ax)
    draws = predictive["observed"].expand_dims(CHAIN)
    for run in draws[0, :runs]:
        ax.plot(run[STEP], run, lw=0.6, color=PAST, alpha=0.5)
    draw_bands(ax, draws)
    if observed is not None:
        means = mean_series(observed)
        ax.plot(means.index, means.to_numpy(), "o", ms=3.5, color=TRUTH, label="observed")
    mark_origin(ax, float(predictive.attrs["origin"]))
    ax.set(xlabel="step", ylabel="mean test loss [nats/token]", title="what the priors hold possible")
    ax.legend(frameon=False)
    return ax
