"""``fit``: from losses to a posterior, checked and frozen.

A ``Fit`` is an xarray tree in the ArviZ schema and nothing else: all that a forecast needs is in it, so a saved fit forecasts
years later what it would have forecast at once. That of several runs holds one such tree per run, draw for draw from one
posterior, and what the runs have in common.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._checks import require, require_choice
from bayes_tsl._files import whole_file
from bayes_tsl._types import CHAIN, DRAW, DRAWS, POSITION, STEP
from bayes_tsl.conditioning import draw_coefficients
from bayes_tsl.data import LossTable, require_losses
from bayes_tsl.design import Clock, Design, make_designs, make_path, mean_shape, padded
from bayes_tsl.diagnostics import Diagnostics, diagnose
from bayes_tsl.errors import ConvergenceError, DataError, Notice
from bayes_tsl.families import make_family, reference
from bayes_tsl.laws import ORDER
from bayes_tsl.model import latent_coefficients, model, parameters, unreduced_model
from bayes_tsl.populations import Population, Trait, base_of
from bayes_tsl.priors import LAWS, Priors
from bayes_tsl.runs import covariates_of, plans_of, priors_of
from bayes_tsl.sampling import NUM_WARMUP, TARGET_ACCEPT, Draws, Settings, over_draws, sample
from bayes_tsl.schedules import Schedule, require_schedule
from bayes_tsl.summaries import Summary, effect_basis, mean_falling, summarise_means
from bayes_tsl.together import sample_family

SCHEMA = "bayes_tsl fit 3"  # 2: the heat has a delay; 3: and fades; laws to choose from
_PACKAGES = ("bayes_tsl", "numpyro", "jax", "jaxlib", "numpy", "xarray", "arviz")
_OF_RUN = "run_"  # group of each run's tree, with its number: names may hold a slash
_ESTIMATES = ("log_gap", "log_rate", "mean")


@dataclass(frozen=True, eq=False)
class Fit:
    """Posterior of one run on one test set, or of several together.

    Attributes:
        data: groups posterior, sample_stats, observed_data and constant_data in the ArviZ schema. Dims are chain, draw,
            step and position; ``arviz.from_netcdf`` reads a saved one. Of several runs: one such tree per run, and the group
            population.
    """

    data: xr.DataTree

    def __repr__(self) -> str:
        if len(self.runs) > 1:
            return f"Fit(runs={self.runs}, test_set={self.test_set!r}, {self.diagnostics.verdict})"
        of = f"run={self.run!r}, test_set={self.test_set!r}, origin={self.origin:.10g}, schedule={self.schedule.text!r}"
        return f"Fit({of}, {self.diagnostics.verdict})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fit) and self.data.identical(other.data)

    @property
    def runs(self) -> list[str]:
        """Names of the runs, in the order in which they were given."""
        return json.loads(self.data.attrs["runs"]) if "runs" in self.data.attrs else [str(self.data.attrs["run"])]

    def select(self, *, run: str) -> Fit:
        """The fit of one of the runs, as the others have informed it.

        Raises:
            DataError: there is no such run.
        """
        require_choice(run, "run", self.runs, cure="Choose one of these.")
        return self if len(self.runs) == 1 else Fit(self.data.children[f"{_OF_RUN}{self.runs.index(run)}"])

    @property
    def run(self) -> str:
        """Name of the run."""
        return str(self._alone.attrs["run"])

    @property
    def test_set(self) -> str:
        """Name of the test set."""
        return str(self.data.attrs["test_set"])

    @property
    def origin(self) -> float:
        """Last step used to fit."""
        return float(self._alone.attrs["origin"])

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about this fit, in words."""
        return tuple(json.loads(self.data.attrs["notices"]))

    @property
    def priors(self) -> Priors:
        """Priors it was made with."""
        return Priors.from_json(self._alone.attrs["priors"])

    @property
    def clock(self) -> Clock:
        """Anchor of its time axis."""
        return Clock(self.origin, float(self._alone.attrs["memory_unit"]))

    @property
    def schedule(self) -> Schedule:
        """Learning-rate schedule it was made with."""
        knots, attrs = self._alone["constant_data"], self._alone.attrs
        return Schedule(
            text=str(attrs["schedule"]),
            steps=knots["schedule_step"].to_numpy(),
            lrs=knots["schedule_lr"].to_numpy(),
            peak=float(attrs["schedule_peak"]),
            end=float(attrs["schedule_end"]),
            known=bool(attrs["schedule_known"]),
        )

    @property
    def law(self) -> str:
        """Name of the law, one of ``priors.LAWS``."""
        return str(self.data.attrs["law"])

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """R-hat, effective sample sizes, divergences and BFMI."""
        return diagnose(self.data)

    @property
    def converged(self) -> bool:
        """Whether the chains agreed and said enough."""
        return self.diagnostics.converged

    def coefficients(self) -> xr.Dataset:
        """Draws of gap, rate and floor at each fitted checkpoint (chain, draw, step); floor alone without positions."""
        posterior = self._alone["posterior"].to_dataset()
        return posterior[[name for name in ("gap", "rate", "floor") if name in posterior]]

    def population(self) -> Population:
        """What the runs have in common: priors for another run of their kind.

        Raises:
            DataError: the fit is of a single run.
        """
        cure = "Fit several with fit(losses, schedules={run: schedule})."
        require(len(self.runs) > 1, "fit", "be of several runs", self.runs, cure=cure)
        drawn, attrs = self.data["population"].to_dataset(), self.data.attrs
        unit, mean = drawn["unit"].to_numpy(), drawn["trait_mean"]
        shift = unit * mean.mean(DRAWS).to_numpy()
        spread = unit * np.sqrt(mean.var(DRAWS).to_numpy() + (drawn["trait_spread"] ** 2).mean(DRAWS).to_numpy())
        covariates = json.loads(drawn.attrs["covariates"])
        effect = unit * drawn["trait_effect"].mean(DRAWS).to_numpy() if covariates else np.zeros((0, len(unit)))
        return Population(
            traits={
                str(name): Trait(float(shift[i]), float(spread[i]), dict(zip(covariates, map(float, effect[:, i]))))
                for i, name in enumerate(drawn["trait"].to_numpy())
            },
            covariates={name: (float(centre), float(scale)) for name, (centre, scale) in covariates.items()},
            progress=float(drawn.attrs["progress"]),
            base=json.loads(drawn.attrs["base"]),
            source={name: attrs[name] for name in ("test_set", "law", "created_at")}
            | {"runs": self.runs, "versions": json.loads(attrs["versions"])},
        )

    @property
    def _alone(self) -> xr.DataTree:
        """The tree of the only run."""
        require(len(self.runs) == 1, "fit", "be of a single run", self.runs, cure="Choose one with fit.select(run=...).")
        return self.data

    def save(self, path: str | Path) -> None:
        """Write the fit to a NetCDF file, whole or not at all."""
        with whole_file(path) as beside:
            self.data.to_netcdf(beside, engine="h5netcdf")


