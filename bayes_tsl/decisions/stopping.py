"""Stop or go on: the step at which the loss is worth most above what getting there costs.

    recommended step = argmax over steps of E[value(loss) - cost]

Each step has a schedule of its own that decays and ends there. Means are over the stored draws, which all steps share;
nothing is refitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from numpy.polynomial.legendre import legvander
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.deprecation import renamed_property
from bayes_tsl._common.dims import STEP
from bayes_tsl._common.display import Facts, doubted, shown, warned
from bayes_tsl._common.intervals import draws_first
from bayes_tsl._common.validation import percent, require, require_number, require_seed, show
from bayes_tsl.data.schedules import Schedule, decayed, optional_schedule
from bayes_tsl.decisions.budgets import mean_and_interval
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.forecasting.alternatives import WhatIf, what_if
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.forecasting.predict import forecast_paths, schedule_ahead
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.model.design import later_steps

Array = NDArray[np.float64]

_STEPS_ON_THE_WAY = 20  # at which schedules to the best step are compared
_READING = "next checkpoint"
_DEGREE = 3  # of the polynomial in the rank of a reading


@shown
@dataclass(frozen=True, eq=False)
class Stopping:
    """Steps at which to stop, by what each is worth more than stopping at the origin, draw by draw.

    Attributes:
        losses: draws of the expected loss where training stops; the first step is the origin (chain, draw, step).
        utility: draws of the value of that loss less its cost, above stopping at the origin (chain, draw, step).  [money]
        cost: what steps cost.
        plans: forecasts under four schedules to the best of the later steps: as planned, as recommended, and decays that begin
            now or at 80 % of the way.
        reading: draws of what the next checkpoint will read, if one was named (chain, draw).
        still_open: steps whose decay will not have begun by then.
        decay: share of the steps from the origin that the decay of each takes.
        final: learning rate at which each ends.
        notices: what the user should know, in words.
        converged: False where the chains of the fit did not agree.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> stopping = bt.stop_or_continue(example_fit(), bt.Cost(per_step=0.01), value=1000.0, steps=[1800, 2500])
    >>> float(stopping.recommended)
    2500.0
    """

    losses: xr.DataArray = field(repr=False)
    utility: xr.DataArray = field(repr=False)
    cost: Cost
    plans: WhatIf = field(repr=False)
    reading: xr.DataArray | None = field(default=None, repr=False)
    still_open: tuple[float, ...] = ()
    notices: tuple[str, ...] = ()
    converged: bool = True
    decay: float = 0.2
    final: float = 0.0

    def _facts(self) -> Facts:
        return {"": str(self), **warned(self.notices, converged=self.converged)}

    @property
    def steps(self) -> Array:
        """Candidates, the origin first (step)."""
        return self.utility[STEP].to_numpy()

    @property
    def recommended(self) -> float:
        """Step of the highest expected utility; the origin is to stop now."""
        return float(self.steps[draws_first(self.utility).mean(axis=0).argmax()])

    @property
    def evpi(self) -> float:
        """Expected value of perfect information [money]: the expected regret of the recommended step.

        No knowledge of the curves ahead is worth more to a choice between these steps, so neither is another checkpoint
        (Raiffa & Schlaifer 1961, Applied Statistical Decision Theory).
        """
        return float(np.min(self.to_frame()["regret"]))

    @property
    def value_of_waiting(self) -> float:
        """Worth of going on to the next checkpoint and choosing by what it reads, above the best choice now [money].

        Negative where it is better to stop before. By then only steps ``still_open`` can be chosen. The choice is a rule of
        the reading, regressed on half of the draws and paid for by the other half, so it promises no more than can be had
        (after Strong, Oakley, Brennan & Breeze 2015, Medical Decision Making 35(5)).

        Raises:
            DataError: no checkpoint was named.
        """
        require(self.reading is not None, "checkpoint", "be named", None, cure="Give stop_or_continue(checkpoint=...).")
        now = draws_first(self.utility).mean(axis=0).max()
        later = draws_first(self.utility.sel({STEP: list(self.still_open)}))
        return _utility_of_rule(later, np.asarray(self.reading, float).ravel()) - float(now)

    @property
    def act(self) -> str:
        """What to do with the learning rate, and when to stop.

        >>> import bayes_tsl as bt
        >>> from bayes_tsl.inference.posterior import example_fit
        >>> stop_or_continue(example_fit(), bt.Cost(per_step=0.01), value=1000.0, steps=[2500], final=1e-4).act
        'decay from step 2240 to 0.0001 by step 2500, then stop'
        """
        stop, origin = self.recommended, float(self.steps[0])
        if stop == origin:
            return f"stop now, at step {show(origin)}"
        begin = stop - self.decay * (stop - origin)
        when = "now" if begin <= origin else f"from step {show(round(begin))}"
        return f"decay {when} to {self.final:.3g} by step {show(stop)}, then stop"

    @property
    def reason(self) -> str:
        """What to do, and why, in one sentence."""
        table = self.to_frame().to_dict("list")
        best, later = int(np.argmax(table["utility"])), 1 + int(np.argmax(table["utility"][1:]))
        worth = self.cost.text(table["utility"][later])
        low, high = (show(round(table[name][later], 2)) for name in ("utility_lower", "utility_upper"))
        to, edge = f"step {show(self.steps[later])}", ", the last one considered" if best == len(self.steps) - 1 else ""
        choice = f"stop now: going on to {to} is" if best == 0 else f"go on to {to}{edge}, which is"
        odds = f"{percent(table['prob_best'][best])} likely to be the best of {len(self.steps)} steps"
        regret = f"expected regret {self.cost.text(table['regret'][best])}"
        return f"{choice} worth {worth} ({low} to {high}, 90% interval) against stopping now; {odds}, {regret}"

    def to_frame(self, *, prob: float = 0.9) -> pd.DataFrame:
        """One row per step.

        Columns: step, tokens, hours, cost, mean, lower, upper (of the expected loss), utility, utility_lower, utility_upper
        (money, above stopping at the origin), prob_best (1 less the probability of any regret), regret (expected).

        Raises:
            DataError: ``prob`` does not lie between 0 and 1.
        """
        draws = draws_first(self.utility)
        worth = dict(zip(("utility", "utility_lower", "utility_upper"), mean_and_interval(draws, prob).values()))
        table = {
            "step": self.steps,
            **self.cost.units(self.steps - self.steps[0]),
            **mean_and_interval(draws_first(self.losses), prob),
            **worth,
            "prob_best": np.bincount(draws.argmax(axis=1), minlength=len(self.steps)) / len(draws),
            "regret": (draws.max(axis=1, keepdims=True) - draws).mean(axis=0),
        }
        return pd.DataFrame(table)

    perfect_information = renamed_property("evpi", old="perfect_information")
    waiting = renamed_property("value_of_waiting", old="waiting")

    def __str__(self) -> str:
        return doubted(self.reason, converged=self.converged)


def stop_or_continue(
    fit: Fit,
    cost: Cost,
    *,
    value: float | Callable[[Array], ArrayLike],
    steps: ArrayLike,
    schedule: Schedule | str | None = None,
    decay: float = 0.2,
    final: float = 0.0,
    checkpoint: float | None = None,
    seed: int = 0,
) -> Stopping:
    """When to stop: each step with a schedule of its own that ends there, by the value of its loss less its cost.

    Stopping at the origin as it is, at no cost, is always among the candidates. All are paired, draw by draw; nothing is
    refitted.

    Args:
        fit: what the past of one run says.
        cost: what further steps cost.
        value: money that a loss lower by one nat per token is worth; or the money that losses are worth, a function of an
            array of them (draw, step).
        steps: where training could stop, after the origin (step).
        schedule: another one for the steps after the origin; by default the one that was fitted. Decays leave it.
        decay: share of the steps from the origin that the decay to ``final`` takes; 1 is to decay now.
        final: learning rate at the last step.
        checkpoint: step at which the loss will be measured next; ``value_of_waiting`` says what that is worth.
        seed: of the drift ahead.

    Raises:
        DataError: several runs, an unknown schedule or one that ends before the last step, a step that is not later than the
            origin or past the deadline, a checkpoint by which every decay has begun, or a value that is no number above 0 nor
            gives finite numbers.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> stopping = stop_or_continue(example_fit(), bt.Cost(per_step=0.01), value=1000.0, steps=[2500])
    >>> stopping.steps.tolist(), stopping.recommended
    ([1200.0, 2500.0], 2500.0)
    """
    schedule = optional_schedule(schedule)
    require_seed(seed)
    if decay != 1:
        require_number(decay, "decay", low=0.0, high=1.0, cure="It is the share of the way that the decay takes; 1 is now.")
    later, until_stop = later_steps(steps, fit.origin), schedule_ahead(fit, schedule)
    until_stop.require_reaches(float(later[-1]))
    late = later[later > fit.origin + cost.most_steps]
    rule = f"come before the deadline, {show(cost.deadline)} hours after step {show(fit.origin)}"
    require(late.size == 0, "steps", rule, late, cure="Leave them out.")
    still_open = _still_open(later, fit.origin, decay, checkpoint)

    def ending(stop: float, share: float) -> Schedule:
        return schedule_ahead(fit, decayed(until_stop, start=stop - share * (stop - fit.origin), total=stop, final=final))

    by_step = {fit.origin: until_stop} | {stop: ending(stop, decay) for stop in later.tolist()}
    stops, reading = _stopped(fit, by_step, until_stop, checkpoint=checkpoint, seed=seed)
    losses = xr.concat([stop.expected for stop in stops], STEP)
    utility = _value_gained(losses, value) - cost.money(losses[STEP] - fit.origin)
    best = float(later[draws_first(utility).mean(axis=0)[1:].argmax()])
    others = {"decay now": ending(best, 1.0), "decay at 80 %": ending(best, 0.2)}
    to_best = {"as planned": schedule, "recommended": by_step[best], **others}
    on_the_way = np.linspace(fit.origin, best, _STEPS_ON_THE_WAY + 1)[1:]
    plans = what_if(fit, to_best, steps=on_the_way, seed=seed)
    made, how = stops[0], {"decay": float(decay), "final": float(final)}
    return Stopping(losses, utility, cost, plans, reading, still_open, made.notices, made.converged, **how)


def _stopped(
    fit: Fit, by_step: Mapping[float, Schedule], otherwise: Schedule, *, checkpoint: float | None, seed: int
) -> tuple[list[Forecast], xr.DataArray | None]:
    """A forecast of each step at which training may stop, and draws of what the next checkpoint reads (chain, draw), if any.

    Args:
        fit: of one run.
        by_step: schedule that ends at each of the steps.
        otherwise: the schedule that the checkpoint lies on.
        checkpoint: its step.
        seed: of the drift ahead, which all share.
    """
    schedules = {str(stop): schedule for stop, schedule in by_step.items()}
    steps = {str(stop): np.array([stop]) for stop in by_step}
    if checkpoint is not None:
        schedules[_READING], steps[_READING] = otherwise, np.array([checkpoint], float)
    made = forecast_paths(fit, steps, schedules, seed=seed)
    reading = None if checkpoint is None else made[_READING].observed[..., 0]
    return [made[str(stop)] for stop in by_step], reading


def _still_open(later: Array, origin: float, decay: float, checkpoint: float | None) -> tuple[float, ...]:
    """Steps at which to stop whose decay begins no earlier than the next checkpoint; none without one."""
    if checkpoint is None:
        return ()
    require_number(checkpoint, "checkpoint", low=origin, cure="It is the step at which the loss will be measured next.")
    begins = later - decay * (later - origin)
    rule = f"come before the last decay begins, at step {show(begins[-1])}"
    require(checkpoint <= begins[-1], "checkpoint", rule, checkpoint, cure="Name an earlier one, or decay later.")
    return tuple(later[begins >= checkpoint].tolist())


def _utility_of_rule(utility: Array, reading: Array) -> float:
    """Mean utility (draw, step) of the step that a cubic in the rank of the reading (draw) says is best."""
    rank = 2.0 * np.argsort(np.argsort(reading)) / (len(reading) - 1) - 1.0
    basis, earned = legvander(rank, _DEGREE), np.empty(len(reading))
    for learn, pay in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        expected = basis[pay] @ np.linalg.lstsq(basis[learn], utility[learn])[0]
        earned[pay] = np.take_along_axis(utility[pay], expected.argmax(axis=1)[:, None], axis=1)[:, 0]
    return float(earned.mean())


def _value_gained(losses: xr.DataArray, value: float | Callable[[Array], ArrayLike]) -> xr.DataArray:
    """Money that losses (chain, draw, step) are worth above the first of them, draw by draw."""
    if callable(value):
        draws = draws_first(losses)
        given = np.asarray(value(draws), float)
        good = given.shape == draws.shape and np.isfinite(given).all()
        cure = "It maps an array of losses to money."
        require(good, "value", "give a finite number for every loss", given, cure=cure)
        worth = losses.copy(data=given.reshape(losses.shape))
    else:
        require_number(value, "value", low=0.0, cure="It is money per nat per token, or a function of the loss.")
        worth = -value * losses
    return (worth - worth.isel({STEP: 0}, drop=True)).rename("utility")
