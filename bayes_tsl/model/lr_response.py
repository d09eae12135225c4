r"""Response of the loss to the learning rate ("heat"): excess loss at a high rate, which relaxes away as the rate is annealed.

At step ``t``, with relative learning rate ``r = lr / peak`` and progress ``S`` (steps weighted by their learning rate), the
floor carries, in nats,

    heat * [w lag(h; fast) + (1 - w) lag(h; slow)] (S / S_end)^-decay,      h(r) ~ r^power,

where ``lag(h; time)`` is the first-order relaxation ``dx/dS = (h - x) / time``. Both times are shares of the whole schedule's
progress. The two-time relaxation and the decay with progress were measured on public runs (docs/modelling.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.typing import ArrayLike as JaxArrayLike
from numpy.typing import ArrayLike, NDArray

from bayes_tsl.data.schedules import Schedule
from bayes_tsl.model.polynomials import ORDER, basis, interpolant, nodes
from bayes_tsl.model.time_axis import Anchor, TimeAxis

POWERS = (0.2, 2.0)  # bounds of the exponent of the learning rate
LONGEST = 1.0  # relaxation time, as a share of the schedule's progress
NODES = ORDER / np.log(1e3)  # of the polynomial in the log of a relaxation time, for each factor of e
FAST_WEIGHT = 0.7  # share of the excess loss with the fast relaxation time; published step drops want .6 to .8
MEETING = 0.3  # relative learning rate at which the power and the hyperbola agree
_CELLS = 4096  # of the grid in progress on which a lag is solved
_CELLS_AHEAD = 1024  # of the grid in steps on which it is carried from the origin to an end


def response(relative_lr: ArrayLike, power: ArrayLike) -> NDArray[np.float64]:
    """Excess loss of a learning rate held for ever, as a share of that at the peak (shapes broadcast).

    The mean of ``r^p`` and of the saturating ``(1 + k) r / (1 + k r)`` that meets it at ``r = MEETING``. Real runs lie between
    the two: the power falls too fast near the peak and near zero, the hyperbola too slowly. Both are ``r`` at ``p = 1``.

    >>> response([0.0, 0.5, 1.0], 1.0)
    array([0. , 0.5, 1. ])
    """
    r, p = np.asarray(relative_lr, float), np.asarray(power, float)
    met = MEETING**p
    k = (met - MEETING) / (MEETING * (1.0 - met))
    return 0.5 * (r**p + (1.0 + k) * r / (1.0 + k * r))


def lag(schedule: Schedule, step: ArrayLike, *, powers: ArrayLike, times: ArrayLike) -> NDArray[np.float64]:
    """First-order relaxation of ``response(lr / peak, power)`` in progress, with the given times (step, time, power).

    ``dx/dS = (response - x) / time``, settled at S = 0. Solved on a grid of S.

    >>> from bayes_tsl.data import schedules
    >>> lag(schedules.constant(peak=1e-3), [100.0], powers=[0.7], times=[50.0]).round(3).tolist()
    [[[1.0]]]
    """
    step = np.atleast_1d(np.asarray(step, float))
    last = float(step.max())
    grid = np.linspace(0.0, max(float(schedule.progress(last)), 1e-12), _CELLS + 1)
    relative = schedule.lr(_step_at(schedule, grid, until=last)) / schedule.peak
    driven = response(relative[:, None], np.asarray(powers, float))
    solved = [_relax(driven, cell=grid[1], time=time) for time in np.asarray(times, float)]
    return np.stack([_interpolate(schedule.progress(step), grid, values) for values in solved], axis=1)


def gone_by_averaging(window: ArrayLike, time: ArrayLike) -> NDArray[np.float64]:
    """Share of the excess loss that averaging the weights over a ``window`` of progress takes off (shapes broadcast).

    An excess loss that relaxes as ``exp(-t / time)`` is the square of a distance from the floor's weights whose correlation
    dies as ``exp(-t / (2 time))``. With ``x = window / (2 time)``, the square of that distance's mean over the window is
    ``2 (x - 1 + exp(-x)) / x^2`` of its own.

    >>> gone_by_averaging([0.0, 1.0, 100.0], 1.0).round(3).tolist()
    [0.0, 0.148, 0.961]
    """
    x = np.asarray(window, float) / (2.0 * np.asarray(time, float))
    safe = np.maximum(x, 1e-3)
    return np.where(x < 1e-3, x / 3.0 - x**2 / 12.0, 1.0 - 2.0 * (safe + np.expm1(-safe)) / safe**2)


def make_time_axis(step: ArrayLike, schedule: Schedule, anchor: Anchor, *, averaged: float = 0.0) -> TimeAxis:
    """Where steps lie on the time axis of a fit, under any schedule (step).

    Weights that are ``averaged`` over so many steps up to ``step`` have learned what those of half as many steps before had.

    >>> from bayes_tsl.data import schedules
    >>> from bayes_tsl.model.time_axis import make_anchor
    >>> plan = schedules.constant(peak=1e-3, total=2000)
    >>> make_time_axis([500, 1000], plan, make_anchor(plan, 1000.0)).u.round(3).tolist()
    [-0.693, 0.0]
    """
    last = np.atleast_1d(np.asarray(step, float))
    step, times = last - averaged / 2.0, _times(anchor)
    u = np.log(schedule.learning(step) / schedule.learning(anchor.origin))
    end = float(np.log(anchor.time_unit / schedule.progress(anchor.origin)))
    lagged = lag(schedule, step, powers=nodes(POWERS), times=times)
    window = schedule.progress(last) - schedule.progress(last - averaged)
    gone = lagged * gone_by_averaging(window[:, None], times)[:, :, None]
    of_time, of_power = interpolant(len(times)), interpolant().T
    lagged, gone = (of_time @ each @ of_power for each in (lagged, gone))
    return TimeAxis(u, lagged, gone, end, schedule.repeats(step), anchor.shortest)


def make_ends_axis(schedules: Sequence[Schedule], steps: ArrayLike, anchor: Anchor) -> TimeAxis:
    """Where the last step of each of many schedules lies on the time axis of a fit, all alike until its origin (schedule + 1).

    The last row is the origin. The lag is carried from there to each end by its exact solution, so that an end costs a
    hundredth of a ``make_time_axis``.

    Args:
        schedules: equal until the origin.
        steps: end of each, later than the origin (schedule).
        anchor: of the time axis.

    >>> from bayes_tsl.data import schedules
    >>> from bayes_tsl.model.time_axis import make_anchor
    >>> plan = schedules.constant(peak=1e-3, total=2000)
    >>> plans = [plan, schedules.decayed(plan, start=1500, total=2000)]
    >>> make_ends_axis(plans, [2000, 2000], make_anchor(plan, 1000.0)).u.round(3).tolist()
    [0.693, 0.56, 0.0]
    """
    ends = np.asarray(steps, float)
    times = _times(anchor)
    settled = lag(schedules[0], [anchor.origin], powers=nodes(POWERS), times=times)[0]
    lagged = [_lag_ahead(schedule, anchor.origin, end, settled, times) for schedule, end in zip(schedules, ends)]
    made = interpolant(len(times)) @ np.stack([*lagged, settled]) @ interpolant().T
    whole = [*zip(schedules, ends), (schedules[0], anchor.origin)]
    learned = np.array([schedule.learning([step])[0] for schedule, step in whole])
    repeats = np.array([schedule.repeats(np.array([step]))[0] for schedule, step in whole])
    end = float(np.log(anchor.time_unit / schedules[0].progress(anchor.origin)))
    return TimeAxis(np.log(learned / learned[-1]), made, np.zeros_like(made), end, repeats, anchor.shortest)


def _lag_ahead(
    schedule: Schedule, origin: float, end: float, settled: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The lag at a later step, from that at the origin (time, power): exact where the response is straight within a cell."""
    corners = np.unique([origin, *schedule.steps[(schedule.steps > origin) & (schedule.steps < end)], end])
    at = np.linspace(0.0, len(corners) - 1.0, max(_CELLS_AHEAD, len(corners)))  # as many cells between any two corners
    step = np.interp(at, np.arange(len(corners)), corners)
    progress = schedule.progress(step)
    driven = response(schedule.lr(step)[:, None] / schedule.peak, nodes(POWERS))
    left = np.exp(-(progress[-1] - progress) / times[:, None])
    width = np.diff(progress) / times[:, None]
    safe = np.maximum(width, 1e-9)
    mean = -np.expm1(-safe) / safe  # mean over a cell of what is left at its end
    late, early = 1.0 - mean, mean - np.exp(-safe)
    weight = np.zeros_like(left)
    weight[:, 1:] += left[:, 1:] * late
    weight[:, :-1] += left[:, 1:] * early
    return left[:, :1] * settled + weight @ driven


