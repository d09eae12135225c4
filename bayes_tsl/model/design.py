"""From a loss table and a schedule to the arrays that the model sees: the only place where its inputs are made.

Order of work: leave out warm-up -> average neighbouring checkpoints down to a size that stays fast -> reduce positions to
coefficients (``position_law``) -> place every checkpoint on the time axis of the laws. The origin is the last step given,
whatever was averaged; log progress and the learning-rate response are measured from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.validation import floats, require, show
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import UNKNOWN, Schedule
from bayes_tsl.errors import DataError
from bayes_tsl.model.early_phase import after_bend
from bayes_tsl.model.lr_response import make_time_axis
from bayes_tsl.model.position_law import (
    CoefficientEstimates,
    estimate_coefficients,
    estimates_of_means,
    mean_polynomial,
    rows,
    with_mean_loss,
)
from bayes_tsl.model.time_axis import Anchor, TimeAxis, make_anchor

MAX_CHECKPOINTS = 48
MIN_CHECKPOINTS = 4
FEW_CHECKPOINTS = 8
MIN_POSITIONS = 8
MOST_NATS = 14.0  # loss of a uniform guess among a million tokens: above this it is no loss per token
SKIP_WARMUPS = 2.0
PADDING = 16  # checkpoints: fits whose number of them is padded to the same multiple share what is compiled
SILENT = 1e6  # variance of an estimate that says nothing  [nats^2]
FLAT_CURVE = 0.75  # standard error of log gap or log rate, in the median checkpoint, above which there is no curve to speak of

Array = NDArray[np.float64]


class Design(NamedTuple):
    """Everything that the model conditions on.

    Attributes:
        step: mean step of each (averaged) checkpoint (step).
        count: number of checkpoints averaged in each (step).
        axis: time, seen through the schedule, at each step and, in the last row, at the origin (step + 1).
        estimates: log gap, log rate and mean loss estimated from the positions, with covariance.
        mean_polynomial: mean over positions of the law's falling part (order); empty without a position curve.
        centre: the last log gap, log rate and floor, around which priors of the levels are placed (3).
        anchor: of the time axis.
        position: token positions (position); empty without a position curve.
        losses: loss of each (averaged) checkpoint at each position (step, position); NaN where none was measured.  [nats]
        mean_loss: mean loss over positions, at each step (step).  [nats]
    """

    step: Array
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]  # hides tuple.count, which nobody asks of a design
    axis: TimeAxis
    estimates: CoefficientEstimates
    mean_polynomial: Array
    centre: Array
    anchor: Anchor
    position: Array
    losses: Array
    mean_loss: Array

    @property
    def by_position(self) -> bool:
        """Whether there is a position curve; without one, the floor is the mean loss itself."""
        return np.shape(self.position)[-1] > 0

    @property
    def log_progress(self) -> float:
        """Log of the progress made at the origin, in steps at peak learning rate."""
        return float(np.log(self.anchor.time_unit) - self.axis.end)


def make_design(losses: LossTable, schedule: Schedule, *, exponent: float | None = 1.0) -> tuple[Design, tuple[str, ...]]:
    """Model inputs for one run on one test set, and notices about making them.

    ``exponent`` is that of the position law; None for the one that fits best.

    Raises:
        DataError: several runs or test sets, a schedule that ends before the data, or too few checkpoints.
    """
    designs, notices = make_designs(losses, {str(losses.runs[0]): schedule}, exponent=exponent)
    return designs[0], notices


def make_designs(
    losses: LossTable, schedules: Mapping[str, Schedule], *, exponent: float | None = 1.0
) -> tuple[list[Design], tuple[str, ...]]:
    """Model inputs of every run of ``schedules`` on one test set, whose position effects they share; and notices.

    Raises:
        DataError: several test sets, a schedule that ends before its data, too few checkpoints, or positions of some runs only.
    """
    alone = len(schedules) == 1
    parts = [_measured(losses, schedule, run=None if alone else run) for run, schedule in schedules.items()]
    by_position = [part.by_position for part in parts]
    cure = "Give the positions of all runs, or the mean losses of all."
    lacking = [run for run, has in zip(schedules, by_position) if not has]
    require(
        all(by_position) or not any(by_position),
        "positions",
        "be given for all runs or none",
        lacking,
        where="without",
        cure=cure,
    )
    values = pd.concat([part.values for part in parts]).sort_index(axis=1)
    position = values.columns.to_numpy(float) if all(by_position) else np.array([])
    starts = np.cumsum([0, *(len(part.step) for part in parts)])
    estimates, has_curve, position_notices = _estimated(values.to_numpy(float), position, exponent, starts[:-1])
    designs = []
    for part, schedule, first, last in zip(parts, schedules.values(), starts, starts[1:]):
        designs.append(_placed(part, schedule, rows(estimates, slice(first, last)) if has_curve else None, position))
    unknown = () if all(schedule.known for schedule in schedules.values()) else (UNKNOWN,)
    notices = dict.fromkeys(
        notice if alone else f"{run}: {notice}" for run, part in zip(schedules, parts) for notice in part.notices
    )
    return designs, (*losses.notices, *unknown, *notices, *position_notices)


class _Measured(NamedTuple):
    """Checkpoints of one run that can be fitted (step), averaged where there are many, and notices about them."""

    origin: float
    step: Array
    values: pd.DataFrame
    mean_loss: Array
    number: Array
    by_position: bool
    notices: tuple[str, ...]


def _measured(losses: LossTable, schedule: Schedule, *, run: str | None) -> _Measured:
    """What can be fitted of the only run, or of one of several."""
    if run is not None:
        try:
            return _measured(losses.select(run=run), schedule, run=None)
        except DataError as error:
            raise DataError(f"{error} (run {run!r})") from None
    origin, last = float(losses.curve().index[-1]), float(losses.mean_losses().iloc[-1])
    cure = "Take the logarithm of a perplexity; divide a sum by its tokens."
    require(last <= MOST_NATS, "loss", f"be in nats per token, at most {MOST_NATS:g}", last, where="at the end", cure=cure)
    schedule.require_reaches(origin)
    kept, notices = after_warmup(losses, schedule)
    curve = kept.curve()
    step, values, mean_loss, number = _average(curve, kept.mean_losses(), schedule)
    averaged = (f"{len(curve)} checkpoints are averaged to {len(step)}, evenly in log progress.",)
    few = (f"Only {len(curve)} checkpoints are fitted: fewer than {FEW_CHECKPOINTS} hardly show whether the law holds.",)
    notices += (averaged if len(step) < len(curve) else ()) + (few if len(curve) < FEW_CHECKPOINTS else ())
    return _Measured(origin, step, pd.DataFrame(values, columns=curve.columns), mean_loss, number, kept.by_position, notices)


def _placed(part: _Measured, schedule: Schedule, curves: CoefficientEstimates | None, position: Array) -> Design:
    """The design of measured checkpoints, with the estimates of their position curves if they have any."""
    anchor = make_anchor(schedule, part.origin)
    position = np.array([]) if curves is None else position
    return Design(
        step=part.step,
        count=part.number,
        axis=make_time_axis(np.append(part.step, part.origin), schedule, anchor),
        estimates=estimates_of_means(part.mean_loss) if curves is None else with_mean_loss(curves, position),
        mean_polynomial=np.array([]) if curves is None else mean_polynomial(position, curves.exponent),
        centre=np.array([0.0, 0.0, part.mean_loss[-1]]) if curves is None else curves.coefficients[-1],
        anchor=anchor,
        position=position,
        losses=part.values.to_numpy(float),
        mean_loss=part.mean_loss,
    )


def padded(design: Design, *, to: int | None = None) -> Design:
    """What a model of the summaries sees of a design: no position, and some checkpoints more, that say nothing.

    Those are put last, at the origin, with estimates of variance ``SILENT``; the density of all else is as it was. There are
    ``to`` checkpoints then, or the next multiple of ``PADDING``.
    """
    steps = len(design.step)
    extra = -steps % PADDING if to is None else to - steps
    kept = np.concatenate([np.arange(steps), np.full(extra, steps - 1)])
    placed = np.concatenate([np.arange(steps), np.full(extra + 1, steps)])
    silence = np.concatenate([np.zeros(steps), np.full(extra, SILENT)])[:, None, None] * np.eye(3)
    estimates, none = design.estimates, np.zeros(0)
    return design._replace(
        step=design.step[kept],
        count=design.count[kept],
        axis=design.axis._replace(**{name: getattr(design.axis, name)[placed] for name in ("u", "lag", "repeats")}),
        estimates=CoefficientEstimates(
            estimates.coefficients[kept], estimates.covariance[kept] + silence, none, none, estimates.noise
        ),
        position=design.position[:1],
        losses=np.zeros((len(kept), 0)),
        mean_loss=design.mean_loss[kept],
    )


def after_warmup(losses: LossTable, schedule: Schedule) -> tuple[LossTable, tuple[str, ...]]:
    """Losses that can be fitted: past twice the warm-up and any early bend, where the laws begin to hold; and notices.

    Where twice the warm-up leaves fewer than ``FEW_CHECKPOINTS``, those past the warm-up itself.
    """
    step, first, when = losses.steps, SKIP_WARMUPS * schedule.warmup, "twice the warm-up"
    if schedule.warmup > 0 and np.sum(step >= first) < FEW_CHECKPOINTS:
        first, when = schedule.warmup, "the end of the warm-up (few follow)"
    dropped = int(np.sum((step < first) | (schedule.progress(step) <= 0)))
    kept, rule = len(step) - dropped, f"hold {MIN_CHECKPOINTS} usable checkpoints"
    cure = f"Fit later in the run; steps below {show(first)}, {when}, are left out."
    require(kept >= MIN_CHECKPOINTS, "losses", rule, kept, where=f"of {len(step)} checkpoints", cure=cure)
    why = f"before step {show(first)}, {when}" if first > 0 else "without progress (step 0)"
    notice = f"{dropped} of {len(step)} checkpoints are left out: {why}."
    warm, notices = (losses.after(step[dropped - 1]), (notice,)) if dropped else (losses, ())
    made, more = _after_bend(warm, schedule)
    return made, notices + more


def _after_bend(losses: LossTable, schedule: Schedule) -> tuple[LossTable, tuple[str, ...]]:
    """Losses past an early bend, if enough follow it; and a notice of it."""
    means = losses.mean_losses()
    step = means.index.to_numpy(float)
    first = after_bend(step, means.to_numpy(float), schedule) if schedule.known else 0
    if first == 0:
        return losses, ()
    at, fell = show(step[first]), "the loss fell ever faster, which the laws do not describe"
    if len(step) - first < MIN_CHECKPOINTS:
        return losses, (f"Until step {at} {fell}, and too few checkpoints follow: forecast again later.",)
    return losses.after(step[first - 1]), (f"{first} more checkpoints are left out, before step {at}: {fell}.",)


def later_steps(steps: ArrayLike, origin: float, *, run: str | None = None) -> Array:
    """Steps to forecast, sorted and without repeats (step); of one ``run`` of several, its origin may be among them.

    Raises:
        DataError: there is none, or one is infinite or not later than the origin.
    """
    ahead = np.unique(floats(steps, "steps", cure="Give e.g. steps=[2000, 2500]."))
    require(ahead.size > 0, "steps", "name at least one step", "none", cure="Give e.g. steps=[2000, 2500].")
    require(np.isfinite(ahead).all(), "steps", "be finite", ahead, cure="Give steps that the run will reach.")
    cure = "Use Fit.coefficients() for the past."
    if run is None:
        require(ahead[0] > origin, "steps", f"lie after the origin {show(origin)}", ahead[ahead <= origin], cure=cure)
    else:
        rule = f"not lie before the origin {show(origin)} of run {run!r}"
        require(ahead[0] >= origin, "steps", rule, ahead[ahead < origin], cure="Forecast it alone, with fit.select(run=...).")
    return ahead


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


def _estimated(
    values: Array, position: Array, exponent: float | None, starts: Array
) -> tuple[CoefficientEstimates, bool, tuple[str, ...]]:
    """Estimates of every checkpoint, whether they are of a position curve, and what to tell the user of that."""
    if len(position) == 0:
        return estimates_of_means(values[:, 0]), False, ()
    if len(position) < MIN_POSITIONS:
        notice = f"{len(position)} positions are too few for a position law ({MIN_POSITIONS} are needed)"
        return estimates_of_means(values[:, 0]), False, (f"{notice}: only the mean loss is modelled.",)
    estimates = estimate_coefficients(values, position, exponent=exponent, starts=starts)
    error = np.sqrt(np.median(np.diagonal(estimates.covariance, axis1=1, axis2=2), axis=0))
    if error[:2].max() > FLAT_CURVE:
        notice = "Losses hardly fall with position, so gap and rate cannot be estimated: only the mean loss is modelled."
        return estimates, False, (notice,)
    return estimates, True, ()
