"""Prior distributions: one field per sample site, written as a family and two numbers, so that they save as text.

Levels are placed around the coefficients seen at the origin (``Design.centre``); all else is absolute. ``Priors()`` is
wide on purpose: curvature and heat differ by factors between a tiny model on small batches and a 360M model on large
ones, and a prior that is tight around one is wrong about the other. ``default_priors`` are what finished runs taught
(``learned``): those of a new family of runs, at the covariates of this one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from bayes_tsl._common.display import Facts, shown_in_notebooks
from bayes_tsl._common.validation import require_choice, require_number
from bayes_tsl.data.recipe import Recipe
from bayes_tsl.data.schedules import Schedule, as_schedule
from bayes_tsl.model.learned import beyond, learned, predictive

__all__ = [
    "LAWS",
    "LearnedPriors",
    "Prior",
    "Priors",
    "default_priors",
    "family",
    "fixed",
    "lognormal",
    "normal",
]


def __dir__() -> list[str]:
    return __all__


LINEAR = ("heat_decay",)  # learned parameters that may be negative
EARLY = 1000.0  # progress, in steps at peak, until which runs leave the laws: drift is taken as larger before
MOST_STEPS = 1e7  # progress beyond which a run cannot be counting optimizer steps, but tokens
ABSOLUTE = (1e-5, 3e-2)  # peak learning rates that an AdamW run can have; others are in a unit of their own

LEVELS = {"gap_level": 0, "rate_level": 1, "floor_level": 2}
RENAMED = {"heat_delay": "heat_fast_time", "heat_memory": "heat_slow_time", "heat_fade": "heat_decay", "spread": "sd"}
"""Names in files of older versions, and what they are called now."""


def present_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same mapping, however deep, with the names of this version.

    >>> present_names({"heat_delay": {"centre": 0.003, "spread": 0.5}})
    {'heat_fast_time': {'centre': 0.003, 'sd': 0.5}}
    """
    return {RENAMED.get(name, name): present_names(one) if isinstance(one, Mapping) else one for name, one in fields.items()}


Family = Literal["normal", "lognormal", "fixed"]


@dataclass(frozen=True)
class Prior:
    """``normal`` with mean and standard deviation, ``lognormal`` with median and standard deviation of the log, ``fixed``."""

    family: Family
    centre: float
    sd: float

    def __post_init__(self) -> None:
        require_choice(self.family, "family", get_args(Family))
        if self.family == "fixed":
            return
        require_number(self.centre, "centre", low=0.0 if self.family == "lognormal" else -np.inf)
        require_number(self.sd, "sd", low=0.0)

    def standardised(self, values: Any, around: Any = 0.0) -> Any:
        """Values, of a log-normal their logarithms, in standard deviations from the centre; ``around`` shifts a normal.

        >>> float(lognormal(0.3, 0.5).standardised(0.3 * np.e))
        2.0
        """
        off = np.log(values / self.centre) if self.family == "lognormal" else values - around - self.centre
        return off / self.sd

    def draws(self, rng: np.random.Generator, many: int) -> np.ndarray:
        """Values drawn from it (draw)."""
        standard = rng.standard_normal(many)
        return self.centre * np.exp(self.sd * standard) if self.family == "lognormal" else self.centre + self.sd * standard

    def distribution(self, around: Any = 0.0) -> dist.Distribution:
        """The NumPyro distribution; ``around`` shifts a normal."""
        if self.family == "normal":
            return dist.Normal(around + self.centre, self.sd)
        return dist.LogNormal(jnp.log(self.centre), self.sd)


def _unflatten(family: Family, numbers: tuple[float, float]) -> Prior:
    """A prior whose numbers JAX may be tracing, which cannot be checked."""
    prior = object.__new__(Prior)
    for name, value in zip(("family", "centre", "sd"), (family, *numbers)):
        object.__setattr__(prior, name, value)
    return prior


jax.tree_util.register_pytree_node(Prior, lambda prior: ((prior.centre, prior.sd), prior.family), _unflatten)


def normal(mean: float, sd: float) -> Prior:
    """Normal prior.

    >>> normal(0.0, 0.3)
    Prior(family='normal', centre=0.0, sd=0.3)
    """
    return Prior("normal", mean, sd)


def lognormal(median: float, sd: float) -> Prior:
    """Log-normal prior with this median, and standard deviation ``sd`` of the logarithm.

    >>> lognormal(0.3, 0.2)
    Prior(family='lognormal', centre=0.3, sd=0.2)
    """
    return Prior("lognormal", median, sd)


def fixed(value: float) -> Prior:
    """No prior: the parameter is this value.

    >>> fixed(0.5)
    Prior(family='fixed', centre=0.5, sd=0.0)
    """
    return Prior("fixed", value, 0.0)


AVERAGING = lognormal(0.8, 0.15)
"""Prior of ``averaging`` of a run with losses of averaged weights (docs/modelling.md, averaged weights)."""