def _times(anchor: Anchor) -> NDArray[np.float64]:
    """Relaxation times at which a lag is tabulated, in progress (time)."""
    order = round(NODES * np.log(LONGEST / anchor.shortest))
    return nodes((anchor.shortest, LONGEST), order) * anchor.time_unit


def relative_excess(
    axis: TimeAxis,
    *,
    power: JaxArrayLike,
    fast_time: JaxArrayLike,
    slow_time: JaxArrayLike,
    fast_weight: JaxArrayLike,
    decay: JaxArrayLike,
    averaging: JaxArrayLike = 1.0,
) -> Array:
    """Excess loss of each step as a share of ``heat`` (step): 0 annealed, 1 at the peak rate at the end of the schedule.

    Both lags are read off the axis's polynomial in ``log power`` and ``log time``, within 0.0003 and 0.0001 on average; beyond
    its bounds the value at the edge is used. The unit of time matters where the learning rate goes to zero: there
    hardly any progress is left to relax in.
    """
    weight = jnp.asarray(fast_weight)
    over_time = (jnp.asarray(axis.lag) - averaging * jnp.asarray(axis.gone)) @ basis(power, POWERS)
    bounds, order = (axis.shortest, LONGEST), over_time.shape[-1]
    fast, slow = (over_time @ basis(time, bounds, order) for time in (fast_time, slow_time))
    return (weight * fast + (1.0 - weight) * slow) * jnp.exp(-jnp.asarray(decay) * (jnp.asarray(axis.u) - axis.end))


