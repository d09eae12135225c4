"""Token positions in a forecast: those whose losses are drawn as well, and what each counts in the mean that is forecast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.arrays import AnyArray
from bayes_tsl._common.dims import DRAWS, POSITION, STEP
from bayes_tsl._common.jax_settings import float64
from bayes_tsl._common.validation import require, show
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.inference.posterior import Fit, require_positions
from bayes_tsl.inference.schema import COEFFICIENTS
from bayes_tsl.model.position_law import PositionEffects, mean_polynomial, reciprocal_loss
from bayes_tsl.model.single_run import Trend, mean_over_positions

Array = NDArray[np.float64]

_SHOWN = 100  # positions of a curve


class Positions(NamedTuple):
    """What the forecast of one fit knows of positions.

    Attributes:
        fitted: all positions of the fit; empty for mean losses.
        shown: those whose losses are drawn as well.
        weight: what each position counts in the mean that is forecast; they sum to one (position).
        equal: whether all count the same.
    """

    fitted: PositionEffects
    shown: PositionEffects
    weight: Array
    equal: bool

    @property
    def mean_error(self) -> float:
        """Standard error that the noise at positions leaves in their weighted mean, in nats."""
        return float(self.fitted.noise * np.sqrt(np.sum(self.weight**2)))


def positions_of(fitted: PositionEffects, shown: ArrayLike, weights: Mapping[float, float] | None) -> Positions:
    """Fitted positions, those to show, and what each counts; without weights all count the same.

    Raises:
        DataError: a position that was not fitted, or a weight that is none.
    """
    size = len(fitted.position)
    weight = np.full(size, 1.0 / size) if size else np.array([])
    chosen = _choose(fitted, shown)
    return Positions(fitted, chosen, weight if weights is None else _weights(fitted, weights), weights is None)


def _choose(fitted: PositionEffects, positions: ArrayLike) -> PositionEffects:
    wanted = np.unique(np.asarray(positions, float))
    strange = np.setdiff1d(wanted, fitted.position)
    cure = f"It was fitted to {show(fitted.position)}." if len(fitted.position) else "The fit has seen mean losses only."
    require(strange.size == 0, "positions", "be among those fitted", strange, cure=cure)
    at = np.searchsorted(fitted.position, wanted)
    return fitted._replace(position=fitted.position[at], effect=fitted.effect[at], effect_scale=fitted.effect_scale[at])


def _weights(fitted: PositionEffects, weights: Mapping[float, float]) -> Array:
    """What each fitted position counts; they sum to one (position)."""
    cure = "Give {position: weight}."
    require(isinstance(weights, Mapping), "weights", "be a mapping", type(weights).__name__, cure=cure)
    chosen = _choose(fitted, list(weights)).position
    given = np.array([weights[position] for position in chosen.tolist()], float)
    good = given.size > 0 and np.isfinite(given).all() and (given >= 0).all() and given.sum() > 0
    require(good, "weights", "be numbers, none negative and one above 0", list(weights.values()), cure=cure)
    weight = np.zeros(len(fitted.position))
    weight[np.searchsorted(fitted.position, chosen)] = given / given.sum()
    return weight


def weighted_effect(rng: np.random.Generator, positions: Positions, shape: tuple[int, ...]) -> Array:
    """Draws of the weighted mean of position effects, which is zero where all count the same (chain, draw, 1)."""
    lean, fitted = positions.weight - positions.weight.mean(), positions.fitted
    error = np.sqrt(np.sum((lean * fitted.effect_scale) ** 2))
    return lean @ fitted.effect + error * rng.standard_normal((*shape, 1))


def polynomial_of(fitted: PositionEffects, weight: Array | None = None) -> Array:
    """The mean over positions of the law's falling part, as the model reads it; empty for mean losses (order)."""
    return mean_polynomial(fitted.position, fitted.exponent, weight) if len(fitted.position) else np.array([])


def mean_of(curve: Trend, polynomial: Array) -> Array:
    """Mean loss over positions (chain, draw, step); their effects average to zero."""
    with float64():
        return np.asarray(mean_over_positions(curve, polynomial))


def losses_at(rng: np.random.Generator, curve: Trend, shown: PositionEffects) -> Array:
    """Loss measured at each chosen position (chain, draw, step, position)."""
    shape = curve.floor.shape
    gap, rate, floor = (part[..., None] for part in (np.exp(curve.log_gap), np.exp(curve.log_rate), curve.floor))
    effect = shown.effect + shown.effect_scale * rng.standard_normal((*shape[:2], 1, len(shown.position)))
    noise: Any = shown.noise * rng.standard_normal((*shape, len(shown.position)))
    return np.asarray(_law(shown, gap, rate, floor) + effect + noise)


def now_and_then(fit: Fit, ahead: Forecast) -> tuple[xr.DataArray, xr.DataArray]:
    """Expected loss by position at the last checkpoint fitted and at the last step forecast (chain, draw, position).

    Of many positions ``_SHOWN`` are chosen, evenly in their logarithm.

    Raises:
        DataError: mean losses were fitted, or the forecast has no coefficients.

    >>> from bayes_tsl.forecasting.predict import forecast
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> now, then = now_and_then(example_fit(), forecast(example_fit(), steps=[1500, 2000, 2500]))
    >>> bool(now.mean() > then.mean())
    True
    """
    require_positions(fit)
    fitted = fit.positions
    has, cure = list(ahead.coefficients), "Make it with forecast(fit, ...)."
    require(len(has) == len(COEFFICIENTS), "ahead", "forecast gap, rate and floor", has, cure=cure)
    chosen = _choose(fitted, shown_positions(fitted.position))

    def curve(coefficients: xr.Dataset) -> xr.DataArray:
        last = coefficients.isel({STEP: -1}, drop=True)
        gap, rate, floor = (last[name].to_numpy()[..., None] for name in COEFFICIENTS)
        losses = _law(chosen, gap, rate, floor) + chosen.effect
        return xr.DataArray(losses, {POSITION: chosen.position}, (*DRAWS, POSITION), name="expected")

    return curve(fit.coefficients()), curve(ahead.coefficients)


def shown_positions(positions: Array) -> Array:
    """Some of many positions, evenly in their logarithm (position).

    >>> shown_positions(np.arange(1024.0)).size <= 100
    True
    """
    even = np.geomspace(1.0, 1.0 + positions[-1], _SHOWN) - 1.0
    return positions[np.unique(np.searchsorted(positions, even).clip(max=len(positions) - 1))]


def _law(positions: PositionEffects, gap: AnyArray, rate: AnyArray, floor: AnyArray) -> Array:
    with float64():
        law = reciprocal_loss(positions.position, gap=gap, rate=rate, floor=floor, exponent=positions.exponent)
        return np.asarray(law)