OVERFITTING = lognormal(0.007, 0.8)
"""Prior of ``overfitting`` of a run that repeats its data: published runs of 7 and 14 epochs want .005, of 44 epochs .02."""


@jax.tree_util.register_dataclass
@shown_in_notebooks
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
        convergence: log progress since the origin past which gap and rate stand still; infinite if they never do.
        floor_level: floor at the origin, less its estimate.  [nats]
        floor_slope: its change per unit of log progress.  [nats]
        floor_curvature: exponent of the power law in progress that the floor follows; 0 is logarithmic.
        heat: learning-rate excess loss: floor at the peak rate above floor at rate zero, at the end of the schedule.  [nats]
        heat_power: exponent of the learning rate in the excess loss.
        heat_fast_time: relaxation time of the fast part of the excess loss, as a share of the schedule's progress.
        heat_slow_time: relaxation time of the slow part, as a share of the schedule's progress.
        heat_decay: exponent with which the excess loss of one learning rate falls in progress.
        averaging: what averaging the weights takes off the excess loss, as a multiple of what the relaxation times say.
        overfitting: what every epoch beyond the first adds to the floor.  [nats]
        drift_scale: departure from the laws per unit of log progress to the power 1.5.  [nats]
        noise_scale: noise of one checkpoint's mean loss.  [nats]
        gap_noise: noise of one checkpoint's log gap, beyond that of its positions.
        rate_noise: noise of one checkpoint's log rate, beyond that of its positions.

    >>> Priors(heat=lognormal(0.3, 0.2)).heat
    Prior(family='lognormal', centre=0.3, sd=0.2)
    """

    gap_level: Prior = normal(0.0, 1.0)
    gap_slope: Prior = normal(0.1, 0.3)
    gap_curvature: Prior = lognormal(0.7, 0.5)
    rate_level: Prior = normal(0.0, 1.0)
    rate_slope: Prior = normal(-0.2, 0.4)
    rate_curvature: Prior = lognormal(0.7, 0.5)
    convergence: Prior = fixed(np.inf)
    floor_level: Prior = normal(0.0, 0.5)
    floor_slope: Prior = normal(-0.3, 0.4)
    floor_curvature: Prior = lognormal(0.3, 0.8)
    heat: Prior = lognormal(0.34, 0.4)
    heat_power: Prior = lognormal(0.7, 0.3)
    heat_fast_time: Prior = lognormal(0.003, 0.7)
    heat_slow_time: Prior = lognormal(0.03, 0.8)
    heat_decay: Prior = normal(0.15, 0.15)
    averaging: Prior = fixed(1.0)
    overfitting: Prior = fixed(0.0)
    drift_scale: Prior = lognormal(0.08, 0.6)
    noise_scale: Prior = lognormal(0.003, 1.0)
    gap_noise: Prior = lognormal(0.02, 1.0)
    rate_noise: Prior = lognormal(0.03, 1.0)

    def _facts(self) -> Facts:
        priors = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: f"{prior.family}, centre {prior.centre:.4g}, sd {prior.sd:.3g}" for name, prior in priors.items()}

    def to_json(self) -> str:
        """The priors as JSON text."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Priors:
        """Priors from the text that ``to_json`` wrote."""
        return cls.from_dict(json.loads(text))

    def to_dict(self) -> dict[str, Any]:
        """The priors as a family and two numbers by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Priors:
        """Priors from what ``to_dict`` gave, in this version or an older one."""
        return cls(**{name: Prior(**one) for name, one in present_names(fields).items()})

    def widened(self, factor: float) -> Priors:
        """The same with every standard deviation ``factor`` times as large."""
        require_number(factor, "factor", low=0.0, cure="2 doubles every spread.")
        priors = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Priors(**{name: replace(prior, sd=factor * prior.sd) for name, prior in priors.items()})

    def fixed(self) -> dict[str, float]:
        """Parameters that are not sampled, and their values."""
        priors = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: prior.centre for name, prior in priors.items() if prior.family == "fixed"}

    def typical(self, name: str, centre: np.ndarray) -> float:
        """Median of the parameter ``name``; levels lie around ``centre`` (3)."""
        return getattr(self, name).centre + float(_around(name, centre))

    def distribution(self, name: str, centre: np.ndarray) -> dist.Distribution:
        """NumPyro distribution of the parameter ``name``; levels lie around ``centre`` (3)."""
        return getattr(self, name).distribution(_around(name, centre))

    def standardised(self, name: str, values: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """Values of the parameter ``name`` in standard deviations of its prior; levels lie around ``centre`` (3)."""
        return getattr(self, name).standardised(values, _around(name, centre))


def _around(name: str, centre: np.ndarray) -> Any:
    """Where the prior of a parameter lies around, beside its own centre."""
    return centre[LEVELS[name]] if name in LEVELS else 0.0


class Law(NamedTuple):
    """One reading of the temporal scaling law: parameters that differ from the general one, and the position exponent.

    Attributes:
        priors: of the parameters that differ.
        exponent: of ``1 + rate * position``; None if it is estimated with the coefficients.
    """

    priors: Mapping[str, Prior]
    exponent: float | None


LAWS = {
    "general": Law({}, 1.0),
    "free-exponent": Law({}, None),
    "paper": Law(
        {
            "gap_curvature": fixed(0.0),
            "rate_curvature": fixed(1.0),
            "convergence": normal(0.5, 1.0),
            "heat_power": fixed(1.0),
            "heat_fast_time": fixed(1e-3),
            "heat_slow_time": fixed(1e-3),
            "heat_decay": fixed(0.0),
        },
        1.0,
    ),
}
"""Laws to choose from.

