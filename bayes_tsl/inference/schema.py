"""The tree that holds a fit: the one place that knows names of groups, variables and attributes.

Groups follow the ArviZ schema, so that ArviZ reads a saved fit without this package:

    posterior              parameters (chain, draw); noise weights and coefficients of every checkpoint (chain, draw, step)
    sample_stats           of NUTS, under ArviZ's names (chain, draw)
    log_likelihood         mean_loss: each checkpoint given the others, for leave-one-out (chain, draw, step);
                           joint: all checkpoints together, for power-scaling (chain, draw)
    log_prior              of every parameter (chain, draw)
    posterior_predictive   mean_loss: measured again at the fitted checkpoints (chain, draw, step)
    observed_data          mean_loss (step)
    constant_data          estimates of the coefficients (step), position effects (position), knots of the schedule (knot)

A fit of several runs has one such tree per run, ``run_0``, ``run_1``, ..., draw for draw from one posterior, and the group
``population``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._common.dims import CHAIN, DRAW, DRAWS, POSITION, STEP, TEST_SET
from bayes_tsl.data.recipe import Recipe
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.inference.branch_groups import BRANCHES, branch_dataset, branch_names, with_branches_of
from bayes_tsl.inference.nuts import Draws
from bayes_tsl.model.design import Design
from bayes_tsl.model.drift import covariance
from bayes_tsl.model.hierarchical import POPULATION, HierarchicalDesign
from bayes_tsl.model.lr_response import make_time_axis
from bayes_tsl.model.population import Population, Trait
from bayes_tsl.model.position_law import (
    CoefficientEstimates,
    PositionEffects,
    estimates_of_means,
    mean_falling,
    mean_polynomial,
)
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.time_axis import Anchor

SCHEMA = "bayes_tsl fit 5"
TEST_SETS = "test_sets"  # group of what is known of each test set
COEFFICIENTS = ("gap", "rate", "floor")
RUN = "run_"  # group of each run's tree, with its number: names may hold a slash
_ESTIMATES = ("log_gap", "log_rate", "mean")
_PACKAGES = ("bayes_tsl", "numpyro", "jax", "jaxlib", "numpy", "xarray", "arviz")
_OLDER_SHORTEST = 1e-3  # relaxation time of files that do not name it
_EMPTY = np.array([])


# Writing


def run_tree(
    design: Design,
    priors: Priors,
    schedule: Schedule,
    draws: Draws,
    *,
    coefficients: Mapping[str, np.ndarray],
    densities: Mapping[str, Mapping[str, np.ndarray]],
    seed: int,
) -> xr.DataTree:
    """The tree of a fit of one run, but for its names and notices.

    Args:
        design: what was conditioned on.
        priors: of the parameters.
        schedule: learning rate of the whole run.
        draws: of the sampler.
        coefficients: drawn given these, by name (chain, draw, step).
        densities: variables of log_likelihood, log_prior and posterior_predictive, by group (chain, draw [, step]).
        seed: of the sampler.
    """
    groups = {
        "posterior": _posterior(draws, coefficients),
        "sample_stats": {name: (DRAWS, values) for name, values in draws.stats.items()},
        **{group: {name: _over_draws(values) for name, values in one.items()} for group, one in densities.items()},
        "observed_data": {"mean_loss": (STEP, design.mean_loss)},
        "constant_data": _estimates(design) | _constants(design, schedule),
    }
    if design.branches is not None:
        groups[BRANCHES] = dict(branch_dataset(design.branches, by_position=design.by_position))
    coords = {STEP: design.step, POSITION: design.position, "estimate": list(_ESTIMATES)}
    data = xr.DataTree.from_dict({name: _dataset(variables, coords) for name, variables in groups.items()})
    data.attrs = _provenance(seed) | {
        "origin": design.anchor.origin,
        "time_unit": design.anchor.time_unit,
        "shortest_time": design.anchor.shortest,
        "schedule": schedule.text,
        "schedule_peak": schedule.peak,
        "schedule_end": schedule.end,
        "schedule_known": int(schedule.known),
        "schedule_assumed_after": schedule.assumed_after,
        "priors": priors.to_json(),
    }
    return data


def tree_of_runs(trees: Mapping[str, xr.DataTree], population: xr.Dataset, *, seed: int) -> xr.DataTree:
    """The tree of a fit of several runs: that of each by name, and what they share."""
    each = {f"{RUN}{number}": tree for number, tree in enumerate(trees.values())}
    for tree in each.values():
        tree.attrs["pooled"] = 1
    data = xr.DataTree(children={"population": xr.DataTree(population), **each})
    data.attrs = {**_provenance(seed), "runs": json.dumps(list(trees))}
    return data


def population_dataset(
    drawn: Draws, *, runs: HierarchicalDesign, covariates: pd.DataFrame, progress: float, base: dict[str, Any]
) -> xr.Dataset:
    """What runs share, as ``population_of`` reads it (chain, draw, [covariate,] trait).

    Args:
        drawn: of the population.
        runs: the runs.
        covariates: of each run (run, covariate).
        progress: at which slopes are compared, in steps at peak learning rate.
        base: the priors that traits are counted from.
    """
    sampled = {name: ((*DRAWS, *POPULATION[name]), values, {"sampled": 1}) for name, values in drawn.sites.items()}
    scales = {"prior_sd": ("trait", runs.prior_sd), "variance": ("trait", runs.variance)}
    data = _dataset(sampled | scales, {"trait": runs.traits, "covariate": list(covariates.columns)})
    moments = {name: [float(np.mean(covariates[name])), float(np.std(covariates[name]))] for name in covariates.columns}
    data.attrs = {"progress": progress, "covariates": json.dumps(moments), "base": json.dumps(base)}
    return data


def _posterior(draws: Draws, coefficients: Mapping[str, np.ndarray]) -> dict[str, Any]:
    sampled = {
        name: (*_over_draws(values, last="direction" if name == "effect_along" else STEP), {"sampled": 1})
        for name, values in draws.sites.items()
    }
    return sampled | {name: _over_draws(values) for name, values in coefficients.items()}


def _over_draws(values: np.ndarray, *, last: str = STEP) -> tuple[tuple[str, ...], np.ndarray]:
    return (*DRAWS, last)[: np.ndim(values)], values


def _estimates(design: Design) -> dict[str, Any]:
    columns = dict(zip(_ESTIMATES, design.estimates.coefficients.T))
    floor = columns["mean"]
    if design.by_position:
        gap, rate = np.exp(columns["log_gap"]), np.exp(columns["log_rate"])
        floor = floor - gap * mean_falling(rate, design.position, design.estimates.exponent)
    shown = (columns if design.by_position else {"mean": columns["mean"]}) | {"floor": floor}
    return {f"{name}_estimate": (STEP, values) for name, values in shown.items()}


def _constants(design: Design, schedule: Schedule) -> dict[str, Any]:
    variables = {
        "count": (STEP, design.count),
        "schedule_step": ("knot", schedule.steps),
        "schedule_lr": ("knot", schedule.lrs),
    }
    if not design.by_position:
        return variables
    estimates = design.estimates
    return variables | {
        "effect": (POSITION, estimates.effect),
        "effect_scale": (POSITION, estimates.effect_scale),
        "position_noise": ((), estimates.noise),
        "position_exponent": ((), estimates.exponent),
        "position_log_density": (STEP, estimates.log_density),
        "estimate_covariance": ((STEP, "estimate", "estimate_"), estimates.covariance),
    }


def _dataset(variables: dict[str, Any], coords: Mapping[str, Any]) -> xr.Dataset:
    """Dataset with the coordinates that its dims ask for; chains and draws are counted."""
    data = xr.Dataset(variables)
    counts = {name: np.arange(size) for name, size in data.sizes.items() if name in (CHAIN, DRAW)}
    return data.assign_coords({name: values for name, values in coords.items() if name in data.dims} | counts)


def _provenance(seed: int) -> dict[str, Any]:
    """What made a tree, and when."""
    return {
        "schema": SCHEMA,
        "seed": seed,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "inference_library": "numpyro",
        "inference_library_version": version("numpyro"),
        "versions": json.dumps({name: version(name) for name in _PACKAGES}),
    }


# Reading


def run_names(data: xr.DataTree) -> list[str]:
    """Names of the runs, in the order in which they were given."""
    return json.loads(data.attrs["runs"]) if "runs" in data.attrs else [str(data.attrs["run"])]


def run_trees(data: xr.DataTree) -> dict[str, xr.DataTree]:
    """The tree of each run by name; that of a single run is the whole."""
    names = run_names(data)
    return {name: data.children[f"{RUN}{number}"] if "runs" in data.attrs else data for number, name in enumerate(names)}


def is_by_position(tree: xr.DataTree) -> bool:
    """Whether a run was fitted by position."""
    return POSITION in tree["constant_data"].dims


def positions_of(tree: xr.DataTree) -> PositionEffects:
    """Token positions of a run, their effects and noise (position); empty where mean losses were fitted."""
    if not is_by_position(tree):
        return PositionEffects(_EMPTY, _EMPTY, _EMPTY, 0.0, 1.0)
    constant = tree["constant_data"].to_dataset()
    at, effect, scale = (constant[name].to_numpy() for name in (POSITION, "effect", "effect_scale"))
    return PositionEffects(at, effect, scale, float(constant["position_noise"]), float(constant["position_exponent"]))


def observed_of(tree: xr.DataTree) -> xr.Dataset:
    """Mean losses that a run was fitted to, and the estimates of its coefficients (step)."""
    constant = tree["constant_data"].to_dataset()
    estimates = constant[[name for name in constant if str(name).endswith("_estimate")]]
    return tree["observed_data"].to_dataset().merge(estimates)


def is_pooled(tree: xr.DataTree) -> bool:
    """Whether the tree of one run belongs to a fit of several; older files do not say it of a run that was saved by itself."""
    return "pooled" in tree.attrs or tree.parent is not None


def parameters_of(tree: xr.DataTree) -> dict[str, np.ndarray]:
    """Every parameter of a run, those that are fixed included (chain, draw)."""
    drawn = {name: values.to_numpy() for name, values in sampled_of(tree).items() if values.ndim == 2}
    shape = next(iter(drawn.values())).shape
    return drawn | {name: np.full(shape, value) for name, value in priors_of(tree).fixed().items()}


def sampled_of(tree: xr.DataTree) -> dict[str, xr.DataArray]:
    """Every variable that the sampler moved (chain, draw, ...)."""
    posterior = tree["posterior"].to_dataset()
    return {str(name): values for name, values in posterior.items() if values.attrs.get("sampled")}


def chains_of(data: xr.DataTree) -> tuple[dict[str, xr.Dataset], xr.Dataset]:
    """What the sampler moved, by run where there are several, the population first; and the statistics of its draws."""
    trees, stats = run_trees(data), "sample_stats"
    if "runs" not in data.attrs:
        return {"": xr.Dataset(sampled_of(data))}, data[stats].to_dataset()
    shared = data["population"].to_dataset()
    population = shared[[name for name in shared if shared[name].attrs.get("sampled")]]
    sets = {"": population} | {run: xr.Dataset(sampled_of(tree)) for run, tree in trees.items()}
    return sets, next(iter(trees.values()))[stats].to_dataset()


def coefficients_of(tree: xr.DataTree) -> xr.Dataset:
    """Gap, rate and floor of each checkpoint (chain, draw, step); floor alone without positions."""
    posterior = tree["posterior"].to_dataset()
    return posterior[[name for name in COEFFICIENTS if name in posterior]]


def log_likelihood_of(tree: xr.DataTree, name: str = "mean_loss") -> xr.DataArray | None:
    """Log density of each checkpoint given the others (chain, draw, step), or ``joint``; None where there are no densities."""
    return tree["log_likelihood"].to_dataset()[name] if "log_likelihood" in tree.children else None


def priors_of(tree: xr.DataTree) -> Priors:
    """Priors of a run."""
    return Priors.from_json(tree.attrs["priors"])


def anchor_of(tree: xr.DataTree) -> Anchor:
    """Anchor of a run's time axis."""
    shortest = float(tree.attrs.get("shortest_time", _OLDER_SHORTEST))
    return Anchor(float(tree.attrs["origin"]), float(tree.attrs["time_unit"]), shortest)


