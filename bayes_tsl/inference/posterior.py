"""``Fit``: a posterior, checked and frozen, and the file that keeps it.

A ``Fit`` is an xarray tree in the ArviZ schema and nothing else (``schema`` says what is in it): all that a forecast needs is
there, so a saved fit forecasts years later what it would have forecast at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from bayes_tsl._common.display import Facts, counted, shown_in_notebooks, warned
from bayes_tsl._common.files import whole_file
from bayes_tsl._common.packages import function_above
from bayes_tsl._common.validation import file_path, require, require_choice, show
from bayes_tsl.data.recipe import Recipe
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.inference import schema
from bayes_tsl.inference.diagnostics import Diagnostics, diagnose
from bayes_tsl.inference.fit_files import read, written
from bayes_tsl.model.design import Design
from bayes_tsl.model.lr_response import make_ends_axis, make_time_axis
from bayes_tsl.model.population import Population
from bayes_tsl.model.position_law import PositionEffects
from bayes_tsl.model.priors import Priors
from bayes_tsl.model.time_axis import Anchor, TimeAxis

if TYPE_CHECKING:
    from bayes_tsl.forecasting.distribution import Forecast


@shown_in_notebooks
@dataclass(frozen=True, eq=False)
class Fit:
    """Posterior of one run on one test set, or of several together.

    Attributes:
        data: groups posterior, sample_stats, log_likelihood, log_prior, posterior_predictive, observed_data and constant_data
            in the ArviZ schema. Dims are chain, draw, step and position; ``arviz.from_netcdf`` reads a saved one. Of several
            runs: one such tree per run, and the group population.

    >>> fit = example_fit()
    >>> fit.run, fit.test_set, fit.origin
    ('mix50_cosine', 'prose', 1200.0)
    """

    data: xr.DataTree

    def __repr__(self) -> str:
        if len(self.runs) > 1:
            return f"Fit(runs={self.runs}, test_set={self.test_set!r}, {self.verdict})"
        of = f"run={self.run!r}, test_set={self.test_set!r}, origin={self.origin:.10g}, schedule={self.schedule.text!r}"
        return f"Fit({of}, {self.verdict})"

    def _facts(self) -> Facts:
        alone = {"last step": show(self.origin), "schedule": self.schedule.text} if len(self.runs) == 1 else {}
        what = {"runs": counted(self.runs), "test set": self.test_set, **alone, "law": self.law, "convergence": self.verdict}
        return what | dict(warned(self.notices))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fit) and self.data.identical(other.data)

    @property
    def runs(self) -> list[str]:
        """Names of the runs, in the order in which they were given."""
        return schema.run_names(self.data)

    def select(self, *, run: str) -> Fit:
        """The fit of one of the runs, as the others have informed it.

        Raises:
            DataError: there is no such run.
        """
        require_choice(run, "run", self.runs, cure="Choose one of these.")
        return self if len(self.runs) == 1 else self._each[run]

    @cached_property
    def _each(self) -> dict[str, Fit]:
        """A fit per run, made once so that each keeps its diagnostics."""
        return {run: Fit(tree) for run, tree in schema.run_trees(self.data).items()}

    @property
    def run(self) -> str:
        """Name of the run."""
        return str(self._tree.attrs["run"])

    @property
    def test_set(self) -> str:
        """Name of the test set."""
        return str(self.data.attrs["test_set"])

    @property
    def origin(self) -> float:
        """Last step used to fit."""
        return self.anchor.origin

    @property
    def anchor(self) -> Anchor:
        """Anchor of its time axis."""
        return schema.anchor_of(self._tree)

    @property
    def schedule(self) -> Schedule:
        """Learning-rate schedule it was made with."""
        return schema.schedule_of(self._tree)

    @property
    def recipe(self) -> Recipe:
        """What is known of the run beside its schedule."""
        return schema.recipe_of(self._tree)

    def time_axis(self, steps: ArrayLike, schedule: Schedule | None = None) -> TimeAxis:
        """Where steps lie on its time axis, under its own schedule or another; the last row is the origin (step + 1)."""
        plan = self.schedule if schedule is None else schedule
        return make_time_axis(np.append(steps, self.origin), self.recipe.effective(plan), self.anchor)

    def ends_axis(self, schedules: Sequence[Schedule], steps: ArrayLike) -> TimeAxis:
        """Where the end of each of many schedules lies on its time axis; the last row is the origin (schedule + 1)."""
        return make_ends_axis([self.recipe.effective(plan) for plan in schedules], steps, self.anchor)

    @property
    def priors(self) -> Priors:
        """Priors it was made with."""
        return schema.priors_of(self._tree)

    @property
    def law(self) -> str:
        """Name of the law, one of ``priors.LAWS``."""
        return str(self.data.attrs["law"])

    @property
    def seed(self) -> int:
        """Seed of its sampler."""
        return int(self.data.attrs["seed"])

    @property
    def created_at(self) -> str:
        """When it was made, in UTC."""
        return str(self.data.attrs["created_at"])

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages that made it."""
        return json.loads(self.data.attrs["versions"])

    @property
    def chains_and_draws(self) -> tuple[int, int]:
        """Number of chains, and of draws in each."""
        return next(iter(self.parameters().values())).shape

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about this fit, in words; what contradicts the model comes last."""
        return (*json.loads(self.data.attrs["notices"]), *self.misfits)

    @property
    def verdict(self) -> str:
        """One line for people: whether the chains agreed, and what contradicts the model."""
        misfit = f" MISFIT: {' '.join(self.misfits)}" if self.misfits else ""
        return f"{self.diagnostics.verdict}{misfit}"

    @property
    def misfits(self) -> tuple[str, ...]:
        """What in the past contradicts the model; nothing for a sound run."""
        trees = schema.run_trees(self.data)
        said = {run: json.loads(tree.attrs.get("misfits", "[]")) for run, tree in trees.items()}
        return tuple(one if len(trees) == 1 else f"{run}: {one}" for run, notices in said.items() for one in notices)

    @property
    def branches(self) -> list[str]:
        """Names of the branches that its parameters describe too."""
        return schema.branches_of(self._tree)

    @property
    def test_sets(self) -> list[str]:
        """Names of the test sets to whose mean it was fitted; empty where it was fitted to one."""
        return schema.test_sets_of(self.data)

    @property
    def by_position(self) -> bool:
        """Whether losses by position were fitted; else mean losses."""
        return schema.is_by_position(self._tree)

    @property
    def positions(self) -> PositionEffects:
        """Token positions, their effects and noise (position); empty for mean losses."""
        return schema.positions_of(self._tree)

    @property
    def observed(self) -> xr.Dataset:
        """Mean losses that were fitted and, by position, the estimates of each checkpoint's coefficients (step)."""
        return schema.observed_of(self._tree)

    @cached_property
    def design(self) -> Design:
        """What was conditioned on, without the losses at single positions."""
        return schema.design_of(self._tree)

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """R-hat, ESS, divergences and BFMI."""
        return diagnose(*schema.chains_of(self.data))

    @property
    def converged(self) -> bool:
        """Whether all convergence checks passed."""
        return self.diagnostics.converged

    @property
    def relative_ess(self) -> float:
        """Independent draws that one draw is worth: bulk ESS, a mean over parameters, by number of draws; at most 1."""
        return min(float(np.mean(self.diagnostics.table["ess_bulk"])) / self.diagnostics.draws, 1.0)

    @property
    def pooled(self) -> bool:
        """Whether other runs have informed it: of several runs, or one selected from these."""
        return len(self.runs) > 1 or schema.is_pooled(self.data)

    def parameters(self) -> dict[str, np.ndarray]:
        """Draws of every parameter by name, those that are fixed included (chain, draw)."""
        return schema.parameters_of(self._tree)

    def sampled(self) -> dict[str, xr.DataArray]:
        """Draws of all that the sampler moved: parameters, and the noise weight of each checkpoint (chain, draw, ...)."""
        return schema.sampled_of(self._tree)

    @property
    def log_likelihood(self) -> xr.DataArray | None:
        """Log density of each checkpoint given the others (chain, draw, step); None in files of an older version."""
        return schema.log_likelihood_of(self._tree)

    @property
    def joint_log_likelihood(self) -> xr.DataArray | None:
        """Log density of all checkpoints together (chain, draw); None in files of an older version."""
        return schema.log_likelihood_of(self._tree, "joint")

    def coefficients(self) -> xr.Dataset:
        """Draws of gap, rate and floor at each fitted checkpoint (chain, draw, step); floor alone without positions."""
        return schema.coefficients_of(self._tree)

    def population(self) -> Population:
        """What the runs have in common: priors for another run of their kind.

        Raises:
            DataError: the fit is of a single run.
        """
        cure = "Fit several with fit(losses, schedules={run: schedule})."
        require(len(self.runs) > 1, "fit", "be of several runs", self.runs, cure=cure)
        return schema.population_of(self.data)

    @property
    def _tree(self) -> xr.DataTree:
        """The tree of the only run."""
        require(len(self.runs) == 1, "fit", "be of a single run", self.runs, cure="Choose one with fit.select(run=...).")
        return self.data

    def forecast(self, steps: ArrayLike, **options: Any) -> Forecast:
        """Test loss at steps after the origin: ``bt.forecast(fit, steps, ...)``, which takes the same options.

        Args:
            steps: later steps, in any order (step).
            **options: schedule, positions, weights, seed.

        >>> example_fit().forecast([1500, 2500]).steps.tolist()
        [1500.0, 2500.0]
        """
        return function_above("forecast")(self, steps, **options)

    def save(self, path: str | Path) -> None:
        """Write the fit to a NetCDF file that ends in a checksum, whole or not at all."""
        with whole_file(path) as beside:
            beside.write_bytes(written(self.data))