def load_fit(path: str | Path) -> Fit:
    """The fit that ``Fit.save`` wrote.

    Raises:
        DataError: there is no such file, or it is no fit of this package.
    """
    path = Path(path)
    require(path.is_file(), "fit", "be a file", str(path), cure="Check the path.")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            data = tree.load()
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path.name} must be a NetCDF file; got {reason}. Save it again with Fit.save.") from None
    schema = data.attrs.get("schema", "another kind of file")
    require(schema == SCHEMA, path.name, f"hold a {SCHEMA!r}", schema, cure="Save it again with Fit.save.")
    return Fit(data)


def fit(
    losses: LossTable,
    *,
    schedule: Schedule | None = None,
    schedules: Mapping[str, Schedule] | None = None,
    runs: pd.DataFrame | None = None,
    covariates: Sequence[str] = (),
    priors: Priors | Population | None = None,
    law: str = "general",
    seed: int = 0,
    chains: int = 4,
    num_warmup: int = NUM_WARMUP,
    num_draws: int = 1000,
    target_accept: float = TARGET_ACCEPT,
    reduce_positions: bool = True,
    progress: bool = True,
    throw: bool = True,
) -> Fit:
    """Posterior of the temporal scaling law of one run on one test set, or of several runs together, by NUTS.

    Several runs, finished or not, are a population: each learns from the others what they have in common, and position
    effects belong to the test set.

    Args:
        losses: one test set, up to the origin of each run; ``losses.before(step)`` cuts a table.
        schedule: planned learning rate of the whole run. Without one it is treated as constant, and every output says so.
        schedules: that of every run by name, to fit several together.
        runs: a table of what is known of each run, with a column ``run``.
        covariates: columns of ``runs`` that the population mean of every parameter follows, linearly, e.g. log parameters.
        priors: by default ``priors.default_priors``: wide for a short run, those of a population of public runs for a long one.
            A ``Population``, of ``Fit.population`` or ``load_population``, makes the priors of a run of its family.
        law: one of ``priors.LAWS``: "general", "free-exponent" or "paper" (of a single run).
        seed: the same seed gives the same draws on the same machine.
        chains: number of chains, at least 2.
        num_warmup: adaptation, per chain.
        num_draws: draws kept, per chain.
        target_accept: acceptance that the step size aims at; raise it if trajectories diverge.
        reduce_positions: reduce the positions of a checkpoint to its coefficients first; if not, every loss at every
            position is in the likelihood and every coefficient is sampled, at many times the cost (of a single run).
        progress: show a bar on stderr.
        throw: raise if the chains did not converge; else the fit says so itself (``fit.converged``).

    Raises:
        DataError: losses, schedule or covariates cannot be used.
        ConvergenceError: carrying ``.diagnostics``, unless ``throw`` is False.
    """
    require_losses(losses)
    settings = Settings(
        seed=seed, chains=chains, num_warmup=num_warmup, num_draws=num_draws, target_accept=target_accept, progress=progress
    )
    require_choice(law, "law", LAWS, cure="Choose one of these.")
    plans = _plans(losses, schedule, schedules)
    known = covariates_of(list(plans), covariates, runs)
    designs, notices = make_designs(losses, plans, exponent=LAWS[law].exponent)
    origins = [design.clock.origin for design in designs]
    each = [replace(own, **LAWS[law].priors) for own in priors_of(plans, origins, priors, runs)]
    named = {"test_set": losses.test_sets[0], "law": law, "notices": json.dumps(notices)}
    if len(plans) == 1:
        data = _sampled(designs[0], each[0], next(iter(plans.values())), settings, reduce=reduce_positions)
        data.attrs |= {"run": losses.runs[0], **named}
    else:
        cure = "Fit one run with losses.select(run=...)."
        require(law != "paper", "law", "be general or free-exponent", law, where="for several runs", cure=cure)
        require(reduce_positions, "reduce_positions", "be True", False, where="for several runs", cure=cure)
        base = base_of(priors if isinstance(priors, Priors) else None)
        data = _sampled_together(designs, each, plans, known, base, named, settings)
    result = Fit(data)
    problems = result.diagnostics.problems
    if problems and throw:
        raise ConvergenceError(f"{' '.join(problems)} Or pass throw=False to inspect the fit.", result.diagnostics)
    for notice in (*notices[len(losses.notices) :], *problems):
        warnings.warn(notice, Notice, stacklevel=2)
    return result