def schedule_of(tree: xr.DataTree) -> Schedule:
    """Learning-rate schedule of a run."""
    knots, attrs = tree["constant_data"], tree.attrs
    return Schedule(
        text=str(attrs["schedule"]),
        steps=knots["schedule_step"].to_numpy(),
        lrs=knots["schedule_lr"].to_numpy(),
        peak=float(attrs["schedule_peak"]),
        end=float(attrs["schedule_end"]),
        known=bool(attrs["schedule_known"]),
        assumed_after=float(attrs.get("schedule_assumed_after", np.inf)),
    )


def recipe_of(tree: xr.DataTree) -> Recipe:
    """What is known of a run beside its schedule; nothing in files that were saved before it was asked."""
    return Recipe.from_json(tree.attrs["recipe"]) if "recipe" in tree.attrs else Recipe()


def design_of(tree: xr.DataTree) -> Design:
    """What a run's fit conditioned on, without the losses at single positions."""
    observed, constant = observed_of(tree), tree["constant_data"].to_dataset()
    step, anchor, positions = observed[STEP].to_numpy(), anchor_of(tree), positions_of(tree)
    names = _ESTIMATES if is_by_position(tree) else ("mean",)
    columns = {name: observed[f"{name}_estimate"].to_numpy() for name in names}
    polynomial, estimates = _EMPTY, estimates_of_means(columns["mean"])
    if is_by_position(tree):
        polynomial = mean_polynomial(positions.position, positions.exponent)
        estimates = CoefficientEstimates(
            np.stack(list(columns.values()), axis=1),
            constant["estimate_covariance"].to_numpy(),
            *positions[1:],
            log_density=constant["position_log_density"].to_numpy(),
        )
    last = [float(columns[name][-1]) if name in columns else 0.0 for name in ("log_gap", "log_rate")]
    axis = make_time_axis(np.append(step, anchor.origin), recipe_of(tree).effective(schedule_of(tree)), anchor)
    made = Design(
        step=step,
        count=constant["count"].to_numpy(),
        axis=axis,
        drift=covariance(axis.u[:-1]),
        estimates=estimates,
        mean_polynomial=polynomial,
        centre=np.array([*last, float(observed["floor_estimate"][-1])]),
        anchor=anchor,
        position=positions.position,
        losses=np.zeros((len(step), 0)),
        mean_loss=observed["mean_loss"].to_numpy(),
    )
    return with_branches_of(made, tree[BRANCHES].to_dataset()) if BRANCHES in tree.children else made


