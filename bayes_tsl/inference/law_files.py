"""Posteriors of the laws beside ``fit``: draws with their axes, and the file that keeps them beside what was observed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._common.dims import CHAIN, DRAW, DRAWS
from bayes_tsl._common.files import whole_file
from bayes_tsl._common.netcdf import written
from bayes_tsl._common.validation import require
from bayes_tsl.inference.diagnostics import Diagnostics, diagnose
from bayes_tsl.inference.nuts import Draws

ROW = "row"


class Sampled:
    """A posterior with its draws and statistics of the sampler."""

    draws: xr.Dataset
    stats: xr.Dataset

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """R-hat, ESS, divergences and BFMI."""
        return diagnose({"": self.draws}, self.stats)

    @property
    def converged(self) -> bool:
        """Whether every check passed."""
        return self.diagnostics.converged


def datasets(drawn: Draws, *, axis: str) -> tuple[xr.Dataset, xr.Dataset]:
    """Draws of parameters (chain, draw[, axis]) and statistics of the sampler (chain, draw)."""
    shape = drawn.stats["energy"].shape
    coords = {name: np.arange(size) for name, size in zip((CHAIN, DRAW), shape)}
    draws, stats = (
        xr.Dataset({name: ((*DRAWS, axis)[: value.ndim], value) for name, value in own.items()}, coords)
        for own in (drawn.sites, drawn.stats)
    )
    return draws, stats


def save_law(path: str | Path, schema: str, observed: pd.DataFrame, draws: xr.Dataset, stats: xr.Dataset, **attrs: str) -> None:
    """Write a posterior to a NetCDF file that ends in a checksum, whole or not at all."""
    rows = xr.Dataset({str(name): (ROW, column.to_numpy()) for name, column in observed.items()})
    data = xr.DataTree.from_dict({"posterior": draws, "sample_stats": stats, "observed_data": rows})
    data.attrs = {"schema": schema, **attrs}
    with whole_file(path) as beside:
        beside.write_bytes(written(data))


def sound_draws(data: xr.DataTree, names: Iterable[str]) -> tuple[xr.Dataset, xr.Dataset]:
    """Draws of the parameters ``names`` and statistics of the sampler in a file.

    Raises:
        DataError: a parameter is missing, or a number is not finite.
    """
    draws, stats = (data[group].to_dataset() for group in ("posterior", "sample_stats"))
    missing = sorted(set(names) - set(map(str, draws)))
    require(not missing, "posterior", "have every parameter", missing, where="missing")
    require(all(bool(np.isfinite(one).all()) for one in draws.values()), "posterior", "be finite", "others")
    return draws, stats
