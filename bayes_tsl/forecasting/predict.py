"""From a fit to a forecast: the laws at later steps, drift drawn onwards from the origin, and the noise of a measurement.

Given level and slope at the origin, drift ahead is independent of drift behind, so nothing is refitted:

    expected = mean_i [floor + gap / (1 + rate i)]       coefficients at their laws, the floor with drift
    observed = the same, with one checkpoint's own noise on every coefficient and on every position
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.dims import CHAIN, DRAW, DRAWS, POSITION, STEP
from bayes_tsl._common.validation import require, require_seed, show
from bayes_tsl.data import schedules
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.forecasting.distribution import Forecast, side_by_side
from bayes_tsl.inference.nuts import over_draws
from bayes_tsl.inference.posterior import Fit, require_positions
from bayes_tsl.model.design import later_steps, make_path
from bayes_tsl.model.laws import Path
from bayes_tsl.model.single_run import TAIL, Trend, trend

Array = NDArray[np.float64]

_RATE_GRID = 1024
_SHOWN = 100  # positions of a curve
_COEFFICIENTS = ("gap", "rate", "floor")


class _Positions(NamedTuple):
    """What a fit knows of single positions (position), and what each counts; all empty where it saw the mean alone."""

    at: Array
    effect: Array
    effect_scale: Array
    noise: float
    exponent: float
    weight: Array

    def falling(self, rate: Any) -> Any:
        """The falling part of the law at each position, for rates with a last axis of one (..., position)."""
        return (1.0 + rate * self.at) ** -self.exponent


class Onset(NamedTuple):
    """Where a forecast sets out from: draws of a fit, and how their drift moves there.

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
    *,
    steps: ArrayLike,
    schedule: Schedule | None = None,
    positions: Sequence[float] = (),
    weights: Mapping[float, float] | None = None,
    seed: int = 0,
) -> Forecast:
    """Test loss at steps after the origin; the posterior is read, never refitted.

    Of a fit of several runs all are forecast at the same steps, draw for draw from one posterior; a step may be the last
    that a run has seen, where the forecast is of the loss that it has there. ``fit.select(run=...)`` chooses one run.

    Args:
        fit: what the past says.
        steps: later steps, in any order (step).
        schedule: another plan for the steps after the origin; by default the one that was fitted (one run only).
        positions: token positions whose loss to draw as well; any of those fitted.
        weights: what each position counts in the loss that is forecast, up to a factor; those left out count nothing. By
            default all that were fitted count the same.
        seed: of the drift and noise ahead.

    Raises:
        DataError: a step that is not later, a schedule that ends too early, a position that was not fitted, or a weight that
            is none.
    """
    schedules.require_schedule(schedule)
    require_seed(seed)
    if len(fit.runs) > 1:
        cure = "Choose a run with fit.select(run=...), or use what_if."
        require(schedule is None, "schedule", "be left out for several runs", "one", cure=cure)
        return _of_several(fit, steps, positions, weights, seed)
    ahead = later_steps(steps, fit.origin)
    plan = plan_ahead(fit, schedule)
    plan.require_reaches(float(ahead[-1]))
    return forecast_paths(fit, {"": ahead}, {"": plan}, positions=positions, weights=weights, seed=seed)[""]


def _of_several(
    fit: Fit, steps: ArrayLike, positions: Sequence[float], weights: Mapping[float, float] | None, seed: int
) -> Forecast:
    """All runs at the same steps; what happens to each after its origin is its own."""
    made = []
    for number, run in enumerate(fit.runs):
        one = fit.select(run=run)
        ahead = later_steps(steps, one.origin, run=run)
        one.schedule.require_reaches(float(ahead[-1]))
        own = int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint32)[0])
        plans = {"": one.schedule}
        made.append(forecast_paths(one, {"": ahead}, plans, positions=positions, weights=weights, seed=own)[""])
    return side_by_side(made)


