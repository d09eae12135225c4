"""The judge: nothing sees the future, nothing is lost, nothing is computed twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike

import bayes_tsl as bt
from bayes_tsl.evaluation.backtesting import CELL, backtest, summarise
from bayes_tsl.forecasting.baselines import last_value

STEPS = np.arange(100.0, 2001.0, 100.0)
SCHEDULE = bt.schedules.cosine(peak=1e-3, warmup=50, total=2000, final=1e-4)
QUICK = {"prefixes": [0.3, 0.6], "forecasters": ["last-value", "power-law"], "progress": False}


def runs(*names: str, seed: int = 0) -> bt.LossTable:
    rng = np.random.default_rng(seed)
    frames = [
        pd.DataFrame({"run": name, "step": STEPS, "loss": 3.0 + 2.0 * (STEPS / 100) ** -0.5 + 3e-3 * rng.standard_normal(20)})
        for name in names
    ]
    return bt.LossTable.from_frame(pd.concat(frames))


def broken(losses: bt.LossTable, *, steps: ArrayLike, schedule: bt.Schedule | None = None, seed: int = 0) -> bt.Forecast:
    raise ValueError("no luck\nat all")


def die_once(losses: bt.LossTable, *, steps: ArrayLike, schedule: bt.Schedule | None = None, seed: int = 0) -> bt.Forecast:
    """Kills its worker the first time that anybody calls it."""
    flag = Path(os.environ["DIE_ONCE"])
    time.sleep(0.2)
    try:
        flag.touch(exist_ok=False)
    except FileExistsError:
        return last_value(losses, steps=steps, schedule=schedule, seed=seed)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_every_later_checkpoint_of_every_cell_is_scored() -> None:
    scores = backtest(runs("a", "b"), SCHEDULE, **QUICK)
    assert scores.groupby(CELL).size().to_dict() == {
        (run, "test", model, prefix, 2000 * prefix): 20 * (1 - prefix)
        for run in ("a", "b")
        for model in ("last-value", "power-law")
        for prefix in (0.3, 0.6)
    }
    assert (scores["step"] > scores["origin"]).all()
    assert (scores["reason"] == "").all()
    assert scores.notna().all().all()


@pytest.mark.parametrize("model", ["last-value", "power-law", "reciprocal", "annealing-law"])
def test_nothing_sees_the_future(model: str) -> None:
    table = runs("a")
    corrupt = table.frame.assign(loss=table.frame["loss"].where(table.frame["step"] <= 1000, 9.0 - table.frame["loss"]))
    settings = {"prefixes": [0.5], "forecasters": [model], "progress": False}
    one, two = (backtest(losses, SCHEDULE, **settings) for losses in (table, bt.LossTable.from_frame(corrupt)))
    told = ["origin", "step", "mean", "median", "lower", "upper", "width_50", "notes"]
    pd.testing.assert_frame_equal(one[told], two[told], check_exact=True)
    assert (one["observed"] != two["observed"]).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
def test_the_model_does_not_see_the_future() -> None:
    table = runs("a")
    corrupt = table.frame.assign(loss=table.frame["loss"].where(table.frame["step"] <= 1000, 9.0 - table.frame["loss"]))
    one, two = (
        backtest(losses, SCHEDULE, prefixes=[0.5], forecasters=["tsl"], progress=False)
        for losses in (table, bt.LossTable.from_frame(corrupt))
    )
    assert (one["reason"] == "").all()
    pd.testing.assert_frame_equal(one[["step", "mean", "upper", "notes"]], two[["step", "mean", "upper", "notes"]])


def test_a_failure_is_a_row_with_its_reason() -> None:
    scores = backtest(runs("a"), prefixes=[0.1, 0.5], forecasters={"broken": broken, "last-value": last_value}, progress=False)
    failed = scores[scores["reason"] != ""]
    assert failed[["model", "prefix"]].to_numpy().tolist() == [["broken", 0.1], ["last-value", 0.1], ["broken", 0.5]]
    assert failed["reason"].iloc[0] == "no luck at all"
    assert "losses must hold 4 usable checkpoints; got 2" in failed["reason"].iloc[1]
    assert failed["step"].isna().all()
    summary = summarise(scores).set_index(["model", "prefix"])
    assert summary["failed"].to_dict() == {
        ("broken", 0.1): 1,
        ("broken", 0.5): 1,
        ("last-value", 0.1): 1,
        ("last-value", 0.5): 0,
    }
    assert np.isfinite(summary.loc[("last-value", 0.5), "crps"])
    assert np.isnan(summary.loc[("broken", 0.5), "crps"])


def test_finished_cells_are_not_computed_again(tmp_path: Path) -> None:
    seen, most = [], 2

    def counted(losses: bt.LossTable, **asked) -> bt.Forecast:
        if len(seen) == most:
            raise KeyboardInterrupt
        seen.append(losses)
        return last_value(losses, **asked)

    settings = {**QUICK, "forecasters": {"one": counted, "two": counted}}
    with pytest.raises(KeyboardInterrupt):
        backtest(runs("a", "b"), SCHEDULE, store=tmp_path, **settings)
    assert len(list(tmp_path.iterdir())) == 2
    most = None
    resumed = backtest(runs("a", "b"), SCHEDULE, store=tmp_path, **settings)
    assert len(seen) == 8
    pd.testing.assert_frame_equal(resumed, backtest(runs("a", "b"), SCHEDULE, **settings))
    computed = len(seen)
    backtest(runs("a", "b"), SCHEDULE, store=tmp_path, **settings)
    assert len(seen) == computed
    backtest(runs("a", "b", seed=1), SCHEDULE, store=tmp_path, **settings)
    assert len(seen) == computed + 8, "other losses are other cells"


def test_processes_give_what_one_gives() -> None:
    alone = backtest(runs("a", "b"), SCHEDULE, **QUICK)
    pd.testing.assert_frame_equal(backtest(runs("a", "b"), SCHEDULE, workers=2, **QUICK), alone)


def test_a_damaged_cell_is_set_aside_and_made_anew(tmp_path: Path) -> None:
    """One is cut off, one has other numbers than were written, one is another table."""
    first = backtest(runs("a"), SCHEDULE, store=tmp_path, **QUICK)
    cut, changed, other, good = sorted(tmp_path.iterdir())
    written = good.read_bytes()
    cut.write_bytes(cut.read_bytes()[:1000])
    scores = pd.read_parquet(changed)
    scores.loc[0, "crps"] += 0.125
    scores.to_parquet(changed)
    pd.DataFrame({"x": [1]}).to_parquet(other)
    with pytest.warns(
        bt.Notice, match=r"^A result is damaged and made again: .*\. The file is .*\.parquet\.damaged now\.$"
    ) as said:
        again = backtest(runs("a"), SCHEDULE, store=tmp_path, **QUICK)
    assert len(said) == 3
    pd.testing.assert_frame_equal(again, first)
    assert sorted(path.name for path in tmp_path.glob("*.damaged")) == [
        f"{path.name}.damaged" for path in (cut, changed, other)
    ]
    assert good.read_bytes() == written
    backtest(runs("a"), SCHEDULE, store=tmp_path, **QUICK)  # without a word


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (MemoryError(), 2),
        (OSError(28, "No space left on device"), 2),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."), 2),
        (ValueError("no luck"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_passing_failure_is_tried_again_and_a_lasting_one_kept(tmp_path: Path, error: Exception, calls: int) -> None:
    called = []

    def unlucky(losses: bt.LossTable, **asked) -> bt.Forecast:
        called.append(losses)
        raise error

    for _ in range(2):
        scores = backtest(runs("a"), SCHEDULE, prefixes=[0.5], forecasters={"mine": unlucky}, store=tmp_path, progress=False)
        assert scores["reason"].tolist() == [str(error) or "MemoryError"]
    assert len(called) == calls


CLUSTER = """
import os, sys
from distributed import Client, LocalCluster
from tests.evaluation.test_backtesting import CELL, SCHEDULE, die_once, runs
from bayes_tsl.evaluation.backtesting import backtest

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            names = ("a", "b", "c", "d")
            scores = backtest(runs(*names), SCHEDULE, prefixes=[0.5], forecasters={"mortal": die_once}, client=client,
                              store=sys.argv[1], progress=False)
    assert os.path.exists(os.environ["DIE_ONCE"]), "nobody died"
    assert (scores["reason"] == "").all(), scores["reason"].unique()
    assert scores.groupby(CELL).size().tolist() == [10] * 4
    assert len(os.listdir(sys.argv[1])) == 4
    print("every cell once")
