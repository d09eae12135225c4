"""What the benchmarks share: public loss curves, options, and tables that say how they were made.

Curves are read from the folder BAYES_TSL_DATA, by default ../shared/data beside the repository.
"""

from __future__ import annotations

import argparse
import os
import sys
import zlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import pandas as pd

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import summarise

DATA = Path(os.environ.get("BAYES_TSL_DATA", Path(__file__).parents[2] / "shared" / "data"))
RESULTS = Path(__file__).parent / "results"
LEAST = 10  # rows of a run worth cutting
SHORT = {"chains": 2, "num_warmup": 300, "num_draws": 500, "target_accept": 0.95, "progress": False, "throw": False}
SMALL_LM = bt.schedules.cosine(peak=2e-3, warmup=100, total=2500, final=2e-4)  # schedule of the bundled runs
PEAK_STEP = 2160  # of multipowerlaw, where its linear warm-up ends


def by_hash(runs: Iterable[str]) -> list[str]:
    """Runs in the order of a hash of their names: the first n are a choice that nobody made."""
    return sorted(runs, key=lambda run: zlib.crc32(run.encode()))


def lr_scheduling(*, resumed: bool = False, last: bool = False) -> tuple[pd.DataFrame, pd.Series]:
    """Validation losses of the complete runs (or of the cooldown branches of others), and each run's kind of schedule.

    The last row of a run is left out: it is another evaluation, .03 to .04 nats above the row before it in nine runs of
    ten, and its learning rate reads zero. Of a repeated step the later row is kept.
    """
    runs = pd.read_csv(DATA / "lr_scheduling" / "runs.csv").set_index("run")
    curves = pd.read_csv(DATA / "lr_scheduling" / "val_curves.csv.gz").drop(columns="position")
    curves = curves.drop_duplicates(["run", "step"], keep="last")
    if not last:
        curves = curves[curves["step"] < curves.groupby("run")["step"].transform("max")]
    chosen = runs.index[(runs["resumed"] == "yes") == resumed]
    return curves[curves["run"].isin(chosen)], "lr_scheduling " + runs.loc[chosen, "scheduler"]


def decayed() -> tuple[pd.DataFrame, pd.Series]:
    """Cooldown branches, each under the constant-rate run that it left: what a run with a planned decay looks like.

    Branches whose parent is not in the data are left out.
    """
    runs = pd.read_csv(DATA / "lr_scheduling" / "runs.csv").set_index("run")
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
    curves = pd.read_csv(DATA / "multipowerlaw" / "loss_curves.csv.gz").drop(columns="position")
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
    curves = pd.read_csv(DATA / "modded_nanogpt" / "track_3_val.csv.gz")
    curves = curves.loc[curves["step"] > 0, ["run", "step", "loss", "total_steps"]]
    return curves[curves.groupby("run")["step"].transform("size") >= LEAST]


def tsl(losses: bt.LossTable, *, steps, schedule=None, seed=0) -> bt.Forecast:
    """The default model on two short chains: a thousand draws are enough to score."""
    return bt.forecast(bt.fit(losses, schedule=schedule, seed=seed, **SHORT), steps=steps, seed=seed)


def options(doc: str | None, name: str, **flags: str) -> argparse.Namespace:
    """The command line that every benchmark has; the folder of its cells and pictures is out/NAME, or out/quick/NAME."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a part of it, in a few minutes")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, help="folder of finished cells and pictures")
    for flag, meaning in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=meaning)
    asked = parser.parse_args()
    asked.out = asked.out or Path("out") / ("quick" if asked.quick else "") / name
    asked.table = (asked.out if asked.quick else RESULTS) / f"{name}.csv"
    return asked


def by_kind(scores: pd.DataFrame, kinds: pd.Series, columns: list[str]) -> pd.DataFrame:
    """Mean scores for each kind of run, model and prefix."""
    return _averaged(scores, scores["run"].map(kinds).rename("runs"), columns)


def by_test_set(scores: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Mean scores on each test set, by model and prefix."""
    return _averaged(scores, scores["test_set"], columns)


def _averaged(scores: pd.DataFrame, groups: pd.Series, columns: list[str]) -> pd.DataFrame:
    """Mean scores of each group of rows, named in a column of its name."""
    parts = [summarise(part).assign(**{str(groups.name): name}) for name, part in scores.groupby(groups)]
    return pd.concat(parts)[[groups.name, "model", "prefix", "cells", "failed", *columns]]


def keep(table: pd.DataFrame, path: Path) -> None:
    """Print a table, and write it under the command and the versions that made it."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    on = ", ".join(f"{name} {version(name)}" for name in ("bayes_tsl", "numpyro", "jax", "scipy", "scoringrules"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# python benchmarks/{command}\n# {on}\n{table.round(5).to_csv(index=False)}")
    print(table.round(4).to_string(index=False))
    print(f"wrote {path}")