def _plans(losses: LossTable, schedule: Schedule | None, schedules: Mapping[str, Schedule] | None) -> dict[str, Schedule]:
    """The plan of every run; several are fitted together where each has its own by name."""
    require_schedule(schedule)
    if schedules is None:
        cure = "Choose one with losses.select(run=...), or fit them together with schedules={run: schedule}."
        require(len(losses.runs) == 1, "losses", "hold a single run", losses.runs, cure=cure)
        return plans_of(losses, schedule)
    require(schedule is None, "one of schedule and schedules", "be given", "both", cure="Name every run in schedules.")
    kind, cure = type(schedules).__name__, "Give {run: schedule}."
    require(isinstance(schedules, Mapping), "schedules", "be a mapping", kind, cure=cure)
    return plans_of(losses, schedules)


def refit(fit: Fit, priors: Priors, *, progress: bool = False) -> Fit:
    """The same losses under other priors, with as many chains and draws; it says itself whether it converged."""
    drawn, seed = fit.data["posterior"].sizes, int(fit.data.attrs["seed"])
    settings = Settings(seed=seed, chains=drawn[CHAIN], num_draws=drawn[DRAW], progress=progress)
    data = _sampled(design_of(fit), priors, fit.schedule, settings, reduce=True)
    data.attrs = fit.data.attrs | data.attrs
    return Fit(data)


def _sampled(design: Design, priors: Priors, schedule: Schedule, settings: Settings, *, reduce: bool) -> xr.DataTree:
    """The tree of a fit, but for what only the losses know."""
    draw = _draw_reduced if reduce or not design.by_position else _draw_unreduced
    with jax.enable_x64(True):
        draws, coefficients = draw(design, priors, settings)
    return _tree(design, priors, schedule, draws, coefficients, settings.seed)


