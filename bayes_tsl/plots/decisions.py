"""Pictures of decisions: which run to choose, what a budget buys, when to stop. All draw on ``ax`` if given one."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayes_tsl._common.intervals import require_prob
from bayes_tsl._common.validation import percent, show
from bayes_tsl.decisions.budgets import Budget, budget_curve, smallest_budget
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.frontier import Frontier
from bayes_tsl.decisions.measurements import Worth
from bayes_tsl.decisions.plans import AS_PLANNED, NEAR, BestPlan
from bayes_tsl.decisions.run_comparison import Comparison
from bayes_tsl.decisions.stopping import Stopping
from bayes_tsl.forecasting.distribution import Forecast, step_text
from bayes_tsl.plots.style import (
    AHEAD,
    LINES,
    NOTE,
    PAST,
    PROBS,
    STYLES,
    TRUTH,
    as_text,
    bare,
    draw_learning_rate,
    interval_text,
    label_right,
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
        words = f"{percent(chance)}, expected regret {regret:.4f} nats"
        axes[1].annotate(words, (1.0, row), (4, 0), textcoords="offset points", va="center", fontsize=8, annotation_clip=False)
    axes[0].set(xlabel=f"expected test loss at step {show(comparison.step)} [nats/token]")
    axes[0].set_title(as_text(f"{comparison.test_set}, {prob:.0%} and {0.5 * prob:.0%} intervals"), loc="left", fontsize=9)
    axes[0].set_yticks(rows, [as_text(textwrap.shorten(name, 40, placeholder="...")) for name in wide["run"]])
    axes[1].set(xlabel="probability to end lowest", xlim=(0.0, 1.0), xticks=[0.0, 0.5, 1.0], yticks=[])
    mark_unconverged(axes[1], comparison.converged)
    for panel in axes:
        panel.set_ylim(len(rows) - 0.5, -0.5)
    bare(*axes)
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
    'budget from now on'
    """
    curve = budget_curve(ahead, cost, prob=prob)
    ax = one_axes(ax)
    ax.fill_between(curve["cost"], curve["lower"], curve["upper"], color=AHEAD, alpha=PROBS[0.9], lw=0)
    ax.plot(curve["cost"], curve["mean"], color=AHEAD, lw=1.8)
    right, end = float(curve["cost"].iloc[-1]), curve.iloc[-1][["mean", "lower", "upper"]].to_list()
    ax.set(xlabel=cost.label("budget from now on"), ylabel="expected test loss [nats/token]")
    ax.margins(x=0.0)
    labels, title = (
        [(right, end[0], f"{interval_text(*end)}\nmean, {prob:.0%} interval", AHEAD)],
        f"{ahead.run}, {ahead.test_set}",
    )
    if target is not None:
        enough = smallest_budget(ahead, cost, target=target, prob=prob)
        title = f"{title}\n{_enough_text(enough, cost, target, prob)}"
        labels.append((right, target, f"target {show(float(target))}", PAST))
        ax.axhline(target, lw=1.0, ls="--", color=PAST)
        _mark_budget(ax, enough.cost, cost)
    above = ax.secondary_xaxis("top", functions=_steps_and_money(ahead.origin, cost))
    above.set_xlabel("step")
    ax.set_title(as_text(title), fontsize=10)
    label_right(ax, labels)
    mark_unconverged(ax, ahead.converged)
    write_notices(ax, ahead.notices)
    ax.spines["right"].set_visible(False)
    return ax


