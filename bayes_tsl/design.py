"""From a loss table and a schedule to the arrays that the model sees: the only place where its inputs are made.

Order of work: leave out warm-up -> average neighbouring checkpoints down to a size that stays fast -> reduce positions to
coefficients (``summaries``) -> place every checkpoint on the time axis of the laws (``laws.Path``). The origin is the last
step given, whatever was averaged; ``u`` and heat are measured from there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.polynomial.chebyshev import chebpts1
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._checks import require, show
from bayes_tsl.data import LossTable
from bayes_tsl.laws import MEMORIES, ORDER, POWERS, RATES, Path
from bayes_tsl.schedules import UNKNOWN, Schedule
from bayes_tsl.summaries import Summary, around_means, summarise_means, summarise_positions

MAX_CHECKPOINTS = 48
MIN_CHECKPOINTS = 4
FEW_CHECKPOINTS = 8
MIN_POSITIONS = 8
SKIP_WARMUPS = 2.0
PADDING = 16  # checkpoints: fits whose number of them is padded to the same multiple share what is compiled
SILENT = 1e6  # variance of an estimate that says nothing  [nats^2]
FLAT_CURVE = 0.75  # standard error of log gap or log rate, in the median checkpoint, above which there is no curve to speak of

Array = NDArray[np.float64]


class Clock(NamedTuple):
    """The time axis of a fit: where it is anchored, and the unit of the heat's memory.

    Attributes:
        origin: last step used to fit.
        memory_unit: progress in which ``heat_memory`` is measured: that of the whole schedule, or of the past.
    """

    origin: float
    memory_unit: float


class Design(NamedTuple):
    """Everything that the model conditions on.

    Attributes:
        step: mean step of each (averaged) checkpoint (step).
        count: number of checkpoints averaged in each (step).
        path: time, seen through the schedule, at each step and, in the last row, at the origin (step + 1).
        summary: log gap, log rate and mean loss estimated from the positions, with covariance.
        shape: mean over positions of the law's falling part, as ``laws.mean_shape`` reads it (order).
        centre: the last log gap, log rate and floor, around which priors of the levels are placed (3).
        clock: anchor of the time axis.
        position: token positions (position); empty without a position curve.
        losses: loss of each (averaged) checkpoint at each position (step, position); NaN where none was measured.  [nats]
        mean_loss: mean loss over positions, at each step (step).  [nats]
    """

    step: Array
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]  # hides tuple.count, which nobody asks of a design
    path: Path
    summary: Summary
    shape: Array
    centre: Array
    clock: Clock
    position: Array
    losses: Array
    mean_loss: Array

    @property
    def by_position(self) -> bool:
        """Whether there is a position curve; without one, the floor is the mean loss itself."""
        return len(self.position) > 0


def make_design(losses: LossTable, schedule: Schedule, *, exponent: float | None = 1.0) -> tuple[Design, tuple[str, ...]]:
    """Model inputs for one run on one test set, and what had to be said about making them.

    ``exponent`` is that of the position law; None for the one that fits best.

    Raises:
        DataError: several runs or test sets, a schedule that ends before the data, or too few checkpoints.
    """
    origin = float(losses.curve().index[-1])
    schedule.require_reaches(origin)
    clock = make_clock(schedule, origin)
    kept, said = after_warmup(losses, schedule)
    curve, means = kept.curve(), kept.mean_losses()
    step, values, mean_loss, count = _average(curve, means, schedule)
    position = curve.columns.to_numpy(float) if kept.by_position else np.array([])
    summary, by_position, said_of_positions = _summarise(values, position, exponent)
    design = Design(
        step=step,
        count=count,
        path=make_path(np.append(step, origin), schedule, clock),
        summary=around_means(summary, position) if by_position else summarise_means(mean_loss),
        shape=mean_shape(position, summary.exponent) if by_position else np.zeros(ORDER),
        centre=summary.coefficients[-1] if by_position else np.array([0.0, 0.0, mean_loss[-1]]),
        clock=clock,
        position=position if by_position else np.array([]),
        losses=values,
        mean_loss=mean_loss,
    )
    averaged = (f"{len(curve)} checkpoints are averaged to {len(step)}, evenly in log progress.",)
    notices = losses.notices + (() if schedule.known else (UNKNOWN,)) + said
    return design, notices + (averaged if len(step) < len(curve) else ()) + said_of_positions


def padded(design: Design) -> Design:
    """What a model of the summaries sees of a design, in one of few shapes: no position, and checkpoints that say nothing.

    Those are put last, at the origin, with estimates of variance ``SILENT``; the density of all else is as it was.
    """
    steps = len(design.step)
    extra = -steps % PADDING
    rows = np.concatenate([np.arange(steps), np.full(extra, steps - 1)])
    placed = np.concatenate([np.arange(steps), np.full(extra + 1, steps)])
    silence = np.concatenate([np.zeros(steps), np.full(extra, SILENT)])[:, None, None] * np.eye(3)
    summary, none = design.summary, np.zeros(0)
    return design._replace(
        step=design.step[rows],
        count=design.count[rows],
        path=Path(design.path.u[placed], design.path.lag[placed], design.path.end),
        summary=Summary(summary.coefficients[rows], summary.covariance[rows] + silence, none, none, summary.noise),
        position=design.position[:1],
        losses=np.zeros((len(rows), 0)),
        mean_loss=design.mean_loss[rows],
    )


def make_clock(schedule: Schedule, origin: float) -> Clock:
    """The time axis anchored at ``origin``; a schedule without end lends its memory the progress made so far."""
    return Clock(origin, float(schedule.progress(schedule.end if np.isfinite(schedule.end) else origin)))


def make_path(step: ArrayLike, schedule: Schedule, clock: Clock) -> Path:
    """Where steps lie on the time axis of a fit, under any schedule (step)."""
    step = np.atleast_1d(np.asarray(step, float))
    made = float(schedule.progress(clock.origin))
    u, end = np.log(schedule.progress(step) / made), float(np.log(clock.memory_unit / made))
    times = _nodes(MEMORIES) * clock.memory_unit
    lag = schedule.lag(step, powers=_nodes(POWERS), times=times)
    return Path(u, _interpolant() @ lag @ _interpolant().T, end)


def mean_shape(position: Array, exponent: float) -> Array:
    """The mean over positions of ``(1 + rate * position)^-exponent``, as ``laws.mean_shape`` reads it (order)."""
    shape = (1.0 + _nodes(RATES)[:, None] * position) ** -exponent
    return _interpolant() @ np.log(shape.mean(axis=1))


def after_warmup(losses: LossTable, schedule: Schedule) -> tuple[LossTable, tuple[str, ...]]:
    """Losses that can be fitted: past twice the warm-up, where the laws begin to hold, and with some progress made.

    Where that leaves fewer than ``FEW_CHECKPOINTS``, those past the warm-up itself.
    """
    step, first, when = losses.steps, SKIP_WARMUPS * schedule.warmup, "twice the warm-up"
    if schedule.warmup > 0 and np.sum(step >= first) < FEW_CHECKPOINTS:
        first, when = schedule.warmup, "the end of the warm-up (few follow)"
    dropped = int(np.sum((step < first) | (schedule.progress(step) <= 0)))
    kept, rule = len(step) - dropped, f"hold {MIN_CHECKPOINTS} usable checkpoints"
    cure = f"Fit later in the run; steps below {show(first)}, {when}, are left out."
    require(kept >= MIN_CHECKPOINTS, "losses", rule, kept, where=f"of {len(step)} checkpoints", cure=cure)
    why = f"before step {show(first)}, {when}" if first > 0 else "without progress (step 0)"
    said = f"{dropped} of {len(step)} checkpoints are left out: {why}."
    return (losses.after(step[dropped - 1]), (said,)) if dropped else (losses, ())


def later_steps(steps: ArrayLike, origin: float) -> Array:
    """Steps to forecast, sorted and without repeats (step).

    Raises:
        DataError: there is none, or one is infinite or not later than the origin.
    """
    ahead = np.unique(np.asarray(steps, float))
    require(ahead.size > 0, "steps", "name at least one step", "none", cure="Give e.g. steps=[2000, 2500].")
    require(np.isfinite(ahead).all(), "steps", "be finite", ahead, cure="Give steps that the run will reach.")
    cure = "Use Fit.coefficients() for the past."
    require(ahead[0] > origin, "steps", f"lie after the origin {show(origin)}", ahead[ahead <= origin], cure=cure)
    return ahead


def _nodes(bounds: tuple[float, float]) -> Array:
    low, high = np.log(bounds)
    return np.exp(low + (high - low) * 0.5 * (chebpts1(ORDER) + 1.0))


def _interpolant() -> Array:
    """From values at Chebyshev's points to a polynomial's coefficients (order, order)."""
    return np.asarray(np.linalg.inv(np.vander(chebpts1(ORDER), increasing=True)), float)


def _average(curve: pd.DataFrame, means: pd.Series, schedule: Schedule) -> tuple[Array, Array, Array, Array]:
    """Average checkpoints within cells of equal width in log progress: (step), (step, position), (step), (step)."""
    step = curve.index.to_numpy(float)
    u = np.log(schedule.progress(step))
    edges = np.linspace(u[0], u[-1], MAX_CHECKPOINTS + 1)[1:-1]
    group = np.searchsorted(edges, u) if len(step) > MAX_CHECKPOINTS else np.arange(len(step))
    cells, count = np.unique(group, return_counts=True)
    steps = np.array([step[group == cell].mean() for cell in cells])
    values, mean_loss = (np.asarray(each.groupby(group).mean(), float) for each in (curve, means))
    return steps, values, mean_loss, count.astype(float)


def _summarise(values: Array, position: Array, exponent: float | None) -> tuple[Summary, bool, tuple[str, ...]]:
    if len(position) == 0:
        return summarise_means(values[:, 0]), False, ()
    if len(position) < MIN_POSITIONS:
        said = f"{len(position)} positions are too few for a position law ({MIN_POSITIONS} are needed)"
        return summarise_means(values[:, 0]), False, (f"{said}: only the mean loss is modelled.",)
    summary = summarise_positions(values, position, exponent=exponent)
    error = np.sqrt(np.median(np.diagonal(summary.covariance, axis1=1, axis2=2), axis=0))
    if error[:2].max() > FLAT_CURVE:
        said = "Losses hardly fall with position, so gap and rate cannot be told: only the mean loss is modelled."
        return summary, False, (said,)
    return summary, True, ()