def _sampled_together(
    designs: list[Design],
    priors: list[Priors],
    plans: Mapping[str, Schedule],
    known: pd.DataFrame,
    base: dict[str, Any],
    named: dict[str, Any],
    settings: Settings,
) -> xr.DataTree:
    """The tree of a fit of several runs: one of each, and the population."""
    family, seed = make_family(designs, priors, known.to_numpy(float)), settings.seed
    with jax.enable_x64(True):
        drawn, population = sample_family(family, **asdict(settings))
        trees = {}
        for number, (run, design, own, draws) in enumerate(zip(plans, designs, priors, drawn)):
            wide = padded(design, to=family.design.step.shape[1])
            kept, coefficients = _with_coefficients(draws, wide, own, len(design.step), seed=seed + number)
            tree = _tree(design, own, plans[run], kept, coefficients, seed)
            tree.attrs |= {"run": run, **named}
            trees[f"{_OF_RUN}{number}"] = tree
    dims = {"trait_mean": ("trait",), "trait_spread": ("trait",), "trait_effect": ("covariate", "trait")}
    traits = {name: ((*DRAWS, *dims[name]), values, {"sampled": 1}) for name, values in population.sites.items()}
    shared = _dataset(traits | {"unit": ("trait", family.unit)}, designs[0]).assign_coords(trait=family.traits)
    shared = shared.assign_coords(covariate=list(known.columns)) if len(known.columns) else shared
    scales = {name: [float(np.mean(known[name])), float(np.std(known[name]))] for name in known.columns}
    shared.attrs = {"progress": float(np.exp(reference(designs))), "covariates": json.dumps(scales), "base": json.dumps(base)}
    data = xr.DataTree(children={"population": xr.DataTree(shared), **trees})
    data.attrs = {**_origin_of_file(seed), "runs": json.dumps(list(plans)), **named}
    return data


def _tree(
    design: Design, priors: Priors, schedule: Schedule, draws: Draws, coefficients: dict[str, np.ndarray], seed: int
) -> xr.DataTree:
    data = xr.DataTree.from_dict(
        {
            "posterior": _posterior(draws, coefficients, design),
            "sample_stats": _dataset({name: (DRAWS, values) for name, values in draws.stats.items()}, design),
            "observed_data": _observed(design),
            "constant_data": _constants(design, schedule),
        }
    )
    data.attrs = _attributes(schedule, priors, design, seed)
    return data


def design_of(fit: Fit) -> Design:
    """What a fit conditioned on, without the losses at single positions."""
    seen, constants = fit.data["observed_data"].to_dataset(), fit.data["constant_data"].to_dataset()
    step, mean_loss, mean_estimate = (seen[name].to_numpy() for name in (STEP, "mean_loss", "mean_estimate"))
    summary, position = summarise_means(mean_estimate), np.array([])
    if POSITION in constants.dims:
        position = constants[POSITION].to_numpy()
        coefficients = np.stack([seen[f"{name}_estimate"].to_numpy() for name in _ESTIMATES], axis=1)
        summary = Summary(
            coefficients,
            covariance=constants["estimate_covariance"].to_numpy(),
            effect=constants["effect"].to_numpy(),
            effect_scale=constants["effect_scale"].to_numpy(),
            noise=float(constants["position_noise"]),
            exponent=float(constants["position_exponent"]),
            log_density=constants["position_log_density"].to_numpy(),
        )
    last = [float(seen[name][-1]) for name in ("log_gap_estimate", "log_rate_estimate") if name in seen] or [0.0, 0.0]
    return Design(
        step=step,
        count=constants["count"].to_numpy(),
        path=make_path(np.append(step, fit.origin), fit.schedule, fit.clock),
        summary=summary,
        shape=mean_shape(position, summary.exponent) if len(position) else np.zeros(ORDER),
        centre=np.array([*last, float(seen["floor_estimate"][-1])]),
        clock=fit.clock,
        position=position,
        losses=np.zeros((len(step), 0)),
        mean_loss=mean_loss,
    )


def _draw_reduced(design: Design, priors: Priors, settings: Settings) -> tuple[Draws, dict[str, np.ndarray]]:
    """Globals and weights by NUTS, coefficients put back."""
    seen = padded(design)
    draws = sample(model, seen, priors, start=_start(seen, priors), dense=parameters(seen, priors), **asdict(settings))
    return _with_coefficients(draws, seen, priors, len(design.step), seed=settings.seed)


def _with_coefficients(
    draws: Draws, seen: Design, priors: Priors, steps: int, *, seed: int
) -> tuple[Draws, dict[str, np.ndarray]]:
    """Draws and the coefficients given them, without the steps that were padded."""
    shape = next(iter(draws.stats.values())).shape
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), shape)
    named = over_draws(draw_coefficients, (seen, priors.fixed()), draws.sites, keys)._asdict()
    kept = {name: named[name][..., :steps] for name in (named if seen.by_position else ("floor", "drift"))}
    return draws._replace(sites=draws.sites | {"weight": draws.sites["weight"][..., :steps]}), kept


