"""From a fit to a forecast: the model's own laws, drift and noise at later steps, for every posterior draw.

Given level and slope at the origin, drift ahead is independent of drift behind, so nothing is refitted:

    expected = mean_i [floor + gap / (1 + rate i)]       coefficients at their laws, the floor with drift
    observed = the same, with one checkpoint's own noise on every coefficient and on every position

All of it comes from the functions that the NumPyro model is made of: ``trend``, ``with_checkpoint_noise``,
``mean_over_positions`` and ``drift``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.dims import CHAIN, DRAW, POSITION, STEP
from bayes_tsl._common.jax_settings import float64
from bayes_tsl._common.seeds import seed_of
from bayes_tsl._common.validation import floats, require, require_seed, require_type
from bayes_tsl.data import schedules
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.forecasting.distribution import Forecast, side_by_side
from bayes_tsl.forecasting.positions import Positions, losses_at, mean_of, polynomial_of, positions_of, weighted_effect
from bayes_tsl.forecasting.several_test_sets import each_test_set
from bayes_tsl.inference.nuts import over_draws
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.model.design import later_steps
from bayes_tsl.model.drift import draw_path, draw_path_at
from bayes_tsl.model.single_run import TAIL, Trend, trend, with_checkpoint_noise
from bayes_tsl.model.time_axis import TimeAxis

Array = NDArray[np.float64]

_MOST_BYTES = 8e9  # that a forecast may take
_BYTES, _BYTES_BY_POSITION = 430, 24  # of one draw at one step, measured at their peak, and of each position that is drawn


class ForecastState(NamedTuple):
    """Where a forecast starts: draws of a fit, and value and speed of their drift there.

    Attributes:
        sites: value of every parameter (chain, draw).
        u: log progress there, since the origin of the fit.
        value: of the drift (chain, draw).  [nats]
        speed: of the drift (chain, draw).  [nats per unit of log progress]
    """

    sites: dict[str, Array]
    u: float
    value: Array
    speed: Array


def forecast(
    fit: Fit,
    steps: ArrayLike,
    *,
    schedule: Schedule | str | None = None,
    positions: Sequence[float] = (),
    weights: Mapping[float, float] | None = None,
    seed: int = 0,
) -> Forecast:
    """Test loss at steps after the origin; the posterior is read, never refitted.

    Of a fit of several runs all are forecast at the same steps, draw for draw from one posterior; a step may be the last
    checkpoint of a run, where the forecast is of the loss that it has there. ``fit.select(run=...)`` chooses one run. Of a fit
    of several test sets each is forecast, draw for draw; ``ahead.select(test_set=...)`` and ``ahead.weighted(...)`` choose.

    Args:
        fit: posterior given the past.
        steps: later steps, in any order (step).
        schedule: another schedule for the steps after the origin, or its text; by default the one that was fitted (one run
            only).
        positions: token positions whose loss to draw as well; any of those fitted.
        weights: what each position counts in the loss that is forecast, up to a factor; those left out count nothing. By
            default all that were fitted count the same.
        seed: of the drift and noise ahead.

    Raises:
        DataError: a step that is not later, a schedule that ends too early, a position that was not fitted, or a weight that
            is none.

    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> ahead.expected.shape, ahead.quantile(0.5).round(2).to_numpy().tolist()
    ((2, 50, 3), [3.7, 3.55, 3.48])
    """
    require_type(fit, "fit", Fit, cure="Make one with fit(...) or load_fit(path).")
    schedule = schedules.optional_schedule(schedule)
    require_seed(seed)
    steps = floats(steps, "steps", cure="Give e.g. steps=[2000, 2500].")
    positions = np.atleast_1d(floats(positions, "positions")).tolist()
    if len(fit.runs) > 1:
        cure = "Choose a run with fit.select(run=...), or use what_if."
        require(schedule is None, "schedule", "be left out for several runs", "one", cure=cure)
        return _of_several(fit, steps, positions, weights, seed)
    ahead = later_steps(steps, fit.origin)
    whole = schedule_ahead(fit, schedule)
    whole.require_reaches(float(ahead[-1]))
    if fit.test_sets:
        cure = "Fit one test set, with losses.select(test_set=...)."
        require(weights is None, "weights", "be left out for several test sets", "some", cure=cure)
        mean = forecast_paths(fit, {"": ahead}, {"": whole}, seed=seed)[""]
        return each_test_set(fit, mean, fit.time_axis(ahead, whole), positions=positions, seed=seed)
    return forecast_paths(fit, {"": ahead}, {"": whole}, positions=positions, weights=weights, seed=seed)[""]


def _of_several(
    fit: Fit, steps: ArrayLike, positions: Sequence[float], weights: Mapping[float, float] | None, seed: int
) -> Forecast:
    """All runs at the same steps; the drift of each after its origin is its own."""
    made = []
    for number, run in enumerate(fit.runs):
        one = fit.select(run=run)
        ahead = later_steps(steps, one.origin, run=run)
        one.schedule.require_reaches(float(ahead[-1]))
        own = seed_of(seed, number)
        made.append(forecast_paths(one, {"": ahead}, {"": one.schedule}, positions=positions, weights=weights, seed=own)[""])
    return side_by_side(made)


def schedule_ahead(fit: Fit, schedule: Schedule | None) -> Schedule:
    """The fitted schedule, or that until the origin and then another.

    >>> from bayes_tsl.inference.posterior import example_fit
    >>> schedule_ahead(example_fit(), schedules.constant(peak=1e-3)).lr([1000, 2000]).round(4).tolist()
    [0.0014, 0.001]
    """
    return fit.schedule if schedule is None else schedules.splice(fit.schedule, schedule, at=fit.origin)


def forecast_paths(
    fit: Fit,
    steps: Mapping[str, Array],
    by_name: Mapping[str, Schedule],
    *,
    positions: Sequence[float] = (),
    weights: Mapping[float, float] | None = None,
    seed: int,
    start: ForecastState | None = None,
) -> dict[str, Forecast]:
    """One forecast per schedule, paired: all share the posterior draws, the drift in progress, and the measurement noise.

    Args:
        fit: of one run.
        steps: to forecast, by the name of the schedule (step).
        by_name: schedules.
        positions: whose loss to draw as well.
        weights: of positions in the mean; by default all count the same.
        seed: of drift and noise.
        start: where the forecast starts; by default the origin, where drift is at rest.
    """
    of_positions = positions_of(fit.positions, positions, weights)
    _require_room(fit, sum(map(len, steps.values())), len(of_positions.shown.position))
    sites, begin, value, speed = start or at_origin(fit)
    axes = {name: fit.time_axis(steps[name], one) for name, one in by_name.items()}
    u = np.unique(np.concatenate([axis.u[:-1] for axis in axes.values()])) - begin
    walk = sites["drift_scale"][..., None] * draw_path(np.random.default_rng((seed, 0)), u, value.shape)
    drift = value[..., None] + speed[..., None] * u + walk
    made = {}
    for name, axis in axes.items():
        law = _trend(axis, sites)
        expected = law._replace(floor=law.floor + drift[..., np.searchsorted(u, axis.u[:-1] - begin)])
        measured = _measured(np.random.default_rng((seed, 1)), fit, steps[name], expected, sites, of_positions)
        made[name] = replace(measured, notices=_notices(fit, by_name[name]))
    return made


def _notices(fit: Fit, schedule: Schedule) -> tuple[str, ...]:
    """Notices of a fit and its chains; what it assumed of the learning rate ahead is left out where a plan is given."""
    planned = () if schedules.assumptions(schedule) else schedules.assumptions(fit.schedule)
    return tuple(notice for notice in fit.notices if notice not in planned) + fit.diagnostics.problems


def losses_at_ends(fit: Fit, schedules: Sequence[Schedule], steps: ArrayLike, *, seed: int) -> xr.DataArray:
    """Expected loss at the end of each of many schedules, draw for draw (chain, draw, plan).

    Args:
        fit: of one run.
        schedules: that of the fit until its origin, and then any.
        steps: end of each, later than the origin (plan).
        seed: of the drift, which all share.
    """
    sites, _, value, _ = at_origin(fit)
    axis = fit.ends_axis(schedules, steps)
    path = draw_path_at(np.random.default_rng((seed, 0)), axis.u[:-1], value.shape)
    law = _trend(axis, sites)
    expected = law._replace(floor=law.floor + sites["drift_scale"][..., None] * path)
    coords = {CHAIN: np.arange(value.shape[0]), DRAW: np.arange(value.shape[1])}
    return xr.DataArray(mean_of(expected, polynomial_of(fit.positions)), coords, (CHAIN, DRAW, "plan"), name="expected")


def _require_room(fit: Fit, steps: int, positions: int) -> None:
    """Raise ``DataError`` where so many draws of so many steps are more than memory may be asked for."""
    draws = int(np.prod(fit.chains_and_draws))
    size = draws * (_BYTES + _BYTES_BY_POSITION * positions)
    most, cure = int(_MOST_BYTES // size), f"They would take {size * steps / 1e9:.3g} GB of memory; give fewer."
    require(steps <= most, "steps", f"be at most {most} for {draws} draws", steps, cure=cure)


def at_origin(fit: Fit) -> ForecastState:
    """Every draw of a fit of one run, at its origin, where drift is at rest."""
    sites = fit.parameters()
    still = np.zeros_like(sites["drift_scale"])
    return ForecastState(sites, 0.0, still, still)


def mean_by_law(fit: Fit, axis: TimeAxis, sites: dict[str, Array]) -> tuple[Array, float]:
    """Mean loss by law, drift aside (chain, draw, step), and the standard error of a mean over positions; in nats."""
    equal = positions_of(fit.positions, (), None)
    return mean_of(_trend(axis, sites), polynomial_of(equal.fitted)), equal.mean_error


def _trend(axis: TimeAxis, sites: dict[str, Array]) -> Trend:
    with float64():
        return over_draws(trend, (axis,), sites)


def _measured(
    rng: np.random.Generator, fit: Fit, steps: Array, expected: Trend, sites: dict[str, Array], positions: Positions
) -> Forecast:
    """The forecast of a curve: its mean loss as expected, and as measured at one checkpoint."""
    observed = _with_noise(rng, expected, sites, polynomial_of(positions.fitted))
    error = positions.mean_error * rng.standard_normal(expected.floor.shape)
    coefficients = {"gap": np.exp(expected.log_gap), "rate": np.exp(expected.log_rate), "floor": expected.floor}
    losses = losses_at(rng, observed, positions.shown)
    effect = 0.0 if positions.equal else weighted_effect(rng, positions, error.shape[:2])
    polynomial = polynomial_of(positions.fitted, None if positions.equal else positions.weight)
    dims = (CHAIN, DRAW, STEP)
    coords = {CHAIN: np.arange(error.shape[0]), DRAW: np.arange(error.shape[1]), STEP: steps}
    by_position = {**coords, POSITION: positions.shown.position}
    return Forecast(
        run=fit.run,
        test_set=fit.test_set,
        origin=fit.origin,
        expected=xr.DataArray(mean_of(expected, polynomial) + effect, coords, dims, name="expected"),
        observed=xr.DataArray(mean_of(observed, polynomial) + effect + error, coords, dims, name="observed"),
        history=_history(fit, positions),
        converged=fit.converged,
        coefficients=xr.Dataset({str(name): (dims, coefficients[str(name)]) for name in fit.coefficients()}, coords),
        positions=xr.DataArray(losses, by_position, (*dims, POSITION), name="observed") if losses.shape[-1] else None,
    )


def _history(fit: Fit, positions: Positions) -> xr.DataArray:
    """Mean losses that were fitted; where positions do not count the same, those of the estimated curves (step)."""
    observed = fit.observed
    if positions.equal:
        return observed["mean_loss"]
    estimated = Trend(*(observed[f"{name}_estimate"].to_numpy() for name in ("log_gap", "log_rate", "floor")))
    counted, equal = (mean_of(estimated, polynomial_of(positions.fitted, weight)) for weight in (positions.weight, None))
    lean = positions.weight - positions.weight.mean()
    return observed["mean_loss"] + (counted - equal) + lean @ positions.fitted.effect


def _with_noise(rng: np.random.Generator, curve: Trend, sites: dict[str, Array], polynomial: Array) -> Trend:
    """Each checkpoint with noise of its own, as the model has it (chain, draw, step)."""
    shape, zero = curve.floor.shape, np.zeros_like(sites["noise_scale"])

    def scale(name: str) -> Array:
        return sites.get(name, zero)[..., None]

    gap = scale("gap_noise") * rng.standard_normal(shape)
    rate = scale("rate_noise") * rng.standard_normal(shape)
    mean = scale("noise_scale") * rng.standard_t(TAIL, shape)
    with float64():
        noisy = with_checkpoint_noise(curve, polynomial, log_gap=gap, log_rate=rate, mean_loss=mean)
    return Trend(*map(np.asarray, noisy))
