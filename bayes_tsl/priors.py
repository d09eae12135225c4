"""Prior distributions: one field per sample site, written as a family and two numbers, so that they save as text.

Levels are placed around the coefficients seen at the origin (``Design.centre``); all else is absolute. The defaults are
wide on purpose: curvature and heat differ by factors between a tiny model on small batches and a 360M model on large
ones, and a prior that is tight around one is wrong about the other.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from bayes_tsl._checks import require_choice, require_number
from bayes_tsl.schedules import Schedule

HEAT_AT = 1e-3  # peak learning rate at which the heat's prior has its median below
HEAT_MEDIAN = 0.26  # nats
HEAT_POWER = 0.29  # of the peak learning rate
ABSOLUTE = (1e-5, 3e-2)  # peak learning rates that an AdamW run can have; others are in a unit of their own

LEVELS = {"gap_level": 0, "rate_level": 1, "floor_level": 2}


@dataclass(frozen=True)
class Prior:
    """``normal`` with mean and standard deviation, or ``lognormal`` with median and standard deviation of the log."""

    family: Literal["normal", "lognormal"]
    centre: float
    spread: float

    def __post_init__(self) -> None:
        require_choice(self.family, "family", ("normal", "lognormal"))
        require_number(self.centre, "centre", low=0.0 if self.family == "lognormal" else -np.inf)
        require_number(self.spread, "spread", low=0.0)

    def distribution(self, around: float = 0.0) -> dist.Distribution:
        """The NumPyro distribution; ``around`` shifts a normal."""
        if self.family == "normal":
            return dist.Normal(around + self.centre, self.spread)
        return dist.LogNormal(jnp.log(self.centre), self.spread)


def _unflatten(family: Literal["normal", "lognormal"], numbers: tuple[float, float]) -> Prior:
    """A prior whose numbers JAX may be tracing, which cannot be checked."""
    prior = object.__new__(Prior)
    for name, value in zip(("family", "centre", "spread"), (family, *numbers)):
        object.__setattr__(prior, name, value)
    return prior


jax.tree_util.register_pytree_node(Prior, lambda prior: ((prior.centre, prior.spread), prior.family), _unflatten)


def normal(mean: float, sd: float) -> Prior:
    """Normal prior."""
    return Prior("normal", mean, sd)


def lognormal(median: float, sd: float) -> Prior:
    """Log-normal prior with this median, and standard deviation ``sd`` of the logarithm."""
    return Prior("lognormal", median, sd)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Priors:
    """Priors of the model's global parameters; replace one with ``Priors(heat=lognormal(0.3, 0.2))``.

    Attributes:
        gap_level: log gap at the origin, less its estimate.  [log nats]
        gap_slope: its change per unit of log progress.
        gap_curvature: how fast that change dies out.
        rate_level: log rate at the origin, less its estimate.
        rate_slope: its change per unit of log progress.
        rate_curvature: how fast that change dies out.
        floor_level: floor at the origin, less its estimate.  [nats]
        floor_slope: its change per unit of log progress.  [nats]
        floor_curvature: exponent of the power law in progress that the floor follows; 0 is logarithmic.
        heat: floor at peak learning rate above floor at zero learning rate.  [nats]
        heat_power: exponent of the learning rate in the heat.
        heat_memory: time of the lagged part of the heat, as a share of the schedule's progress.
        drift_scale: departure from the laws per unit of log progress to the power 1.5.  [nats]
        noise_scale: noise of one checkpoint's mean loss.  [nats]
        gap_noise: noise of one checkpoint's log gap, beyond that of its positions.
        rate_noise: noise of one checkpoint's log rate, beyond that of its positions.
    """

    gap_level: Prior = normal(0.0, 1.0)
    gap_slope: Prior = normal(0.1, 0.3)
    gap_curvature: Prior = lognormal(0.7, 0.5)
    rate_level: Prior = normal(0.0, 1.0)
    rate_slope: Prior = normal(-0.2, 0.4)
    rate_curvature: Prior = lognormal(0.7, 0.5)
    floor_level: Prior = normal(0.0, 0.5)
    floor_slope: Prior = normal(-0.3, 0.4)
    floor_curvature: Prior = lognormal(0.3, 0.8)
    heat: Prior = lognormal(0.3, 0.4)
    heat_power: Prior = lognormal(0.7, 0.3)
    heat_memory: Prior = lognormal(0.03, 0.8)
    drift_scale: Prior = lognormal(0.05, 0.8)
    noise_scale: Prior = lognormal(0.003, 1.0)
    gap_noise: Prior = lognormal(0.02, 1.0)
    rate_noise: Prior = lognormal(0.03, 1.0)

    def to_json(self) -> str:
        """The priors as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Priors:
        """Priors from the text that ``to_json`` wrote."""
        return cls(**{name: Prior(**value) for name, value in json.loads(text).items()})

    def typical(self, name: str, centre: np.ndarray) -> float:
        """Median of the parameter ``name``; levels lie around ``centre`` (3)."""
        return getattr(self, name).centre + (float(centre[LEVELS[name]]) if name in LEVELS else 0.0)

    def distribution(self, name: str, centre: np.ndarray) -> dist.Distribution:
        """NumPyro distribution of the parameter ``name``; levels lie around ``centre`` (3)."""
        around = centre[LEVELS[name]] if name in LEVELS else 0.0
        return getattr(self, name).distribution(around)


def default_priors(schedule: Schedule) -> Priors:
    """``Priors()``, with the heat placed where 66 AdamW runs of 33M to 360M parameters had it at this peak learning rate.

    Its median is ``0.26 (peak / 1e-3)^0.29`` nats; that of ``Priors()`` where the peak is unknown or no AdamW learning rate.
    """
    if not (schedule.known and ABSOLUTE[0] <= schedule.peak <= ABSOLUTE[1]):
        return Priors()
    median = HEAT_MEDIAN * (schedule.peak / HEAT_AT) ** HEAT_POWER
    return Priors(heat=lognormal(median, Priors.heat.spread))
