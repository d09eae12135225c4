"""Bits per byte on a task of runs larger than all that were measured, through a forecast of their loss.

    python -m benchmarks.public.tasks [--quick] [--workers N] [--out FOLDER]

Runs of the OLMo ladder, loss on C4, every third task of their evaluation; the first tenth of each run is left out. The link is
fitted to smaller runs, those of 190M and 370M or of 190M alone, and scored at the last checkpoint of the larger ones: *loss
known* (the measured loss, the link alone), *never trained* (the loss by ``forecast_new`` from the smaller runs), and *half
trained* (the loss by ``fit`` at half of the run, whose checkpoints until then are in the link; every ninth task, 760M). To beat
are *parabola* (least squares, the loss known) and *chinchilla* (the law of sizes and tokens on the task itself, never trained).
--quick: the first task.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

import bayes_tsl as bt
from bayes_tsl.model.priors import LearnedPriors
from benchmarks.common import RESULTS, SHORT, judged_rows, keep, options
from benchmarks.public.curves import plan, read_public
from benchmarks.public.learned_priors import learn
from benchmarks.public.new_runs import by_chinchilla, means_by, scaling_of, scores_of

Array = NDArray[np.float64]

TEST_SET = "c4_en"
FIRST = 0.1  # share of a run that is left out
FITTED = (("190M", "370M"), ("190M",))  # sizes that the link is fitted to
HALF = 0.5  # where a run is seen until
EVERY, OF_HALF = 3, 9  # which of the tasks are forecast, and which at half of a run too
KNOWN_DRAWS = 2000


@dataclass(frozen=True)
class Case:
    """A task of the ladder, and the sizes that are measured."""

    metric: str
    sizes: tuple[str, ...]
    half: bool

    def judged(self) -> Iterator[dict[str, object]]:
        """Scores of the last checkpoint of each larger run."""
        checkpoints = ladder(self.metric)
        known = checkpoints["run"].str.split("-").str[0].isin(self.sizes)
        seen, later = checkpoints[known & (checkpoints["share"] >= FIRST)], checkpoints[~known]
        task, scaling = linked(seen, self.metric), scaling_of(ends_of(seen).assign(lr=lambda rows: rows["peak"]))
        parabola = np.polyfit(seen["loss"], seen["value"], 2)
        residual = seen["value"] - np.polyval(parabola, seen["loss"])
        rng, ends = np.random.default_rng(0), ends_of(later)
        of_law = by_chinchilla(ends_of(seen).assign(loss=lambda rows: rows["value"]), ends)
        for row, by_law in zip(ends.to_dict("records"), of_law):
            run, step, observed = row["run"], float(row["step"]), float(row["value"])
            rows = later[later["run"] == run]
            new = bt.forecast_new(
                scaling,
                parameters=row["parameters"],
                batch_tokens=row["batch_tokens"],
                schedule=plan(rows.assign(lr=rows["rate"])),
                steps=[step],
                priors=other_families(),
                run=run,
            )
            at_loss = float(np.polyval(parabola, row["loss"]))
            draws = {
                "loss known": end_of(task, certain(run, step, float(row["loss"]))),
                "parabola": at_loss + rng.choice(residual, KNOWN_DRAWS),
                "never trained": end_of(task, replace(new, test_set=TEST_SET)),
                "chinchilla": by_law,
            }
            if self.half:
                draws["half trained"] = half_trained(seen, rows, self.metric)
            for model, drawn in draws.items():
                yield {"metric": self.metric, "run": run, "fitted": " ".join(self.sizes), "model": model} | {
                    "converged": task.converged,
                    **scores_of(observed, drawn),
                }


def ladder(metric: str) -> pd.DataFrame:
    """Checkpoints with both: run, step, tokens, rate, peak, batch_tokens, parameters, loss, value, share of the run."""
    losses = read_public("olmo_ladder", "val_losses.csv.gz").query("test_set == @TEST_SET").rename(columns={"lr": "rate"})
    values = read_public("olmo_ladder", "task_bpb.csv.gz").query("metric == @metric")
    both = losses.merge(values[["run", "step", "value"]], on=["run", "step"]).sort_values(["run", "step"])
    return both.assign(share=both["step"] / both.groupby("run")["step"].transform("max"))


def ends_of(checkpoints: pd.DataFrame) -> pd.DataFrame:
    """The last checkpoint of each run."""
    return checkpoints.groupby("run").last().reset_index()


def linked(checkpoints: pd.DataFrame, metric: str) -> bt.TaskFit:
    """The link from loss to task at these checkpoints."""
    values = checkpoints[["run", "step", "value"]].rename(columns={"value": metric})
    return bt.fit_task(table_of(checkpoints), values, metric=metric, progress=False, throw=False)


def table_of(checkpoints: pd.DataFrame) -> bt.LossTable:
    return bt.LossTable.from_frame(checkpoints[["run", "step", "loss", "test_set"]])


def certain(run: str, step: float, loss: float) -> bt.Forecast:
    """A forecast of a loss that is known."""
    coords = {"chain": [0], "draw": np.arange(KNOWN_DRAWS), "step": [step]}
    draws = xr.DataArray(np.full((1, KNOWN_DRAWS, 1), loss), coords, ("chain", "draw", "step"))
    none = xr.DataArray(np.zeros(0), {"step": np.zeros(0)}, ("step",))
    return bt.Forecast(run=run, test_set=TEST_SET, origin=0.0, expected=draws, observed=draws, history=none)


def end_of(task: bt.TaskFit, ahead: bt.Forecast) -> Array:
    """Draws of the task at the last step of a forecast (draw)."""
    return bt.forecast_task(task, ahead).observed[..., -1].to_numpy().ravel()


def half_trained(seen: pd.DataFrame, run: pd.DataFrame, metric: str) -> Array:
    """Draws of the end of a run that is seen until half (draw)."""
    past, first = run[run["share"] <= HALF], run.iloc[0]
    fit = bt.fit(
        table_of(past),
        schedule=plan(run.assign(lr=run["rate"])),
        batch_tokens=float(first["batch_tokens"]),
        parameters=float(first["parameters"]),
        priors=other_families(),
        **SHORT,
    )
    task = linked(pd.concat([seen, past[past["share"] >= FIRST]]), metric)
    return end_of(task, fit.forecast([float(run["step"].iloc[-1])]))


@cache
def other_families() -> LearnedPriors:
    """Priors that other families than the ladder taught."""
    return LearnedPriors(levels=learn(pd.read_csv(RESULTS / "learned_priors.csv", comment="#"), without=("olmo_ladder",)))


def judge(case: Case) -> list[dict[str, object]]:
    with warnings.catch_warnings(action="ignore"):
        return list(case.judged())


def cases() -> list[Case]:
    """Every case."""
    metrics = sorted(read_public("olmo_ladder", "task_bpb.csv.gz")["metric"].unique())
    of_half = metrics[::OF_HALF]
    return [Case(metric, sizes, metric in of_half and len(sizes) == 2) for metric in metrics[::EVERY] for sizes in FITTED]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over tasks and runs, by the sizes that were fitted and by model."""
    return means_by(rows, ["fitted", "model"])


def main() -> None:
    asked = options(__doc__, "tasks")
    keep(summary(judged_rows(judge, cases()[:2] if asked.quick else cases(), asked=asked)), asked.table)


if __name__ == "__main__":
    main()