def load_fit(path: str | Path) -> Fit:
    """The fit that ``Fit.save`` wrote, in this version or an earlier one since 0.1.0.

    Raises:
        DataError: there is no such file, it is no fit of this package, or it is damaged.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     example_fit().save(f"{folder}/fit.nc")
    ...     load_fit(f"{folder}/fit.nc") == example_fit()
    True

    ArviZ reads the file by itself; here PSIS-LOO over checkpoints, and a comparison by it (``psens`` and ``plot_ppc`` as well):

    >>> import warnings
    >>> import arviz as az
    >>> with TemporaryDirectory() as folder, warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # 100 draws are too few for every Pareto k to be good
    ...     example_fit().save(f"{folder}/fit.nc")
    ...     data = az.from_netcdf(f"{folder}/fit.nc")
    ...     loo = az.loo(data, var_name="mean_loss")
    ...     ranked = az.compare({"a": data, "b": data}, var_name="mean_loss")
    >>> int(loo.n_data_points), sorted(ranked.index)
    (21, ['a', 'b'])
    """
    path = file_path(path)
    require(path.is_file(), "fit", "be a file", str(path), cure="Check the path.")
    return Fit(read(path.read_bytes(), path.name))


@cache
def example_fit() -> Fit:
    """A small fit that comes with the package, for examples alone: 100 draws, too few for its chains to have converged.

    It is of the first half of a bundled run, by position, and was made and saved by::

        losses = bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose").before(1250)
        schedule = bt.schedules.cosine(peak=2e-3, warmup=100, total=2500, final=2e-4)
        fit = bt.fit(losses, schedule=schedule, chains=2, num_draws=50, num_warmup=200, seed=0, throw=False)
        fit.save("bayes_tsl/inference/example_fit.nc")

    >>> fit = example_fit()
    >>> fit.origin, fit.chains_and_draws, fit.converged
    (1200.0, (2, 50), False)
    """
    with as_file(files("bayes_tsl.inference") / "example_fit.nc") as path:
        return load_fit(path)


def require_positions(fit: Fit) -> None:
    """Raise ``DataError`` unless a fit is of one run by position."""
    require(fit.by_position, "fit", "be of losses by position", "mean losses only", cure="Give losses by position.")
