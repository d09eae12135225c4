r"""Later checkpoints without a new fit: the draws of a fit weighted by what they foresaw.

A posterior of parameters ``th`` given old losses ``y`` becomes that given new ones ``z`` too by weights ``p(z | th, y)``
(Pareto-smoothed importance sampling; Vehtari et al., arXiv 1507.02646). Level and slope are those at the fit's origin, where
drift is at rest and whence it runs independently both ways, and the noise of checkpoints is independent. So nothing of the
past but ``th`` matters, ``p(z | th, y) = p(z | th)``, and laws, priors and time axis stay anchored where they were. The density
is a filter's (``checkpoint_filter``), one for every draw, which also says where its drift stands at the last new checkpoint:

    parameters by weight -> value and speed of the drift there, given these and the new losses -> the drift from there on

Only mean losses over positions are used: what new checkpoints say of gap and rate beyond that waits for the next fit.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.dims import CHAIN, DRAW, DRAWS, STEP
from bayes_tsl._common.display import Facts, extent, shown
from bayes_tsl._common.validation import require, require_seed, show
from bayes_tsl.data import schedules
from bayes_tsl.data.loss_table import LossTable, require_losses
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.data.several_test_sets import over_test_sets
from bayes_tsl.errors import Notice
from bayes_tsl.forecasting.checkpoint_filter import filter_checkpoints
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.forecasting.predict import ForecastState, at_origin, forecast_paths, mean_by_law, schedule_ahead
from bayes_tsl.inference.arviz_versions import largest_pareto_k, pareto_smoothed
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.model.design import later_steps
from bayes_tsl.model.drift import DriftState
from bayes_tsl.model.lr_response import make_time_axis

Array = NDArray[np.float64]

MIN_ESS = 100  # draws that weights leave, below which quantiles of a forecast are too noisy
_CURE = "Fit again, old and new losses together: bt.fit(losses, schedule=...)."


@shown
@dataclass(frozen=True, eq=False)
class Updated:
    """A fit of one run whose draws are weighted by later checkpoints; ``update`` makes it.

    Attributes:
        fit: as it was.
        losses: mean losses of the new checkpoints (step).  [nats/token]
        schedule: the fit's until its origin, and what was followed and planned since.
        weights: of the draws; they sum to one (chain, draw).
        pareto_k: shape of the tail of the raw weights: above ``max_pareto_k`` they cannot be relied on.
        ess: how many independent draws the weighted ones are worth.
        drift: where it stands at the last new checkpoint (draw).

    Example::

        updated = bt.update(fit, later_losses)
        ahead = bt.fit(later_losses, schedule=plan).forecast([2500]) if updated.needs_refit else updated.forecast([2500])
    """

    fit: Fit
    losses: xr.DataArray = field(repr=False)
    schedule: Schedule = field(repr=False)
    weights: xr.DataArray = field(repr=False)
    pareto_k: float
    ess: float
    drift: DriftState = field(repr=False)

    def _facts(self) -> Facts:
        return {
            "": f"{self.fit.run} on {self.fit.test_set}, fitted to step {show(self.fit.origin)}",
            "new checkpoints": extent(self.losses[STEP].to_numpy()),
            "ESS": f"{self.ess:.0f} of {self.weights.size} draws",
            "Pareto k": f"{self.pareto_k:.2f}, at most {self.max_pareto_k:.2f}",
            "refit": "needed" if self.needs_refit else "not needed",
        }

    @property
    def origin(self) -> float:
        """Last step that was seen."""
        return float(self.losses[STEP][-1])

    @property
    def max_pareto_k(self) -> float:
        """Largest Pareto k at which this many draws suffice."""
        return largest_pareto_k(self.weights.size)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the fit must be made anew, in words; empty if it need not be."""
        heavy = f"Pareto k must not exceed {self.max_pareto_k:.2f}; got {self.pareto_k:.2f} from {self.weights.size} draws."
        few = f"draws must be worth {MIN_ESS} after weighting; got {self.ess:.0f} of {self.weights.size}."
        checks = ((self.pareto_k <= self.max_pareto_k, heavy), (self.ess >= MIN_ESS, few))
        return tuple(f"{problem} {_CURE}" for good, problem in checks if not good)

    @property
    def needs_refit(self) -> bool:
        """Whether the new losses moved the posterior too far for weights."""
        return bool(self.problems)

    def forecast(
        self, steps: ArrayLike, *, schedule: Schedule | str | None = None, positions: Sequence[float] = (), seed: int = 0
    ) -> Forecast:
        """Test loss at steps after the last new checkpoint, from as many draws as the fit has.

        Args:
            steps: later steps, in any order (step).
            schedule: another plan for the steps after the last new checkpoint.
            positions: token positions whose loss to draw as well; any of those fitted.
            seed: of the choice of draws, and of drift and noise.

        Returns:
            A forecast with a single chain; marked as not converged where ``needs_refit``.

        Raises:
            DataError: a step that is not later, a schedule that ends too early, or a position that was not fitted.
        """
        schedule = schedules.optional_schedule(schedule)
        require_seed(seed)
        ahead = later_steps(steps, self.origin)
        whole = self.schedule if schedule is None else schedules.splice(self.schedule, schedule, at=self.origin)
        whole.require_reaches(float(ahead[-1]))
        start = self._start(np.random.default_rng((seed, 2)))
        made = forecast_paths(self.fit, {"": ahead}, {"": whole}, positions=positions, seed=seed, start=start)[""]
        return replace(
            made,
            origin=self.origin,
            history=xr.concat([made.history, self.losses], STEP),
            notices=made.notices + self.problems,
            converged=made.converged and not self.needs_refit,
        )

    def _start(self, rng: np.random.Generator) -> ForecastState:
        """Draws by weight, and where the drift of each stands (1, draw)."""
        picked = resampled(rng, self.weights.to_numpy().ravel())
        value, speed, vv, vs, ss = (part[picked] for part in self.drift)
        root, first, second = np.sqrt(vv), *rng.standard_normal((2, len(picked)))
        lean = np.divide(vs, root, out=np.zeros_like(vs), where=root > 0)
        left = np.sqrt(np.maximum(ss - lean**2, 0.0))
        sites = {name: draws.ravel()[picked][None] for name, draws in at_origin(self.fit).sites.items()}
        u = make_time_axis([self.origin], self.schedule, self.fit.anchor).u[0]
        return ForecastState(sites, float(u), (value + root * first)[None], (speed + lean * first + left * second)[None])


