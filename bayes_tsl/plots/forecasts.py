"""Pictures of forecasts: the losses so far, where they go, how sure that is. All draw on ``ax`` if given one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._common.dims import CHAIN, DRAWS, STEP
from bayes_tsl._common.intervals import interval_over_draws
from bayes_tsl._common.validation import percent, show
from bayes_tsl.data.loss_table import mean_series
from bayes_tsl.data.schedule import Schedule
from bayes_tsl.forecasting.alternatives import WhatIf
from bayes_tsl.forecasting.distribution import TEST_LOSS, Forecast, Kind
from bayes_tsl.plots.style import (
    AHEAD,
    LINES,
    NOTE,
    PAST,
    STYLES,
    TRUTH,
    as_text,
    bare,
    draw_bands,
    draw_learning_rate,
    finish,
    interval_text,
    label_right,
    mark_origin,
    mark_unconverged,
    one_axes,
    require_axes,
    stacked_axes,
    write_notices,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_BEFORE = 0.3  # steps shown before the origin, as a share of those that are forecast
_MARGIN = 0.05  # of the range of what is shown


def plot_forecast(
    ahead: Forecast,
    *,
    observed: Any = None,
    target: float | None = None,
    schedule: Schedule | None = None,
    kind: Kind = "observed",
    ax: Axes | Sequence[Axes] | None = None,
) -> Axes:
    """What is forecast, close up: median, 50 and 90 % bands, and the end in numbers; the whole run is in the inset.

    Notices of the forecast stand below.

    Args:
        ahead: the forecast.
        observed: later measurements to show beside it: a pandas Series (index: step), or a ``LossTable``, of which those after
            the origin are shown.
        target: loss to mark with a line.
        schedule: its learning rate is drawn beneath, e.g. ``fit.schedule``.
        kind: whose bands to draw, those of the next measurements or of the expected curve.
        ax: where to draw, with a ``schedule`` two axes, for loss and learning rate; a new figure by default.

    Returns:
        The axes of the losses.

    Raises:
        DataError: ``kind`` is neither observed nor expected, or there is a schedule and ``ax`` has another number of axes.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> plot_forecast(ahead, target=3.5, ax=Figure().subplots()).get_title()
    'mix50_cosine, prose'
    """
    ahead.require_one_curve()
    draws, history = ahead.draws(kind), ahead.history
    ax, *beneath = _loss_and_rate(ax, schedule)
    if history.size:
        ax.plot(history[STEP], history, "o", ms=3.5, color=PAST, label="measured")
    draw_bands(ax, draws, start=_last_measured(ahead))
    later = None if observed is None else mean_series(observed, run=ahead.run, test_set=ahead.test_set, after=ahead.origin)
    if later is not None:
        ax.plot(later.index, later.to_numpy(), "o", ms=3.5, mfc="white", color=TRUTH, label="measured later")
    bounds = interval_over_draws(draws, 0.9)
    _close_up(ax, ahead, ahead.steps[-1], [*bounds, *([] if later is None else [later]), [target or bounds[0][-1]]])
    if target is not None:
        ax.axhline(target, lw=1.0, ls="--", color=PAST)
    middle = float(draws[..., -1].median())
    end = interval_text(middle, *(float(bound[-1]) for bound in bounds)).replace(" [", "\n[")
    marks = [] if target is None else [(ax.get_xlim()[1], target, f"target {show(float(target))}", PAST)]
    label_right(ax, [(ax.get_xlim()[1], middle, f"step {show(ahead.steps[-1])}\n{end}\nmedian, 90% interval", AHEAD), *marks])
    if history.size:
        mark_origin(ax, ahead.origin)
        _whole_run(ax, ahead, draws)
    bare(ax)
    ax.set(ylabel=as_text(ahead.quantity), title=as_text(f"{ahead.run}, {ahead.test_set}"))
    for panel in beneath:
        _draw_rates(panel, {"": schedule}, ahead)
        panel.set_xlim(ax.get_xlim())
    lowest = [ax, *beneath][-1]
    lowest.set_xlabel("step")
    mark_unconverged(ax, ahead.converged)
    write_notices(lowest, ahead.notices)
    ax.legend(frameon=False, fontsize=8, loc="lower left")
    return ax


def _loss_and_rate(ax: Axes | Sequence[Axes] | None, schedule: Schedule | None) -> list[Axes]:
    """Axes of the losses and, where there is a schedule, of the learning rate."""
    if schedule is None:
        return [one_axes(ax)]  # pyright: ignore[reportArgumentType]
    return stacked_axes() if ax is None else require_axes(ax, 2, "loss and learning rate")


def _last_measured(ahead: Forecast) -> tuple[float, float] | None:
    """Step and loss, which may be a mean of several checkpoints, that bands grow out of; None of a run that has not begun."""
    history = ahead.history
    return (float(history[STEP][-1]), float(history[-1])) if history.size else None


def _close_up(ax: Axes, ahead: Forecast, last: float, shown: Sequence[Any]) -> None:
    """Limits around the steps ahead, some before, and the losses ``shown`` there."""
    history = ahead.history
    origin, first = (float(history[STEP][i]) for i in (-1, 0)) if history.size else (ahead.steps[0], ahead.steps[0])
    start = max(origin - _BEFORE * (last - origin), first)
    losses = np.concatenate([np.ravel(each) for each in (history[history[STEP] >= start], *shown)])
    across, up = _MARGIN * (last - start), _MARGIN * float(np.ptp(losses))
    ax.set(xlim=(start - across, last + across), ylim=(losses.min() - up, losses.max() + up))


def _whole_run(ax: Axes, ahead: Forecast, draws: xr.DataArray) -> None:
    """An inset of all that was measured and the median ahead, where the close-up leaves some of it out."""
    left, history = ax.get_xlim()[0], ahead.history
    if float(history[STEP][0]) >= left:
        return
    small = ax.inset_axes((0.62, 0.62, 0.37, 0.36))
    small.plot(history[STEP], history, ".", ms=2.0, color=PAST)
    small.plot(ahead.steps, draws.median(DRAWS), color=AHEAD, lw=1.2)
    small.axvline(ahead.origin, color=PAST, lw=0.6, ls=":")
    small.set_title("whole run", fontsize=7, color=NOTE, pad=2)
    small.tick_params(labelsize=6, length=2)
    bare(small)


def _draw_rates(ax: Axes, schedules: Mapping[str, Schedule | None], *ends: Forecast) -> None:
    """The learning rate of each schedule up to the end of its forecast."""
    for (name, schedule), color, style, ahead in zip(schedules.items(), cycle(LINES), cycle(STYLES), ends):
        if schedule is not None:
            draw_learning_rate(ax, schedule, ahead.steps[-1], lw=1.6, color=color, ls=style, label=as_text(name))
    mark_origin(ax, ends[0].origin, name="")
    ax.set(ylabel="learning rate", ylim=(0.0, None))


def plot_what_if(plans: WhatIf, *, prob: float = 0.9, ax: Sequence[Axes] | None = None) -> list[Axes]:
    """Several schedules for one run: the expected loss, how much lower it is than under the first, and learning rates.

    The gain is paired, draw by draw, at the same step; positive is better. Ends are written in.

    Args:
        plans: what ``what_if`` returned.
        prob: mass of the bands.
        ax: three axes, for loss, gain and learning rate, or two, for loss and learning rate; a new figure by default, of
            three where there are several plans.

    Raises:
        DataError: ``ax`` has another number of axes.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> plans = {"as planned": None, "decay now": bt.schedules.decayed(example_fit().schedule, start=1200, total=2500)}
    >>> compared = bt.what_if(example_fit(), plans, steps=[1500, 2000, 2500])
    >>> [panel.get_ylabel() for panel in plot_what_if(compared, ax=Figure().subplots(3, 1))]
    ['mean test loss [nats/token]', 'gain [nats/token]', 'learning rate']
    """
    axes = _what_if_axes(plans, ax)
    upper, *gain, lower = axes
    first = next(iter(plans.forecasts.values()))
    upper.plot(first.history[STEP], first.history, "o", ms=3.5, color=PAST)
    lines = [
        (name, ahead, color, style) for (name, ahead), color, style in zip(plans.forecasts.items(), cycle(LINES), cycle(STYLES))
    ]
    labels, shown = [], []
    for name, ahead, color, style in lines:
        middle = np.append(first.history[-1], ahead.quantile(0.5, kind="expected"))
        upper.plot(np.append(first.history[STEP][-1], ahead.steps), middle, lw=1.8, color=color, ls=style, label=as_text(name))
        bounds = interval_over_draws(ahead.expected, prob)
        end = [float(bound[-1]) for bound in bounds]
        upper.vlines(ahead.steps[-1], end[0], end[1], color=color, lw=1.4, alpha=0.7)
        shown += [middle, end]
        labels.append((ahead.steps[-1], middle[-1], as_text(f"{name}\n{interval_text(middle[-1], *end)}"), color))
    last = max(label[0] for label in labels)
    _close_up(upper, first, last, shown)
    label_right(upper, [label for label in labels if label[0] == last])
    for x, y, words, color in (label for label in labels if label[0] < last):  # the lines that go on are above
        place = {"xytext": (-5, -8), "textcoords": "offset points", "ha": "right", "va": "top"}
        upper.annotate(words, (x, y), color=color, fontsize=8, **place)
    for panel in gain:
        _draw_gains(panel, lines, prob)
    _draw_rates(lower, plans.schedules, *plans.forecasts.values())
    for panel in axes:
        panel.set_xlim(upper.get_xlim())
    for panel in axes[:-1]:
        mark_origin(panel, first.origin)
    upper.set(ylabel=TEST_LOSS, title=as_text(f"{first.run}, {first.test_set}"))
    mark_unconverged(upper, first.converged)
    lower.set_xlabel("step")
    write_notices(lower, first.notices)
    return axes


def _what_if_axes(plans: WhatIf, ax: Sequence[Axes] | None) -> list[Axes]:
    """Axes of loss and learning rate, and of the gain between them where there are several plans or three axes."""
    if ax is None:
        return stacked_axes((3.0, 2.0, 1.0) if len(plans.forecasts) > 1 else (3.0, 1.0))
    if np.size(np.asarray(ax, dtype=object)) == 3:
        return require_axes(ax, 3, "loss, gain and learning rate")
    return require_axes(ax, 2, "loss and learning rate")


def _draw_gains(ax: Axes, lines: Sequence[tuple[str, Forecast, str, str]], prob: float) -> None:
    """How much lower the expected loss is than under the first of the plans, at the same step."""
    (_, first, color, style), *others = lines
    ax.axhline(0.0, color=color, lw=1.6, ls=style)
    labels = []
    for _, ahead, color, style in others:
        gain = first.expected - ahead.expected  # at the steps that both have
        lower, upper = interval_over_draws(gain, prob)
        middle = gain.median(DRAWS)
        steps = np.append(first.origin, gain[STEP])
        ax.fill_between(steps, np.append(0.0, lower), np.append(0.0, upper), color=color, alpha=0.2, lw=0)
        ax.plot(steps, np.append(0.0, middle), color=color, lw=1.8, ls=style)
        end = [float(each[-1]) for each in (middle, lower, upper)]
        sure = percent(float((gain[..., -1] > 0).mean()))
        labels.append((float(gain[STEP][-1]), end[0], f"{interval_text(*end)}\nbetter: {sure}", color))
    label_right(ax, labels)
    ax.set_ylabel("gain [nats/token]")


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
    ax.fill_between(origin, lower, upper, color=AHEAD, alpha=0.2, lw=0)
    ax.plot(origin, median, "o-", ms=4, lw=1.8, color=AHEAD, label="median")
    ax.set_xlim(origin[0], origin[-1])
    labels = [
        (origin[-1], median[-1], f"{interval_text(median[-1], lower[-1], upper[-1])}\nmedian, {prob:.0%} interval", AHEAD)
    ]
    if alarm.any():
        ax.plot(origin[alarm], median[alarm], "o", ms=10, mfc="none", mew=1.8, color=TRUTH, label="not as foreseen after")
    if np.isfinite(observed):
        ax.axhline(observed, lw=1.0, ls="--", color=PAST)
        labels.append((origin[-1], observed, f"measured {show(round(observed, 4))}", PAST))
    counted = f"{alarm.sum()} alarms" if alarm.any() else "no alarm"
    ax.set(xlabel="step from which it is forecast", ylabel=TEST_LOSS, title=f"forecast of step {show(end)}")
    ax.set_title(f"{counted} at {len(origin)} looks", loc="left", fontsize=8, color=NOTE)
    label_right(ax, labels)
    if not converged.all():
        ax.set_title("NOT ALL CONVERGED", loc="right", color=TRUTH, fontsize=10, fontweight="bold")
    bare(ax)
    if alarm.any():
        ax.legend(*([each[1]] for each in ax.get_legend_handles_labels()), frameon=False, fontsize=8)
    return ax


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
        ax.plot(means.index, means.to_numpy(), "o", ms=3.5, color=TRUTH, label="measured")
    mark_origin(ax, float(predictive.attrs["origin"]))
    ax.set(xlabel="step", ylabel=TEST_LOSS, title="losses under the priors alone")
    return finish([ax])[0]
