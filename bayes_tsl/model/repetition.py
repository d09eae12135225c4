r"""Overfitting of repeated data: what a run that sees its training data again and again loses on held-out text.

After ``r`` epochs beyond the first, the floor carries

    overfitting * r^POWER    [nats].

Progress on repeated data also counts for less (``Schedule.learning``), but that alone has losses level off, and published runs
of seven epochs and more rise above it (docs/modelling.md, repeated data).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayes_tsl.data.schedules import Schedule
from bayes_tsl.model.time_axis import TimeAxis

POWER = 1.6  # of the repeats in the loss that they add


def repetition(schedule: Schedule, step: ArrayLike) -> NDArray[np.float64]:
    """Epochs beyond the first, to the power ``POWER`` (step); zero where no data are known to repeat.

    >>> from dataclasses import replace
    >>> from bayes_tsl.data import schedules
    >>> plan = replace(schedules.constant(peak=1e-3, total=300), first_epoch=100.0)
    >>> repetition(plan, [50.0, 200.0]).tolist()
    [0.0, 1.0]
    """
    return schedule.repeats(step) ** POWER


def overfitting(axis: TimeAxis, sites: Mapping[str, Any]) -> Any:
    """What repeated data add to the floor at every row of a time axis (row), in nats."""
    return sites["overfitting"] * axis.repetition
