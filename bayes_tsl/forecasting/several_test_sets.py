"""Forecasts of every test set of a run, draw for draw from the forecast of their mean (``model.several_test_sets``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayes_tsl._common.dims import DRAWS, POSITION, STEP, TEST_SET
from bayes_tsl.forecasting.distribution import Forecast, side_by_side
from bayes_tsl.forecasting.positions import losses_at, mean_of, polynomial_of, positions_of
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.inference.schema import TEST_SETS
from bayes_tsl.inference.set_groups import excess_of, set_parameters, set_positions
from bayes_tsl.model.drift import draw_path_at
from bayes_tsl.model.several_test_sets import losses_by_law
from bayes_tsl.model.single_run import Trend
from bayes_tsl.model.time_axis import TimeAxis

Array = NDArray[np.float64]


def each_test_set(fit: Fit, mean: Forecast, axis: TimeAxis, *, positions: Sequence[float], seed: int) -> Forecast:
    """The forecast of every test set: its share of the law, drift and noise of the mean, and drift and noise of its own.

    Args:
        fit: of the mean over test sets.
        mean: forecast of that mean.
        axis: of the steps that are forecast, and of the origin.
        positions: whose loss to draw as well.
        seed: of the drift and noise of each set.
    """
    known, excess = fit.data[TEST_SETS].to_dataset(), excess_of(fit, axis)
    excess = excess[..., :-1] - excess[..., -1:]
    made = []
    for number, name in enumerate(fit.test_sets):
        own, rng = known.sel({TEST_SET: name}), np.random.default_rng((seed, 2, number))
        ahead = _mean_losses(rng, fit, mean, own, excess, axis.u[:-1])
        made.append(_with_positions(rng, fit, ahead, own, axis.u[:-1], positions))
    return side_by_side(made, along=TEST_SET)


def _mean_losses(rng: np.random.Generator, fit: Fit, mean: Forecast, own: xr.Dataset, excess: Array, u: Array) -> Forecast:
    """The forecast of one test set, with the coefficients of the mean.

    Args:
        rng: of drift and noise.
        fit: of the mean over test sets.
        mean: its forecast.
        own: what is known of the set.
        excess: excess loss of the learning rate, less that at the origin (chain, draw, step).
        u: log progress of the steps since the origin (step).
    """
    parameters, last = set_parameters(own), float(fit.observed["mean_loss"][-1])
    drift = parameters.drift_scale[..., None] * draw_path_at(rng, u, excess.shape[:2])
    expected = mean.expected.copy(data=last + losses_by_law(parameters, mean.expected.to_numpy() - last, excess, u) + drift)
    noise = parameters.noise_scale[..., None] * rng.standard_normal(expected.shape)
    observed = (expected + (mean.observed - mean.expected) + noise).rename("observed")
    history = own["mean_loss"].drop_vars(TEST_SET)
    return replace(mean, test_set=str(own[TEST_SET].item()), expected=expected, observed=observed, history=history)


def _with_positions(
    rng: np.random.Generator, fit: Fit, ahead: Forecast, own: xr.Dataset, u: Array, positions: Sequence[float]
) -> Forecast:
    """The forecast of one test set with its own coefficients, and the losses at its positions."""
    if not fit.by_position:
        positions_of(fit.positions, positions, None)
        return replace(ahead, coefficients=xr.Dataset({"floor": ahead.expected.rename("floor")}))
    of_set = positions_of(set_positions(own, fit.positions), positions, None)
    offset = {name: own[f"{name}_offset"] + own[f"{name}_slope"] * xr.DataArray(u, dims=STEP) for name in ("gap", "rate")}
    log_gap, log_rate = ((offset[name] + np.log(ahead.coefficients[name].to_numpy())).to_numpy() for name in ("gap", "rate"))
    above = mean_of(Trend(log_gap, log_rate, np.zeros_like(log_gap)), polynomial_of(of_set.fitted))
    curve = Trend(log_gap, log_rate, ahead.expected.to_numpy() - above)
    losses = losses_at(rng, curve._replace(floor=ahead.observed.to_numpy() - above), of_set.shown)
    dims, coords = (*DRAWS, STEP), ahead.expected.coords
    by_position = {**coords, POSITION: of_set.shown.position}
    values = {"gap": np.exp(log_gap), "rate": np.exp(log_rate), "floor": curve.floor}
    return replace(
        ahead,
        coefficients=xr.Dataset({name: (dims, each) for name, each in values.items()}, coords),
        positions=xr.DataArray(losses, by_position, (*dims, POSITION), name="observed") if losses.shape[-1] else None,
    )
