"""Real runs that come with the package; each folder has a README that says how it was made."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import pandas as pd
import xarray as xr

from bayes_tsl._common.validation import require_choice
from bayes_tsl.data import schedules as plans
from bayes_tsl.data.loss_table import LossTable, read_losses

__all__ = [
    "about",
    "load",
    "schedules",
]


def __dir__() -> list[str]:
    return __all__


NAMES = ("small_lm", "gpt_positions")


def load(name: str = "small_lm") -> LossTable:
    """Losses of a bundled data set, by position.

    ``small_lm``: two runs of a 1.1M-parameter model, 51 checkpoints, 256 positions, test sets prose, code and ood.
    ``gpt_positions``: thirteen runs of 10M to 91M parameters, 48 checkpoints, 1,024 positions, test sets of those names; two
    million rows, a few seconds.

    Raises:
        DataError: there is no such data set.

    >>> load("small_lm").runs
    ['mix20_cosine', 'mix50_cosine']
    """
    with as_file(_folder(name)) as folder:
        if name == "small_lm":
            return read_losses(folder / "position_losses.csv.gz")
        with xr.open_dataset(folder / "losses.nc", engine="h5netcdf") as packed:
            rows = packed.to_dataframe().dropna().reset_index()
    per_step, learning = about(name)["tokens_per_step"].to_dict(), schedules(name)
    each = [
        part.assign(tokens=part["step"] * per_step[run], lr=learning[str(run)].lr(part["step"]))
        for run, part in rows.groupby("run")
    ]
    return LossTable.from_frame(pd.concat(each), source=name)


def about(name: str = "small_lm") -> pd.DataFrame:
    """One row per run of a bundled data set, by name: schedule, mixture (share of code), weighting, seed and sizes.

    Raises:
        DataError: there is no such data set.

    >>> int(about("gpt_positions").loc["mix50_cosine_large", "parameters"])
    91245312
    """
    with as_file(_folder(name)) as folder:
        return pd.read_csv(folder / "runs.csv", index_col="run")


def schedules(name: str = "small_lm") -> dict[str, plans.Schedule]:
    """Learning-rate schedule of every run of a bundled data set, as ``fit`` and ``backtest`` take them.

    Raises:
        DataError: there is no such data set.

    >>> schedules()["mix50_cosine"].text
    'cosine:peak=0.002,warmup=100,total=2500,final=0.0002'
    """
    return {str(run): plans.parse(str(text)) for run, text in about(name)["schedule"].items()}


def _folder(name: str) -> Path:
    require_choice(name, "data set", NAMES, cure="These are bundled.")
    return files("bayes_tsl.data.datasets") / name  # pyright: ignore[reportReturnType]  # a Traversable, which as_file takes
