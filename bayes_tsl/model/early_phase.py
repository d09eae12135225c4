"""Where the laws begin: after the loss has stopped falling ever faster.

In the first thousand or two steps some runs learn something at once (to copy from the context, say), so that the loss falls
faster per unit of log progress than before. No law of this package does that at a constant learning rate, and after the bend
they hold again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bayes_tsl.data.schedules import Schedule

Array = NDArray[np.float64]

EARLY = 2000.0  # progress, in steps at peak, after which no bend is looked for
NEAR_PEAK = 0.9  # relative learning rate down to which annealing hardly bends the curve
SPAN = 0.3  # of log progress over which a slope is measured
STEEPER = 2.0  # times the shallowest slope before it that a slope reaches in a bend
LARGE = 0.2  # nats by which the loss has fallen more in that span, at least ...
SURE = 6.0  # ... and standard deviations of a checkpoint


def noise(loss: Array) -> float:
    """Standard deviation from checkpoint to checkpoint, by the median absolute second difference."""
    return float(np.median(np.abs(np.diff(loss, 2))) / (0.6745 * np.sqrt(6.0))) if len(loss) > 2 else 0.0


def after_bend(step: Array, loss: Array, schedule: Schedule) -> int:
    """Number of the first checkpoint past the steepest descent of an early bend; 0 where there is none.

    >>> from bayes_tsl.data import schedules
    >>> step = np.arange(100.0, 1100.0, 100.0)
    >>> loss = 6.0 - 0.6 * np.log(step / 100.0) - 1.2 * (step > 400.0)
    >>> after_bend(step, loss, schedules.constant(peak=1e-3))
    4
    """
    progress = schedule.progress(step)
    u, steady = np.log(progress), (schedule.lr(step) >= NEAR_PEAK * schedule.peak) & (progress <= EARLY)
    pairs = [(i, int(j)) for i, j in enumerate(np.searchsorted(u, u + SPAN)) if j < len(u) and steady[i : j + 1].all()]
    if not pairs or len(loss) < 3:
        return 0
    smooth = np.concatenate([loss[:1], np.median([loss[:-2], loss[1:-1], loss[2:]], axis=0), loss[-1:]])
    slope = np.array([(smooth[j] - smooth[i]) / (u[j] - u[i]) for i, j in pairs])
    shallowest = np.maximum.accumulate(slope)
    steepening = slope / np.minimum(shallowest, -noise(loss) - 1e-9)
    most = int(np.argmax(steepening))
    extra = SPAN * (shallowest[most] - slope[most])
    if steepening[most] < STEEPER or extra < max(SURE * noise(loss), LARGE):
        return 0
    first, last = pairs[most]
    return int(np.searchsorted(u, 0.5 * (u[first] + u[last])))