*general*: every coefficient anywhere between logarithmic and hyperbolic. *free-exponent*: the same, over positions to a power
of their own. *paper*: our reading of Xiong et al. (arXiv 2404.17785), gap logarithmic and rate hyperbolic until they
converge and stand still, and a floor that follows the learning rate at once.
"""


@dataclass(frozen=True)
class LearnedPriors:
    """Priors that finished runs of several families taught; ``fit(..., priors=family(name))`` uses those of one family.

    Attributes:
        family: of the run; None for a new one, whose priors are as wide as families differ.
        levels: the three levels, as ``learned`` has them.
    """

    family: str | None = None
    levels: Mapping[str, Any] = field(default_factory=learned, repr=False, compare=False)

    def priors(self, schedule: Schedule, *, origin: float, recipe: Recipe | None = None) -> Priors:
        """Priors of one run.

        Args:
            schedule: its planned learning rate.
            origin: last step used to fit: the earlier it lies, the larger the drift.
            recipe: what else is known of it.
        """
        if not schedule.known:
            return Priors()
        recipe = recipe or Recipe()
        whole, past = (run_covariates(schedule, step, recipe) for step in (schedule.last_step(origin), origin))
        made = predictive(self.levels, whole, self.family)
        mean, sd = predictive(self.levels, past, self.family)["drift_scale"]
        made["drift_scale"] = mean + np.log1p((EARLY / past.get("progress", np.inf)) ** 2), sd
        repeated = {"overfitting": OVERFITTING} if schedule.first_epoch < schedule.last_step(origin) else {}
        return Priors(**{name: _prior(name, *moments) for name, moments in made.items()}, **repeated)

    def notices(self, schedule: Schedule, *, origin: float, recipe: Recipe) -> tuple[str, ...]:
        """Where a run lies beyond all that priors were learned from, and what was not used."""
        if not schedule.known:
            return ()
        unused = f"Priors were learned from AdamW: the learning rate of {recipe.optimizer} is not compared, and they are wider."
        return (
            *(() if recipe.uses_adam else (unused,)),
            *beyond(self.levels, run_covariates(schedule, schedule.last_step(origin), recipe)),
        )


def _prior(name: str, mean: float, sd: float) -> Prior:
    return Prior("normal", mean, sd) if name in LINEAR else Prior("lognormal", float(np.exp(mean)), sd)


def run_covariates(schedule: Schedule, step: float, recipe: Recipe) -> dict[str, float]:
    """Covariates that are known of a run up to a step: peak learning rate, batch_tokens, parameters, progress."""
    progress = float(schedule.progress(step))
    in_tokens = progress > MOST_STEPS
    steps = progress / (recipe.batch_tokens or np.nan) if in_tokens else progress
    known = {
        "peak": schedule.peak if recipe.uses_adam and ABSOLUTE[0] <= schedule.peak <= ABSOLUTE[1] else None,
        "batch_tokens": recipe.batch_tokens,
        "parameters": recipe.parameters,
        "progress": steps,
    }
    return {name: float(value) for name, value in known.items() if value is not None and np.isfinite(value)}


def family(name: str) -> LearnedPriors:
    """Priors of a family of runs that is bundled, for another run of its kind.

    Raises:
        DataError: there is no such family; those that are there are listed.

    >>> family("lr_scheduling")
    LearnedPriors(family='lr_scheduling')
    """
    require_choice(name, "family", learned()["families"], cure="Leave it out for a run of another kind.")
    return LearnedPriors(name)


def default_priors(schedule: Schedule | str, *, origin: float, recipe: Recipe | None = None) -> Priors:
    """Priors of a run of a new family: what finished runs of other families taught, at its covariates.

    Those are peak learning rate, tokens a step, parameters and length; ``recipe`` has what the schedule does not. What is not
    known is integrated over, so that priors are wider. Where the schedule is unknown they are ``Priors()``.

    >>> from bayes_tsl.data import schedules
    >>> plan = schedules.cosine(peak=1e-3, total=20_000)
    >>> alone = default_priors(plan, origin=5000)
    >>> informed = default_priors(plan, origin=5000, recipe=Recipe(((0.0, 1e5),), parameters=1.2e8))
    >>> informed.heat.sd < alone.heat.sd
    True
    """
    return LearnedPriors().priors(as_schedule(schedule), origin=origin, recipe=recipe)
