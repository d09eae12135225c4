"""What a command leaves: tables and pictures in a folder, and lines to read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayes_tsl._common.digits import decimals
from bayes_tsl._common.files import whole_file, whole_files
from bayes_tsl._common.validation import require, show
from bayes_tsl.cli.exit_codes import DONE, NOT_CONVERGED
from bayes_tsl.data.loss_table import ENDINGS, LossTable
from bayes_tsl.data.schedules import UNKNOWN, Schedule
from bayes_tsl.decisions.plans import BestPlan
from bayes_tsl.decisions.run_comparison import Comparison
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.plots.decisions import plot_best_plan, plot_comparison
from bayes_tsl.plots.evaluation import plot_calibration, plot_errors
from bayes_tsl.plots.forecasts import plot_forecast
from bayes_tsl.plots.style import figure_of
from bayes_tsl.reporting.content import Tree, json_text

_SHOWN = [
    *("model", "prefix", "cells", "failed", "endpoint_mae", "crps", "log_score"),
    *("coverage_50", "coverage_90", "width_90", "endpoint_brier"),
]


def exit_code(posterior: Fit) -> int:
    """Exit code of a command that fitted something, by whether its chains converged."""
    return DONE if posterior.converged else NOT_CONVERGED


def require_writable(out: Path) -> None:
    """Raise ``DataError`` unless results can be written to the folder ``out``, which need not exist yet."""
    place = next(path for path in (out, *out.absolute().parents) if path.exists())
    cure = "Choose another folder."
    require(place.is_dir(), "--out", "be a folder", str(place), where="which is a file", cure=cure)
    writable = os.access(place, os.W_OK | os.X_OK)
    require(writable, "--out", "be a folder that can be written to", str(place), where="which cannot", cure=cure)


def require_table_name(out: Path) -> None:
    """Raise ``DataError`` unless a table can be written to the file ``out``, by its ending and its folder."""
    cure = "The ending says how to write it."
    require(out.name.lower().endswith(ENDINGS), "--out", f"end in one of {show(ENDINGS)}", out.name, cure=cure)
    _require_new_file(out)


def require_page_name(out: Path) -> None:
    """Raise ``DataError`` unless a page can be written to the file ``out``, by its ending and its folder."""
    require(out.suffix == ".html", "--out", "end in .html", out.name, cure="Its JSON is written beside it.")
    _require_new_file(out)


def _require_new_file(out: Path) -> None:
    require(not out.is_dir(), "--out", "be a file", str(out), where="which is a folder", cure="Choose another name.")
    require_writable(out.parent)


def write_losses(out: Path, losses: LossTable) -> None:
    """Write a loss table to a csv, csv.gz or parquet file, without the columns that are blank throughout."""
    out.parent.mkdir(parents=True, exist_ok=True)
    frame = losses.frame.dropna(axis="columns", how="all")
    with whole_file(out) as beside:
        if out.suffix.lower() == ".parquet":
            frame.to_parquet(beside, index=False)
        else:
            frame.to_csv(beside, index=False)


def write_forecast(
    out: Path, posterior: Fit, ahead: Forecast, tree: Tree, *, prob: float, later: pd.Series, target: float | None
) -> None:
    """Write forecast.csv, summary.json, fit.nc and forecast.png.

    Args:
        out: folder.
        posterior: what the past says.
        ahead: its forecast.
        tree: the summary of it.
        prob: mass of the intervals.
        later: measurements after the origin, if there are any (index: step).
        target: a loss to reach.
    """
    shown = later[later.index <= ahead.steps[-1]]
    plot = partial(plot_forecast, ahead, observed=shown if len(shown) else None, target=target, schedule=posterior.schedule)
    with _results(out) as beside:
        ahead.to_frame(prob=prob).to_csv(beside / "forecast.csv", index=False)
        (beside / "summary.json").write_text(json_text(tree), encoding="utf-8")
        posterior.save(beside / "fit.nc")
        _write_picture(beside / "forecast.png", plot, size=(7.0, 5.6), heights=(3.0, 1.0))


def plan_tree(best: BestPlan, *, prob: float) -> Tree:
    """The best plan as a tree for JSON, with intervals of the mass ``prob``."""
    return {
        "answer": best.reason,
        "objective": best.objective,
        "best": {"plan": best.name, **best.to_frame(prob=prob).loc[best.name].to_dict()},
        "against": best.against(prob=prob).reset_index().to_dict("records"),
        "prob": prob,
        "origin": best.origin,
        "converged": best.converged,
        "notices": list(best.notices),
    }


def write_plan(out: Path, posterior: Fit, best: BestPlan, tree: Tree, *, prob: float) -> None:
    """Write plans.csv, plan.json, schedule.csv, fit.nc and plan.png; intervals have the mass ``prob``."""
    schedule = best.schedule
    with _results(out) as beside:
        best.to_frame(prob=prob).reset_index().to_csv(beside / "plans.csv", index=False)
        pd.DataFrame({"step": schedule.steps, "lr": schedule.lrs}).to_csv(beside / "schedule.csv", index=False)
        (beside / "plan.json").write_text(json_text(tree), encoding="utf-8")
        posterior.save(beside / "fit.nc")
        _write_picture(beside / "plan.png", partial(plot_best_plan, best, prob=prob), size=(7.0, 7.0), heights=(3.0, 2.0))


def write_backtest(out: Path, scores: pd.DataFrame, summary: pd.DataFrame) -> None:
    """Write scores.csv and summary.csv, and where anything was scored calibration.png and errors.png."""
    first = ["run", "model", "prefix", "origin", "step", "observed", "mean", "median", "lower", "upper", "crps", "log_score"]
    columns = [*first, *scores.columns.difference(first, sort=False)]
    with _results(out) as beside:
        scores.reindex(columns=columns).to_csv(beside / "scores.csv", index=False)
        summary.to_csv(beside / "summary.csv", index=False)
        if bool(np.any(scores["reason"] == "")):
            _write_picture(beside / "calibration.png", partial(plot_calibration, scores), size=(9.0, 3.8), columns=2)
            _write_picture(beside / "errors.png", partial(plot_errors, scores), size=(6.0, 3.8))


def comparison_frame(comparison: Comparison, schedules: Mapping[str, Schedule], *, prob: float) -> pd.DataFrame:
    """How runs compare, with intervals of the mass ``prob``, and under which peak and last learning rate."""
    frame = comparison.to_frame(prob=prob)
    plans = [schedules[run] for run in frame["run"]]
    return frame.assign(peak_lr=[plan.peak for plan in plans], last_lr=[float(plan.lr(comparison.step)) for plan in plans])


def comparison_tree(comparison: Comparison, frame: pd.DataFrame, *, prob: float) -> Tree:
    """How runs compare as a tree for JSON, of a ``comparison_frame`` with intervals of the mass ``prob``."""
    pairs = comparison.prob_below()
    return {
        "step": comparison.step,
        "test_set": comparison.test_set,
        "runs": frame.drop(columns="step").to_dict("records"),
        "prob_below": {run: row.drop(run).to_dict() for run, row in pairs.iterrows()},
        "prob": prob,
        "converged": comparison.converged,
        "notices": list(comparison.notices),
    }


def write_comparison(
    out: Path, posterior: Fit, comparison: Comparison, frame: pd.DataFrame, tree: Tree, *, prob: float
) -> None:
    """Write compare.csv, compare.json, pairs.csv, fit.nc and compare.png; intervals have the mass ``prob``."""
    plot = partial(plot_comparison, comparison, prob=prob)
    with _results(out) as beside:
        frame.to_csv(beside / "compare.csv", index=False)
        (beside / "compare.json").write_text(json_text(tree), encoding="utf-8")
        comparison.prob_below().to_csv(beside / "pairs.csv")
        posterior.save(beside / "fit.nc")
        _write_picture(beside / "compare.png", plot, size=(8.4, 1.2 + 0.42 * len(frame)), columns=2)


def files_text(out: Path, *names: str) -> str:
    """Which files of a folder were written."""
    return f"wrote {', '.join(str(out / name) for name in names)}"


def converted_text(out: Path, losses: LossTable, format: str) -> str:
    """What a log came to, in one line."""
    first, last = show(losses.steps[0]), show(losses.steps[-1])
    counts = f"{len(losses.frame)} rows, {len(losses.runs)} runs, steps {first} to {last}"
    return f"wrote {out}: {counts}, format {format}, {len(losses.notices)} notices"


def require_some_scored(scores: pd.DataFrame) -> None:
    """Raise ``DataError`` where every forecast of a backtest failed."""
    reasons = scores.loc[scores["reason"] != "", "reason"]
    cure = "Give later prefixes or other models."
    require(len(reasons) < len(scores), "a forecast", "succeed", reasons.unique(), where="from every one", cure=cure)


def backtest_text(summary: pd.DataFrame, plans: Mapping[str, Schedule]) -> str:
    """Scores by model and prefix, and a note on the runs whose schedule is unknown."""
    shown = [name for name in _SHOWN if name != "endpoint_brier" or name in summary]
    table = summary.reindex(columns=shown).to_string(index=False, float_format="{:.4g}".format, na_rep="-")
    unknown = unknown_schedules(plans)
    return "\n".join([table, *([f"note: {UNKNOWN} (of {show(unknown)})"] if unknown else [])])


def unknown_schedules(plans: Mapping[str, Schedule]) -> list[str]:
    """Runs whose schedule is unknown."""
    return [run for run, plan in plans.items() if not plan.known]


def failure_lines(scores: pd.DataFrame) -> list[str]:
    """Why forecasts of a backtest failed, a line each."""
    failed = [cell for _, cell in scores[scores["reason"] != ""].iterrows()]
    where = [f"{cell['run']}, {cell['test_set']}, {cell['model']} at {cell['prefix']:g}" for cell in failed]
    return [f"{place}: {cell['reason']}" for place, cell in zip(where, failed)]


def losses_text(table: pd.DataFrame) -> str:
    """Losses by step or run, with the decimals that their narrowest interval leaves meaning to."""
    digits = decimals(table["lower"], table["upper"])
    losses = dict.fromkeys(("median", "lower", "upper", "observed"), f"{{:.{digits}f}}".format)
    return table.to_string(
        index=False, formatters={"step": "{:.10g}".format, **losses}, float_format="{:.4f}".format, na_rep="-"
    )


@contextmanager
def _results(out: Path) -> Iterator[Path]:
    """A folder to write results to, which all appear in the folder ``out`` when the block ends well, and none otherwise."""
    out.mkdir(parents=True, exist_ok=True)
    with whole_files(out) as beside:
        yield beside


def _write_picture(path: Path, plot: Callable[..., object], *, size: tuple[float, float], **panels: Any) -> None:
    figure_of(plot, size=size, **panels).savefig(path, dpi=150)
