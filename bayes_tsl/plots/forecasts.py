"""Pictures of forecasts and decisions: what was seen, where it goes, how sure that is. All draw on ``ax`` if given one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._common.dims import CHAIN, STEP
from bayes_tsl._common.validation import percent, require, show
from bayes_tsl.decisions.budgets import budget_curve, smallest_budget
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.run_comparison import Comparison
from bayes_tsl.decisions.stopping import Stopping
from bayes_tsl.forecasting.alternatives import WhatIf
from bayes_tsl.forecasting.distribution import Forecast, Kind, step_text
from bayes_tsl.plots.style import (
    AHEAD,
    PAST,
    PROBS,
    TRUTH,
    bands,
    finished,
    given,
    mark_origin,
    mark_unconverged,
    new_axes,
    stacked,
    write_below,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PIT_BINS = 10


def plot_forecast(
    ahead: Forecast, *, observed: Any = None, target: float | None = None, kind: Kind = "observed", ax: Axes | None = None
) -> Axes:
    """Observed past, median ahead with 50 and 90 % bands, and the origin; what the forecast has to say is written below.

    Args:
        ahead: the forecast.
        observed: later measurements to show beside it: a pandas Series (index: step).
        target: loss to mark with a line.
        kind: whose bands to draw, those of the next measurements or of the expected curve.
        ax: where to draw; a new figure by default.

    Raises:
        DataError: ``kind`` is neither observed nor expected.
    """
    ahead.require_one_run()
    draws = ahead.draws(kind)
    ax = new_axes(1, (7.0, 4.2))[0] if ax is None else ax
    history = ahead.history
    ax.plot(history[STEP], history, "o", ms=3.5, color=PAST, label="observed")
    bands(ax, draws, start=(ahead.origin, float(history[-1])))
    if observed is not None:
        ax.plot(observed.index, observed.to_numpy(), "o", ms=3.5, mfc="white", color=TRUTH, label="observed later")
    if target is not None:
        ax.axhline(target, lw=1.0, ls="--", color=PAST, label=f"target {show(float(target))}")
    mark_origin(ax, ahead.origin)
    ax.set(xlabel="step", ylabel="mean test loss [nats/token]", title=f"{ahead.run}, {ahead.test_set}")
    mark_unconverged(ax, ahead.converged)
    write_below(ax, ahead.notices)
    ax.legend(frameon=False)
    return ax


def plot_comparison(comparison: Comparison, *, prob: float = 0.9, ax: Sequence[Axes] | None = None) -> list[Axes]:
    """Where each run is expected to end, and the probability that it ends lowest; likeliest first.

    Args:
        comparison: what ``compare_runs`` returned.
        prob: mass of the thin bars; the thick ones hold half of it.
        ax: two axes, for losses and probabilities; a new figure by default.

    Raises:
        DataError: ``ax`` has another number of axes.
    """
    wide, narrow = (comparison.to_frame(prob=mass) for mass in (prob, 0.5 * prob))
    axes = new_axes(2, (8.4, 1.2 + 0.42 * len(wide))) if ax is None else given(ax, 2, "losses and probabilities")
    rows = np.arange(len(wide))
    for table, width in ((wide, 1.4), (narrow, 4.5)):
        axes[0].hlines(rows, table["lower"], table["upper"], color=AHEAD, lw=width)
    axes[0].plot(wide["mean"], rows, "o", ms=6, color=AHEAD, mec="white")
    axes[1].barh(rows, wide["prob_lowest"], color=AHEAD, height=0.55)
    for row, (chance, regret) in enumerate(zip(wide["prob_lowest"], wide["regret"])):
        axes[1].annotate(
            f"{percent(chance)}, regret {regret:.4f}",
            (chance, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes[0].set(xlabel=f"expected test loss at step {show(comparison.step)} [nats/token]", title=comparison.test_set)
    axes[0].set_yticks(rows, [textwrap.shorten(name, 40, placeholder="...") for name in wide["run"]])
    axes[1].set(xlabel="probability to end lowest", xlim=(0.0, 1.6), xticks=[0.0, 0.5, 1.0], yticks=[])
    mark_unconverged(axes[1], comparison.converged)
    for panel in axes:
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.spines[["top", "right"]].set_visible(False)
    return axes


def plot_prior_predictive(predictive: xr.Dataset, *, observed: Any = None, runs: int = 10, ax: Axes | None = None) -> Axes:
    """Losses that the priors hold possible: median, 50 and 90 % bands, and some of the runs drawn.

    Args:
        predictive: what ``prior_predictive`` returned.
        observed: measurements to show beside it: a pandas Series (index: step).
        runs: how many single runs to draw.
        ax: where to draw; a new figure by default.
    """
    ax = new_axes(1, (7.0, 4.2))[0] if ax is None else ax
    drawn = predictive["observed"].expand_dims(CHAIN)
    for run in drawn[0, :runs]:
        ax.plot(run[STEP], run, lw=0.6, color=PAST, alpha=0.5)
    bands(ax, drawn)
    if observed is not None:
        ax.plot(observed.index, observed.to_numpy(), "o", ms=3.5, color=TRUTH, label="observed")
    mark_origin(ax, float(predictive.attrs["origin"]))
    ax.set(xlabel="step", ylabel="mean test loss [nats/token]", title="what the priors hold possible")
    ax.legend(frameon=False)
    return ax


def plot_forecast_revisions(drift: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """How the forecast of a run's end moved: its median and interval from each origin, and where checkpoints raised an alarm.

    Args:
        drift: what ``forecast_drift`` returned.
        ax: where to draw; a new figure by default.
    """
    ax = new_axes(1, (7.0, 4.2))[0] if ax is None else ax
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
    return finished([ax])[0]


def plot_what_if(plans: WhatIf, *, prob: float = 0.9, ax: Sequence[Axes] | None = None) -> list[Axes]:
    """Several plans for one run: the expected loss with its interval, and below it the learning rate of each.

    Args:
        plans: what ``what_if`` returned.
        prob: mass of the bands.
        ax: two axes, for loss and learning rate; a new figure by default.

    Raises:
        DataError: ``ax`` has another number of axes.
    """
    axes = stacked() if ax is None else given(ax, 2, "loss and learning rate")
    upper, lower = axes
    first = next(iter(plans.forecasts.values()))
    upper.plot(first.history[STEP], first.history, "o", ms=3.5, color=PAST, label="observed")
    for name, ahead in plans.forecasts.items():
        x = np.append(ahead.origin, ahead.steps)
        interval = ahead.interval(prob=prob, kind="expected")
        bounds = [np.append(first.history[-1], interval[bound]) for bound in ("lower", "upper")]
        (line,) = upper.plot(x, np.append(first.history[-1], ahead.quantile(0.5, kind="expected")), lw=1.8, label=name)
        upper.fill_between(x, bounds[0], bounds[1], color=line.get_color(), alpha=0.2, lw=0)
        schedule, last = plans.schedules[name], ahead.steps[-1]
        knots = np.unique(np.clip(np.append(schedule.steps, last), None, last))
        lower.plot(knots, schedule.lr(knots), lw=1.4, color=line.get_color())
    for panel in axes:
        mark_origin(panel, first.origin)
    upper.set(ylabel="mean test loss [nats/token]", title=f"{first.run}, {first.test_set}")
    mark_unconverged(upper, first.converged)
    lower.set(xlabel="step", ylabel="learning rate", ylim=(0.0, None))
    write_below(lower, first.notices)
    upper.legend(frameon=False)
    return axes


def plot_budget(ahead: Forecast, cost: Cost, *, target: float | None = None, prob: float = 0.9, ax: Axes | None = None) -> Axes:
    """Expected loss by budget, with its interval; with a target, the budget that reaches it with a probability of ``prob``.

    Args:
        ahead: the forecast of one run.
        cost: what its steps cost.
        target: a loss to reach.
        prob: mass of the band, and how sure to be of the target.
        ax: where to draw; a new figure by default.

    Raises:
        DataError: several runs, or a deadline before the first step of the forecast.
    """
    curve = budget_curve(ahead, cost, prob=prob)
    ax = new_axes(1, (7.0, 4.2))[0] if ax is None else ax
    ax.fill_between(curve["cost"], curve["lower"], curve["upper"], color=AHEAD, alpha=PROBS[0.9], lw=0, label=f"{prob:.0%}")
    ax.plot(curve["cost"], curve["mean"], color=AHEAD, lw=1.8, label="mean")
    if target is not None:
        enough = smallest_budget(ahead, cost, target=target, prob=prob)
        sure = show(round(enough.cost, 2)) if np.isfinite(enough.cost) else step_text(enough.step, last=enough.last)
        ax.axhline(target, lw=1.0, ls="--", color=PAST, label=f"target {show(float(target))}, {prob:.0%} sure: {sure}")
        if np.isfinite(enough.cost):
            ax.axvline(enough.cost, lw=1.0, ls="--", color=TRUTH)
    ax.set(xlabel="budget", ylabel="expected test loss [nats/token]", title=f"{ahead.run}, {ahead.test_set}")
    steps = (lambda money: ahead.origin + cost.steps(money), lambda step: cost.money(step - ahead.origin))
    above = ax.secondary_xaxis("top", functions=steps)
    above.set_xlabel("step")
    mark_unconverged(ax, ahead.converged)
    write_below(ax, ahead.notices)
    ax.spines["right"].set_visible(False)
    ax.legend(frameon=False)
    return ax


def plot_stopping(stopping: Stopping, *, prob: float = 0.9, ax: Sequence[Axes] | None = None) -> list[Axes]:
    """What stopping at each step is worth against stopping now, and the probability that it is the best of all.

    Args:
        stopping: what ``stop_or_continue`` returned.
        prob: mass of the thin bars; the thick ones hold half of it.
        ax: two axes, for utility and probability; a new figure by default.

    Raises:
        DataError: ``ax`` has another number of axes.
    """
    axes = stacked() if ax is None else given(ax, 2, "utility and probability")
    upper, lower = axes
    wide, narrow = (stopping.to_frame(prob=mass) for mass in (prob, 0.5 * prob))
    colors = [TRUTH if step == stopping.recommended else AHEAD for step in stopping.steps]
    for table, width in ((wide, 1.4), (narrow, 4.5)):
        upper.vlines(table["step"], table["utility_lower"], table["utility_upper"], color=colors, lw=width)
    upper.scatter(wide["step"], wide["utility"], s=36, c=colors, edgecolors="white", zorder=3)
    upper.axhline(0.0, color=PAST, lw=0.8, ls=":")
    lower.bar(wide["step"], wide["prob_best"], width=0.6 * np.diff(stopping.steps).min(), color=colors)
    one = next(iter(stopping.plans.forecasts.values()))
    said = f"{one.run}, {one.test_set}: best to stop at step {show(stopping.recommended)}"
    upper.set(ylabel="utility against stopping now", title=said)
    lower.set(xlabel="step at which to stop", ylabel="prob. best", ylim=(0.0, 1.0))
    mark_unconverged(upper, stopping.converged)
    write_below(lower, stopping.notices)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    return axes


def plot_calibration(scores: pd.DataFrame, *, ax: Sequence[Axes] | None = None) -> list[Axes]:
    """Are the intervals right? Histogram of the PIT (flat if they are), and coverage against mass (on the diagonal).

    Args:
        scores: what ``backtest`` returned.
        ax: two axes; a new figure by default.

    Raises:
        DataError: ``ax`` has another number of axes, or no forecast was scored.
    """
    good = _scored(scores)
    axes = new_axes(2, (9.0, 3.8)) if ax is None else given(ax, 2, "PIT and coverage")
    levels = np.linspace(0.0, 1.0, _PIT_BINS + 1)
    axes[1].plot([0, 1], [0, 1], lw=0.8, ls=":", color=PAST)
    for model, part in good.groupby("model", sort=True):
        density = np.histogram(part["pit"], bins=levels, density=True)[0]
        axes[0].stairs(density, levels, label=str(model), lw=1.6)
        mass = levels[1:-1]
        axes[1].plot(mass, [(2.0 * np.abs(part["pit"] - 0.5) <= prob).mean() for prob in mass], "o-", ms=3.5, label=str(model))
    axes[0].axhline(1.0, lw=0.8, ls=":", color=PAST)
    axes[0].set(xlabel="PIT", ylabel="density", title="where the truth fell")
    axes[1].set(xlabel="mass of the interval", ylabel="share covered", title="coverage")
    return finished(axes)


def plot_errors(scores: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Mean absolute error at the last step against the share of the run that was seen, by model.

    Raises:
        DataError: no forecast was scored.
    """
    good = _scored(scores)
    ax = new_axes(1, (6.0, 3.8))[0] if ax is None else ax
    last = good.groupby(["run", "test_set", "model", "prefix"], sort=True).tail(1)
    errors = last.assign(error=(last["mean"] - last["observed"]).abs())
    for model, part in errors.groupby("model", sort=True):
        seen, error = part["prefix"].to_numpy(float), part["error"].to_numpy(float)
        prefixes = np.unique(seen)
        ax.plot(prefixes, [error[seen == prefix].mean() for prefix in prefixes], "o-", ms=4, label=str(model))
    ax.set(xlabel="share of the run seen", ylabel="endpoint error [nats/token]", yscale="log")
    return finished([ax])[0]


def _scored(scores: pd.DataFrame) -> pd.DataFrame:
    good = scores[scores["reason"] == ""]
    cure = "The column reason says what went wrong."
    require(len(good) > 0, "scores", "hold a forecast that did not fail", 0, where=f"of {len(scores)} rows", cure=cure)
    return pd.DataFrame(good)
