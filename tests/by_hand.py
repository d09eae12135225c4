"""Forecasts whose draws are given, so that what is asked of them can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

import bayes_tsl as bt

DIMS = ("chain", "draw", "step")


def forecast_of(
    draws: ArrayLike, steps: Sequence[float] = (10.0, 20.0, 30.0), *, origin: float = 5.0, run: str = "a"
) -> bt.Forecast:
    """A forecast with these draws (draw, step), expected and observed alike; one chain."""
    losses = xr.DataArray(np.asarray(draws, float)[None], {"step": list(steps)}, DIMS)
    history = xr.DataArray([3.4], {"step": [origin]}, "step")
    return bt.Forecast(run=run, test_set="test", origin=origin, expected=losses, observed=losses, history=history)


TEN = forecast_of([[4.0, 3.5 + 0.05 * k, 3.0 + 0.1 * k] for k in range(1, 11)])  # straight, from 4 down to 3.1, 3.2, ... 4
WILD = forecast_of(  # draws that rise and fall
    3.5 + np.cumsum(np.random.default_rng(0).normal(-0.05, 0.2, (200, 12)), axis=1), np.arange(10.0, 130.0, 10.0)
)
