r"""Branches of a run: checkpoints that another schedule led to, from a step on, with one set of parameters and one history.

A cooldown that is tried early and finished shows what the decay of the learning rate takes off, which the run's own curve
cannot tell before it decays. Its checkpoints are rows of the run's design: log progress counts from the run's origin, and
relaxation times are shares of the run's schedule, whatever the branch's own is. Drift goes on from the value and speed that the
parent's had where the branch left, and has its own source from there, so a row's drift is a sum over the processes that led to
it (``drift.covariance_along``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_tsl.data.branches import Branch
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.model.checkpoints import Measured
from bayes_tsl.model.lr_response import make_time_axis
from bayes_tsl.model.position_law import CoefficientEstimates, estimates_of_means, joined, with_mean_loss
from bayes_tsl.model.time_axis import OF_STEPS, Anchor, TimeAxis

Array = NDArray[np.float64]


class BranchRows(NamedTuple):
    """Checkpoints of all branches of a run, one after the other.

    Attributes:
        run: name of the branch of each (row).
        step, count, mean_loss: as those of a design (row).
        axis: time, seen through the schedule of each branch, on the axis of the run (row).
        estimates: as those of a design.
        time, beyond: log progress along the run's drift and that of each branch, and since it was left (process, row).
    """

    run: NDArray[np.str_]
    step: Array
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]  # as in Design
    mean_loss: Array
    axis: TimeAxis
    estimates: CoefficientEstimates
    time: Array
    beyond: Array


def branch_axis(step: Array, branch: Schedule, trunk: Schedule, anchor: Anchor) -> TimeAxis:
    """Where steps of a branch lie on the time axis of its trunk (row)."""
    own, at = make_time_axis(step, branch, anchor), anchor.origin
    ahead = float(np.log(branch.learning(at) / trunk.learning(at)))
    return own._replace(u=own.u + ahead, end=float(np.log(anchor.time_unit / trunk.progress(at))))


def along_drift(branches: Sequence[Branch], axes: Sequence[TimeAxis], trunk: Schedule, anchor: Anchor) -> tuple[Array, Array]:
    """``time`` and ``beyond`` of ``BranchRows`` (process, row); the first process is the trunk's, which runs backwards.

    Args:
        branches: each after its parent.
        axes: of the rows of each.
        trunk: schedule of the run that they left.
        anchor: of its time axis.
    """
    number = {branch.run: i for i, branch in enumerate(branches, start=1)}
    left = {0: 0.0} | {
        number[branch.run]: float(branch_axis(np.array([branch.step]), branch.schedule, trunk, anchor).u[0])
        for branch in branches
    }
    # what was left on the way to each: which process, when along it, at what log progress, and the direction of its time
    way: dict[int, list[tuple[int, float, float, float]]] = {0: []}
    times, beyonds = [], []
    for branch, axis in zip(branches, axes):
        own, parent = number[branch.run], number.get(branch.parent, 0)
        sign = 1.0 if parent else -1.0
        way[own] = [*way[parent], (parent, sign * (left[own] - left[parent]), left[own], sign)]
        time, beyond = np.zeros((2, len(branches) + 1, len(axis.u)))
        time[own] = axis.u - left[own]
        for process, when, where, direction in way[own]:
            time[process], beyond[process] = when, direction * (axis.u - where)
        times.append(time)
        beyonds.append(beyond)
    return np.concatenate(times, axis=1), np.concatenate(beyonds, axis=1)


def branch_rows(
    parts: Sequence[Measured],
    branches: Sequence[Branch],
    curves: Sequence[CoefficientEstimates | None],
    trunk: Schedule,
    anchor: Anchor,
    position: Array,
) -> BranchRows:
    """Measured checkpoints of all branches, on the time axis of the run that they left."""
    axes = [branch_axis(part.step, branch.schedule, trunk, anchor) for part, branch in zip(parts, branches)]
    time, beyond = along_drift(branches, axes, trunk, anchor)
    means = np.concatenate([part.mean_loss for part in parts])
    return BranchRows(
        run=np.repeat([branch.run for branch in branches], [len(part.step) for part in parts]),
        step=np.concatenate([part.step for part in parts]),
        count=np.concatenate([part.number for part in parts]),
        mean_loss=means,
        axis=axes[0]._replace(**{name: np.concatenate([getattr(axis, name) for axis in axes]) for name in OF_STEPS}),
        estimates=joined([with_mean_loss(own, position) for own in curves if own] or [estimates_of_means(means)]),
        time=time,
        beyond=beyond,
    )
