"""``Fit``: a posterior, checked and frozen, and the file that keeps it.

A ``Fit`` is an xarray tree in the ArviZ schema and nothing else: all that a forecast needs is in it, so a saved fit forecasts
years later what it would have forecast at once. That of several runs holds one such tree per run, draw for draw from one
posterior, and what the runs have in common.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._common.dims import CHAIN, DRAW, DRAWS, POSITION, STEP
from bayes_tsl._common.files import whole_file
from bayes_tsl._common.validation import require, require_choice
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.errors import DataError
from bayes_tsl.inference.diagnostics import Diagnostics, diagnose
from bayes_tsl.inference.nuts import Draws
from bayes_tsl.model.design import Clock, Design, make_path, mean_shape
from bayes_tsl.model.hierarchical import Family
from bayes_tsl.model.laws import ORDER
from bayes_tsl.model.population import Population, Trait
from bayes_tsl.model.position_law import Summary, mean_falling, summarise_means
from bayes_tsl.model.priors import Priors

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
        among = drawn["variance"] * (drawn["trait_spread"] ** 2).mean(DRAWS)
        spread = unit * np.sqrt((mean.var(DRAWS) + among).to_numpy())
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


def require_positions(fit: Fit) -> None:
    """Raise ``DataError`` unless a fit is of one run by position."""
    has = POSITION in fit._alone["constant_data"].dims
    require(has, "fit", "be of losses by position", "mean losses only", cure="Give losses by position.")


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


def run_tree(
    design: Design, priors: Priors, schedule: Schedule, draws: Draws, coefficients: dict[str, np.ndarray], *, seed: int
) -> xr.DataTree:
    """The tree of a fit of one run, but for what only its losses know; coefficients are drawn too (chain, draw, step)."""
    groups = {
        "posterior": _posterior(draws, coefficients),
        "sample_stats": {name: (DRAWS, values) for name, values in draws.stats.items()},
        "observed_data": _observed(design),
        "constant_data": _constants(design, schedule),
    }
    coords = {STEP: design.step, POSITION: design.position, "estimate": list(_ESTIMATES)}
    data = xr.DataTree.from_dict({name: _dataset(variables, coords) for name, variables in groups.items()})
    data.attrs = _attributes(schedule, priors, design, seed)
    return data


def family_tree(trees: Mapping[str, xr.DataTree], population: xr.Dataset, *, seed: int) -> xr.DataTree:
    """The tree of a fit of several runs, but for what only their losses know: that of each by name, and what they share."""
    each = {f"{_OF_RUN}{number}": tree for number, tree in enumerate(trees.values())}
    data = xr.DataTree(children={"population": xr.DataTree(population), **each})
    data.attrs = {**_origin_of_file(seed), "runs": json.dumps(list(trees))}
    return data


def population_dataset(
    drawn: Draws, *, family: Family, known: pd.DataFrame, progress: float, base: dict[str, Any]
) -> xr.Dataset:
    """What runs share, as ``Fit.population`` reads it (chain, draw, [covariate,] trait).

    Args:
        drawn: of the population.
        family: the runs.
        known: covariates (run, covariate).
        progress: at which slopes are compared, in steps at peak learning rate.
        base: the priors that traits are counted from.
    """
    dims = {"trait_mean": ("trait",), "trait_spread": ("trait",), "trait_effect": ("covariate", "trait")}
    sampled = {name: ((*DRAWS, *dims[name]), values, {"sampled": 1}) for name, values in drawn.sites.items()}
    scales = {"unit": ("trait", family.unit), "variance": ("trait", family.variance)}
    data = _dataset(sampled | scales, {"trait": family.traits, "covariate": list(known.columns)})
    scales = {name: [float(np.mean(known[name])), float(np.std(known[name]))] for name in known.columns}
    data.attrs = {"progress": progress, "covariates": json.dumps(scales), "base": json.dumps(base)}
    return data


def _posterior(draws: Draws, coefficients: dict[str, np.ndarray]) -> dict[str, Any]:
    def axes(name: str, values: np.ndarray) -> tuple[str, ...]:
        return (*DRAWS, "direction" if name == "effect_along" else STEP)[: values.ndim]

    sampled = {name: (axes(name, values), values, {"sampled": 1}) for name, values in draws.sites.items()}
    return sampled | {name: (axes(name, values), values) for name, values in coefficients.items()}


def _observed(design: Design) -> dict[str, Any]:
    columns = dict(zip(_ESTIMATES, design.summary.coefficients.T))
    floor = columns["mean"]
    if design.by_position:
        gap, rate = np.exp(columns["log_gap"]), np.exp(columns["log_rate"])
        floor = floor - gap * mean_falling(rate, design.position, design.summary.exponent)
    shown = (columns if design.by_position else {"mean": columns["mean"]}) | {"floor": floor}
    estimates = {f"{name}_estimate": (STEP, values) for name, values in shown.items()}
    return {"mean_loss": (STEP, design.mean_loss)} | estimates


def _constants(design: Design, schedule: Schedule) -> dict[str, Any]:
    known = {"count": (STEP, design.count), "schedule_step": ("knot", schedule.steps), "schedule_lr": ("knot", schedule.lrs)}
    if not design.by_position:
        return known
    summary = design.summary
    return known | {
        "effect": (POSITION, summary.effect),
        "effect_scale": (POSITION, summary.effect_scale),
        "position_noise": ((), summary.noise),
        "position_exponent": ((), summary.exponent),
        "position_log_density": (STEP, summary.log_density),
        "estimate_covariance": ((STEP, "estimate", "estimate_"), summary.covariance),
    }


def _dataset(variables: dict[str, Any], coords: Mapping[str, Any]) -> xr.Dataset:
    """Dataset with the coordinates that its dims ask for; chains and draws are counted."""
    data = xr.Dataset(variables)
    counts = {name: np.arange(size) for name, size in data.sizes.items() if name in (CHAIN, DRAW)}
    return data.assign_coords({name: values for name, values in coords.items() if name in data.dims} | counts)


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
