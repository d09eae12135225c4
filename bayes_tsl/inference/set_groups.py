"""Test sets of a fit to the mean over them: the group ``test_sets`` of its tree, one entry each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayes_tsl._common.dims import DRAWS, POSITION, STEP, TEST_SET
from bayes_tsl._common.jax_settings import float64
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.inference.nuts import over_draws
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.model.lr_response import excess_loss
from bayes_tsl.model.position_law import PositionEffects, estimate_coefficients
from bayes_tsl.model.several_test_sets import SetLosses, SetParameters, draw_set_parameters, draw_shape
from bayes_tsl.model.time_axis import TimeAxis

Array = NDArray[np.float64]

_SHAPES = ("gap", "rate")


def dataset_of_test_sets(fit: Fit, losses: LossTable, mean: LossTable, *, seed: int) -> xr.Dataset:
    """What the fit of a mean over test sets says of each of them: draws of its parameters, and its losses.

    Args:
        fit: of the mean.
        losses: of the run on every test set.
        mean: the table of the mean over these, that was fitted.
        seed: of the draws.
    """
    design, sites, rng = fit.design, fit.parameters(), np.random.default_rng([seed, 2])
    shape = fit.chains_and_draws
    excess = excess_of(fit, design.axis).mean(axis=(0, 1))
    steps = mean.select(run=fit.run).until(fit.origin).steps[-int(design.count.sum()) :]
    cell = np.repeat(np.arange(len(design.step)), design.count.astype(int))
    past = {name: _averaged(losses.select(run=fit.run, test_set=name), steps, cell) for name in losses.test_sets}
    sets = SetLosses(
        losses=np.stack([mean for mean, _ in past.values()]),
        mean=design.mean_loss,
        u=design.axis.u[:-1],
        excess=excess[:-1] - excess[-1],
        count=design.count,
        slope=float(np.abs(sites["floor_slope"].mean())),
        drift_scale=float(np.median(sites["drift_scale"])),
    )
    drawn = draw_set_parameters(rng, sets, int(np.prod(shape)))._asdict()
    data: dict[str, Any] = {"mean_loss": ((TEST_SET, STEP), sets.losses)}
    if fit.by_position:
        shapes = [_shapes(rng, fit, curve, sets.u) for _, curve in past.values()]
        drawn |= {name: np.stack([drawn_of[name] for drawn_of, _ in shapes]) for name in shapes[0][0]}
        data |= {name: (dims, np.stack([of[name] for _, of in shapes])) for name, dims in _OF_POSITIONS.items()}
    data |= {name: ((TEST_SET, *DRAWS), values.reshape(-1, *shape)) for name, values in drawn.items()}
    return xr.Dataset(data, {TEST_SET: np.array(list(past), object), STEP: design.step, POSITION: fit.positions.position})


_OF_POSITIONS = {
    "effect": (TEST_SET, POSITION),
    "effect_scale": (TEST_SET, POSITION),
    "position_noise": (TEST_SET,),
}


def excess_of(fit: Fit, axis: TimeAxis) -> Array:
    """Excess loss of the learning rate at every row of a time axis of a fit (chain, draw, row), in nats."""
    with float64():
        return np.asarray(over_draws(excess_loss, (axis,), fit.parameters()))


def set_parameters(own: xr.Dataset) -> SetParameters:
    """Draws of the parameters of one test set; each (chain, draw)."""
    return SetParameters(*(own[name].to_numpy() for name in SetParameters._fields))


def set_positions(own: xr.Dataset, mean: PositionEffects) -> PositionEffects:
    """What is known of single positions on one test set, beside those of the mean over all."""
    effect, scale = (own[name].to_numpy() for name in ("effect", "effect_scale"))
    return mean._replace(effect=effect, effect_scale=scale, noise=float(own["position_noise"]))


def _averaged(table: LossTable, steps: Array, cell: NDArray[np.int_]) -> tuple[Array, pd.DataFrame]:
    """Mean losses (step), and losses by position (step, position), averaged as the checkpoints of the fit were."""
    means, curve = (each.loc[steps].groupby(cell).mean() for each in (table.mean_losses(), table.curve()))
    return means.to_numpy(float), pd.DataFrame(curve)


def _shapes(rng: np.random.Generator, fit: Fit, curve: pd.DataFrame, u: Array) -> tuple[dict[str, Array], dict[str, Any]]:
    """Draws of how log gap and log rate of a test set differ from those of the mean, and its position effects."""
    design, positions = fit.design, fit.positions
    losses = curve.reindex(columns=positions.position.astype(int)).to_numpy(float)
    own = estimate_coefficients(losses, positions.position, exponent=positions.exponent)
    drawn = {}
    for i, name in enumerate(_SHAPES):
        noise = float(np.median(fit.parameters()[f"{name}_noise"])) ** 2 / design.count
        variance = own.covariance[:, i, i] + design.estimates.covariance[:, i, i] + noise
        off = own.coefficients[:, i] - design.estimates.coefficients[:, i]
        pair = draw_shape(rng, off, variance, u, int(np.prod(fit.chains_and_draws)))
        drawn |= {f"{name}_offset": pair[0], f"{name}_slope": pair[1]}
    return drawn, {"effect": own.effect, "effect_scale": own.effect_scale, "position_noise": own.noise}
