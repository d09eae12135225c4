"""``fit``: from losses to a posterior, checked and frozen.

A ``Fit`` is an xarray tree in the ArviZ schema and nothing else: all that a forecast needs is in it, so a saved fit forecasts
years later what it would have forecast at once.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from bayes_tsl import schedules
from bayes_tsl._checks import require, require_choice, require_number, require_seed
from bayes_tsl._files import whole_file
from bayes_tsl._types import CHAIN, DRAW, DRAWS, POSITION, STEP
from bayes_tsl.conditioning import draw_coefficients
from bayes_tsl.data import LossTable, require_losses
from bayes_tsl.design import Clock, Design, make_design, make_path, mean_shape, padded
from bayes_tsl.diagnostics import Diagnostics, diagnose
from bayes_tsl.errors import ConvergenceError, DataError, Notice
from bayes_tsl.laws import ORDER
from bayes_tsl.model import latent_coefficients, model, parameters, unreduced_model
from bayes_tsl.priors import LAWS, Priors, default_priors
from bayes_tsl.sampling import Draws, over_draws, sample
from bayes_tsl.schedules import Schedule
from bayes_tsl.summaries import Summary, effect_basis, mean_falling, summarise_means

SCHEMA = "bayes_tsl fit 3"  # 2: the heat has a delay; 3: and fades; laws to choose from
TARGET_ACCEPT = 0.98  # at .95 one fit in ten has a divergence, at .98 hardly any (docs/benchmarks.md, cost)
_PACKAGES = ("bayes_tsl", "numpyro", "jax", "jaxlib", "numpy", "xarray", "arviz")
_ESTIMATES = ("log_gap", "log_rate", "mean")


@dataclass(frozen=True, eq=False)
class Fit:
    """Posterior of one run on one test set.

    Attributes:
        data: groups posterior, sample_stats, observed_data and constant_data in the ArviZ schema. Dims are chain, draw,
            step and position; ``arviz.from_netcdf`` reads a saved one.
    """

    data: xr.DataTree

    def __repr__(self) -> str:
        of = f"run={self.run!r}, test_set={self.test_set!r}, origin={self.origin:.10g}, schedule={self.schedule.text!r}"
        return f"Fit({of}, {self.diagnostics.verdict})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fit) and self.data.identical(other.data)

    @property
    def run(self) -> str:
        """Name of the run."""
        return str(self.data.attrs["run"])

    @property
    def test_set(self) -> str:
        """Name of the test set."""
        return str(self.data.attrs["test_set"])

    @property
    def origin(self) -> float:
        """Last step used to fit."""
        return float(self.data.attrs["origin"])

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about this fit, in words."""
        return tuple(json.loads(self.data.attrs["notices"]))

    @property
    def priors(self) -> Priors:
        """Priors it was made with."""
        return Priors.from_json(self.data.attrs["priors"])

    @property
    def clock(self) -> Clock:
        """Anchor of its time axis."""
        return Clock(self.origin, float(self.data.attrs["memory_unit"]))

    @property
    def schedule(self) -> Schedule:
        """Learning-rate schedule it was made with."""
        knots, attrs = self.data["constant_data"], self.data.attrs
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
        posterior = self.data["posterior"].to_dataset()
        return posterior[[name for name in ("gap", "rate", "floor") if name in posterior]]

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
    priors: Priors | None = None,
    law: str = "general",
    seed: int = 0,
    chains: int = 4,
    num_warmup: int = 500,
    num_draws: int = 1000,
    target_accept: float = TARGET_ACCEPT,
    reduce_positions: bool = True,
    progress: bool = True,
    throw: bool = True,
) -> Fit:
    """Posterior of the temporal scaling law of one run on one test set, by NUTS.

    Args:
        losses: one run, one test set, up to the origin; ``losses.before(step)`` cuts a table.
        schedule: planned learning rate of the whole run. Without one it is treated as constant, and every output says so.
        priors: by default ``priors.default_priors``: wide for a short run, those of a population of public runs for a long one.
        law: one of ``priors.LAWS``: "general", "free-exponent" or "paper".
        seed: the same seed gives the same draws on the same machine.
        chains: number of chains, at least 2.
        num_warmup: adaptation, per chain.
        num_draws: draws kept, per chain.
        target_accept: acceptance that the step size aims at; raise it if trajectories diverge.
        reduce_positions: reduce the positions of a checkpoint to its coefficients first; if not, every loss at every
            position is in the likelihood and every coefficient is sampled, at many times the cost.
        progress: show a bar on stderr.
        throw: raise if the chains did not converge; else the fit says so itself (``fit.converged``).

    Raises:
        DataError: losses or schedule cannot be used.
        ConvergenceError: carrying ``.diagnostics``, unless ``throw`` is False.
    """
    require_losses(losses)
    schedules.require_schedule(schedule)
    require_seed(seed)
    require(chains >= 2, "chains", "be 2 or more", chains, cure="R-hat compares chains; 4 are usual.")
    counts = [num_warmup, num_draws]
    require(min(counts) >= 10, "num_warmup and num_draws", "be 10 or more", counts, cure="500 and 1000 are usual.")
    require_number(target_accept, "target_accept", low=0.0, high=1.0, cure="0.98 is usual, 0.99 is safer.")
    require_choice(law, "law", LAWS, cure="Choose one of these.")
    schedule = schedule or schedules.unknown()
    design, notices = make_design(losses, schedule, exponent=LAWS[law].exponent)
    priors = replace(priors or default_priors(schedule, origin=design.clock.origin), **LAWS[law].priors)
    settings = {"chains": chains, "num_warmup": num_warmup, "num_draws": num_draws, "target_accept": target_accept}
    data = _sampled(design, priors, schedule, reduce=reduce_positions, seed=seed, progress=progress, **settings)
    data.attrs |= {
        "run": losses.runs[0],
        "test_set": losses.test_sets[0],
        "law": law,
        "notices": json.dumps(notices),
    }
    result = Fit(data)
    problems = result.diagnostics.problems
    if problems and throw:
        raise ConvergenceError(f"{' '.join(problems)} Or pass throw=False to inspect the fit.", result.diagnostics)
    for notice in (*notices[len(losses.notices) :], *problems):
        warnings.warn(notice, Notice, stacklevel=2)
    return result


