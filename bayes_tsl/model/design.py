"""From a loss table and a schedule to the arrays that the model sees: the only place where its inputs are made.

Order of work: leave out warm-up -> average neighbouring checkpoints down to a size that stays fast -> reduce positions to
coefficients (``position_law``) -> place every checkpoint on the time axis of the laws. The origin is the last step given,
whatever was averaged; log progress and the learning-rate response are measured from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.validation import floats, require, show
from bayes_tsl.data.branches import Branch
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import UNKNOWN, Schedule, assumptions
from bayes_tsl.model.branches import Averaged, BranchRows, rows_beside
from bayes_tsl.model.checkpoints import (
    MAX_BRANCH_CHECKPOINTS,
    MIN_CHECKPOINTS,
    Measured,
    measured,
    measured_averages,
    measured_branch,
)
from bayes_tsl.model.drift import covariance, covariance_along
from bayes_tsl.model.lr_response import make_time_axis
from bayes_tsl.model.position_law import (
    CoefficientEstimates,
    estimate_coefficients,
    estimates_of_means,
    joined,
    mean_polynomial,
    rows,
    with_mean_loss,
)
from bayes_tsl.model.time_axis import OF_STEPS, Anchor, TimeAxis, make_anchor

MIN_POSITIONS = 8
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
        drift: covariance of drift of scale one (step, step).
        estimates: log gap, log rate and mean loss estimated from the positions, with covariance.
        mean_polynomial: mean over positions of the law's falling part (order); empty without a position curve.
        centre: the last log gap, log rate and floor, around which priors of the levels are placed (3).
        anchor: of the time axis.
        position: token positions (position); empty without a position curve.
        losses: loss of each (averaged) checkpoint at each position (step, position); NaN where none was measured.  [nats]
        mean_loss: mean loss over positions, at each step (step).  [nats]
        branches: checkpoints of runs that left this one and of averaged weights, which its parameters describe too.
    """

    step: Array
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]  # hides tuple.count, which nobody asks of a design
    axis: TimeAxis
    drift: Array
    estimates: CoefficientEstimates
    mean_polynomial: Array
    centre: Array
    anchor: Anchor
    position: Array
    losses: Array
    mean_loss: Array
    branches: BranchRows | None = None

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
    losses.curve()  # of one run on one test set
    designs, notices = make_designs(losses, {str(losses.runs[0]): schedule}, exponent=exponent)
    return designs[0], notices


def make_designs(
    losses: LossTable,
    schedules: Mapping[str, Schedule],
    *,
    exponent: float | None = 1.0,
    branches: Sequence[Branch] = (),
) -> tuple[list[Design], tuple[str, ...]]:
    """Model inputs of every run of ``schedules`` on one test set, whose position effects they share; and notices.

    Args:
        losses: of all runs and branches.
        schedules: of every run by name.
        exponent: that of the position law; None for the one that fits best.
        branches: of the only run, each after its parent.

    Raises:
        DataError: several test sets, a schedule that ends before its data, too few checkpoints, or positions of some runs only.
    """
    alone = len(schedules) == 1
    parts = [measured(losses.select(run=run), schedule, run=None if alone else run) for run, schedule in schedules.items()]
    averaged = _averaged(losses, schedules, parts[0]) if alone else {}
    usable = _within(branches, float(parts[0].step[0]))
    parts += [*averaged.values(), *(measured_branch(losses, branch) for branch in usable)]
    beside = [*averaged, *usable]
    by_position = [part.by_position for part in parts]
    cure = "Give the positions of all runs, or the mean losses of all."
    names = [*schedules, *(kind.run for kind in beside)]
    lacking = [run for run, has in zip(names, by_position) if not has]
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
    curves = [rows(estimates, slice(*ends)) if has_curve else None for ends in pairwise(starts)]
    designs = [_placed(part, schedule, own, position) for part, schedule, own in zip(parts, schedules.values(), curves)]
    if beside:
        [trunk], [design] = schedules.values(), designs
        rows_of_all = rows_beside(parts[1:], beside, curves[1:], trunk, design.anchor, position)
        designs = [design._replace(branches=rows_of_all)]
    assumed = dict.fromkeys(
        notice if alone or notice == UNKNOWN else f"{run}: {notice}"
        for run, schedule in schedules.items()
        for notice in assumptions(schedule)
    )
    notices = dict.fromkeys(
        notice if alone else f"{run}: {notice}" for run, part in zip(names, parts) for notice in part.notices
    )
    unused = (*_unused_averages(losses, {kind.run for kind in averaged}), *_unused_branches(branches, usable, parts[0]))
    return designs, (*losses.notices, *assumed, *notices, *position_notices, *unused)