def plan_ahead(fit: Fit, schedule: Schedule | None) -> Schedule:
    """The fitted schedule, or that until the origin and then another."""
    return fit.schedule if schedule is None else schedules.splice(fit.schedule, schedule, at=fit.origin)


def forecast_paths(
    fit: Fit,
    steps: Mapping[str, Array],
    plans: Mapping[str, Schedule],
    *,
    positions: Sequence[float] = (),
    weights: Mapping[float, float] | None = None,
    seed: int,
    onset: Onset | None = None,
) -> dict[str, Forecast]:
    """One forecast per plan, paired: all share the posterior draws, the drift in progress, and the noise of a measurement.

    They set out from ``onset``; by default from the origin, where drift is at rest.
    """
    known = _known_positions(fit)
    chosen, counted = _choose(known, positions), known if weights is None else _weighted(known, weights)
    sites, start, value, speed = onset or at_origin(fit)
    paths = {name: make_path(np.append(steps[name], fit.origin), plan, fit.clock) for name, plan in plans.items()}
    everywhere = np.unique(np.concatenate([path.u[:-1] for path in paths.values()])) - start
    walk = sites["drift_scale"][..., None] * _draw_drift(np.random.default_rng((seed, 0)), everywhere, value.shape)
    drift = value[..., None] + speed[..., None] * everywhere + walk
    made = {}
    for name, path in paths.items():
        law = _trend(path, sites)
        expected = law._replace(floor=law.floor + drift[..., np.searchsorted(everywhere, path.u[:-1] - start)])
        made[name] = _measured(np.random.default_rng((seed, 1)), fit, steps[name], expected, sites, known, chosen, counted)
    return made


def at_origin(fit: Fit) -> Onset:
    """Every draw of a fit of one run, at its origin."""
    posterior = fit.data["posterior"].to_dataset()
    sites = {str(name): values.to_numpy() for name, values in posterior.items() if values.ndim == 2}
    sites |= {name: np.full_like(sites["drift_scale"], value) for name, value in fit.priors.fixed().items()}
    still = np.zeros_like(sites["drift_scale"])
    return Onset(sites, 0.0, still, still)


def now_and_then(fit: Fit, ahead: Forecast) -> tuple[xr.DataArray, xr.DataArray]:
    """Expected loss by position at the last checkpoint fitted and at the last step forecast (chain, draw, position).

    Of many positions ``_SHOWN`` are chosen, evenly in their logarithm.

    Raises:
        DataError: the fit has seen mean losses only, or the forecast has no coefficients.
    """
    require_positions(fit)
    known = _known_positions(fit)
    has, cure = list(ahead.coefficients), "Make it with forecast(fit, ...)."
    require(len(has) == len(_COEFFICIENTS), "ahead", "forecast gap, rate and floor", has, cure=cure)
    chosen = _choose(known, shown_positions(known.at))

    def curve(coefficients: xr.Dataset) -> xr.DataArray:
        last = coefficients.isel({STEP: -1}, drop=True)
        gap, rate, floor = (last[name].to_numpy()[..., None] for name in _COEFFICIENTS)
        losses = floor + gap * chosen.falling(rate) + chosen.effect
        return xr.DataArray(losses, {POSITION: chosen.at}, (*DRAWS, POSITION), name="expected")

    return curve(fit.coefficients()), curve(ahead.coefficients)


def shown_positions(positions: Array) -> Array:
    """Some of many positions, evenly in their logarithm (position)."""
    even = np.geomspace(1.0, 1.0 + positions[-1], _SHOWN) - 1.0
    return positions[np.unique(np.searchsorted(positions, even).clip(max=len(positions) - 1))]


def mean_by_law(fit: Fit, path: Path, sites: dict[str, Array]) -> tuple[Array, float]:
    """Mean loss by law, drift aside (chain, draw, step), and the standard error of a mean over positions; in nats."""
    known = _known_positions(fit)
    return _mean_loss(_trend(path, sites), known), _mean_error(known)


