"""How far a budget goes: what it buys, what that risks, and the smallest one that is enough.

    CVaR = mean loss of the worst share of draws, at the step that a budget buys
    gain = (loss earlier - loss later) / cost, draw by draw

Losses are *expected*: the noise of one evaluation is nothing that money could be spent on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.display import Facts, doubted, shown
from bayes_tsl._common.intervals import draws_first, interval_along, require_prob
from bayes_tsl._common.validation import require, require_number, show
from bayes_tsl.decisions.costs import Cost, money_text
from bayes_tsl.forecasting.distribution import Forecast, step_text

Array = NDArray[np.float64]


@shown
@dataclass(frozen=True)
class Budget:
    """A budget, what it buys after the origin, and the loss that is expected there.

    Attributes:
        cost: the money; infinite where none within the forecast and the deadline is enough.
        step: where training then ends; infinite likewise.
        tokens: how many more than at the origin; NaN if unknown.
        hours: how long that takes; NaN if unknown.
        mean: expected loss at that step, in nats per token; NaN beyond.
        cvar: mean loss of the worst ``tail`` share of draws there.
        tail: that share.
        last: last step that the forecast and the deadline allow.
        currency: of the money, if it has a name.
        converged: False where the chains of the fit did not agree.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> budget = bt.smallest_budget(ahead, bt.Cost(per_step=2.0), target=3.7)
    >>> round(float(budget.step)), round(float(budget.cost))
    (1590, 781)
    """

    cost: float
    step: float
    tokens: float
    hours: float
    mean: float
    cvar: float
    tail: float
    last: float
    currency: str | None = None
    converged: bool = True

    def _facts(self) -> Facts:
        return {"": str(self)}

    def __str__(self) -> str:
        return doubted(self.reason, converged=self.converged)

    @property
    def reason(self) -> str:
        """What it buys, and at which risk, in a sentence."""
        if not np.isfinite(self.step):
            return f"no budget that ends by step {show(self.last)} is enough. Consider later ends, or a lower probability"
        units = {"tokens": self.tokens, "hours": self.hours}
        amounts = [f"{value:.4g} {unit}" for unit, value in units.items() if np.isfinite(value)]
        bought = ", ".join([f"step {step_text(self.step, last=self.last)}", *amounts])
        risk = f"expected loss {self.mean:.4f}, {self.cvar:.4f} on average in the worst {self.tail:.0%}"
        return f"a budget of {money_text(self.cost, self.currency)} buys {bought}: {risk}"


def budget_curve(ahead: Forecast, cost: Cost, *, target: float | None = None, prob: float = 0.9) -> pd.DataFrame:
    """One row per budget: what it buys, at each step of the forecast before the deadline, and at the deadline.

    Training stops there, on the schedule that was forecast; ``stop_or_continue`` gives each step a decay of its own.

    Args:
        ahead: forecast of one run.
        cost: what its steps cost.
        target: a loss to reach.
        prob: mass of the intervals.

    Returns:
        Columns step, tokens, hours, cost (the budget), mean, lower, upper (of the expected loss) and, with a target,
        prob_reached: that the expected loss has fallen to it by then, which a larger budget never makes less likely.

    Raises:
        DataError: several runs, or a deadline before the first step of the forecast.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> budget_curve(ahead, Cost(per_step=0.01))[["step", "cost", "mean"]].round(2).to_numpy().tolist()
    [[1500.0, 3.0, 3.7], [2000.0, 8.0, 3.55], [2500.0, 13.0, 3.48]]
    """
    last = _last_step(ahead, cost)
    steps = np.unique(np.append(ahead.steps[ahead.steps <= last], last))
    table = {"step": steps, **cost.units(steps - ahead.origin), **mean_and_interval(_losses(ahead, steps), prob)}
    if target is not None:
        arrival = ahead.time_to(target, prob=prob)
        table["prob_reached"] = (draws_first(arrival.draws)[:, None] <= steps).mean(axis=0)
    return pd.DataFrame(table)


def smallest_budget(ahead: Forecast, cost: Cost, *, target: float, prob: float = 0.9, tail: float = 0.1) -> Budget:
    """The smallest budget with which the expected loss falls to ``target`` with a probability of ``prob`` or more.

    It pays for ``ahead.time_to(target, prob=...).by(prob)`` and is infinite where that lies beyond the forecast or the
    deadline, which prints as ``beyond STEP``.

    Raises:
        DataError: several runs, a deadline before the first step of the forecast, or a number out of its range.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> budget = smallest_budget(ahead, Cost(per_step=0.01), target=3.6)
    >>> round(budget.cost, 1), budget.last
    (8.6, 2500.0)
    """
    return _budget(ahead, cost, ahead.time_to(target, prob=prob).by(prob), tail)


def at_budget(ahead: Forecast, cost: Cost, budget: float, *, tail: float = 0.1) -> Budget:
    """The expected loss that a budget buys, and its conditional value at risk.

    The latter is the mean of the worst ``tail`` share of the draws, never below the mean (Rockafellar & Uryasev 2000,
    Optimization of conditional value-at-risk, Journal of Risk 2(3), theorem 1).

    Raises:
        DataError: several runs, a budget that buys less than the first step of the forecast or more than the last, or a
            ``tail`` that is no share.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> budget = at_budget(ahead, Cost(per_step=0.01), 8.0)
    >>> round(budget.step), round(budget.mean, 2), round(budget.cvar, 2)
    (2000, 3.55, 3.63)
    """
    first, last = float(ahead.steps[0]), _last_step(ahead, cost)
    low, high = (float(cost.money(step - ahead.origin)) for step in (first, last))
    require_number(budget, "budget", low=0.0, cure="It is an amount of money.")
    cure = "Forecast earlier or later steps, or spend another amount."
    rule = f"lie between {show(low)} and {show(high)}, which buy steps {show(first)} and {show(last)}"
    require(low <= budget <= high, "budget", rule, budget, cure=cure)
    return _budget(ahead, cost, float(ahead.origin + cost.steps(budget)), tail)


def marginal_gain(ahead: Forecast, cost: Cost, *, share: float = 0.1, prob: float = 0.9) -> pd.DataFrame:
    """Expected drop of the loss per unit of cost, over each next ``share`` of the steps that the forecast spans.

    Paired: each draw is compared with itself. For what the very next steps bring, forecast from just after the origin.

    Returns:
        One row per stretch; columns start, step (where it begins and ends), cost (of the stretch, nothing fixed), drop
        (mean), gain (mean drop per unit of cost), lower, upper (of it) and prob_gain (that it is positive).

    Raises:
        DataError: several runs, a single step, or a ``share`` that is none.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> marginal_gain(ahead, Cost(per_step=0.01), share=0.5)[["start", "step", "gain"]].round(2).to_numpy().tolist()
    [[1500.0, 2000.0, 0.03], [2000.0, 2500.0, 0.01]]
    """
    ahead.require_one_curve()
    require_number(share, "share", low=0.0, high=1.0, cure="0.1 is a tenth.")
    cure = "Forecast the steps between too."
    require(len(ahead.steps) > 1, "forecast", "have two steps or more", ahead.steps, where="alone", cure=cure)
    first, last = ahead.steps[[0, -1]]
    cuts = np.minimum(first + share * (last - first) * np.arange(np.ceil(round(1.0 / share, 6)) + 1), last)
    drops, costs = -np.diff(_losses(ahead, cuts), axis=1), np.diff(cuts) * cost.step_price
    gains = mean_and_interval(drops / costs, prob)
    table = {"start": cuts[:-1], "step": cuts[1:], "cost": costs, "drop": drops.mean(axis=0), "gain": gains.pop("mean")}
    return pd.DataFrame(table | gains | {"prob_gain": (drops > 0).mean(axis=0)})


def mean_and_interval(draws: Array, prob: float) -> dict[str, Array]:
    """Mean over draws (draw, step), and the ends ``lower`` and ``upper`` of their central interval of mass ``prob`` (step).

    Raises:
        DataError: ``prob`` does not lie between 0 and 1.
    """
    require_prob(prob)
    lower, upper = interval_along(draws, prob, axis=0)
    return {"mean": draws.mean(axis=0), "lower": lower, "upper": upper}


def cvar(losses: Array, *, tail: float) -> float:
    """Conditional value at risk: mean of the worst ``tail`` share of losses (draw); a draw on the border counts in part.

    ``at_budget`` names the reference.

    >>> cvar(np.array([3.0, 1.0, 2.0, 4.0]), tail=0.5)
    3.5
    """
    weights = np.clip(tail * losses.size - np.arange(losses.size), 0.0, 1.0)
    return float(weights @ np.sort(losses)[::-1] / weights.sum())


def _last_step(ahead: Forecast, cost: Cost) -> float:
    """Last step of the forecast, or at the deadline if that comes earlier."""
    ahead.require_one_curve()
    first, allowed = float(ahead.steps[0]), ahead.origin + cost.most_steps
    rule = f"allow for the first forecast step {show(first)}, {show(float(cost.hours(first - ahead.origin)))} hours away"
    require(allowed >= first, "deadline", rule, cost.deadline, cure="Forecast earlier steps.")
    return min(float(ahead.steps[-1]), allowed)


def _budget(ahead: Forecast, cost: Cost, step: float, tail: float) -> Budget:
    """What is bought by training up to a step; infinite sums where that is beyond the last."""
    require_number(tail, "tail", low=0.0, high=1.0, cure="0.1 is the worst tenth.")
    last = _last_step(ahead, cost)
    if step > last:
        return Budget(np.inf, np.inf, np.inf, np.inf, np.nan, np.nan, tail, last, cost.currency, ahead.converged)
    bought = {name: float(value) for name, value in cost.units(step - ahead.origin).items()}
    losses = _losses(ahead, np.array([step]))[:, 0]
    risk = {"mean": float(losses.mean()), "cvar": cvar(losses, tail=tail), "tail": tail}
    return Budget(step=step, **bought, **risk, last=last, currency=cost.currency, converged=ahead.converged)


def _losses(ahead: Forecast, steps: Array) -> Array:
    """Expected loss (draw, step) at any steps that the forecast spans; straight lines join its own."""
    return np.stack([np.interp(steps, ahead.steps, draw) for draw in draws_first(ahead.expected)])
