"""What the benchmarks share: options, the model on two short chains, and tables that say how they were made."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import summarise

ROOT = Path(__file__).parents[1]  # of the repository
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
SHORT = {"chains": 2, "num_warmup": 300, "num_draws": 500, "target_accept": 0.95, "progress": False, "throw": False}
SMALL_LM = bt.schedules.cosine(peak=2e-3, warmup=100, total=2500, final=2e-4)  # schedule of the bundled runs


def tsl(losses: bt.LossTable, *, steps, schedule=None, seed=0, **known) -> bt.Forecast:
    """The model on two short chains, a thousand draws in all; what is ``known`` of the run goes to ``fit``."""
    return bt.forecast(bt.fit(losses, schedule=schedule, seed=seed, **known, **SHORT), steps=steps, seed=seed)


@dataclass(frozen=True)
class Informed:
    """The same, with what is known of each run.

    Attributes:
        known: arguments of ``fit`` by run.
    """

    known: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def __call__(self, losses: bt.LossTable, *, steps, schedule=None, seed=0) -> bt.Forecast:
        return tsl(losses, steps=steps, schedule=schedule, seed=seed, **self.known[str(losses.runs[0])])


def options(doc: str | None, name: str, **flags: str) -> argparse.Namespace:
    """The command line that every benchmark has; the folder of its cells and pictures is out/NAME, or out/quick/NAME."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a part of it, in a few minutes")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, help="folder of finished cells and pictures")
    for flag, meaning in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=meaning.replace("%", "%%"))
    asked = parser.parse_args()
    asked.out = asked.out or Path("out") / ("quick" if asked.quick else "") / name
    asked.table = (asked.out if asked.quick else RESULTS) / f"{name}.csv"
    return asked


def judged_rows(
    judge: Callable[..., list[dict[str, object]]], *items: Sequence[Any], asked: argparse.Namespace
) -> pd.DataFrame:
    """Rows of every item, judged side by side by as many processes as asked for; ``cases.csv`` has those so far."""
    asked.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    with ProcessPoolExecutor(asked.workers, get_context("spawn")) as pool:
        for judged in tqdm(pool.map(judge, *items), desc=asked.table.stem, total=len(items[0]), unit="cell"):
            rows += judged
            pd.DataFrame(rows).to_csv(asked.out / "cases.csv", index=False)
    return pd.DataFrame(rows)


def by_kind(scores: pd.DataFrame, kinds: pd.Series, columns: list[str]) -> pd.DataFrame:
    """Mean scores for each kind of run, model and prefix."""
    return _averaged(scores, scores["run"].map(kinds).rename("runs"), columns)


def mean_of_kinds(each: pd.DataFrame, columns: list[str], **more: str) -> pd.DataFrame:
    """Means over kinds of run of what ``by_kind`` gives, each kind counted once; ``more`` says how other columns are joined."""
    how = {"cells": "sum", "failed": "sum"} | dict.fromkeys(columns, "mean") | more
    return each.groupby(["model", "prefix"], as_index=False).agg(how).assign(runs="mean of families")


def by_test_set(scores: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Mean scores on each test set, by model and prefix."""
    return _averaged(scores, scores["test_set"], columns)


def _averaged(scores: pd.DataFrame, groups: pd.Series, columns: list[str]) -> pd.DataFrame:
    """Mean scores of each group of rows, named in a column of its name."""
    parts = [summarise(part).assign(**{str(groups.name): name}) for name, part in scores.groupby(groups)]
    return pd.concat(parts)[[groups.name, "model", "prefix", "cells", "failed", *columns]]


def keep(table: pd.DataFrame, path: Path) -> None:
    """Print a table, and write it under the command and the versions that made it."""
    command = " ".join(["python", *sys.orig_argv[1:]])
    on = ", ".join(f"{name} {version(name)}" for name in ("bayes_tsl", "numpyro", "jax", "scipy", "scoringrules"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# {command}\n# {on}\n{table.round(5).to_csv(index=False)}")
    print(table.round(4).to_string(index=False))
    print(f"wrote {path}")
