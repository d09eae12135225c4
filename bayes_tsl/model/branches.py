r"""Branches of a run: checkpoints that another schedule led to, from a step on, with one set of parameters and one history.

A cooldown that is tried early and finished shows what the decay of the learning rate takes off, which the run's own curve
cannot tell before it decays. Its checkpoints are rows of the run's design: log progress counts from the run's origin, and
relaxation times are shares of the run's schedule, whatever the branch's own is. Drift goes on from the value and speed that the
parent's had where the branch left, and has its own source from there, so a row's drift is a sum over the processes that led to
it (``drift.covariance_along``).

Losses of averaged weights are rows too: they have the run's drift, learned what its weights had in the middle of the average,
and lack the part of the excess loss that an average over independent noise takes off (``lr_response.gone_by_averaging``). A
single parameter, ``averaging``, says by what factor that is more or less than the relaxation times have it.
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
    """Checkpoints of averaged weights and of all branches of a run, one after the other.

    Attributes:
        run: name of the branch of each (row).
        averaged: steps that the weights are averaged over; zero for those of branches (row).
        step, count, mean_loss: as those of a design (row).
        axis: time, seen through the schedule of each branch, on the axis of the run (row).
        estimates: as those of a design.
        time, beyond: log progress along the run's drift and that of each branch, and since it was left (process, row).
    """

    run: NDArray[np.str_]
    averaged: Array
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


class Averaged(NamedTuple):
    """Losses of a run's weights averaged over a number of steps."""

    run: str
    window: float


def rows_beside(
    parts: Sequence[Measured],
    kinds: Sequence[Averaged | Branch],
    curves: Sequence[CoefficientEstimates | None],
    trunk: Schedule,
    anchor: Anchor,
    position: Array,
) -> BranchRows:
    """Measured checkpoints of averaged weights, then of all branches, on the time axis of the run.

    Args:
        parts: what was measured of each.
        kinds: of each; branches last, each after its parent.
        curves: estimates from the position curves of each, if it has them.
        trunk: schedule of the run.
        anchor: of its time axis.
        position: token positions.
    """
    branches = [kind for kind in kinds if isinstance(kind, Branch)]
    axes = [_axis(part.step, kind, trunk, anchor) for part, kind in zip(parts, kinds)]
    own = len(axes) - len(branches)
    time = np.zeros((len(branches) + 1, sum(len(axis.u) for axis in axes[:own])))
    time[0] = np.concatenate([-axis.u for axis in axes[:own]]) if own else 0.0
    of_branches = along_drift(branches, axes[own:], trunk, anchor) if branches else (time[:, :0], time[:, :0])
    means = np.concatenate([part.mean_loss for part in parts])
    rows = [len(part.step) for part in parts]
    return BranchRows(
        run=np.repeat([kind.run for kind in kinds], rows),
        averaged=np.repeat([kind.window if isinstance(kind, Averaged) else 0.0 for kind in kinds], rows),
        step=np.concatenate([part.step for part in parts]),
        count=np.concatenate([part.number for part in parts]),
        mean_loss=means,
        axis=axes[0]._replace(**{name: np.concatenate([getattr(axis, name) for axis in axes]) for name in OF_STEPS}),
        estimates=joined([with_mean_loss(curve, position) for curve in curves if curve] or [estimates_of_means(means)]),
        time=np.hstack([time, of_branches[0]]),
        beyond=np.hstack([np.zeros_like(time), of_branches[1]]),
    )


def _axis(step: Array, kind: Averaged | Branch, trunk: Schedule, anchor: Anchor) -> TimeAxis:
    if isinstance(kind, Branch):
        return branch_axis(step, kind.schedule, trunk, anchor)
    return make_time_axis(step, trunk, anchor, averaged=kind.window)