def _trend(path: Path, sites: dict[str, Array]) -> Trend:
    with jax.enable_x64(True):
        return over_draws(trend, (path,), sites)


def _measured(
    rng: np.random.Generator,
    fit: Fit,
    ahead: Array,
    expected: Trend,
    sites: dict[str, Array],
    known: _Positions,
    chosen: _Positions,
    counted: _Positions,
) -> Forecast:
    """The forecast of a curve: what measuring it would add, and everything under its name."""
    observed = _with_noise(rng, expected, sites, known)
    own = _mean_error(counted) * rng.standard_normal(expected.floor.shape)
    coefficients = {"gap": np.exp(expected.log_gap), "rate": np.exp(expected.log_rate), "floor": expected.floor}
    names = coefficients if len(known.at) else ["floor"]
    losses = _position_losses(rng, observed, chosen)
    effect = 0.0 if counted is known else _weighted_effect(rng, counted, own.shape[:2])
    dims = (CHAIN, DRAW, STEP)
    coords = {CHAIN: np.arange(own.shape[0]), DRAW: np.arange(own.shape[1]), STEP: ahead}
    return Forecast(
        run=fit.run,
        test_set=fit.test_set,
        origin=fit.origin,
        expected=xr.DataArray(_mean_loss(expected, counted) + effect, coords, dims, name="expected"),
        observed=xr.DataArray(_mean_loss(observed, counted) + effect + own, coords, dims, name="observed"),
        history=_history(fit, known, counted),
        notices=fit.notices + fit.diagnostics.problems,
        converged=fit.converged,
        coefficients=xr.Dataset({name: (dims, coefficients[name]) for name in names}, coords),
        positions=xr.DataArray(losses, {**coords, POSITION: chosen.at}, (*dims, POSITION), name="observed")
        if len(chosen.at)
        else None,
    )


def _known_positions(fit: Fit) -> _Positions:
    constants = fit.data["constant_data"].to_dataset()
    if POSITION not in constants.dims:
        return _Positions(np.array([]), np.array([]), np.array([]), 0.0, 1.0, np.array([]))
    at, effect, scale = (constants[name].to_numpy() for name in (POSITION, "effect", "effect_scale"))
    noise, exponent = (float(constants[f"position_{name}"]) for name in ("noise", "exponent"))
    return _Positions(at, effect, scale, noise, exponent, np.full(len(at), 1.0 / len(at)))


def _choose(known: _Positions, positions: ArrayLike) -> _Positions:
    wanted = np.unique(np.asarray(positions, float))
    strange = np.setdiff1d(wanted, known.at)
    cure = f"It was fitted to {show(known.at)}." if len(known.at) else "The fit has seen mean losses only."
    require(strange.size == 0, "positions", "be among those fitted", strange, cure=cure)
    at = np.searchsorted(known.at, wanted)
    return known._replace(**{name: getattr(known, name)[at] for name in ("at", "effect", "effect_scale", "weight")})


def _weighted(known: _Positions, weights: Mapping[float, float]) -> _Positions:
    """The same positions, each of which counts as asked; weights sum to one."""
    cure = "Give {position: weight}."
    require(isinstance(weights, Mapping), "weights", "be a mapping", type(weights).__name__, cure=cure)
    chosen = _choose(known, list(weights))
    given = np.array([weights[position] for position in chosen.at.tolist()], float)
    good = given.size > 0 and np.isfinite(given).all() and (given >= 0).all() and given.sum() > 0
    require(good, "weights", "be numbers, none negative and one above 0", list(weights.values()), cure=cure)
    weight = np.zeros(len(known.at))
    weight[np.searchsorted(known.at, chosen.at)] = given / given.sum()
    return known._replace(weight=weight)


def _weighted_effect(rng: np.random.Generator, counted: _Positions, shape: tuple[int, ...]) -> Array:
    """What the effects of positions come to that do not count the same, as well as they are known (chain, draw, 1)."""
    lean = counted.weight - counted.weight.mean()
    return lean @ counted.effect + np.sqrt(np.sum((lean * counted.effect_scale) ** 2)) * rng.standard_normal((*shape, 1))


