"""The file of a forecast: its draws as NetCDF, with a checksum, checked before a ``Forecast`` is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayes_tsl._common.dims import DRAWS, STEP
from bayes_tsl._common.netcdf import read_tree
from bayes_tsl._common.parallel import one_line
from bayes_tsl._common.validation import file_path, require
from bayes_tsl.errors import DataError
from bayes_tsl.forecasting.distribution import FORECAST_SCHEMA, Forecast

_CURE = "Save it again with Forecast.save, or forecast again."


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
    path = file_path(path)
    require(path.is_file(), "forecast", "be a file", str(path), cure="Check the path.")
    data, vouched = read_tree(path.read_bytes(), path.name, cure=_CURE)
    found = data.attrs.get("schema", "another kind of file")
    require(found == FORECAST_SCHEMA, path.name, f"hold a {FORECAST_SCHEMA!r}", found, cure=_CURE)
    require(vouched, path.name, "end in its checksum", "none", cure="Take another copy, or forecast again.")
    try:
        made = _forecast_of(data)
    except Exception as error:  # whatever is missing or of another kind
        problem = f"{type(error).__name__}: {one_line(error)}"
        raise DataError(f"{path.name} must hold a whole forecast; got {problem}. {_CURE}") from None
    _require_sound(made, path.name)
    return made


def _forecast_of(data: xr.DataTree) -> Forecast:
    draws: dict[str, Any] = {name: data["draws"][name].rename(name) for name in ("expected", "observed")}
    return Forecast(
        run=str(data.attrs["run"]),
        test_set=str(data.attrs["test_set"]),
        origin=float(data.attrs["origin"]),
        **draws,
        history=data["history"].to_dataset()["mean_loss"],
        notices=tuple(json.loads(data.attrs["notices"])),
        coefficients=data["coefficients"].to_dataset() if "coefficients" in data.children else xr.Dataset(),
        positions=data["positions"].to_dataset()["observed"] if "positions" in data.children else None,
        converged=bool(data.attrs["converged"]),
    )


def _require_sound(ahead: Forecast, name: str) -> None:
    """Raise ``DataError`` unless draws are finite numbers (chain, draw, ..., step) at steps that increase after the origin."""
    steps, draws = ahead.steps, (ahead.expected, ahead.observed)
    good = all(one.dims[:2] == DRAWS and one.dims[-1] == STEP for one in draws)
    require(good, f"{name}, draws", "have the axes chain, draw, ..., step", draws[0].dims, cure=_CURE)
    require(all(bool(np.isfinite(one).all()) for one in draws), f"{name}, draws", "be finite", "others", cure=_CURE)
    require(bool((np.diff(steps) > 0).all()), f"{name}, step", "increase", steps, cure=_CURE)
