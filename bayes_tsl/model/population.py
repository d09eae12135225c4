"""What a family of runs was found to have in common, kept as text: priors for the next run of its kind.

A population says of each parameter by how much a run of this family differs from the prior that any run of its schedule
would have (of the logarithm, where that prior is log-normal), how widely its runs spread around that, and what covariates
do. Slopes are those at one progress; a run's law carries them to its own origin.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bayes_tsl._common.display import Facts, counted, shown_in_notebooks
from bayes_tsl._common.files import whole_file
from bayes_tsl._common.parallel import one_line
from bayes_tsl._common.validation import file_path, require, require_choice, require_number, require_type
from bayes_tsl.data.recipe import Recipe
from bayes_tsl.data.schedules import Schedule, constant
from bayes_tsl.errors import DataError
from bayes_tsl.model.learned import learned
from bayes_tsl.model.lr_response import excess_loss, make_time_axis
from bayes_tsl.model.priors import ABSOLUTE, RENAMED, LearnedPriors, Prior, Priors, present_names
from bayes_tsl.model.time_axis import make_anchor

SCHEMA = "bayes_tsl population 1"
_CURE = "Save it again with Population.save."
_TRIAL = 10_000.0  # steps of a run whose priors are made once, to see that they can be
_DRAWS = 4000  # that carry the prior of a slope to another progress


@dataclass(frozen=True)
class Trait:
    """One parameter in a family of runs.

    Attributes:
        shift: mean of the parameter (of its logarithm, if positive) above the centre of the prior of any run.
        spread: standard deviation among runs, the doubt about the mean included.
        effects: what one standard deviation of each covariate adds.
    """

    shift: float
    spread: float
    effects: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_number(self.shift, "shift")
        require_number(self.spread, "spread", low=0.0)
        for name, effect in self.effects.items():
            require_number(effect, f"effect of {name!r}")


@shown_in_notebooks
@dataclass(frozen=True)
class Population:
    """What runs of one family have in common; ``fit(..., priors=population)`` uses it for another run.

    Attributes:
        traits: by the name of the parameter.
        covariates: mean and standard deviation of each covariate among the runs.
        progress: progress at which slopes are compared, in steps at peak learning rate.
        base: the priors that traits are counted from, as ``base_of`` writes them.
        source: where it comes from: runs, test_set, law, created_at, versions.

    Example::

        population = bt.fit(losses, schedules=schedules).population()  # several runs of a family
        population.save("population.json")
        fit = bt.fit(next_losses, schedule=schedule, priors=population)
    """

    traits: Mapping[str, Trait]
    covariates: Mapping[str, tuple[float, float]]
    progress: float
    base: Mapping[str, Any] = field(repr=False)
    source: Mapping[str, Any] = field(repr=False)

    def _facts(self) -> Facts:
        runs = counted(self.source["runs"]) if "runs" in self.source else "unknown"
        traits = {name: f"shift {trait.shift:+.3g}, spread {trait.spread:.3g}" for name, trait in self.traits.items()}
        return {"": "what runs have in common", "runs": runs, "covariates": counted(self.covariates), **traits}

    def __post_init__(self) -> None:
        for name, trait in self.traits.items():
            require_choice(name, "trait", Priors.__dataclass_fields__)
            require(set(trait.effects) == set(self.covariates), f"effects on {name!r}", "be of the covariates", trait.effects)
        for name, (centre, scale) in self.covariates.items():
            require_number(centre, f"centre of {name!r}")
            require_number(scale, f"scale of {name!r}", low=0.0)
        require_number(self.progress, "progress", low=0.0)
        require_type(self.source, "source", dict, cure="It says where the population comes from.")
        _base(self.base, constant(peak=1e-3, total=_TRIAL), _TRIAL, Recipe())

    def priors(
        self,
        schedule: Schedule,
        *,
        origin: float,
        covariates: Mapping[str, float] | None = None,
        recipe: Recipe | None = None,
    ) -> Priors:
        """Priors of a run of this family, seen until ``origin``.

        Args:
            schedule: its planned learning rate.
            origin: last step used to fit.
            recipe: what else is known of the run.
            covariates: one value for each covariate of the population.

        Raises:
            DataError: a covariate is missing, or no number.
        """
        given = dict(covariates or {})
        missing = [name for name in self.covariates if name not in given]
        cure = "Pass them with runs=, a table with a column run and one per covariate."
        require(not missing, "covariates", "have a value for each of the population's", missing, where="without one", cure=cure)
        for name in self.covariates:
            require_number(given[name], f"covariate {name!r}")
        place = {name: (given[name] - centre) / scale for name, (centre, scale) in self.covariates.items()}
        base = _base(self.base, schedule, origin, recipe or Recipe())
        made = {name: _shifted(getattr(base, name), trait, place) for name, trait in self.traits.items()}
        slopes = [name for name in self.traits if name.endswith("_slope")]
        return _carried(replace(base, **made), slopes, schedule, origin, self.progress)

    def save(self, path: str | Path) -> None:
        """Write the population as JSON with a checksum, whole or not at all."""
        fields = {"schema": SCHEMA, **asdict(self)}
        with whole_file(path) as beside:
            beside.write_text(json.dumps(fields | {"checksum": _checksum(fields)}, indent=2) + "\n", encoding="utf-8")


def load_population(path: str | Path) -> Population:
    """The population that ``Population.save`` wrote.

    Raises:
        DataError: there is no such file, it holds no population, or it was changed since.

    >>> from tempfile import TemporaryDirectory
    >>> known = Population({"heat": Trait(0.1, 0.2)}, {}, progress=1000.0, base=base_of(None), source={})
    >>> with TemporaryDirectory() as folder:
    ...     known.save(f"{folder}/family.json")
    ...     load_population(f"{folder}/family.json").traits["heat"].spread
    0.2
    """
    path = file_path(path)
    require(path.is_file(), "population", "be a file", str(path), cure="Check the path.")
    try:
        return _population(json.loads(path.read_bytes()))
    except Exception as error:  # whatever is missing, of another kind or no number
        reason = one_line(error).removesuffix(".")
        raise DataError(f"{path.name} must hold a population; got {reason}. {_CURE}") from None


def _population(read: Any) -> Population:
    """The population in what JSON made of a file; those of earlier versions have no checksum."""
    require(isinstance(read, dict), "content", "be an object", type(read).__name__)
    checksum = read.pop("checksum", None)
    good = checksum in (None, _checksum(read))
    require(good, "content", "have its checksum", "another", cure="Leave the checksum out where it was changed by hand.")
    require_choice(read.pop("schema", None), "schema", [SCHEMA])
    traits = {RENAMED.get(str(name), str(name)): Trait(**trait) for name, trait in read.pop("traits").items()}
    covariates = {name: (centre, scale) for name, (centre, scale) in read.pop("covariates").items()}
    return Population(traits, covariates, **read)


def _checksum(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def base_of(priors: Priors | None) -> dict[str, Any]:
    """Priors that traits are counted from, as text can hold them: those given, or the defaults as they are in this version.

    >>> sorted(base_of(None))
    ['levels']
    """
    return {"levels": learned()} if priors is None else {"priors": priors.to_dict()}


def _base(base: Mapping[str, Any], schedule: Schedule, origin: float, recipe: Recipe) -> Priors:
    if "priors" in base:
        return Priors.from_dict(base["priors"])
    if "levels" in base:
        return LearnedPriors(levels=base["levels"]).priors(schedule, origin=origin, recipe=recipe)
    return _by_length(Priors.from_dict(base["wide"]), present_names(base["known"]), schedule, origin)


def _by_length(wide: Priors, known: Mapping[str, Any], schedule: Schedule, origin: float) -> Priors:
    """Default priors as they were before they had three levels, of files that were saved then.

    From ``wide`` for a run of 2,500 steps they pass to those ``known`` of long runs, which follow peak and progress, at 7,000.
    """
    if not (schedule.known and ABSOLUTE[0] <= schedule.peak <= ABSOLUTE[1]):
        return wide
    last = schedule.last_step(origin)
    share = float(np.clip(np.log(last / 2500.0) / np.log(7000.0 / 2500.0), 0.0, 1.0))
    seen = {"peak": schedule.peak, "progress": float(schedule.progress(last))}
    at = {name: np.log(np.clip(seen[name], *known["seen"][name]) / known["unit"][name]) for name in seen}
    made = {}
    for name, one in known["parameters"].items():
        prior, shift = getattr(wide, name), sum(one[f"per_log_{covariate}"] * value for covariate, value in at.items())
        if prior.family == "normal":
            centre = (1.0 - share) * prior.centre + share * (one["centre"] + shift)
        else:
            centre = prior.centre ** (1.0 - share) * (one["centre"] * np.exp(shift)) ** share
        made[name] = Prior(prior.family, float(centre), (1.0 - share) * prior.sd + share * one["sd"])
    return replace(wide, **made)


def _shifted(prior: Prior, trait: Trait, place: Mapping[str, float]) -> Prior:
    shift = trait.shift + sum(effect * place[name] for name, effect in trait.effects.items())
    centre = prior.centre + shift if prior.family == "normal" else prior.centre * float(np.exp(shift))
    return Prior(prior.family, centre, trait.spread)


def _carried(priors: Priors, slopes: Sequence[str], schedule: Schedule, origin: float, progress: float) -> Priors:
    """Slopes at the origin, of priors in which these are at another progress; by draws, as normals."""
    rng = np.random.default_rng(0)
    offset = float(np.log(schedule.progress(origin) / progress))
    axis = make_time_axis([origin], schedule, make_anchor(schedule, origin))
    typical = {name: getattr(priors, name).centre for name in Priors.__dataclass_fields__}
    excess = float(excess_loss(axis, typical)[0]) / typical["heat"]

    def drawn(name: str) -> np.ndarray:
        return getattr(priors, name).draws(rng, _DRAWS)

    carried = {}
    for name in slopes:
        slope = drawn(name) * np.exp(-drawn(name.replace("slope", "curvature")) * offset)
        if name == "floor_slope":
            slope = slope - drawn("heat_decay") * drawn("heat") * excess
        carried[name] = Prior("normal", float(slope.mean()), float(slope.std()))
    return replace(priors, **carried)