"""


def test_a_cluster_loses_no_cell_when_a_worker_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    root = Path(__file__).parents[2]
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    environment = {**os.environ, "DIE_ONCE": str(tmp_path / "died"), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, script, tmp_path / "cells"], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=180
    )
    assert done.stdout.strip().endswith("every cell once"), done.stderr[-2000:]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prefixes": []}, "prefixes must name at least one prefix; got 'none'. Give e.g. [0.2, 0.5, 0.8]."),
        ({"prefixes": [0.5, 1.0]}, "prefixes must lie between 0 and 1; got 1. 0.5 is the first half of a run."),
        ({"workers": 0}, "workers must be 1 or more, a whole number; got 0. 1 is this process alone."),
        (
            {"seed": -1},
            "seed must be a whole number from 0 to 9223372036854775807; got -1. Any such number will do, e.g. 0.",
        ),
        *(
            (
                {"schedule": plan},
                "schedule must be a Schedule; got 'float'. "
                "Make one with schedules.cosine(...), schedules.parse('cosine:...') or schedules.from_frame(table).",
            )
            for plan in (1e-3, {"a": 1e-3})
        ),
        (
            {"forecasters": ["oracle"]},
            "model must be one of 'tsl', 'last-value', 'power-law', 'reciprocal', 'logarithmic', 'annealing-law', "
            "'multi-power-law'; got 'oracle'. Choose among these.",
        ),
        (
            {"schedule": {"b": SCHEDULE}},
            "schedules must name every run; got 'a' without one. Use schedules.unknown() if it is.",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}$"):
        backtest(runs("a"), **{**QUICK, **settings})  # type: ignore[arg-type]


def test_a_loss_table_is_asked_for() -> None:
    message = "losses must be a LossTable; got 'DataFrame'. Make one with LossTable.from_frame(frame), or read_losses(path)."
    with pytest.raises(bt.DataError, match=f"^{re.escape(message)}$"):
        backtest(runs("a").frame, SCHEDULE, **QUICK)  # type: ignore[arg-type]


def test_from_the_command_line(tmp_path: Path) -> None:
    runs("a", "b").frame[["run", "step", "loss"]].to_csv(tmp_path / "losses.csv", index=False)
    command = [sys.executable, "-m", "bayes_tsl", "backtest", tmp_path / "losses.csv", "--out", tmp_path / "out"]
    spec = ["--schedule", "cosine:peak=1e-3,warmup=50,total=2000", "--models", "power-law,last-value", "--target", "3.4"]
    done = subprocess.run([*command, *spec, "--prefixes", "0.15,0.5"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "failed: a, test, power-law at 0.15: losses must hold" in done.stderr
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    first = ["run", "model", "prefix", "origin", "step", "observed", "mean", "median", "lower", "upper", "crps", "log_score"]
    assert list(scores)[:12] == first
    assert set(scores["model"]) == {"power-law", "last-value"}
    assert scores["prob_below"].dropna().between(0, 1).all()
    assert "endpoint_brier" in done.stdout
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert summary["cells"].tolist() == [2, 2, 2, 2]
    for name in ("calibration.png", "errors.png"):
        assert (tmp_path / "out" / name).stat().st_size > 5000
    bad = subprocess.run([*command, *spec, "--prefixes", "half"], capture_output=True, text=True)
    assert bad.returncode == 2
    assert bad.stderr == "error: --prefixes must be numbers with commas between; got 'half'. Write e.g. 0.2,0.5.\n"