def plot_frontier(frontier: Frontier, *, prob: float = 0.9, ax: Axes | None = None) -> Axes:
    """The loss that each budget buys at each assurance, with the decay planned anew for each, and the target if there is one.

    The smallest budget that ends below the target with a probability of ``prob`` is marked.

    Args:
        frontier: what ``budget_frontier`` returned.
        prob: how sure to be of the target.
        ax: where to draw; a new figure by default.

    Raises:
        DataError: ``prob`` does not lie between 0 and 1.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> frontier = bt.budget_frontier(example_fit(), Cost(per_step=0.01), ends=[1500, 2000, 2500], target=3.5)
    >>> plot_frontier(frontier, prob=0.5, ax=Figure().subplots()).get_title().strip()
    '50% sure of 3.5 with 8, at step 2000'
    """
    require_prob(prob)
    ax, table, cost = one_axes(ax), frontier.table, frontier.cost
    right, labels = float(table["cost"].iloc[-1]), []
    assured = [name for name in table if str(name).startswith("loss_")]
    for name, color, style in zip(assured, cycle(LINES), cycle(STYLES)):
        ax.plot(table["cost"], table[name], "o", ls=style, ms=3.5, lw=1.8, color=color)
        end, share = float(table[name].iloc[-1]), float(str(name).removeprefix("loss_"))
        labels.append((right, end, f"below {end:.3f}\nwith {share:.0%}", color))
    ax.set(xlabel=cost.label("budget from now on"), ylabel="expected test loss at the end [nats/token]")
    ax.margins(x=0.0)
    if frontier.target is not None:
        enough = frontier.smallest(prob)
        ax.axhline(frontier.target, lw=1.0, ls="--", color=PAST)
        labels.append((right, frontier.target, f"target {show(float(frontier.target))}", PAST))
        _mark_budget(ax, enough.cost, cost)
        ax.set_title(as_text(_enough_text(enough, cost, frontier.target, prob)), fontsize=10)
    above = ax.secondary_xaxis("top", functions=_steps_and_money(frontier.origin, cost))
    above.set_xlabel("step at which the run ends, its decay planned for that")
    label_right(ax, labels)
    mark_unconverged(ax, frontier.converged)
    write_notices(ax, frontier.notices)
    ax.spines["right"].set_visible(False)
    return ax


def _enough_text(enough: Budget, cost: Cost, target: float, prob: float) -> str:
    """The budget that reaches a target with a probability, in a line."""
    sure = f"{prob:.0%} sure of {show(float(target))}"
    if not np.isfinite(enough.cost):
        return f"{sure}: {step_text(enough.step, last=enough.last)}"
    return f"{sure} with {cost.text(enough.cost)}, at step {show(round(enough.step))}"


def _mark_budget(ax: Axes, budget: float, cost: Cost) -> None:
    """A line at a sum of money, with the sum beside it."""
    if np.isfinite(budget):
        ax.axvline(budget, lw=1.0, ls="-.", color=TRUTH)
        place = {"xycoords": ("data", "axes fraction"), "xytext": (3, -10), "textcoords": "offset points"}
        ax.annotate(as_text(cost.text(budget)), (budget, 1.0), color=TRUTH, fontsize=8, **place)


