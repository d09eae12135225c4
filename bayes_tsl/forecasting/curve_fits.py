"""A forecast from a curve: fitted to the mean loss by robust least squares, and resampled.

    past -> least squares from several starts -> moving-block bootstrap of the residuals -> draws

The bootstrap knows of noise and of parameters, but not of the curve being wrong. Steps before twice the warm-up are left out,
as they are in ``fit``. ``usable_past`` and ``from_draws`` serve any other forecaster of the mean loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult, least_squares

from bayes_tsl._common.dims import CHAIN, DRAW, STEP
from bayes_tsl._common.validation import require, require_seed
from bayes_tsl.data import schedules
from bayes_tsl.data.loss_table import LossTable, require_losses
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.inference.diagnostics import ConvergenceError
from bayes_tsl.model.checkpoints import after_warmup
from bayes_tsl.model.design import later_steps

Array = NDArray[np.float64]

DRAWS = 1000  # of a forecast
_NOISES = 10  # measurements drawn around each resampled curve
_REFIT_STEPS = 30  # evaluations of a resampled fit, which starts where the fit ended


@dataclass(frozen=True)
class Law:
    """A curve over inputs of its own.

    Attributes:
        name: of the law, in messages.
        see: inputs from steps (step), the origin and the schedule.
        curve: loss (step) from parameters and inputs.
        starts: parameters to start from, given the losses (step).
        needs_schedule: whether an unknown schedule is refused.
        slopes: derivative of the curve in its parameters (step, parameter); without it differences are taken.
        bounds: least and greatest parameters, by default for logarithms; starts are kept a sixtieth of the width within.
    """

    name: str
    see: Callable[[Array, float, Schedule], Any]
    curve: Callable[[Array, Any], Array]
    starts: Callable[[Array], Sequence[Sequence[float]]]
    needs_schedule: bool = False
    slopes: Callable[[Array, Any], Array] | None = None
    bounds: tuple[ArrayLike, ArrayLike] = (-30.0, 30.0)


class Past(NamedTuple):
    """What a forecaster of the mean loss sees.

    Attributes:
        losses: as they were given.
        mean: mean losses that can be fitted (step).
        ahead: steps to forecast (step).
        schedule: reaches the last of them.
        notices: about making all this.
    """

    losses: LossTable
    mean: pd.Series
    ahead: Array
    schedule: Schedule
    notices: tuple[str, ...]

    @property
    def step(self) -> Array:
        """Steps that can be fitted (step)."""
        return self.mean.index.to_numpy(float)

    @property
    def loss(self) -> Array:
        """Mean losses that can be fitted (step)."""
        return self.mean.to_numpy(float)


def usable_past(losses: LossTable, *, steps: ArrayLike, schedule: Schedule | str | None, least: int, seed: int) -> Past:
    """Losses past the warm-up, and the steps ahead of them.

    Raises:
        DataError: fewer than ``least`` checkpoints, a step that is not later, or a schedule that does not reach it.
    """
    require_losses(losses)
    require_seed(seed)
    schedule = schedules.optional_schedule(schedule) or schedules.unknown()
    kept, notices = after_warmup(losses, schedule)
    mean = kept.mean_losses()
    require_checkpoints(len(mean), least)
    ahead = later_steps(steps, float(mean.index[-1]))
    schedule.require_reaches(float(ahead[-1]))
    unknown = () if schedule.known else (schedules.UNKNOWN,)
    return Past(losses, mean, ahead, schedule, (*losses.notices, *unknown, *notices))


def from_draws(past: Past, *, expected: Array, observed: Array) -> Forecast:
    """The forecast that has these draws of the curve and of its measurements (draw, step)."""
    coords, dims = {CHAIN: [0], DRAW: np.arange(len(expected)), STEP: past.ahead}, (CHAIN, DRAW, STEP)
    return Forecast(
        run=past.losses.runs[0],
        test_set=past.losses.test_sets[0],
        origin=float(past.step[-1]),
        expected=xr.DataArray(expected[None], coords, dims, name="expected"),
        observed=xr.DataArray(observed[None], coords, dims, name="observed"),
        history=xr.DataArray(past.loss, {STEP: past.step}, (STEP,), name="mean_loss"),
        notices=past.notices,
    )


@np.errstate(all="ignore")  # a law tried far out may overflow; what is kept is checked
def bootstrap(law: Law, losses: LossTable, *, steps: ArrayLike, schedule: Schedule | str | None, seed: int) -> Forecast:
    """Forecast of a law from fits to resampled losses.

    Raises:
        DataError: too few checkpoints, a step that is not later, or no schedule where the law needs one.
        ConvergenceError: no start of the least squares converged, or the law overflows.
    """
    size = len(law.starts(np.zeros(1))[0])
    past = usable_past(losses, steps=steps, schedule=schedule, least=size + 2, seed=seed)
    plan, step, y = past.schedule, past.step, past.loss
    cure = "Pass schedule=, or choose a law that is blind to it."
    require(plan.known or not law.needs_schedule, "schedule", f"be known for the {law.name}", plan.text, cure=cure)
    inputs, future = (law.see(at, float(step[-1]), plan) for at in (step, np.concatenate([step, past.ahead])))
    best, scale = fitted(law, y, inputs=inputs)
    rng = np.random.default_rng(seed)
    along = law.curve(best, inputs)
    noise = (y - along) * np.sqrt(len(y) / (len(y) - size))
    noise = noise - noise.mean()
    curves = []
    for _ in range(DRAWS // _NOISES):
        again = _least_squares(law, inputs, along + _blocks(rng, noise), best, scale, most=_REFIT_STEPS)
        curves.append(law.curve(again.x, future)[len(step) :])
    require_finite(curves, law)
    expected = np.repeat(np.stack(curves), _NOISES, axis=0)
    return from_draws(past, expected=expected, observed=expected + noise[rng.integers(0, len(noise), expected.shape)])


def fitted(law: Law, y: Array, *, inputs: Any) -> tuple[Array, float]:
    """Robust least squares from every start, at the scale of plain least squares' residuals: parameters and that scale.

    Raises:
        ConvergenceError: no start converged.
    """
    plain = [_least_squares(law, inputs, y, start, None, most=200) for start in law.starts(y)]
    best = min(plain, key=lambda found: found.cost)
    scale = max(1.4826 * float(np.median(np.abs(best.fun))), 1e-6)
    robust = [_least_squares(law, inputs, y, found.x, scale, most=1000) for found in sorted(plain, key=lambda f: f.cost)[:3]]
    settled = [found for found in robust if found.status > 0 and np.isfinite(found.cost)]
    if not settled:
        reason = robust[0].message.strip().rstrip(".")
        raise ConvergenceError(f"least squares of the {law.name} must converge; got {reason!r}. Fit later in the run.")
    return min(settled, key=lambda found: found.cost).x, scale


def require_checkpoints(count: int, least: int) -> None:
    """Raise ``DataError`` where there are too few checkpoints."""
    require(count >= least, "losses", f"hold {least} usable checkpoints", count, cure="Fit later in the run.")


def require_finite(curves: ArrayLike, law: Law) -> None:
    """Raise ``ConvergenceError`` where a law has overflowed."""
    if not np.isfinite(curves).all():
        raise ConvergenceError(f"the {law.name} must be finite ahead; got an overflow. Fit later in the run.")


def _least_squares(law: Law, inputs: Any, y: Array, start: ArrayLike, scale: float | None, *, most: int) -> OptimizeResult:
    """Squares without ``scale``, soft absolute values beyond it with it; parameters are kept within reason."""
    low, high = (np.asarray(bound, float) for bound in law.bounds)
    margin, slopes = (high - low) / 60.0, law.slopes
    jac: Any = "2-point" if slopes is None else lambda x: np.nan_to_num(slopes(x, inputs), posinf=1e6, neginf=-1e6)
    return least_squares(
        lambda x: np.nan_to_num(law.curve(x, inputs) - y, nan=1e3, posinf=1e3, neginf=-1e3),
        np.clip(np.asarray(start, float), low + margin, high - margin),
        jac=jac,
        bounds=(low, high),
        max_nfev=most,
        loss="linear" if scale is None else "soft_l1",
        f_scale=1.0 if scale is None else scale,
    )


def _blocks(rng: np.random.Generator, noise: Array) -> Array:
    """Moving-block bootstrap of a series, blocks as long as its cube root (Kunsch, Annals of Statistics 1989)."""
    size = len(noise)
    length = max(round(size ** (1.0 / 3.0)), 1)
    first = rng.integers(0, size - length + 1, size=-(-size // length))
    return noise[(first[:, None] + np.arange(length)).ravel()[:size]]
