"""The public loss curves: losses, schedules and kinds of runs that others have published.

They are read from the folder BAYES_TSL_DATA, by default ../shared/data beside the repository.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

import bayes_tsl as bt
from benchmarks.common import ROOT

DATA = Path(os.environ.get("BAYES_TSL_DATA", ROOT.parent / "shared" / "data"))
LEAST = 10  # rows of a run worth cutting
PEAK_STEP = 2160  # of multipowerlaw, where its linear warm-up ends
DIVERGED = 6.0  # nats


def read_public(folder: str, name: str) -> pd.DataFrame:
    """A table of the public curves; a program ends with one line where it is not there."""
    path = DATA / folder / name
    if not path.is_file():
        sys.exit(f"error: {path} is missing. Set BAYES_TSL_DATA to the folder of the public loss curves, now {DATA}.")
    return pd.read_csv(path)


def by_hash(runs: Iterable[str]) -> list[str]:
    """Runs in the order of a hash of their names: the first n are a choice that nobody made."""
    return sorted(runs, key=lambda run: zlib.crc32(run.encode()))


def lr_scheduling(*, resumed: bool = False, last: bool = False) -> tuple[pd.DataFrame, pd.Series]:
    """Validation losses of the complete runs (or of the cooldown branches of others), and each run's kind of schedule.

    The last row of a run is left out: it is another evaluation, .03 to .04 nats above the row before it in nine runs of
    ten, and its learning rate reads zero. Of a repeated step the later row is kept.
    """
    runs = read_public("lr_scheduling", "runs.csv").set_index("run")
    curves = read_public("lr_scheduling", "val_curves.csv.gz").drop(columns="position")
    curves = curves.drop_duplicates(["run", "step"], keep="last")
    if not last:
        curves = curves[curves["step"] < curves.groupby("run")["step"].transform("max")]
    chosen = runs.index[(runs["resumed"] == "yes") == resumed]
    return curves[curves["run"].isin(chosen)], "lr_scheduling " + runs.loc[chosen, "scheduler"]


def decayed() -> tuple[pd.DataFrame, pd.Series]:
    """Cooldown branches, each under the constant-rate run that it left: what a run with a planned decay looks like.

    Branches whose parent is not in the data are left out.
    """
    runs = read_public("lr_scheduling", "runs.csv").set_index("run")
    twin = ["base_lr", "n_layer", "n_embd", "tokens_per_step", "corpus"]
    runs["corpus"] = runs["dataset"].str.split("_").str[0]
    stems = runs[(runs["resumed"] != "yes") & (runs["scheduler"] == "wsd") & (runs["wsd_fract_decay"] == 0)]
    whole, _ = lr_scheduling()
    joined = []
    for name, branch in lr_scheduling(resumed=True)[0].groupby("run"):
        first = branch["step"].min()
        parents = stems.index[(stems[twin] == runs.loc[name, twin]).all(axis=1)]
        before = whole[whole["run"].isin(parents[:1])]
        if first > 0 and (before.empty or before["step"].max() < first):
            continue
        joined.append(pd.concat([before[before["step"] < first], branch]).assign(run=name))
    curves = pd.concat(joined)
    return curves, pd.Series("lr_scheduling wsd, decayed", index=curves["run"].unique())


def multipowerlaw() -> tuple[pd.DataFrame, pd.Series]:
    """Losses of all runs after their warm-up, and each run's kind of schedule."""
    curves = read_public("multipowerlaw", "loss_curves.csv.gz").drop(columns="position")
    names = pd.Series(curves["run"].unique())
    kinds = "multipowerlaw " + names.str.split("_").str[1].str.replace(r"wsdcon|wsdld", "wsd", regex=True)
    return curves, kinds.set_axis(names)


def public_runs() -> tuple[bt.LossTable, dict[str, bt.Schedule], pd.Series]:
    """Every public run that is seen from its start to its end: losses, plans and kinds by name."""
    sources = [lr_scheduling(), decayed(), multipowerlaw()]
    kinds = pd.concat([kind for _, kind in sources])
    curves = pd.concat([curve for curve, _ in sources]).drop(columns="split")
    plans = {str(run): plan(rows, from_peak=kinds[run].startswith("multipowerlaw")) for run, rows in curves.groupby("run")}
    return bt.LossTable.from_frame(curves), plans, kinds[list(plans)]


def known(runs: Iterable[str]) -> pd.DataFrame:
    """Tokens a step, parameters and family (lr_scheduling or multipowerlaw) of public runs (run)."""
    names = list(runs)
    table = read_public("lr_scheduling", "runs.csv").set_index("run").reindex(names)
    size = pd.Series([float(run.split("M_")[0]) * 1e6 if run[0].isdigit() else float("nan") for run in names], names)
    other = table["parameters"].isna()
    return pd.DataFrame(
        {
            "batch_tokens": table["tokens_per_step"].where(~other, 524_288.0),
            "parameters": table["parameters"].where(~other, size),
            "family": other.map({True: "multipowerlaw", False: "lr_scheduling"}),
        }
    )


def plan(run: pd.DataFrame, *, from_peak: bool = False) -> bt.Schedule:
    """Learning rate of a run from its rows; those of multipowerlaw start at the peak, where its warm-up ends."""
    rows = run.dropna(subset="lr")[["step", "lr"]]
    if from_peak:
        rows = pd.concat(
            [pd.DataFrame({"step": [0, PEAK_STEP], "lr": [0.0, rows["lr"].max()]}), rows[rows["step"] > PEAK_STEP]]
        )
    return bt.schedules.from_frame(rows)


def modded_nanogpt() -> pd.DataFrame:
    """Validation losses of GPT-2-124M-class runs of ``LEAST`` rows or more, and their planned length; no lr is known."""
    curves = read_public("modded_nanogpt", "track_3_val.csv.gz")
    curves = curves.loc[curves["step"] > 0, ["run", "step", "loss", "total_steps"]]
    return curves[curves.groupby("run")["step"].transform("size") >= LEAST]


def sized() -> tuple[bt.LossTable, dict[str, bt.Schedule], pd.DataFrame]:
    """Runs of lr_scheduling that do not diverge: losses, plans, and layers, width, peak, kind and last step of each."""
    losses, plans, kinds = public_runs()
    ends = losses.frame.groupby("run")[["step", "loss"]].last()
    table = read_public("lr_scheduling", "runs.csv").set_index("run")
    table = table.join(kinds.rename("kind"), how="inner").join(ends).loc[lambda runs: runs["loss"] < DIVERGED]
    return losses, plans, table[table["dataset"] == "slimpajama"]
