"""Pictures of decisions: which run to choose, what a budget buys, when to stop. All draw on ``ax`` if given one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import percent, show
from bayes_tsl.decisions.budgets import budget_curve, smallest_budget
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.measurements import Worth
from bayes_tsl.decisions.plans import NEAR, BestPlan
from bayes_tsl.decisions.run_comparison import Comparison
from bayes_tsl.decisions.stopping import Stopping
from bayes_tsl.forecasting.distribution import Forecast, step_text
from bayes_tsl.plots.style import (
    AHEAD,
    PAST,
    PROBS,
    TRUTH,
    as_text,
    draw_learning_rate,
    mark_origin,
    mark_unconverged,
    new_axes,
    one_axes,
    require_axes,
    stacked_axes,
    write_notices,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_comparison(comparison: Comparison, *, prob: float = 0.9, ax: Sequence[Axes] | None = None) -> list[Axes]:
    """Where each run is expected to end, and the probability that it ends lowest; likeliest first.

    Args:
        comparison: what ``compare_runs`` returned.
        prob: mass of the thin bars; the thick ones cover half of it.
        ax: two axes, for losses and probabilities; a new figure by default.

    Raises:
        DataError: ``ax`` has another number of axes.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> from dataclasses import replace
    >>> runs = [replace(bt.forecast(example_fit(), steps=[2000], seed=seed), run=f"run {seed}") for seed in (0, 1)]
    >>> plot_comparison(bt.compare_runs(runs), ax=Figure().subplots(1, 2))[1].get_xlabel()
    'probability to end lowest'
    """
    wide, narrow = (comparison.to_frame(prob=mass) for mass in (prob, 0.5 * prob))
    axes = new_axes(2, (8.4, 1.2 + 0.42 * len(wide))) if ax is None else require_axes(ax, 2, "losses and probabilities")
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
    axes[0].set(xlabel=f"expected test loss at step {show(comparison.step)} [nats/token]", title=as_text(comparison.test_set))
    axes[0].set_yticks(rows, [as_text(textwrap.shorten(name, 40, placeholder="...")) for name in wide["run"]])
    axes[1].set(xlabel="probability to end lowest", xlim=(0.0, 1.6), xticks=[0.0, 0.5, 1.0], yticks=[])
    mark_unconverged(axes[1], comparison.converged)
    for panel in axes:
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.spines[["top", "right"]].set_visible(False)
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

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> plot_budget(ahead, Cost(per_step=0.01), ax=Figure().subplots()).get_xlabel()
    'budget'
    """
    curve = budget_curve(ahead, cost, prob=prob)
    ax = one_axes(ax)
    ax.fill_between(curve["cost"], curve["lower"], curve["upper"], color=AHEAD, alpha=PROBS[0.9], lw=0, label=f"{prob:.0%}")
    ax.plot(curve["cost"], curve["mean"], color=AHEAD, lw=1.8, label="mean")
    if target is not None:
        enough = smallest_budget(ahead, cost, target=target, prob=prob)
        sure = cost.text(enough.cost) if np.isfinite(enough.cost) else step_text(enough.step, last=enough.last)
        ax.axhline(target, lw=1.0, ls="--", color=PAST, label=f"target {show(float(target))}, {prob:.0%} sure: {sure}")
        if np.isfinite(enough.cost):
            ax.axvline(enough.cost, lw=1.0, ls="--", color=TRUTH)
    ax.set(
        xlabel=cost.label("budget"), ylabel="expected test loss [nats/token]", title=as_text(f"{ahead.run}, {ahead.test_set}")
    )
    steps = (lambda money: ahead.origin + cost.steps(money), lambda step: cost.money(step - ahead.origin))
    above = ax.secondary_xaxis("top", functions=steps)
    above.set_xlabel("step")
    mark_unconverged(ax, ahead.converged)
    write_notices(ax, ahead.notices)
    ax.spines["right"].set_visible(False)
    ax.legend(frameon=False)
    return ax


def plot_stopping(stopping: Stopping, *, prob: float = 0.9, ax: Sequence[Axes] | None = None) -> list[Axes]:
    """What stopping at each step is worth against stopping now, and the probability that it is the best of all.

    Args:
        stopping: what ``stop_or_continue`` returned.
        prob: mass of the thin bars; the thick ones cover half of it.
        ax: two axes, for utility and probability; a new figure by default.

    Raises:
        DataError: ``ax`` has another number of axes.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> stopping = bt.stop_or_continue(example_fit(), bt.Cost(per_step=0.01), value=1000.0, steps=[2500])
    >>> plot_stopping(stopping, ax=Figure().subplots(2, 1))[0].get_title()
    'mix50_cosine, prose: best to stop at step 2500'
    """
    axes = stacked_axes() if ax is None else require_axes(ax, 2, "utility and probability")
    upper, lower = axes
    wide, narrow = (stopping.to_frame(prob=mass) for mass in (prob, 0.5 * prob))
    colors = [TRUTH if step == stopping.recommended else AHEAD for step in stopping.steps]
    for table, width in ((wide, 1.4), (narrow, 4.5)):
        upper.vlines(table["step"], table["utility_lower"], table["utility_upper"], color=colors, lw=width)
    upper.scatter(wide["step"], wide["utility"], s=36, c=colors, edgecolors="white", zorder=3)
    upper.axhline(0.0, color=PAST, lw=0.8, ls=":")
    lower.bar(wide["step"], wide["prob_best"], width=0.6 * np.diff(stopping.steps).min(), color=colors)
    one = next(iter(stopping.plans.forecasts.values()))
    title = as_text(f"{one.run}, {one.test_set}: best to stop at step {show(stopping.recommended)}")
    upper.set(ylabel=stopping.cost.label("utility against stopping now"), title=title)
    lower.set(xlabel="step at which to stop", ylabel="prob. best", ylim=(0.0, 1.0))
    mark_unconverged(upper, stopping.converged)
    write_notices(lower, stopping.notices)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    return axes


