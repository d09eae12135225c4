"""What budgets buy where the rest of the run is planned anew for each: losses one can be sure of, and the chance of a target.

    loss with assurance p = min over plans of the p-quantile of the loss at the end that the budget pays for

Plans are those of ``best_plan``, fewer of them. A budget that leaves a fixed schedule early ends at a high learning rate, so it
buys less than one for which the decay is planned (``budget_curve`` has the fixed one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.display import Facts, doubted, shown, warned
from bayes_tsl._common.intervals import draws_last, require_prob
from bayes_tsl._common.validation import percent, require, require_number, require_seed, require_type, show
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.decisions.budgets import Budget, cvar
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.plans import candidates, require_end, require_plannable, require_tail
from bayes_tsl.forecasting.predict import losses_at_ends
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.model.design import later_steps

Array = NDArray[np.float64]

ASSURED = (0.5, 0.9)
STARTS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9)  # as those of ``best_plan``, fewer, since there are many ends
FINALS = (0.0, 0.05)
SHAPES = ("linear", "1-sqrt")


@shown
@dataclass(frozen=True, eq=False)
class Frontier:
    """Losses that budgets buy, planned anew for each; ``budget_frontier`` makes it.

    Attributes:
        table: one row per budget: end, tokens, hours, cost; for each assurance p the loss that the run ends below with
            that probability (``loss_0.9``) under the plan for which it is lowest (``plan_0.9``); and with a target, the
            largest probability to end below it (``prob_below``) and the plan that has it (``plan_target``).
        schedules: of all plans, by name.
        losses: draws of the expected loss at the end of each plan, by its name (draw).
        cost: what steps cost.
        target: loss to reach, if there is one.
        origin: step from which on plans are.
        notices: what the user should know, in words.
        converged: False where the chains of the fit did not agree.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> frontier = bt.budget_frontier(example_fit(), bt.Cost(per_step=2.0), ends=[1600, 2000, 2500], target=3.6)
    >>> float(frontier.smallest(0.9).step)
    2000.0
    """

    table: pd.DataFrame
    schedules: Mapping[str, Schedule] = field(repr=False)
    losses: Mapping[str, Array] = field(repr=False)
    cost: Cost
    target: float | None
    origin: float
    notices: tuple[str, ...] = ()
    converged: bool = True

    def _facts(self) -> Facts:
        first, last = (self.table.iloc[row] for row in (0, -1))
        ends = f"ends {show(first['end'])} to {show(last['end'])}"
        probs = [name.removeprefix("loss_") for name in map(str, self.table) if name.startswith("loss_")]
        facts = {
            f"loss, {float(prob):.0%} assured": f"{first[f'loss_{prob}']:.4f} to {last[f'loss_{prob}']:.4f}" for prob in probs
        }
        if self.target is not None:
            chances = " to ".join(percent(row["prob_below"]) for row in (first, last))
            facts[f"likely below {show(self.target)}"] = chances
        budgets = f"{len(self.table)} budgets, {self.cost.text(first['cost'])} to {self.cost.text(last['cost'])}, {ends}"
        return {"": budgets, **facts, **warned(self.notices, converged=self.converged)}

    def smallest(self, prob: float = 0.9, *, tail: float = 0.1) -> Budget:
        """The smallest of the budgets with which some plan ends below the target with this probability or more.

        Infinite where none does, which prints as ``beyond STEP``.

        Raises:
            DataError: there is no target, or ``prob`` or ``tail`` does not lie between 0 and 1.
        """
        require(self.target is not None, "target", "be given", None, cure="Give budget_frontier(target=...).")
        require_prob(prob)
        require_tail(tail)
        rows, last = self.table.to_dict("records"), float(np.max(self.table["end"]))
        first = next((row for row in rows if row["prob_below"] >= prob), None)
        if first is None:
            return Budget(np.inf, np.inf, np.inf, np.inf, np.nan, np.nan, tail, last, self.cost.currency, self.converged)
        losses = self.losses[first["plan_target"]]
        bought = {name: float(first[name]) for name in ("cost", "tokens", "hours")}
        risk = {"mean": float(losses.mean()), "cvar": cvar(losses, tail=tail), "tail": tail}
        return Budget(
            step=float(first["end"]), **bought, **risk, last=last, currency=self.cost.currency, converged=self.converged
        )

    def __str__(self) -> str:
        return doubted(self.table.to_string(index=False, float_format="{:.4f}".format), converged=self.converged)


def budget_frontier(
    fit: Fit,
    cost: Cost,
    *,
    ends: ArrayLike,
    target: float | None = None,
    probs: Sequence[float] = ASSURED,
    seed: int = 0,
) -> Frontier:
    """The loss that each of many budgets buys, with the decay of the learning rate planned anew for each.

    Args:
        fit: what the past of one run says.
        cost: what further steps cost.
        ends: steps at which training could end, one for each budget (step).
        target: a loss to reach.
        probs: assurances: probabilities to end below the loss that is given.
        seed: of the drift ahead, which all share.

    Raises:
        DataError: several runs, an unknown schedule, an end that is not later than the origin or beyond the deadline, a target
            that is none, or a probability that does not lie between 0 and 1.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> frontier = budget_frontier(example_fit(), bt.Cost(per_step=0.01), ends=[1500, 2000, 2500], target=3.5)
    >>> frontier.table[["end", "loss_0.5", "loss_0.9"]].round(2).to_numpy().tolist()
    [[1500.0, 3.61, 3.68], [2000.0, 3.49, 3.56], [2500.0, 3.4, 3.5]]
    >>> frontier.smallest(0.5).step
    2000.0
    """
    require_plannable(fit)
    require_type(cost, "cost", Cost, cure="Make one with bt.Cost(per_step=...).")
    require_seed(seed)
    stops = later_steps(ends, fit.origin)
    require_end(float(stops[-1]), fit.origin, cost)
    if target is not None:
        require_number(target, "target", low=0.0, cure="It is a loss in nats per token.")
    for prob in probs:
        require_prob(prob, "probs")
    schedules, rows = candidates(fit, stops.tolist(), STARTS, FINALS, SHAPES)
    drawn = losses_at_ends(fit, list(schedules.values()), rows["end"], seed=seed)
    losses = dict(zip(schedules, draws_last(drawn)))
    table = [_bought(fit, cost, stop, {n: losses[n] for n in rows.index[rows["end"] == stop]}, target, probs) for stop in stops]
    notices = (*fit.notices, *fit.diagnostics.problems)
    return Frontier(pd.DataFrame(table), schedules, losses, cost, target, fit.origin, notices, fit.converged)


def _bought(
    fit: Fit, cost: Cost, stop: float, losses: Mapping[str, Array], target: float | None, probs: Sequence[float]
) -> dict[str, object]:
    """A row of the table: what a budget that pays for the steps until ``stop`` buys, by the losses of its plans (draw)."""
    row: dict[str, object] = {"end": stop, **cost.units(stop - fit.origin)}
    for prob in probs:
        assured = {name: float(np.quantile(draws, prob)) for name, draws in losses.items()}
        best = min(assured, key=assured.__getitem__)
        row |= {f"loss_{show(prob)}": assured[best], f"plan_{show(prob)}": best}
    if target is not None:
        chance = {name: float(np.mean(draws < target)) for name, draws in losses.items()}
        best = max(chance, key=chance.__getitem__)
        row |= {"prob_below": chance[best], "plan_target": best}
    return row
