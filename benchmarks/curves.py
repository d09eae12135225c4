"""Public loss curves for the benchmarks, from the folder BAYES_TSL_DATA, by default ../shared/data beside the repository."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import pandas as pd

import bayes_tsl as bt

DATA = Path(os.environ.get("BAYES_TSL_DATA", Path(__file__).parents[2] / "shared" / "data"))
PEAK_STEP = 2160  # of multipowerlaw, where its linear warm-up ends


def by_hash(runs: Iterable[str]) -> list[str]:
    """Runs in the order of a hash of their names: the first n are a choice that nobody made."""
    return sorted(runs, key=lambda run: zlib.crc32(run.encode()))


def lr_scheduling() -> tuple[pd.DataFrame, pd.Series]:
    """Validation losses of the complete runs, and each run's kind of schedule.

    The last row of a run is left out: it is another evaluation, .03 to .04 nats above the row before it in nine runs of
    ten, and its learning rate reads zero. Of a repeated step the later row is kept.
    """
    runs = pd.read_csv(DATA / "lr_scheduling" / "runs.csv").set_index("run")
    curves = pd.read_csv(DATA / "lr_scheduling" / "val_curves.csv.gz").drop(columns="position")
    curves = curves.drop_duplicates(["run", "step"], keep="last")
    curves = curves[curves["step"] < curves.groupby("run")["step"].transform("max")]
    complete = runs.index[runs["resumed"] != "yes"]
    return curves[curves["run"].isin(complete)], "lr_scheduling " + runs.loc[complete, "scheduler"]


def multipowerlaw() -> tuple[pd.DataFrame, pd.Series]:
    """Losses of all runs after their warm-up, and each run's kind of schedule."""
    curves = pd.read_csv(DATA / "multipowerlaw" / "loss_curves.csv.gz").drop(columns="position")
    names = pd.Series(curves["run"].unique())
    kinds = "multipowerlaw " + names.str.split("_").str[1].str.replace(r"wsdcon|wsdld", "wsd", regex=True)
    return curves, kinds.set_axis(names)


def plan(run: pd.DataFrame) -> bt.Schedule:
    """Learning rate of a run from its rows; multipowerlaw starts where its warm-up ends."""
    rows = run.dropna(subset="lr")[["step", "lr"]]
    if "multipowerlaw" in run.attrs.get("kind", ""):
        rows = pd.concat(
            [pd.DataFrame({"step": [0, PEAK_STEP], "lr": [0.0, rows["lr"].max()]}), rows[rows["step"] > PEAK_STEP]]
        )
    return bt.schedules.from_frame(rows)


def versions() -> dict[str, str]:
    """Versions of what a benchmark ran on."""
    return {name: version(name) for name in ("bayes_tsl", "numpyro", "jax", "scipy", "scoringrules")}