def branches_of(tree: xr.DataTree) -> list[str]:
    """Names of the branches that a run was fitted with."""
    return branch_names(tree[BRANCHES].to_dataset()) if BRANCHES in tree.children else []


def test_sets_of(data: xr.DataTree) -> list[str]:
    """Names of the test sets to whose mean a run was fitted."""
    return list(map(str, data[TEST_SETS][TEST_SET].to_numpy())) if TEST_SETS in data.children else []


def population_of(data: xr.DataTree) -> Population:
    """What the runs of a fit have in common."""
    drawn, attrs = data["population"].to_dataset(), data.attrs
    prior_sd, mean = drawn["prior_sd"].to_numpy(), drawn["trait_mean"]
    shift = prior_sd * mean.mean(DRAWS).to_numpy()
    among = drawn["variance"] * (drawn["trait_spread"] ** 2).mean(DRAWS)
    spread = prior_sd * np.sqrt((mean.var(DRAWS) + among).to_numpy())
    covariates = json.loads(drawn.attrs["covariates"])
    effect = prior_sd * drawn["trait_effect"].mean(DRAWS).to_numpy() if covariates else np.zeros((0, len(prior_sd)))
    return Population(
        traits={
            str(name): Trait(float(shift[i]), float(spread[i]), dict(zip(covariates, map(float, effect[:, i]))))
            for i, name in enumerate(drawn["trait"].to_numpy())
        },
        covariates={name: (float(centre), float(scale)) for name, (centre, scale) in covariates.items()},
        progress=float(drawn.attrs["progress"]),
        base=json.loads(drawn.attrs["base"]),
        source={name: attrs[name] for name in ("test_set", "law", "created_at")}
        | {"runs": run_names(data), "versions": json.loads(attrs["versions"])},
    )
