"""One more look at a run in progress: weights where they suffice, and a fit where they do not.

A fit is made anew when the checkpoints since the last one are a quarter of what it saw, when weights cannot carry them
(``reweighting``), or when they contradict its forecast (``monitoring``). The first needs ``FEWEST`` checkpoints that can be
fitted.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from bayes_tsl._common.validation import require, require_number
from bayes_tsl.analysis.monitoring import LEVEL, predictive_p_value
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import Schedule, as_schedule
from bayes_tsl.errors import DataError, Notice
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.forecasting.predict import forecast
from bayes_tsl.forecasting.reweighting import update
from bayes_tsl.inference.fitting import fit
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.live.outlook import Outlook
from bayes_tsl.model.checkpoints import FEW_CHECKPOINTS, after_warmup

GROWTH = 1.25  # checkpoints over those of the last fit, at which the next is made
STEPS = 20  # at which the rest of a run is forecast, for the time to a target


@dataclass(frozen=True)
class Plan:
    """What is planned for a run, and asked of it.

    Attributes:
        schedule: learning rate of the whole run.
        end: step to forecast, by default the last of the schedule.
        target: loss to reach.  [nats/token]
        prob: mass of the intervals.
        seed: of fits and forecasts.
        known: arguments of ``fit``: batch_tokens, parameters, optimizer, unique_tokens, priors, num_draws ...

    Raises:
        DataError: the schedule ends before ``end`` or has no end, or a number cannot be used.
    """

    schedule: Schedule
    end: float | None = None
    target: float | None = None
    prob: float = 0.9
    seed: int = 0
    known: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        as_schedule(self.schedule)
        cure = "Give end=, the last step of the run."
        require(self.end is not None or np.isfinite(self.schedule.end), "schedule", "have an end", self.schedule.end, cure=cure)
        if self.end is not None:
            self.schedule.require_reaches(self.end)
        if self.target is not None:
            require_number(self.target, "target", low=0.0, cure="It is a loss in nats per token.")
        require_number(self.prob, "prob", low=0.0, high=1.0, cure="0.9 is a 90 % interval.")

    @property
    def last(self) -> float:
        """Step to forecast."""
        return self.schedule.end if self.end is None else self.end


class Tracked(NamedTuple):
    """One look at a run in progress.

    Attributes:
        fit: the one before, one made anew, or None while there are too few checkpoints.
        ahead: forecast of the rest of the run, if there is one.
        outlook: what it comes to.
    """

    fit: Fit | None
    ahead: Forecast | None
    outlook: Outlook


def track(losses: LossTable, plan: Plan, *, before: Fit | None = None) -> Tracked:
    """One more look at a run in progress, a second or a fit long.

    Args:
        losses: of one run on one test set, all checkpoints so far.
        plan: what is planned and asked.
        before: the fit of the last look, if there was one.

    Raises:
        DataError: losses that cannot be used.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        if losses.steps[-1] >= plan.last:
            return Tracked(before, None, _outlook(losses, plan, waiting="the run has ended"))
        waiting = _too_few(losses, plan.schedule)
        if waiting:
            return Tracked(None, None, _outlook(losses, plan, waiting=waiting))
        surprise = _surprise(before, losses)
        ahead = None if surprise else _by_weights(before, losses, plan)
        if ahead is not None:
            return Tracked(before, ahead, _outlook(losses, plan, before, ahead))
        usual = {"num_draws": "auto", "progress": False, "throw": False}
        made = fit(losses, schedule=plan.schedule, seed=plan.seed, **(usual | dict(plan.known)))
        ahead = forecast(made, steps=_steps(losses, plan), seed=plan.seed)
        return Tracked(made, ahead, _outlook(losses, plan, made, ahead, alarms=surprise))


def _too_few(losses: LossTable, schedule: Schedule) -> str:
    """Why a fit has to wait; empty if it need not."""
    try:
        count = len(after_warmup(losses, schedule)[0].steps)
    except DataError:
        count = 0
    return "" if count >= FEW_CHECKPOINTS else f"{count} of {FEW_CHECKPOINTS} checkpoints past the warm-up"


def _surprise(before: Fit | None, losses: LossTable) -> tuple[str, ...]:
    """How checkpoints since the last fit contradict its forecast."""
    later = None if before is None else losses.steps[losses.steps > before.origin]
    if before is None or later is None or not len(later):
        return ()
    p_value = predictive_p_value(forecast(before, steps=later, seed=before.seed), losses)
    since = f"checkpoints since step {before.origin:.10g} are not as foreseen (p = {p_value:.2g})"
    return (f"{since}: look for a change of the run, its data or its schedule",) if p_value < LEVEL else ()


def _by_weights(before: Fit | None, losses: LossTable, plan: Plan) -> Forecast | None:
    """The forecast of the last fit in the light of the checkpoints since, unless these ask for another fit."""
    if before is None or before.origin > losses.steps[-1]:
        return None
    seen = int(np.sum(losses.steps <= before.origin))
    if len(losses.steps) >= GROWTH * seen:
        return None
    steps = _steps(losses, plan)
    if losses.steps[-1] == before.origin:
        return forecast(before, steps=steps, seed=plan.seed)
    updated = update(before, losses, seed=plan.seed)
    return None if updated.needs_refit else updated.forecast(steps=steps, seed=plan.seed)


def _steps(losses: LossTable, plan: Plan) -> np.ndarray:
    """Steps of the rest of the run, the end the last of them (step)."""
    return np.linspace(losses.steps[-1], plan.last, STEPS + 1)[1:]


def _outlook(
    losses: LossTable,
    plan: Plan,
    made: Fit | None = None,
    ahead: Forecast | None = None,
    *,
    alarms: tuple[str, ...] = (),
    waiting: str = "",
) -> Outlook:
    means = losses.mean_losses()
    step, loss = float(means.index.to_numpy(float)[-1]), float(means.iloc[-1])
    target = np.nan if plan.target is None else plan.target
    now = Outlook(step=step, loss=loss, end=plan.last, prob=plan.prob, target=target, waiting=waiting)
    if ahead is None or made is None:
        return now
    end = ahead.to_frame(prob=plan.prob).iloc[-1]
    made_of = {name: float(end[name]) for name in ("median", "lower", "upper")}
    if plan.target is not None:
        step = float(np.ceil(ahead.time_to(plan.target, prob=plan.prob).median))
        made_of |= {"prob_target": float(ahead.prob_below(plan.target)[-1]), "target_step": step}
    return replace(now, **made_of, alarms=(*alarms, *made.misfits), converged=made.converged, fitted=made.origin)
