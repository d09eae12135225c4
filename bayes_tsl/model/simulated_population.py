"""Several runs whose truth is known: a population drawn from the model of several runs, and each run from the model of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike
from numpyro import handlers

from bayes_tsl._common.jax_settings import float64
from bayes_tsl._common.seeds import seed_of
from bayes_tsl._common.validation import require, require_seed
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.model.hierarchical import (
    FLOOR_LINE,
    POPULATION,
    HierarchicalDesign,
    hierarchical_model,
    make_hierarchical_design,
    named_parameters,
    population_parameters,
)
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.simulation import Simulation, simulate, unseen_design
from bayes_tsl.model.single_run import Sites
from bayes_tsl.model.tracing import traced_alone


@dataclass(frozen=True)
class Plan:
    """One of the runs to simulate.

    Attributes:
        schedule: learning rates of the whole run.
        steps: checkpoints, past and future (step).
        origin: last step that will be fitted.
        covariates: of the run, by name; all runs have the same.
    """

    schedule: Schedule
    steps: ArrayLike
    origin: float
    covariates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SimulatedPopulation:
    """Simulated runs, and what they have in common.

    Attributes:
        plans: what was asked for, by the name of the run.
        runs: each run by name.
        population: ``trait_mean`` (trait), ``trait_spread`` (trait) and, with covariates, ``trait_effect`` (covariate, trait).
    """

    plans: Mapping[str, Plan]
    runs: Mapping[str, Simulation]
    population: xr.Dataset

    @property
    def past(self) -> LossTable:
        """Mean losses of all runs until their origins, which can be fitted together."""
        seen = {run: made.losses.until(self.plans[run].origin).frame for run, made in self.runs.items()}
        return LossTable.from_frame(pd.concat([frame.assign(run=run) for run, frame in seen.items()]))


def simulate_population(plans: Mapping[str, Plan], *, priors: Priors, level: float = 3.5, seed: int = 0) -> SimulatedPopulation:
    """Mean losses of several runs, drawn from the model that ``fit(losses, schedules=...)`` conditions on them.

    Population parameters are drawn from their prior, the parameters of each run from the population, and its losses by
    ``simulate``.

    Args:
        plans: schedule, checkpoints and origin of each run by name.
        priors: of each run by itself, from which traits are counted. Under the default of the floor's slope some losses are
            negative, and refused.
        level: loss around which those at the origins lie.  [nats]
        seed: the same seed gives the same runs.

    Raises:
        DataError: there are no two runs, or a loss is negative.

    Example::

        from bayes_tsl.data import schedules
        from bayes_tsl.model.priors import Priors, normal

        cosine = schedules.cosine(peak=2e-3, warmup=100, total=2500)
        plans = {run: Plan(cosine, range(200, 2501, 100), origin) for run, origin in {"whole": 2500, "young": 1000}.items()}
        made = simulate_population(plans, priors=Priors(floor_slope=normal(-0.15, 0.05)), seed=1)
        made.past, made.population["trait_mean"].sel(trait="heat"), made.runs["young"].parameters["heat"]
    """
    require_seed(seed)
    require(len(plans) > 1, "plans", "be of several runs", list(plans), cure="One run is drawn by simulate.")
    centre = (0.0, 0.0, level)
    designs = [
        unseen_design(np.unique(np.asarray(plan.steps, float)), np.array([]), plan.schedule, plan.origin, np.array(centre))
        for plan in plans.values()
    ]
    covariates = pd.DataFrame({run: plan.covariates for run, plan in plans.items()}).T
    design = make_hierarchical_design(designs, [priors] * len(plans), covariates.to_numpy(float))
    with float64():
        population, parameters = draw_population(design, jax.random.key(seed))
    runs = {
        run: simulate(
            steps=plan.steps,
            schedule=plan.schedule,
            origin=plan.origin,
            parameters={name: float(values[number]) for name, values in parameters.items()},
            priors=priors,
            centre=centre,
            seed=seed_of(seed, number),
        )
        for number, (run, plan) in enumerate(plans.items())
    }
    shared = xr.Dataset({name: (dims, np.asarray(population[name])) for name, dims in POPULATION.items() if name in population})
    coords = {"trait": design.traits, "covariate": list(covariates.columns)}
    return SimulatedPopulation(plans, runs, shared.assign_coords({dim: coords[str(dim)] for dim in shared.dims}))


@jax.jit
@traced_alone
def draw_population(runs: HierarchicalDesign, key: jax.Array) -> tuple[Sites, Sites]:
    """Sample sites of the population, drawn from their prior, and every parameter of each run given these (run)."""
    sites = handlers.trace(handlers.seed(hierarchical_model, key)).get_trace(runs)
    drawn = {name: site["value"] for name, site in sites.items() if site["type"] == "sample" and not site["is_observed"]}
    shared = {name: drawn.pop(name) for name in POPULATION if name in drawn}
    line = jax.random.normal(jax.random.fold_in(key, 1), (len(runs.progress_offset), len(FLOOR_LINE)))
    return shared, named_parameters(runs, population_parameters(runs, shared), drawn, line)
