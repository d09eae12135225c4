"""What ``--branch`` means."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.cli.branches import read_branches, with_branches
from tests.cli.test_cli import run
from tests.conftest import refusal

RULE = "--branch must be RUN@STEP=SCHEDULE with RUN one of 'cool', 'cool-2', 'main'"
EXAMPLE = "Write e.g. --branch cooldown@12000=linear:peak=1e-3,total=15000."


def table(*, parents: bool = False) -> bt.LossTable:
    """A run and two branches, with the learning rates that were logged."""
    frames = []
    for name, first, lr in (("main", 100.0, 1e-3), ("cool", 600.0, 2e-4), ("cool-2", 600.0, 1e-4)):
        steps = np.arange(first, 1001.0, 100.0)
        own = (
            {"parent": None if name == "main" else "main", "branch_step": None if name == "main" else 500.0} if parents else {}
        )
        frames.append(pd.DataFrame({"run": name, "step": steps, "loss": 3.0 + 90.0 / steps, "lr": lr, **own}))
    return bt.LossTable.from_frame(pd.concat(frames))


def test_the_longest_name_its_step_and_its_schedule() -> None:
    found = read_branches(["cool-2@500=linear:peak=1e-3,total=1000", "cool@400"], table(), "main")
    assert found.parents == {"cool-2": ("main", 500.0), "cool": ("main", 400.0)}
    assert found.schedules["cool-2"].lr([1000]).tolist() == [0.0]
    assert found.schedules["cool"].lr([1000]).tolist() == [2e-4], "as it was logged"
    assert read_branches([], table(), "main").parents == {}


def test_columns_say_where_a_branch_left() -> None:
    assert read_branches(["cool"], table(parents=True), "main").parents == {"cool": ("main", 500.0)}
    assert read_branches(["cool@450"], table(parents=True), "main").parents == {"cool": ("main", 450.0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("warm@500", f"{RULE}; got 'warm@500'. {EXAMPLE}"),
        ("cool@x", f"{RULE}; got 'cool@x'. {EXAMPLE}"),
        ("cool", f"--branch must say where the branch left, RUN@STEP; got 'cool'. {EXAMPLE}"),
    ],
)
def test_what_says_too_little_is_refused(text: str, message: str) -> None:
    with refusal(message):
        read_branches([text], table(), "main")


def test_a_branch_is_whole_whatever_until_is() -> None:
    every = table()
    both = with_branches(every.select(run="main").until(500), every, read_branches(["cool@500"], every, "main"))
    assert both.runs == ["cool", "main"]
    assert (both.select(run="main").steps[-1], both.select(run="cool").steps[-1]) == (500.0, 1000.0)


@pytest.mark.slow
def test_a_forecast_from_the_command_line(tmp_path: Path) -> None:
    table().frame.to_csv(tmp_path / "losses.csv", index=False)
    command = [
        "forecast",
        tmp_path / "losses.csv",
        "--run",
        "main",
        "--branch",
        "cool@500",
        "--to",
        2000,
        "--out",
        tmp_path / "out",
    ]
    done = run(*command, "--schedule", "constant:peak=1e-3,total=2000")
    assert done.returncode in (0, 3), done.stderr
    assert bt.load_fit(tmp_path / "out" / "fit.nc").branches == ["cool"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["run"] == "main"


def test_a_branch_without_its_run_named_is_refused(tmp_path: Path) -> None:
    table().frame.to_csv(tmp_path / "losses.csv", index=False)
    done = run("forecast", tmp_path / "losses.csv", "--branch", "cool@500", "--to", 2000, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr == "error: --run must be one of 'cool', 'cool-2', 'main'; got none. Name one run of losses.csv.\n"


def test_what_was_measured_beside_a_run_comes_along() -> None:
    frame = table().frame
    beside = frame[frame["run"] == "main"].iloc[-1:].assign(averaged=50.0, gradient_noise=3.0)
    every = bt.LossTable.from_frame(pd.concat([frame, beside]))
    past = every.select(run="main")
    together = with_branches(past, every, read_branches(["cool@400=linear:peak=1e-3,total=1000"], every, "main"))
    assert list(together.averaged) == [50.0]
    assert together.gradient_noise is not None