def _history(fit: Fit, known: _Positions, counted: _Positions) -> xr.DataArray:
    """Mean losses that the fit has seen; where positions do not count the same, as the estimated curves have them (step)."""
    seen = fit.data["observed_data"].to_dataset()
    if counted is known:
        return seen["mean_loss"]
    curve = (seen["log_gap_estimate"].to_numpy(), seen["log_rate_estimate"].to_numpy())
    moved = _above_floor(*curve, counted) - _above_floor(*curve, known)
    return seen["mean_loss"] + moved + (counted.weight - known.weight) @ known.effect


def _draw_drift(rng: np.random.Generator, u: Array, shape: tuple[int, ...]) -> Array:
    """Integrated Wiener process of unit scale from rest at ``u = 0``, by its exact increments (..., step)."""
    value, speed, drawn = np.zeros(shape), np.zeros(shape), []
    for width in np.diff(u, prepend=0.0):
        kick, shift = rng.standard_normal((2, *shape))
        value = value + speed * width + width**1.5 * (0.5 * kick + shift / np.sqrt(12.0))
        speed = speed + np.sqrt(width) * kick
        drawn.append(value)
    return np.stack(drawn, axis=-1)


def _with_noise(rng: np.random.Generator, curve: Trend, sites: dict[str, Array], known: _Positions) -> Trend:
    """Each checkpoint with noise of its own, as the model has it (chain, draw, step).

    Gap and rate wobble, and the floor makes up for what that does to the mean loss, which has a noise of its own.
    """
    shape, zero = curve.floor.shape, np.zeros_like(sites["noise_scale"])

    def scale(name: str) -> Array:
        return sites.get(name, zero)[..., None]

    log_gap = curve.log_gap + scale("gap_noise") * rng.standard_normal(shape)
    log_rate = curve.log_rate + scale("rate_noise") * rng.standard_normal(shape)
    mean_loss = _mean_loss(curve, known) + scale("noise_scale") * rng.standard_t(TAIL, shape)
    return Trend(log_gap, log_rate, mean_loss - _above_floor(log_gap, log_rate, known))


def _mean_loss(curve: Trend, known: _Positions) -> Any:
    """Mean loss over positions (chain, draw, step); their effects average to zero."""
    return np.asarray(curve.floor + _above_floor(curve.log_gap, curve.log_rate, known))


def _mean_error(known: _Positions) -> float:
    """What the noise at positions leaves in their mean."""
    return float(known.noise * np.sqrt(np.sum(known.weight**2)))


def _above_floor(log_gap: Any, log_rate: Any, known: _Positions) -> Any:
    """Mean loss over positions above the floor (chain, draw, step).

    The mean of ``(1 + rate i)^-exponent`` as positions count is read off a grid in log rate, so that cost does not grow with
    context length.
    """
    if not len(known.at):
        return np.zeros_like(log_rate)
    grid = np.linspace(log_rate.min() - 1e-3, log_rate.max() + 1e-3, _RATE_GRID)
    shape = known.falling(np.exp(grid)[:, None]) @ known.weight
    return np.exp(log_gap) * np.interp(log_rate, grid, shape)


def _position_losses(rng: np.random.Generator, curve: Trend, chosen: _Positions) -> Array:
    """Loss measured at each chosen position (chain, draw, step, position)."""
    shape = curve.floor.shape
    gap, rate, floor = (part[..., None] for part in (np.exp(curve.log_gap), np.exp(curve.log_rate), curve.floor))
    law = floor + gap * chosen.falling(rate)
    effect = chosen.effect + chosen.effect_scale * rng.standard_normal((*shape[:2], 1, len(chosen.at)))
    return np.asarray(law + effect + chosen.noise * rng.standard_normal((*shape, len(chosen.at))))