def _draw_unreduced(design: Design, priors: Priors, settings: Settings) -> tuple[Draws, dict[str, np.ndarray]]:
    """Globals, weights, every coefficient and the position effects by NUTS."""
    basis = effect_basis(design.centre, design.position, design.summary.exponent)
    departures = {f"{name}_departure": np.zeros(len(design.step)) for name in ("gap", "rate", "mean")}
    start = _start(design, priors) | departures | {"effect_along": np.zeros(basis.shape[1])}
    dense = parameters(design, priors)
    draws = sample(unreduced_model, design, priors, basis, start=start, dense=dense, **asdict(settings))
    latent = over_draws(latent_coefficients, (design, priors.fixed()), draws.sites)
    return draws, {"gap": np.exp(latent.log_gap), "rate": np.exp(latent.log_rate), "floor": latent.floor}


def _start(design: Design, priors: Priors) -> dict[str, Any]:
    """Where the search for the mode begins: medians of the priors, and no outlier."""
    typical = {name: priors.typical(name, design.centre) for name in parameters(design, priors)}
    return typical | {"weight": np.ones(len(design.step))}


def _dataset(variables: dict[str, Any], design: Design) -> xr.Dataset:
    """Dataset with the coordinates that its dims ask for."""
    data = xr.Dataset(variables)
    known = {STEP: design.step, POSITION: design.position, "estimate": list(_ESTIMATES)}
    counts = {name: np.arange(size) for name, size in data.sizes.items() if name in (CHAIN, DRAW)}
    return data.assign_coords({name: values for name, values in known.items() if name in data.dims} | counts)


def _posterior(draws: Draws, coefficients: dict[str, np.ndarray], design: Design) -> xr.Dataset:
    def axes(name: str, values: np.ndarray) -> tuple[str, ...]:
        return (*DRAWS, "direction" if name == "effect_along" else STEP)[: values.ndim]

    sampled = {name: (axes(name, values), values, {"sampled": 1}) for name, values in draws.sites.items()}
    return _dataset(sampled | {name: (axes(name, values), values) for name, values in coefficients.items()}, design)


def _observed(design: Design) -> xr.Dataset:
    columns = dict(zip(_ESTIMATES, design.summary.coefficients.T))
    floor = columns["mean"]
    if design.by_position:
        gap, rate = np.exp(columns["log_gap"]), np.exp(columns["log_rate"])
        floor = floor - gap * mean_falling(rate, design.position, design.summary.exponent)
    shown = (columns if design.by_position else {"mean": columns["mean"]}) | {"floor": floor}
    estimates = {f"{name}_estimate": (STEP, values) for name, values in shown.items()}
    return _dataset({"mean_loss": (STEP, design.mean_loss)} | estimates, design)


def _constants(design: Design, schedule: Schedule) -> xr.Dataset:
    summary = design.summary
    variables: dict[str, Any] = {
        "count": (STEP, design.count),
        "schedule_step": ("knot", schedule.steps),
        "schedule_lr": ("knot", schedule.lrs),
    }
    if design.by_position:
        variables |= {
            "effect": (POSITION, summary.effect),
            "effect_scale": (POSITION, summary.effect_scale),
            "position_noise": ((), summary.noise),
            "position_exponent": ((), summary.exponent),
            "position_log_density": (STEP, summary.log_density),
            "estimate_covariance": ((STEP, "estimate", "estimate_"), summary.covariance),
        }
    return _dataset(variables, design)


def _attributes(schedule: Schedule, priors: Priors, design: Design, seed: int) -> dict[str, Any]:
    return {
        **_origin_of_file(seed),
        "origin": design.clock.origin,
        "memory_unit": design.clock.memory_unit,
        "schedule": schedule.text,
        "schedule_peak": schedule.peak,
        "schedule_end": schedule.end,
        "schedule_known": int(schedule.known),
        "priors": priors.to_json(),
    }


def _origin_of_file(seed: int) -> dict[str, Any]:
    """What made a tree, and when."""
    return {
        "schema": SCHEMA,
        "seed": seed,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "inference_library": "numpyro",
        "inference_library_version": version("numpyro"),
        "versions": json.dumps({name: version(name) for name in _PACKAGES}),
    }
