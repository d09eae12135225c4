"""What a forecast has to beat: curves fitted to the mean loss by least squares, each a forecaster of its own.

Blind to the schedule: the last value, and the paper's three (Xiong et al., arXiv 2404.17785), power law, reciprocal and
logarithmic.
With the schedule: the learning-rate-annealing law and the multi-power law, as published. ``curve_fits`` fits and resamples
them. ``joint_curves`` fits one of the laws to several runs at once and predicts others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.dims import STEP
from bayes_tsl._common.validation import floats, require, require_choice, require_number, require_type, show
from bayes_tsl.data import schedules
from bayes_tsl.data.loss_table import LossTable, require_losses
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.forecasting.curve_fits import (
    DRAWS,
    Law,
    bootstrap,
    fitted,
    from_draws,
    require_checkpoints,
    require_finite,
    usable_past,
)
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.model.checkpoints import after_warmup

__all__ = [
    "BASELINES",
    "Forecaster",
    "annealing_law",
    "joint_curves",
    "last_value",
    "logarithmic",
    "multi_power_law",
    "power_law",
    "reciprocal",
]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[np.float64]

_LR_CELLS = 128
_ANNEALING_DECAY = 0.999  # per step, as published


class Forecaster(Protocol):
    """Anything that forecasts later steps from a loss table of the past."""

    def __call__(self, losses: LossTable, *, steps: ArrayLike, schedule: Schedule | None = None, seed: int = 0) -> Forecast:
        """Forecast of ``steps``."""
        ...


def last_value(losses: LossTable, *, steps: ArrayLike, schedule: Schedule | str | None = None, seed: int = 0) -> Forecast:
    """The loss stays where it is, as a Gaussian random walk in log step whose scale is that of the past changes.

    >>> step = np.arange(100.0, 1001.0, 100.0)
    >>> losses = LossTable.from_frame(pd.DataFrame({"step": step, "loss": 3.0 + 20.0 / np.sqrt(step) + np.sin(step) / 99}))
    >>> last_value(losses, steps=[2000]).quantile(0.5).round(2).to_numpy().tolist()
    [3.62]
    """
    past = usable_past(losses, steps=steps, schedule=schedule, least=2, seed=seed)
    log_step = np.log(past.step)
    scale = np.sqrt(np.mean(np.diff(past.loss) ** 2 / np.diff(log_step)))
    widths = np.sqrt(np.diff(np.log(past.ahead), prepend=log_step[-1]))
    rng = np.random.default_rng(seed)
    moves = scale * widths * rng.standard_normal((DRAWS, len(past.ahead)))
    draws = float(past.loss[-1]) + np.cumsum(moves, axis=1)
    return from_draws(past, expected=draws, observed=draws)


def power_law(losses: LossTable, *, steps: ArrayLike, schedule: Schedule | str | None = None, seed: int = 0) -> Forecast:
    """``c + a t^-p``.

    Raises:
        DataError: too few checkpoints, or a step that is not later.
        ConvergenceError: no start of the least squares converged.

    >>> step = np.arange(100.0, 1001.0, 100.0)
    >>> losses = LossTable.from_frame(pd.DataFrame({"step": step, "loss": 3.0 + 20.0 / np.sqrt(step) + np.sin(step) / 99}))
    >>> power_law(losses, steps=[2000]).quantile(0.5).round(1).to_numpy().tolist()
    [3.5]
    """
    return bootstrap(_POWER, losses, steps=steps, schedule=schedule, seed=seed)


def reciprocal(losses: LossTable, *, steps: ArrayLike, schedule: Schedule | str | None = None, seed: int = 0) -> Forecast:
    """``c + a / (1 + b t)``; errors as ``power_law``.

    >>> step = np.arange(100.0, 1001.0, 100.0)
    >>> losses = LossTable.from_frame(pd.DataFrame({"step": step, "loss": 3.0 + 2.0 / (1.0 + 0.01 * step) + np.sin(step) / 99}))
    >>> reciprocal(losses, steps=[2000]).quantile(0.5).round(1).to_numpy().tolist()
    [3.1]
    """
    return bootstrap(_RECIPROCAL, losses, steps=steps, schedule=schedule, seed=seed)


def logarithmic(losses: LossTable, *, steps: ArrayLike, schedule: Schedule | str | None = None, seed: int = 0) -> Forecast:
    """``c - a log t``; errors as ``power_law``.

    >>> step = np.arange(100.0, 1001.0, 100.0)
    >>> losses = LossTable.from_frame(pd.DataFrame({"step": step, "loss": 8.0 - 0.5 * np.log(step) + np.sin(step) / 99}))
    >>> logarithmic(losses, steps=[2000]).quantile(0.5).round(1).to_numpy().tolist()
    [4.2]
    """
    return bootstrap(_LOGARITHMIC, losses, steps=steps, schedule=schedule, seed=seed)


def annealing_law(losses: LossTable, *, steps: ArrayLike, schedule: Schedule | str | None = None, seed: int = 0) -> Forecast:
    """``L0 + A S1^-alpha - C S2`` (Tissue et al., arXiv 2408.11029, eq. 1), errors as ``power_law``; needs the schedule.

    ``S1`` sums the learning rate, ``S2`` the momentum of its falls after warm-up, which decays by .999 a step.

    >>> from bayes_tsl.data import datasets
    >>> losses = datasets.load().select(run="mix50_cosine", test_set="prose").until(1200)
    >>> ahead = annealing_law(losses, steps=[2500], schedule=datasets.schedules()["mix50_cosine"])
    >>> ahead.quantile(0.5).round(1).to_numpy().tolist()
    [3.1]
    """
    return bootstrap(_ANNEALING, losses, steps=steps, schedule=schedule, seed=seed)


def multi_power_law(losses: LossTable, *, steps: ArrayLike, schedule: Schedule | str | None = None, seed: int = 0) -> Forecast:
    """``L0 + A S1^-alpha - B sum_k drop_k G(lr_k^-gamma S_k)``, ``G(x) = 1 - (1 + C x)^-beta``; needs the schedule.

    Luo et al., arXiv 2503.12811, eq. 1: every fall of the learning rate lowers the loss by a power law in the learning rate
    summed since. Errors as ``power_law``.

    Example::

        from bayes_tsl.data import datasets

        losses = datasets.load().select(run="mix50_cosine", test_set="prose").until(1200)
        multi_power_law(losses, steps=[2500], schedule=datasets.schedules()["mix50_cosine"]).to_frame()
    """
    return bootstrap(_MULTI_POWER, losses, steps=steps, schedule=schedule, seed=seed)


BASELINES: dict[str, Forecaster] = {
    "last-value": last_value,
    "power-law": power_law,
    "reciprocal": reciprocal,
    "logarithmic": logarithmic,
    "annealing-law": annealing_law,
    "multi-power-law": multi_power_law,
}


@np.errstate(all="ignore")  # a law tried far out may overflow; what is kept is checked
def joint_curves(
    law: str, losses: LossTable, *, schedules: Mapping[str, Schedule | str], steps: Mapping[str, ArrayLike], unit_step: float
) -> dict[str, pd.Series]:
    """Mean loss of each run in ``steps`` [nats/token] (step), by one law with the same parameters for all runs.

    Runs under a few schedules predict those under others, which is how Luo et al. (arXiv 2503.12811) test their law. The fit
    is by robust least squares, every checkpoint counted alike; the prediction has no interval.

    Args:
        law: annealing-law or multi-power-law.
        losses: runs to fit, on one test set, which differ in nothing but their schedules [nats/token].
        schedules: learning rate of every run, fitted or predicted, by name; runs are fitted in this order.
        steps: steps to predict, by run.
        unit_step: step at which the law's progress is 1, e.g. the end of a warm-up that all runs have.

    Raises:
        DataError: another law, too few checkpoints, or a run without a schedule, with one that ends before its steps, or with
            other progress at ``unit_step``.
        ConvergenceError: no start of the least squares converged, or the law overflows.

    Example:
        >>> from bayes_tsl.data import datasets
        >>> prose = datasets.load("gpt_positions").select(test_set="prose").frame
        >>> fitted = LossTable.from_frame(prose[prose["run"].isin(["mix50_constant", "mix50_cosine"])])
        >>> plans = {run: datasets.schedules("gpt_positions")[run] for run in [*fitted.runs, "mix50_wsd"]}
        >>> curves = joint_curves("annealing-law", fitted, schedules=plans, steps={"mix50_wsd": [2400]}, unit_step=120)
        >>> print(f"{curves['mix50_wsd'][2400]:.1f}")
        2.6
    """
    require_choice(law, "law", _SCHEDULED)
    require_losses(losses)
    one, plans = _SCHEDULED[law], _comparable(schedules, [*losses.runs, *steps], unit_step)
    best = _fit_jointly(one, losses, {run: plan for run, plan in plans.items() if run in losses.runs}, unit_step)
    return {run: _along(one, best, at, unit_step, plans[run]) for run, at in steps.items()}


def relative_step(steps: Array, origin: float, schedule: Schedule) -> Array:
    """Steps in units of the origin (step)."""
    return steps / origin


def see_annealing(steps: Array, origin: float, schedule: Schedule) -> tuple[Array, Array]:
    """Summed learning rate relative to the origin, and annealed momentum in units of the peak (step)."""
    last = float(steps[-1])
    grid = np.linspace(0.0, last, int(min(np.ceil(last), 2**18)) + 1)
    lr = np.where(grid < schedule.warmup, schedule.peak, schedule.lr(grid)) / schedule.peak
    lost = 1.0 - _ANNEALING_DECAY ** grid[1]
    momentum = pd.Series(-np.diff(lr, prepend=lr[0])).ewm(alpha=lost, adjust=False).mean().to_numpy() / lost
    area = np.cumsum(momentum) * grid[1]
    return schedule.progress(steps) / float(schedule.progress(origin)), np.interp(steps, grid, area)


def _see_falls(steps: Array, origin: float, schedule: Schedule) -> tuple[Array, Array, Array, Array]:
    """Relative progress (step), and of each fall of the learning rate: size, lr after it (fall), progress since."""
    knots = schedule.steps[(schedule.steps >= schedule.warmup) & (schedule.steps <= steps[-1])]
    few = knots[:: max(len(knots) // _LR_CELLS, 1)]
    edges = np.unique(np.concatenate([np.linspace(schedule.warmup, steps[-1], _LR_CELLS + 1), few]))
    lr, unit = schedule.lr(edges) / schedule.peak, float(schedule.progress(origin))
    fall = -np.diff(lr)
    at = np.asarray(np.nonzero(fall)[0])
    since = schedule.progress(steps)[:, None] - schedule.progress(edges[1:][at])
    return schedule.progress(steps) / unit, fall[at], np.maximum(lr[1:][at], 1e-6), np.maximum(since, 0.0) / unit


def power(x: Array, t: Array) -> Array:
    """``x0 + exp(x1) t^-exp(x2)`` (step)."""
    return x[0] + np.exp(x[1]) * t ** -np.exp(x[2])


def _multi_power(x: Array, inputs: tuple[Array, Array, Array, Array]) -> Array:
    progress, fall, lr, since = inputs
    gain, (speed, beta, gamma) = x[3], np.exp(x[4:])
    drop = (1.0 - (1.0 + speed * lr**-gamma * since) ** -beta) @ fall
    return power(x[:3], progress) - gain * drop


def power_starts(y: Array) -> list[tuple[float, ...]]:
    """Parameters of ``power`` to start from."""
    return [(y[-1] - drop, np.log(drop), np.log(p)) for drop in (0.3, 1.0, 3.0) for p in (0.1, 0.5, 1.0)]


def _multi_power_slopes(x: Array, inputs: tuple[Array, Array, Array, Array]) -> Array:
    """Derivatives of ``_multi_power``; differences would raise a power per step and fall for every parameter."""
    progress, fall, lr, since = inputs
    gain, (speed, beta, gamma) = x[3], np.exp(x[4:])
    reach = speed * lr**-gamma * since
    left = (1.0 + reach) ** -beta
    steeper = beta * left * reach / (1.0 + reach)
    falling = power(x[:3], progress) - x[0]
    return np.column_stack(
        [
            np.ones_like(progress),
            falling,
            -falling * np.exp(x[2]) * np.log(progress),
            -(1.0 - left) @ fall,
            -gain * steeper @ fall,
            -gain * (beta * left * np.log1p(reach)) @ fall,
            gain * gamma * steeper @ (fall * np.log(lr)),
        ]
    )


_POWER = Law("power-law", relative_step, power, power_starts)
_RECIPROCAL = Law(
    "reciprocal",
    relative_step,
    lambda x, t: x[0] + np.exp(x[1]) / (1.0 + np.exp(x[2]) * t),
    lambda y: [(y[-1] - drop, np.log(drop * (1.0 + b)), np.log(b)) for drop in (0.1, 0.3, 1.0) for b in (1.0, 10.0, 100.0)],
)
_LOGARITHMIC = Law("logarithmic", relative_step, lambda x, t: x[0] - x[1] * np.log(t), lambda y: [(y[-1], 0.1)])
_ANNEALING = Law(
    "annealing-law",
    see_annealing,
    lambda x, inputs: power(x[:3], inputs[0]) - x[3] * inputs[1],
    lambda y: [(*start, gain) for start in power_starts(y)[1::3] for gain in (1e-4, 1e-2)],
    needs_schedule=True,
)
_MULTI_POWER = Law(
    "multi-power-law",
    _see_falls,
    _multi_power,
    lambda y: [
        (*start, 0.3, np.log(speed), np.log(0.5), np.log(0.5)) for start in power_starts(y)[1::3] for speed in (10.0, 200.0)
    ],
    needs_schedule=True,
    slopes=_multi_power_slopes,
)


_SCHEDULED = {law.name: law for law in (_ANNEALING, _MULTI_POWER)}


def _comparable(given: Mapping[str, Schedule | str], runs: Sequence[str], unit_step: float) -> dict[str, Schedule]:
    """Schedules of ``runs``, in the order given, which have all made the same progress by ``unit_step``."""
    require_type(given, "schedules", Mapping, cure="Give {run: schedule}.")
    known = {run: schedules.as_schedule(plan) for run, plan in given.items() if plan is not None}
    missing = [run for run in runs if run not in known or not known[run].known]
    require(not missing, "schedules", "name every run", missing, where="without one", cure="Give the learning rate of each.")
    require_number(unit_step, "unit_step", low=0.0, cure="It is a step until which all runs are the same, e.g. 1000.")
    plans = {run: plan for run, plan in known.items() if run in runs}
    progress = [float(plan.progress(unit_step)) for plan in plans.values()]
    rule, cure = f"make the same progress until step {show(unit_step)}", "Pass another unit_step=."
    require(np.allclose(progress, progress[0], rtol=1e-6), "schedules", rule, progress, cure=cure)
    return plans


def _fit_jointly(law: Law, losses: LossTable, plans: Mapping[str, Schedule], unit_step: float) -> Array:
    """Parameters that fit all runs at once, each with its own schedule."""
    pasts = {run: after_warmup(losses.select(run=run), plan)[0].mean_losses() for run, plan in plans.items()}
    y = np.concatenate([past.to_numpy() for past in pasts.values()])
    require_checkpoints(len(y), len(law.starts(y)[0]) + 2)
    inputs = [law.see(past.index.to_numpy(float), unit_step, plans[run]) for run, past in pasts.items()]
    joined = replace(law, curve=lambda x, parts: np.concatenate([law.curve(x, part) for part in parts]), slopes=None)
    return fitted(joined, y, inputs=inputs)[0]


def _along(law: Law, x: Array, steps: ArrayLike, unit_step: float, plan: Schedule) -> pd.Series:
    """Loss by a fitted law [nats/token] (step)."""
    at = np.unique(floats(steps, "steps"))
    good = at.size > 0 and np.isfinite(at).all() and at[0] > 0
    require(good, "steps", "be finite and above 0", at, cure="Give steps that the run will reach.")
    plan.require_reaches(at[-1])
    loss = law.curve(x, law.see(at, unit_step, plan))
    require_finite(loss, law)
    return pd.Series(loss, pd.Index(at, name=STEP), name="loss")