def update(fit: Fit, losses: LossTable, *, schedule: Schedule | str | None = None, seed: int = 0) -> Updated:
    """Weight the draws of a fit by later checkpoints of its run, in about a second; a notice says where that is not enough.

    A single checkpoint far off counts as an outlier, as in a fit, and need not ask for one: ``surprise`` tells of it.

    Args:
        fit: of one run; of several, ``fit.select(run=...)``.
        losses: of the same run and test set, or test sets, whose mean is then forecast; those up to the fit's origin are left
            out. Of a fit with positions, either at all of these or mean losses over them.
        schedule: what was followed since the origin, and is planned, if not the schedule that was fitted.
        seed: of the noise weights of the new checkpoints.

    Raises:
        DataError: no later loss, another run or test set, other positions, or a schedule that ends before them.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    >>> with warnings.catch_warnings(action="ignore"):  # of too few draws
    ...     updated = update(example_fit(), losses.until(1300))
    >>> updated.origin, updated.needs_refit
    (1300.0, True)
    """
    cure = "Choose one with fit.select(run=...)."
    require(len(fit.runs) == 1, "fit", "be of a single run", fit.runs, cure=cure)
    require_losses(losses)
    require_seed(seed)
    schedule = schedules.optional_schedule(schedule)
    means = _later_means(fit, over_test_sets(losses.select(run=fit.run, test_set=fit.test_sets or fit.test_set)))
    whole, steps = schedule_ahead(fit, schedule), means.index.to_numpy(float)
    whole.require_reaches(float(steps[-1]))
    axis, sites = fit.time_axis(steps, whole), at_origin(fit).sites
    expected, error = mean_by_law(fit, axis, sites)
    off = means.to_numpy(float) - expected.reshape(-1, len(steps))
    drift_scale, noise_scale = sites["drift_scale"].ravel(), sites["noise_scale"].ravel()
    density, drift = filter_checkpoints(
        np.random.default_rng(seed), off, u=axis.u[:-1], drift_scale=drift_scale, noise_scale=noise_scale, error=error
    )
    shape = sites["drift_scale"].shape
    log_weights, k = pareto_smoothed(density, relative_ess=fit.relative_ess)
    weights = np.exp(log_weights).reshape(shape)
    made = Updated(
        fit=fit,
        losses=xr.DataArray(means.to_numpy(float), {STEP: steps}, (STEP,), name="mean_loss"),
        schedule=whole,
        weights=xr.DataArray(weights, {CHAIN: np.arange(shape[0]), DRAW: np.arange(shape[1])}, DRAWS, name="weight"),
        pareto_k=k,
        ess=float(fit.relative_ess / np.sum(weights**2)),
        drift=drift,
    )
    for problem in made.problems:
        with suppress(Notice):  # raised where the user has made errors of warnings: the update has it
            warnings.warn(problem, Notice, stacklevel=2)
    return made


def resampled(rng: np.random.Generator, weights: Array) -> NDArray[np.intp]:
    """Systematic resampling: which of the draws, each as often as its weight says, give or take one (draw).

    >>> resampled(np.random.default_rng(0), np.array([0.5, 0.0, 0.5, 0.0])).tolist()
    [0, 0, 2, 2]
    """
    ticks = (np.arange(len(weights)) + rng.random()) / len(weights)
    return np.minimum(np.searchsorted(np.cumsum(weights), ticks), len(weights) - 1)


def _later_means(fit: Fit, losses: LossTable) -> pd.Series:
    """Mean losses after the origin, over the positions that were fitted (step)."""
    steps, fitted = losses.steps, fit.positions.position
    cure = "Give checkpoints that were measured since."
    require(steps[-1] > fit.origin, "losses", f"have a step after the origin {show(fit.origin)}", steps, cure=cure)
    if losses.by_position and fit.by_position:
        odd = np.setxor1d(fitted, losses.frame["position"])
        cure = "Give losses at all of them, or mean losses over them."
        require(odd.size == 0, "positions", "be those that were fitted", odd, where="on one side only", cure=cure)
    means = losses.mean_losses()
    return means.loc[means.index > fit.origin]