def _steps_and_money(origin: float, cost: Cost) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The step that a sum of money reaches, and back."""
    return (lambda money: origin + cost.steps(money)), (lambda step: cost.money(step - origin))


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
    >>> plot_stopping(stopping, ax=Figure().subplots(2, 1))[0].get_title().splitlines()[1]
    'decay from step 2240 to 0 by step 2500, then stop'
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
    upper.set(ylabel=stopping.cost.label("worth above stopping now"))
    upper.set_title(as_text(f"{one.run}, {one.test_set}\n{stopping.act}"), fontsize=10)
    best = wide.loc[wide["step"] == stopping.recommended].iloc[0]
    worth = " to ".join(stopping.cost.text(best[name]) for name in ("utility_lower", "utility_upper"))
    words = f"{stopping.cost.text(best['utility'])}\n({worth})"
    place = {"xytext": (0, -5), "textcoords": "offset points", "ha": "center", "va": "top", "fontsize": 8}
    upper.annotate(as_text(words), (best["step"], best["utility_lower"]), color=TRUTH, **place)
    lower.set(xlabel="step at which to stop", ylabel="prob. best", ylim=(0.0, 1.0))
    mark_unconverged(upper, stopping.converged)
    write_notices(lower, stopping.notices)
    bare(*axes)
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
    ax = one_axes(ax, (7.6, 1.4 + 0.45 * len(table)))
    rows, now = np.arange(len(table)), float(table["width_now"].iloc[0])
    ax.barh(rows, np.full(len(rows), now), color=NOTE, alpha=0.25, height=0.55)
    ax.barh(rows, table["width_left"], color=AHEAD, height=0.55)
    ax.axvline(now, color=PAST, lw=1.0, ls=":")
    ax.set_title(f"{now:.3f} without a measurement", loc="right", fontsize=8)
    for row, measured in enumerate(table.to_dict("records")):
        price = "" if worth.cost is None or np.isnan(measured["net"]) else f", net {worth.cost.text(measured['net'])}"
        text = f"{measured['width_left']:.3f}, {measured['narrower']:.0%} narrower{price}"
        place = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
        ax.annotate(as_text(text), (now, row), (5, 0), fontsize=8, **place)
    ax.set_yticks(rows, [as_text(textwrap.shorten(str(name), 40, placeholder="...")) for name in table.index])
    ax.set_xlabel(f"width of the {prob:.0%} interval of the end, step {show(worth.end)} [nats/token]")
    ax.set(xlim=(0.0, now), ylim=(len(rows) - 0.5, -0.5))
    mark_unconverged(ax, worth.converged)
    bare(ax)
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
    axes = stacked_axes((3.0, 2.0), shared=False) if ax is None else require_axes(ax, 2, "loss and learning rate")
    upper, lower = axes
    table = best.to_frame(prob=prob)
    chosen = table.loc[best.name]
    shown = pd.DataFrame(table.loc[(table["end"] == chosen["end"]) & table["start"].notna()])
    upper.axhspan(-NEAR, NEAR, color=PAST, alpha=0.15, lw=0)
    for number, (shape, rows) in enumerate(shown.groupby("shape", sort=False)):
        final = float(np.asarray(rows["final"])[0])  # of the plan that is best
        line = pd.DataFrame(rows.loc[rows["final"] == final]).sort_values("start")
        color, style = LINES[number % len(LINES)], STYLES[number % len(STYLES)]
        upper.plot(line["start"], line["behind"], "o", ls=style, ms=3.5, lw=1.6, color=color, label=f"{shape} to {final:.3g}")
        if number == 0:
            upper.fill_between(line["start"], line["behind_lower"], line["behind_upper"], color=color, alpha=0.15, lw=0)
    upper.set(xlabel="step at which the decay begins", ylabel="end above the best [nats/token]")
    upper.set_title(as_text(f"best: {best.name}\nends at {interval_text(*chosen[['mean', 'lower', 'upper']])}"), fontsize=10)
    if AS_PLANNED in table.index:
        behind = float(table.loc[AS_PLANNED, "behind"])
        upper.axhline(behind, color=PAST, lw=1.2)
        label_right(upper, [(upper.get_xlim()[1], behind, f"{AS_PLANNED}\n{behind:+.3f}", PAST)])
    _draw_standard(lower, best, table)
    mark_unconverged(upper, best.converged)
    write_notices(lower, best.notices)
    bare(*axes)
    upper.legend(frameon=False, fontsize=8, title=f"band: {prob:.0%} interval of the first", title_fontsize=8)
    return axes


def _draw_standard(ax: Axes, best: BestPlan, table: pd.DataFrame) -> None:
    """The learning rate of the best plan and of those that people would use without asking, each with where it ends."""
    names = dict.fromkeys((best.name, *best.standard))
    for name, color, style in zip(names, (TRUTH, *_STANDARD), ("-", *STYLES)):
        schedule, last = best.schedules[name], float(best.candidates.loc[name, "end"])
        ahead = f"{as_text(name)}: {table.loc[name, 'mean']:.3f}"
        draw_learning_rate(ax, schedule, last, lw=2.4 if name == best.name else 1.2, color=color, ls=style, label=ahead)
    mark_origin(ax, best.origin)
    ax.set(xlabel="step", ylabel="learning rate", ylim=(0.0, None))
    ax.legend(frameon=False, fontsize=7, loc=(0.06, 0.03), title="expected end", title_fontsize=7)


_STANDARD = (PAST, *LINES)  # colours of what people would do without asking
