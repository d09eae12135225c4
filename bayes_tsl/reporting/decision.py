"""What to do, in sentences: one plan for the learning rate, what it risks, what is as good, and what it assumes.

Where ``stop_or_continue`` was asked, the plan is the one that it recommends, and the target is judged on its steps; else it is
the plan of ``best_plan``; else the schedule as it is.
"""

from __future__ import annotations

import numpy as np

from bayes_tsl._common.intervals import draws_first, draws_last
from bayes_tsl._common.validation import percent, show
from bayes_tsl.decisions.budgets import smallest_budget
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.frontier import Frontier
from bayes_tsl.decisions.plans import AS_PLANNED, NEAR, BestPlan
from bayes_tsl.decisions.stopping import Stopping
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.inference.posterior import Fit

_LAW = "and that the run follows the law as it has so far"


def what_to_do(
    fit: Fit,
    ahead: Forecast,
    *,
    target: float | None,
    cost: Cost | None,
    stopping: Stopping | None,
    best: BestPlan | None,
    frontier: Frontier | None,
    prob: float,
) -> list[str]:
    """Sentences, the act first."""
    if not fit.converged:
        return ["Do not act on this report: the sampler's chains do not agree."]
    if stopping is not None:
        return _of_stopping(stopping, target, prob)
    sentences = _as_planned(fit, ahead, target, prob) if best is None else _of_best(best, target, cost, prob)
    bought = [] if frontier is None or frontier.target is None else [_of_frontier(frontier, ahead, prob)]
    return [*sentences[:-1], *bought, sentences[-1]]


def _of_stopping(stopping: Stopping, target: float | None, prob: float) -> list[str]:
    table, cost = stopping.to_frame(prob=prob), stopping.cost
    row = table.loc[table["step"] == stopping.recommended].iloc[0]
    worth, low, high = (cost.text(row[name]) for name in ("utility", "utility_lower", "utility_upper"))
    act = f"{stopping.act[:1].upper()}{stopping.act[1:]}."
    risk = f"It is the best of {len(table)} steps with a probability of {percent(row['prob_best'])}"
    if row["step"] > table["step"].iloc[0]:
        act = f"{act} This is worth {worth} more than stopping now ({low} to {high}, {prob:.0%} interval)."
    near = table.loc[table["utility"] >= row["utility"] - row["regret"], "step"]
    good = f"steps {show(near.iloc[0])} to {show(near.iloc[-1])} are expected within {cost.text(row['regret'])} of it"
    ends = f"The expected loss at its end is {row['mean']:.3f} ({row['lower']:.3f} to {row['upper']:.3f}, {prob:.0%} interval)"
    sentences = [act, f"{risk}; {good}.", f"{ends}."]
    if target is not None:
        sentences.append(_target_when_stopping(stopping, target, prob))
    return [
        *sentences,
        f"This assumes the given value of a nat, a decay over the last {stopping.decay:.0%} of the way, {_LAW}.",
    ]


def _target_when_stopping(stopping: Stopping, target: float, prob: float) -> str:
    """How sure the plan is of a target, and from which step on one would be sure enough, at which loss of worth."""
    table, below = stopping.to_frame(), (draws_first(stopping.losses) < target).mean(axis=0)
    chosen = int(np.argmax(table["utility"]))
    said = f"On this plan it ends below the target {show(target)} with a probability of {percent(below[chosen])}"
    if below[chosen] >= prob:
        return f"{said}."
    sure = np.flatnonzero(below >= prob)
    if not sure.size:
        return f"{said}; no step up to {show(stopping.steps[-1])} is {prob:.0%} sure of it."
    more = table.loc[int(sure[0])]
    price = stopping.cost.text(more["cost"] - table.loc[chosen, "cost"])
    less = stopping.cost.text(table.loc[chosen, "utility"] - more["utility"])
    later = f"to be {prob:.0%} sure, decay to step {show(more['step'])} instead, which costs {price} more"
    return f"{said}; {later} and is worth {less} less."


def _of_best(best: BestPlan, target: float | None, cost: Cost | None, prob: float) -> list[str]:
    table = best.to_frame(prob=prob)
    row, act = table.loc[best.name], best.reason.partition(". Of ")[0]
    sentences = [f"{act}."]
    if AS_PLANNED in best.standard and best.name != AS_PLANNED:
        gain = best.against(prob=prob).loc[AS_PLANNED]
        bounds = f"{gain['gain_lower']:.3f} to {gain['gain_upper']:.3f}, {prob:.0%} interval"
        chance = percent(gain["prob_lower"])
        sentences.append(
            f"It ends {gain['gain']:.3f} nats below the schedule as planned ({bounds}), lower with a probability of {chance}."
        )
    near = table.loc[(table["behind"] < NEAR) & table["start"].notna(), "start"]
    if len(near) > 1:
        began = f"decays that begin between steps {show(round(near.min()))} and {show(round(near.max()))}"
        sentences.append(f"As good: {len(near) - 1} other plans, {began}, are expected within {NEAR} nats of it.")
    if target is not None:
        below = (draws_last(best.losses) < target).mean(axis=1)
        chance = dict(zip(best.candidates.index, below))
        planned = f", as planned with {percent(chance[AS_PLANNED])}" if AS_PLANNED in chance else ""
        sentences.append(
            f"It ends below the target {show(target)} with a probability of {percent(chance[best.name])}{planned}."
        )
    if cost is not None:
        price = cost.text(float(cost.money(row["end"] - best.origin)))
        sentences.append(f"From now on it costs {price}, to step {show(row['end'])}.")
    return [*sentences, f"This assumes that the run may go on to step {show(row['end'])}, {_LAW}."]


def _as_planned(fit: Fit, ahead: Forecast, target: float | None, prob: float) -> list[str]:
    row = ahead.to_frame(prob=prob, kind="expected").iloc[-1]
    what = "Keep the schedule as planned" if fit.schedule.known else "The learning rate is unknown"
    sentences = [f"{what}: no other plan was compared."]
    ends = f"The expected loss at step {show(row['step'])} is {row['mean']:.3f}"
    sentences.append(f"{ends} ({row['lower']:.3f} to {row['upper']:.3f}, {prob:.0%} interval).")
    if target is not None:
        sentences.append(f"It is below the target {show(target)} with a probability of {percent(_below(ahead, target))}.")
    return [*sentences, f"This assumes that the schedule is kept, {_LAW}."]


def _below(ahead: Forecast, target: float) -> float:
    return float((ahead.expected[..., -1] < target).mean())


def _of_frontier(frontier: Frontier, ahead: Forecast, prob: float) -> str:
    """The smallest budget for the target where its decay is planned for it, beside the one on the schedule as it is."""
    target, cost = frontier.target or np.nan, frontier.cost
    planned, kept = frontier.smallest(prob), smallest_budget(ahead, cost, target=target, prob=prob)
    sure = f"{prob:.0%} sure of the target {show(target)}"
    texts = [f"{cost.text(one.cost)}, to step {show(round(one.step))}" for one in (planned, kept) if np.isfinite(one.cost)]
    if not texts:
        return f"No budget up to step {show(frontier.table['end'].iloc[-1])} is {sure}."
    if planned.cost < kept.cost:
        other = f"takes {texts[1]}" if len(texts) > 1 else "is not enough within the forecast"
        return f"The smallest budget that is {sure} is {texts[0]}, its decay planned for it; the schedule as planned {other}."
    return f"The smallest budget that is {sure} is {texts[-1]}, on the schedule as planned."
