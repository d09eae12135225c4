"""Draws of all chains along one axis, and the central interval that covers a given mass of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayes_tsl._common.dims import DRAWS
from bayes_tsl._common.validation import require_number

Array = NDArray[np.float64]


def require_prob(prob: Any, name: str = "prob") -> None:
    """Raise ``DataError`` unless ``prob`` can be the mass of an interval: a number between 0 and 1."""
    require_number(prob, name, low=0.0, high=1.0, cure="0.9 is a 90 % interval.")


def draws_first(draws: xr.DataArray) -> Array:
    """Draws of all chains along the first axis (draw, ...), of draws (chain, draw, ...) in any order."""
    values = draws.transpose(*DRAWS, ...).to_numpy()
    return values.reshape(-1, *values.shape[2:])


def draws_last(draws: xr.DataArray) -> Array:
    """Draws of all chains along the last axis (..., draw), of draws (chain, draw, ...) in any order."""
    values = draws.transpose(..., *DRAWS).to_numpy()
    return values.reshape(*values.shape[:-2], -1)


def evenly(many: int, fewer: int) -> NDArray[np.intp]:
    """Places of so many fewer draws, evenly among many (draw).

    >>> evenly(5, 3).tolist()
    [0, 2, 4]
    """
    return np.linspace(0, many - 1, fewer).round().astype(np.intp)


def interval_along(draws: Array, prob: float, *, axis: int) -> tuple[Array, Array]:
    """Lower and upper end of the central interval of mass ``prob`` along an axis of draws, which they lack (...).

    >>> interval_along(np.arange(5.0), 0.5, axis=0)
    (np.float64(1.0), np.float64(3.0))
    """
    lower, upper = np.quantile(draws, [0.5 * (1.0 - prob), 0.5 * (1.0 + prob)], axis=axis)
    return lower, upper


def interval_over_draws(draws: xr.DataArray, prob: float) -> tuple[xr.DataArray, xr.DataArray]:
    """Lower and upper end of the central interval of mass ``prob`` of draws (chain, draw, ...), without these axes (...)."""
    tail = 0.5 * (1.0 - prob)
    lower, upper = draws.quantile([tail, 1.0 - tail], dim=DRAWS, keep_attrs=False)
    return lower.drop_vars("quantile"), upper.drop_vars("quantile")