def plot_worth(worth: Worth, *, prob: float = 0.9, ax: Axes | None = None) -> Axes:
    """How wide the interval of the run's end is, and how wide it would be after each measurement; narrowest first.

    Args:
        worth: what ``worth_measuring`` returned.
        prob: mass of the intervals.
        ax: where to draw; a new figure by default.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> worth = bt.worth_measuring(example_fit(), {"wait": bt.Measurement([1300, 1400])}, end=2500)
    >>> plot_worth(worth, ax=Figure().subplots()).get_xlabel()
    'width of the 90% interval of the end, step 2500 [nats/token]'
    """
    table = worth.to_frame(prob=prob).sort_values("width_left")
    ax = one_axes(ax, (7.0, 1.4 + 0.45 * len(table)))
    rows = np.arange(len(table))
    ax.barh(rows, table["width_left"], color=AHEAD, height=0.55)
    now = float(table["width_now"].iloc[0])
    ax.axvline(now, color=PAST, lw=1.0, ls=":")
    ax.annotate(
        f"now {now:.3f}", (now, 1.0), (5, 2), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8
    )
    for row, measured in enumerate(table.to_dict("records")):
        price = "" if worth.cost is None or np.isnan(measured["net"]) else f", net worth {worth.cost.text(measured['net'])}"
        text = f"{measured['width_left']:.3f}, {measured['narrower']:.0%} narrower{price}"
        ax.annotate(text, (now, row), (5, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set_yticks(rows, [as_text(textwrap.shorten(str(name), 40, placeholder="...")) for name in table.index])
    ax.set(
        xlabel=f"width of the {prob:.0%} interval of the end, step {show(worth.end)} [nats/token]", ylim=(len(rows) - 0.5, -0.5)
    )
    ax.set_xlim(0.0, 1.8 * now)
    mark_unconverged(ax, worth.converged)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_best_plan(best: BestPlan, *, prob: float = 0.9, ax: Sequence[Axes] | None = None) -> list[Axes]:
    """How much higher plans end than the best one, by the step at which they begin to decay; and learning rates below.

    Of each shape the final rate of its best plan is shown, at the last step considered.

    Args:
        best: what ``best_plan`` returned.
        prob: mass of the bands, of the difference to the best plan.
        ax: two axes, for loss and learning rate; a new figure by default.

    Raises:
        DataError: ``ax`` has another number of axes.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> best = bt.best_plan(example_fit(), end=2500)
    >>> [panel.get_xlabel() for panel in plot_best_plan(best, ax=Figure().subplots(2, 1))]
    ['step at which the decay begins', 'step']
    """
    axes = stacked_axes(shared=False) if ax is None else require_axes(ax, 2, "loss and learning rate")
    upper, lower = axes
    table = best.to_frame(prob=prob)
    chosen = table.loc[best.name]
    shown = pd.DataFrame(table.loc[(table["end"] == chosen["end"]) & table["start"].notna()])
    upper.axhspan(-NEAR, NEAR, color=PAST, alpha=0.15, lw=0)
    for number, (shape, rows) in enumerate(shown.groupby("shape", sort=False)):
        final = float(np.asarray(rows["final"])[0])  # of the plan that is best
        line = pd.DataFrame(rows.loc[rows["final"] == final]).sort_values("start")
        (drawn,) = upper.plot(line["start"], line["behind"], "o-", ms=3.5, lw=1.6, label=f"{shape} to {final:.3g}")
        if number == 0:
            upper.fill_between(
                line["start"], line["behind_lower"], line["behind_upper"], color=drawn.get_color(), alpha=0.15, lw=0
            )
    upper.set(xlabel="step at which the decay begins", ylabel="above the best [nats/token]")
    upper.set_title(as_text(f"best: {best.name}"), loc="left")
    colors = dict(zip(best.standard, _STANDARD)) | {best.name: TRUTH}
    for name in dict.fromkeys((best.name, *best.standard)):
        schedule, last = best.schedules[name], float(best.candidates.loc[name, "end"])
        width = 2.4 if name == best.name else 1.0
        draw_learning_rate(lower, schedule, last, lw=width, color=colors[name], label=as_text(name))
    mark_origin(lower, best.origin)
    lower.set(xlabel="step", ylabel="learning rate", ylim=(0.0, None))
    mark_unconverged(upper, best.converged)
    write_notices(lower, best.notices)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    upper.legend(frameon=False, fontsize=8)
    lower.legend(frameon=False, fontsize=7, loc="lower left")
    return axes


_STANDARD = (PAST, AHEAD, "#e08a1e", "#4f9d4f")  # colours of what people would do without asking