def excess_loss(axis: TimeAxis, sites: Mapping[str, Any]) -> Any:
    """What the learning rate adds to the floor at every row of a time axis (row), in nats."""
    shape = {name: sites[f"heat_{name}"] for name in ("power", "fast_time", "slow_time", "decay")}
    return sites["heat"] * relative_excess(axis, fast_weight=FAST_WEIGHT, averaging=sites["averaging"], **shape)


def _step_at(schedule: Schedule, progress: NDArray[np.float64], *, until: float) -> NDArray[np.float64]:
    knots = schedule.steps[schedule.steps < until]
    dense = np.unique(np.concatenate([knots, np.linspace(0.0, until, 4 * _CELLS)]))
    return np.interp(progress, schedule.progress(dense), dense)


def _relax(driven: NDArray[np.float64], *, cell: float, time: float) -> NDArray[np.float64]:
    """First-order relaxation of (grid, power), exact where ``driven`` is straight within a cell."""
    keep = np.exp(-cell / time)
    mean = (1.0 - keep) * time / cell
    aim = driven.copy()
    aim[1:] = ((1.0 - mean) * driven[1:] + (mean - keep) * driven[:-1]) / (1.0 - keep)
    return pd.DataFrame(aim).ewm(alpha=1.0 - keep, adjust=False).mean().to_numpy()


def _interpolate(at: NDArray[np.float64], grid: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.interp(at, grid, column) for column in values.T], axis=1)
