"""The file of a forecast: its draws as NetCDF, with a checksum, checked before a ``Forecast`` is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayes_tsl._common.dims import DRAWS, STEP
from bayes_tsl._common.netcdf import read_whole
from bayes_tsl._common.validation import require
from bayes_tsl.forecasting.distribution import FORECAST_SCHEMA, TEST_LOSS, Forecast


def load_forecast(path: str | Path) -> Forecast:
    """The forecast that ``Forecast.save`` wrote.

    Raises:
        DataError: there is no such file, it is no forecast of this package, or it is damaged.

    >>> from tempfile import TemporaryDirectory
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), [2000, 2500])
    >>> with TemporaryDirectory() as folder:
    ...     ahead.save(f"{folder}/forecast.nc")
    ...     load_forecast(f"{folder}/forecast.nc").observed.equals(ahead.observed)
    True
    """
    return read_whole(path, "forecast", _forecast_of, schema=FORECAST_SCHEMA, saved_by="Forecast.save", again="forecast again")


def _forecast_of(data: xr.DataTree) -> Forecast:
    draws: dict[str, Any] = {name: data["draws"][name].rename(name) for name in ("expected", "observed")}
    made = Forecast(
        run=str(data.attrs["run"]),
        test_set=str(data.attrs["test_set"]),
        origin=float(data.attrs["origin"]),
        **draws,
        history=data["history"].to_dataset()["mean_loss"],
        notices=tuple(json.loads(data.attrs["notices"])),
        coefficients=data["coefficients"].to_dataset() if "coefficients" in data.children else xr.Dataset(),
        positions=data["positions"].to_dataset()["observed"] if "positions" in data.children else None,
        converged=bool(data.attrs["converged"]),
        quantity=str(data.attrs.get("quantity", TEST_LOSS)),
    )
    _require_sound(made)
    return made


def _require_sound(ahead: Forecast) -> None:
    """Raise ``DataError`` unless draws are finite numbers (chain, draw, ..., step) at steps that increase."""
    steps, draws = ahead.steps, (ahead.expected, ahead.observed)
    good = all(one.dims[:2] == DRAWS and one.dims[-1] == STEP for one in draws)
    require(good, "draws", "have the axes chain, draw, ..., step", draws[0].dims)
    require(all(bool(np.isfinite(one).all()) for one in draws), "draws", "be finite", "others")
    require(bool((np.diff(steps) > 0).all()), "step", "increase", steps)
