"""The loss curve of a run of a size and length never trained: its end by a scaling law, the way there by the law of one run.

    loss at step t = final loss + slow learning, learning-rate response and drift between t and the end

The final loss comes from ``ScalingFit``, with the slope that the scaling law has there; curvature, response and drift come from
priors of runs of its kind, as in a fit whose origin is the last step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.arrays import AnyArray
from bayes_tsl._common.dims import CHAIN, DRAW, DRAWS, STEP
from bayes_tsl._common.jax_settings import float64
from bayes_tsl._common.validation import floats, require, require_seed, show
from bayes_tsl.data.recipe import make_recipe
from bayes_tsl.data.schedules import Schedule, as_schedule
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.inference.nuts import over_draws
from bayes_tsl.inference.run_inputs import priors_of
from bayes_tsl.inference.scaling import ScalingFit, require_scaling
from bayes_tsl.model.checkpoints import SKIP_WARMUPS
from bayes_tsl.model.drift import draw_path_at
from bayes_tsl.model.lr_response import excess_loss, make_time_axis, response
from bayes_tsl.model.population import Population
from bayes_tsl.model.priors import LearnedPriors, Priors
from bayes_tsl.model.single_run import TAIL, trend
from bayes_tsl.model.time_axis import TimeAxis, make_anchor

Array = NDArray[np.float64]
Sites = dict[str, Array]

DECAYED = 0.1  # share of the peak at which the learning rate of a finished run is taken to end
WAY = "The way to the end is less certain than the end: 90% intervals covered 59 to 100% of the curves of public runs left out."
_STEPS = 50  # that are forecast where none are named


def forecast_new(
    scaling: ScalingFit,
    *,
    parameters: float,
    batch_tokens: float | Mapping[float, float] | pd.DataFrame,
    schedule: Schedule | str,
    steps: ArrayLike | None = None,
    priors: Priors | Population | LearnedPriors | None = None,
    run: str = "new run",
    seed: int = 0,
) -> Forecast:
    """Loss curve of a run that has not begun.

    Args:
        scaling: scaling law of finished runs, whose learning rate had decayed to ``DECAYED`` of its peak or below. What a
            schedule that ends higher leaves of the excess loss is added.
        parameters: of the model.
        batch_tokens: tokens a step: a number, or a ramp as ``fit`` takes it.
        schedule: learning rate of the whole run.
        steps: to forecast, past twice the warm-up; by default 50, evenly until the end (step).
        priors: of the shape of the curve, as for ``fit``: by default those of a new family of runs.
        run: its name.
        seed: of all that is drawn.

    Returns:
        A forecast from origin 0, without history.

    Raises:
        DataError: the schedule has no end, or a step lies outside the run.

    Example::

        import bayes_tsl as bt

        scaling = bt.fit_scaling(finished)  # columns parameters, tokens, loss, lr
        plan = bt.schedules.cosine(peak=6e-4, warmup=2000, total=100_000, final=6e-5)
        ahead = bt.forecast_new(scaling, parameters=1.3e9, batch_tokens=2**21, schedule=plan)
        print(ahead.to_frame())
    """
    require_scaling(scaling)
    schedule = as_schedule(schedule)
    require_seed(seed)
    end = float(schedule.end)
    require(np.isfinite(end), "schedule", "have a last step", end, cure="Give its total=...")
    recipe = make_recipe(batch_tokens=batch_tokens, parameters=parameters)
    step = _steps(steps, schedule)
    whole = recipe.effective(schedule)
    [own], notices = priors_of({run: whole}, [end], {run: recipe}, priors, None)
    axis = make_time_axis(np.append(step, end), whole, make_anchor(whole, end))
    rng = np.random.default_rng(seed)
    size, tokens = float(parameters), recipe.tokens(end)
    ends = scaling.losses(parameters=size, tokens=tokens, lr=schedule.peak, seed=seed)[..., 0]
    slopes = scaling.slopes(parameters=size, tokens=tokens)
    sites = _drawn(own, ends.shape, rng) | {"floor_level": ends.to_numpy(), "floor_slope": slopes.to_numpy()}
    expected = _curves(axis, sites, rng)
    observed = expected + sites["noise_scale"][..., None] * rng.standard_t(TAIL, expected.shape)
    coords = {CHAIN: np.arange(ends.shape[0]), DRAW: np.arange(ends.shape[1]), STEP: step}
    return Forecast(
        run=run,
        test_set="test",
        origin=0.0,
        expected=xr.DataArray(expected, coords, (*DRAWS, STEP), name="expected"),
        observed=xr.DataArray(observed, coords, (*DRAWS, STEP), name="observed"),
        history=xr.DataArray(np.zeros(0), {STEP: np.zeros(0)}, (STEP,)),
        notices=(
            WAY,
            *scaling.notices,
            *scaling.beyond(parameters=size, tokens=tokens),
            *notices,
            *scaling.diagnostics.problems,
        ),
        converged=scaling.converged,
    )


def _steps(steps: ArrayLike | None, schedule: Schedule) -> Array:
    """Steps to forecast, increasing (step)."""
    first = max(SKIP_WARMUPS * schedule.warmup, 1.0)
    if steps is None:
        return np.unique(np.round(np.linspace(first, schedule.end, _STEPS + 1)[1:]))
    asked = np.unique(floats(steps, "steps", cure="Give e.g. steps=[2000, 2500]."))
    outside = asked[~((asked >= first) & (asked <= schedule.end))]
    rule = f"lie between {show(first)} (twice the warm-up) and the end of the schedule, {show(schedule.end)}"
    require(asked.size and not outside.size, "steps", rule, outside if asked.size else "none")
    return asked


def _drawn(priors: Priors, shape: tuple[int, ...], rng: np.random.Generator) -> Sites:
    """Parameters of one run that its mean losses have, drawn from their priors (chain, draw)."""
    fixed, many = priors.fixed(), int(np.prod(shape))
    free = [name for name in Priors.__dataclass_fields__ if name not in fixed and not name.startswith(("gap_", "rate_"))]
    drawn = {name: getattr(priors, name).draws(rng, many).reshape(shape) for name in free}
    return drawn | {name: np.full(shape, value) for name, value in fixed.items() if name != "convergence"}


def _curves(axis: TimeAxis, sites: Sites, rng: np.random.Generator) -> Array:
    """Expected losses before the end (chain, draw, step); the drift runs back from there, where it is at rest."""
    with float64():
        law, held = over_draws(_law_and_held, (axis,), sites)
    drift = sites["drift_scale"][..., None] * draw_path_at(rng, -axis.u[:-1], held.shape)
    usual = sites["heat"] * response(DECAYED, sites["heat_power"])
    return law + drift + np.maximum(held - usual, 0.0)[..., None]


def _law_and_held(axis: TimeAxis, sites: Sites) -> tuple[AnyArray, AnyArray]:
    """Losses by law (step), and the excess loss that is left at the end."""
    return trend(axis, sites).floor, excess_loss(axis, sites)[-1]
