r"""What the noise of the gradient says of the excess loss, before the learning rate has fallen.

Near the floor a quadratic loss hovers where the noise that a step brings in balances what it takes out. With a step of ``lr``
times a gradient that Adam divides by the root of its second moment ``v``, the excess loss is (Qiu et al., arXiv 2507.02119)

    excess = c * lr * g,      g = sum sqrt(v),

with ``c`` of 1/4 for plain steps on a quadratic. Own runs of four sizes, batches and rates have about that (docs/modelling.md,
gradient noise); their spread is the doubt that a measurement leaves. It enters the prior of ``heat``, as a second source that
knows nothing of the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax
import numpy as np

from bayes_tsl._common.jax_settings import float64
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.model.lr_response import excess_loss, make_time_axis
from bayes_tsl.model.priors import ABSOLUTE, Priors, lognormal
from bayes_tsl.model.time_axis import make_anchor

EXCESS_PER_NOISE = lognormal(0.2, 0.5)
"""Excess loss over learning rate times gradient noise, and its spread among runs."""

HIGH = 0.5  # relative learning rate from which the excess loss is near that of the rate of the step
SETTLED = 2.0  # warm-ups after which the second moment is that of training
_DRAWS = 1000
_SHAPE = ("heat_power", "heat_fast_time", "heat_slow_time", "heat_decay")


def with_gradient_noise(
    priors: Priors, noise: Mapping[float, float], schedule: Schedule, effective: Schedule, *, origin: float
) -> Priors:
    """Priors whose ``heat`` knows the noise of the gradient at the last step before the origin with a high learning rate.

    The same where no noise was measured, the learning rate is in a unit of its own, or ``heat`` is no log-normal.

    Args:
        priors: that do not know it.
        noise: of the gradient, by step (``collect.gradient_noise``).
        schedule: learning rate of the run.
        effective: the same, a batch ramp included.
        origin: last step used to fit.
    """
    high = [
        step
        for step, value in noise.items()
        if SETTLED * schedule.warmup <= step <= origin and value > 0 and schedule.lr(step) >= HIGH * schedule.peak
    ]
    if not high or priors.heat.family != "lognormal" or not ABSOLUTE[0] <= schedule.peak <= ABSOLUTE[1]:
        return priors
    step = max(high)
    log_share, spread = _log_share(priors, effective, step, origin)
    measured = np.log(EXCESS_PER_NOISE.centre * float(schedule.lr(step)) * noise[step]) - log_share
    variances = np.array([priors.heat.sd**2, EXCESS_PER_NOISE.sd**2 + spread**2])
    weights = 1.0 / variances
    centre = np.average([np.log(priors.heat.centre), measured], weights=weights)
    return replace(priors, heat=lognormal(float(np.exp(centre)), float(weights.sum() ** -0.5)))


def _log_share(priors: Priors, schedule: Schedule, step: float, origin: float) -> tuple[float, float]:
    """Log of the excess loss at a step as a share of ``heat``, by the priors of its shape: mean and standard deviation."""
    rng, axis = np.random.default_rng(0), make_time_axis([step], schedule, make_anchor(schedule, origin))
    drawn = {name: getattr(priors, name).draws(rng, _DRAWS) for name in _SHAPE}
    sites = drawn | {"heat": np.ones(_DRAWS), "averaging": np.ones(_DRAWS)}
    with float64():
        share = np.log(np.asarray(jax.vmap(lambda one: excess_loss(axis, one)[0])(sites)))
    return float(share.mean()), float(share.std())