def _averaged(losses: LossTable, schedules: Mapping[str, Schedule], trunk: Measured) -> dict[Averaged, Measured]:
    """Losses of averaged weights of the only run, by what they are; all windows together have as many rows as a branch."""
    [(run, schedule)], made = schedules.items(), {}
    own = {window: table.select(run=run) for window, table in losses.averaged.items() if run in table.runs}
    most = max(MAX_BRANCH_CHECKPOINTS // max(len(own), 1), MIN_CHECKPOINTS)
    for window, table in own.items():
        made[Averaged(run, window)] = measured_averages(table, trunk, schedule, window=window, most=most)
    return {kind: part for kind, part in made.items() if part is not None}


def _within(branches: Sequence[Branch], first: float) -> list[Branch]:
    """Branches that left the run, or a branch of it, at or after its first fitted step."""
    kept: list[Branch] = []
    early: set[str] = set()
    for branch in branches:
        if branch.step < first or branch.parent in early:
            early.add(branch.run)
        else:
            kept.append(branch)
    return kept


def _unused_branches(branches: Sequence[Branch], used: Sequence[Branch], trunk: Measured) -> tuple[str, ...]:
    """A notice of branches that are left out, if there are any."""
    unused = [branch.run for branch in branches if branch not in used]
    why = f"they left before step {show(float(trunk.step[0]))}, from which on the run is fitted"
    return (f"Branches {show(unused)} are left out: {why}.",) if unused else ()


def _unused_averages(losses: LossTable, used: set[str]) -> tuple[str, ...]:
    """A notice of averaged weights that are left out, if there are any."""
    unused = sorted({run for table in losses.averaged.values() for run in table.runs} - used)
    why = "only those of a run that is fitted alone or with its branches are used, past its warm-up"
    return (f"Losses of averaged weights of {show(unused)} are left out: {why}.",) if unused else ()


def _placed(part: Measured, schedule: Schedule, curves: CoefficientEstimates | None, position: Array) -> Design:
    """The design of measured checkpoints, with the estimates of their position curves if they have any."""
    anchor = make_anchor(schedule, part.origin)
    position = np.array([]) if curves is None else position
    axis = make_time_axis(np.append(part.step, part.origin), schedule, anchor)
    return Design(
        step=part.step,
        count=part.number,
        axis=axis,
        drift=covariance(axis.u[:-1]),
        estimates=estimates_of_means(part.mean_loss) if curves is None else with_mean_loss(curves, position),
        mean_polynomial=np.array([]) if curves is None else mean_polynomial(position, curves.exponent),
        centre=np.array([0.0, 0.0, part.mean_loss[-1]]) if curves is None else curves.coefficients[-1],
        anchor=anchor,
        position=position,
        losses=part.values.to_numpy(float),
        mean_loss=part.mean_loss,
    )


def padded(design: Design, *, to: int | None = None) -> Design:
    """What a model of the summaries sees of a design: its branches too, no position, and some checkpoints that say nothing.

    Those are put last, at the origin, with estimates of variance ``SILENT``; the density of all else is as it was. There are
    ``to`` checkpoints then, or the next multiple of ``PADDING``.
    """
    whole = _with_branches(design)
    rows = len(whole.step)
    extra = -rows % PADDING if to is None else to - rows
    kept = np.concatenate([np.arange(rows), np.full(extra, rows - 1)])
    placed = np.concatenate([np.arange(rows), np.full(extra + 1, rows)])
    silence = np.concatenate([np.zeros(rows), np.full(extra, SILENT)])[:, None, None] * np.eye(3)
    estimates, none = whole.estimates, np.zeros(0)
    return whole._replace(
        step=whole.step[kept],
        count=whole.count[kept],
        axis=whole.axis._replace(**{name: getattr(whole.axis, name)[placed] for name in OF_STEPS}),
        drift=np.pad(whole.drift, (0, extra)),
        estimates=CoefficientEstimates(
            estimates.coefficients[kept], estimates.covariance[kept] + silence, none, none, estimates.noise
        ),
        position=design.position[:1],
        losses=np.zeros((len(kept), 0)),
        mean_loss=whole.mean_loss[kept],
    )


def _with_branches(design: Design) -> Design:
    """A design whose checkpoints are followed by those of its branches."""
    own = design.branches
    if own is None:
        return design
    time = np.zeros((len(own.time), len(design.step)))
    time[0] = -design.axis.u[:-1]
    axis = {name: np.insert(getattr(design.axis, name), -1, getattr(own.axis, name), axis=0) for name in OF_STEPS}
    return design._replace(
        step=np.append(design.step, own.step),
        count=np.append(design.count, own.count),
        axis=design.axis._replace(**axis),
        drift=covariance_along(np.hstack([time, own.time]), np.hstack([np.zeros_like(time), own.beyond])),
        estimates=joined([design.estimates, own.estimates]),
        mean_loss=np.append(design.mean_loss, own.mean_loss),
        branches=None,
    )


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