def refit(fit: Fit, priors: Priors, *, progress: bool = False) -> Fit:
    """The same losses under other priors, with as many chains and draws; it says itself whether it converged."""
    posterior = fit.data["posterior"].sizes
    settings = {"chains": posterior[CHAIN], "num_warmup": 500, "num_draws": posterior[DRAW], "target_accept": TARGET_ACCEPT}
    seed = int(fit.data.attrs["seed"])
    data = _sampled(design_of(fit), priors, fit.schedule, reduce=True, seed=seed, progress=progress, **settings)
    data.attrs = fit.data.attrs | data.attrs
    return Fit(data)


def _sampled(design: Design, priors: Priors, schedule: Schedule, *, reduce: bool, seed: int, **settings: Any) -> xr.DataTree:
    """The tree of a fit, but for what only the losses know."""
    draw = _draw_reduced if reduce or not design.by_position else _draw_unreduced
    with jax.enable_x64(True):
        draws, coefficients = draw(design, priors, seed=seed, **settings)
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


def _draw_reduced(design: Design, priors: Priors, *, seed: int, **settings: Any) -> tuple[Draws, dict[str, np.ndarray]]:
    """Globals and weights by NUTS, coefficients put back."""
    seen, steps = padded(design), len(design.step)
    draws = sample(model, seen, priors, start=_start(seen, priors), dense=parameters(seen, priors), seed=seed, **settings)
    shape = next(iter(draws.stats.values())).shape
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), shape)
    named = over_draws(draw_coefficients, (seen, priors.fixed()), draws.sites, keys)._asdict()
    kept = {name: named[name][..., :steps] for name in (named if design.by_position else ("floor", "drift"))}
    return draws._replace(sites=draws.sites | {"weight": draws.sites["weight"][..., :steps]}), kept


def _draw_unreduced(design: Design, priors: Priors, *, seed: int, **settings: Any) -> tuple[Draws, dict[str, np.ndarray]]:
    """Globals, weights, every coefficient and the position effects by NUTS."""
    basis = effect_basis(design.centre, design.position, design.summary.exponent)
    departures = {f"{name}_departure": np.zeros(len(design.step)) for name in ("gap", "rate", "mean")}
    start = _start(design, priors) | departures | {"effect_along": np.zeros(basis.shape[1])}
    dense = parameters(design, priors)
    draws = sample(unreduced_model, design, priors, basis, start=start, dense=dense, seed=seed, **settings)
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
        "schema": SCHEMA,
        "origin": design.clock.origin,
        "memory_unit": design.clock.memory_unit,
        "schedule": schedule.text,
        "schedule_peak": schedule.peak,
        "schedule_end": schedule.end,
        "schedule_known": int(schedule.known),
        "priors": priors.to_json(),
        "seed": seed,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "inference_library": "numpyro",
        "inference_library_version": version("numpyro"),
        "versions": json.dumps({name: version(name) for name in _PACKAGES}),
    }
