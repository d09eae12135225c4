"""The time axis of a fit: log progress since the origin, and the unit in which relaxation times are measured."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_tsl.data.schedules import Schedule

SHORTEST = 2e-4  # relaxation time, as a share of the unit, below which the learning rate is followed at once
OF_STEPS = ("u", "lag", "gone", "repeats")  # fields of a time axis that have a row for every step


class Anchor(NamedTuple):
    """Where the time axis of a fit is anchored.

    Attributes:
        origin: last step used to fit.
        time_unit: progress in which relaxation times of the learning-rate response are measured: that of the whole schedule,
            or of the past where the schedule has no end.
        shortest: relaxation time, in that unit, below which all are taken as the same; 1e-3 in fits of older versions.
    """

    origin: float
    time_unit: float
    shortest: float = SHORTEST


class TimeAxis(NamedTuple):
    """What a schedule says at a set of steps: everything that the laws need to know of time.

    Attributes:
        u: log progress since the origin (step).
        lag: the lagged relative learning rate, as a polynomial in log time and log power (step, time, power).
        gone: what of it averaging the weights takes off, likewise; zero for weights as they are (step, time, power).
        end: log progress of the end of the schedule since the origin, where the excess loss has its stated strength.
        repeats: epochs of the training data beyond the first; zero where none are known to repeat (step).
        shortest: relaxation time between which and the unit the polynomial is.
    """

    u: NDArray[np.float64]
    lag: NDArray[np.float64]
    gone: NDArray[np.float64]
    end: float
    repeats: NDArray[np.float64]
    shortest: float


def make_anchor(schedule: Schedule, origin: float) -> Anchor:
    """The anchor at ``origin``; a schedule without end lends its times the progress made so far.

    >>> from bayes_tsl.data import schedules
    >>> make_anchor(schedules.constant(peak=1e-3, warmup=100), 1000.0)
    Anchor(origin=1000.0, time_unit=950.0, shortest=0.0002)
    """
    return Anchor(origin, float(schedule.progress(schedule.last_step(origin))))
