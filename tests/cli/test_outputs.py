"""Results of a command appear together; a disk that is full leaves what was there, and is one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.cli.main import main
from bayes_tsl.cli.outputs import write_backtest, write_forecast
from bayes_tsl.evaluation.backtesting import summarise
from bayes_tsl.inference.posterior import example_fit
from bayes_tsl.reporting.content import summary
from tests.conftest import full_disk

RESULTS = ["fit.nc", "forecast.csv", "forecast.png", "summary.json"]


@pytest.fixture(scope="module")
def results() -> dict[str, object]:
    ahead = bt.forecast(example_fit(), steps=[1500.0, 2500.0])
    moved = bt.prior_sensitivity(example_fit(), steps=[2500.0])
    later = pd.Series([3.6], index=pd.Index([1500.0], name="step"), name="observed")
    tree = summary(example_fit(), ahead, prob=0.9, target=None, moved=moved, later=later)
    return {"posterior": example_fit(), "ahead": ahead, "tree": tree, "later": later, "prob": 0.9, "target": None}


@pytest.mark.parametrize("most", [100, 30_000, 200_000])
def test_a_full_disk_leaves_the_results_of_before(results: dict, tmp_path: Path, most: int) -> None:
    """It is full at the first file, at the last, or at the one between."""
    for name in RESULTS:
        (tmp_path / name).write_text("before")
    with pytest.raises(OSError, match=r"^\[Errno 27\] File too large: "), full_disk(most):
        write_forecast(tmp_path, **results)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(RESULTS, "before")


def test_results_appear_together(results: dict, tmp_path: Path) -> None:
    write_forecast(tmp_path / "new", **results)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == RESULTS
    assert bt.load_fit(tmp_path / "new" / "fit.nc") == example_fit()


def test_scores_of_a_full_disk_are_not_there(tmp_path: Path) -> None:
    losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    scores = bt.backtest(losses, prefixes=[0.5], forecasters=["last-value"], progress=False)
    with pytest.raises(OSError, match="File too large"), full_disk():
        write_backtest(tmp_path, scores, summarise(scores))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "\n".join(f"step {step}: train loss 4.2874, val loss {4.2 - step / 1000}" for step in range(0, 1000, 10))
    (tmp_path / "train.log").write_text(rows)
    with pytest.raises(SystemExit) as ended, full_disk(100):
        main(["convert", str(tmp_path / "train.log"), "--out", str(tmp_path / "losses.csv")])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: File too large: {tmp_path}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["train.log"]


@pytest.mark.parametrize("arguments", [["--help"], ["forecast"], ["convert", "LOG", "--out", "OUT"]], ids=" ".join)
def test_a_full_disk_for_what_is_printed_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    rows = "".join(f"{step},{4 - step / 2000}\n" for step in range(100, 1300, 100))
    (tmp_path / "train.csv").write_text(f"step,loss\n{rows}")
    names = {"LOG": str(tmp_path / "train.csv"), "OUT": str(tmp_path / "losses.csv")}
    with Path("/dev/full").open("w") as full:
        done = run([names.get(argument, argument) for argument in arguments], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == "error: No space left on device: standard output\n"


def test_a_closed_pipe_ends_a_command_without_a_word() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    done = run(["--help"], stdout=writes, stderr=subprocess.PIPE)
    os.close(writes)
    assert (done.returncode, done.stderr) == (1, "")


def run(arguments: list[str], **streams: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bayes_tsl", *arguments], text=True, timeout=120, check=False, **streams)


INTERRUPTED = """
import sys, time
from bayes_tsl.cli import actions, main

def compiling(*paths, **options):
    print("begun", flush=True)
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            pass  # as a callback of XLA may swallow it

actions.forecast_run = compiling
main.main(["forecast", "losses.csv", "--to", "2000", "--out", "out"])
"""


def test_ctrl_c_ends_a_command_at_once() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "\nstopped; nothing was written.\n")
