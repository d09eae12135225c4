"""Published laws of one run, fitted and resampled as the package's own baselines are (``bayes_tsl.forecasting.curve_fits``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import lfilter

import bayes_tsl as bt
from bayes_tsl.forecasting.baselines import power_starts, relative_step
from bayes_tsl.forecasting.curve_fits import Law, bootstrap

Array = NDArray[np.float64]

CELLS = 256  # of the learning rate, from the end of the warm-up to the last step: about the rows of a log
GAIN = 0.32  # of a momentum of 1, in nats: the median of fits to whole runs of the half that models are chosen on
FIRST, SECOND = 0.9, 0.999  # memory of the momentum and of its scale, as published
SCALE, TINY = 1e5, 1e-8  # of the second moment, as in the authors' code


def broken_power_law(
    losses: bt.LossTable, *, steps: ArrayLike, schedule: bt.Schedule | None = None, seed: int = 0
) -> bt.Forecast:
    """``a + b t^-c0 (1 + (t / d)^(1 / f))^(-c1 f)``: one break (Caballero et al., arXiv 2210.14891, eq. 1); blind."""
    return bootstrap(_BROKEN, losses, steps=steps, schedule=schedule, seed=seed)


def forward_momentum(
    losses: bt.LossTable, *, steps: ArrayLike, schedule: bt.Schedule | None = None, seed: int = 0
) -> bt.Forecast:
    """``L0 + A S^-alpha - C M`` (Wang et al., arXiv 2512.13705); needs the schedule.

    ``S`` sums the learning rate. ``M`` sums ``m / sqrt(v)``, where m and v are running means of the falls of the learning rate
    and of their squares, as in Adam. The paper's term of model size is a constant within a run. Bounds are those of the
    authors' code, but for a floor from zero. Where a run has seen no decay, C stays where it starts, at ``GAIN``.
    """
    return bootstrap(_MOMENTUM, losses, steps=steps, schedule=schedule, seed=seed)


def _broken(x: Array, t: Array) -> Array:
    sharp = np.exp(-x[5])
    return x[0] + np.exp(x[1] - x[2] * np.log(t) - x[3] / sharp * np.logaddexp(0.0, sharp * (np.log(t) - x[4])))


def _see_momentum(steps: Array, origin: float, schedule: bt.Schedule) -> tuple[Array, Array]:
    """Summed learning rate relative to the origin, and the sum of momenta (step)."""
    grid = np.linspace(schedule.warmup, max(schedule.last_step(origin), steps[-1]), CELLS + 1)
    fall = -np.diff(schedule.lr(grid)) * np.diff(grid)
    count = np.arange(2, len(fall) + 2)
    first = lfilter([1.0 - FIRST], [1.0, -FIRST], fall) / (1.0 - FIRST**count)
    second = lfilter([1.0 - SECOND], [1.0, -SECOND], fall**2) / (1.0 - SECOND**count)
    momentum = np.append(0.0, np.cumsum(first / np.sqrt(SCALE * second + TINY)))
    return schedule.progress(steps) / float(schedule.progress(origin)), np.interp(steps, grid, momentum)


def _forward(x: Array, inputs: tuple[Array, Array]) -> Array:
    progress, momentum = inputs
    return x[0] + np.exp(x[1]) * progress ** -x[2] - x[3] * momentum


_BROKEN = Law(
    "broken power law",
    relative_step,
    _broken,
    lambda y: [
        (floor, height, np.exp(rate), slope, np.log(at), np.log(0.5))
        for floor, height, rate in power_starts(y)[1::3]
        for slope in (-0.1, 0.1)
        for at in (0.1, 0.5)
    ],
    bounds=((0.0, -30.0, 0.0, -5.0, -7.0, -3.0), (30.0, 30.0, 5.0, 5.0, 3.0, 2.0)),
)
_MOMENTUM = Law(
    "forward-momentum law",
    _see_momentum,
    _forward,
    lambda y: [(floor, height, np.exp(rate), GAIN) for floor, height, rate in power_starts(y)],
    needs_schedule=True,
    bounds=((0.0, -30.0, 0.1, 0.0), (18.0, 30.0, 10.0, 10.0)),
)
