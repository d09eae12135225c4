"""Every command with wrong input: one line that names the fault, exit code 2, and no file written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayes_tsl.cli import inputs
from tests.cli.test_cli import stopped

STEPS = np.arange(100, 2001, 100)
PLAN = "cosine:peak=1e-3,total=4000"
AHEAD = {
    "forecast": ["--to", 3000, "--out", "out"],
    "report": ["--to", 3000, "--out", "out.html"],
    "plan": ["--end", 3000, "--out", "out"],
    "backtest": ["--models", "last-value", "--out", "out"],
    "compare-runs": ["--at", 3000, "--out", "out"],
    "watch": ["--once", "--out", "out"],
}
KINDS = "Give e.g. cosine:peak=2e-3,warmup=100,total=2500, or a CSV file."
FAULTS = [
    (AHEAD, "missing.csv", PLAN, "file must exist; got 'missing.csv'. Check the path."),
    (AHEAD, "steps.csv", PLAN, "steps.csv must have a column of losses; got 'step'. Export the loss as well."),
    (
        AHEAD,
        "two.csv",
        "cosin:peak=1e-3",
        f"schedule must be one of 'constant', 'linear', 'cosine', 'wsd'; got 'cosin'. {KINDS}",
    ),
    (AHEAD, "two.csv", "missing.csv", "file must exist; got 'missing.csv'. Check the path."),
    (
        ["forecast", "report", "compare-runs"],
        "two.csv",
        "cosine:peak=1e-3,total=2500",
        "schedule must reach the last forecast step 3000; got 2500. Give a schedule for the whole forecast, or forecast fewer "
        "steps.",
    ),
    (["forecast", "report", "plan", "watch"], "two.csv", PLAN, "--run must be one of 'a', 'b'; got none. Name one run of "),
]
CASES = [(command, *fault) for commands, *fault in FAULTS for command in commands]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, in which commands run, with a table of two runs and one without losses."""
    runs = [pd.DataFrame({"run": run, "step": STEPS, "loss": 3 + 10 / STEPS**0.5}) for run in "ab"]
    pd.concat(runs).to_csv(tmp_path / "two.csv", index=False)
    pd.DataFrame({"step": STEPS}).to_csv(tmp_path / "steps.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inputs, "fit", lambda *_, **__: pytest.fail("nothing is to be fitted"))
    return tmp_path


@pytest.mark.parametrize(("command", "name", "plan", "message"), CASES)
def test_wrong_input_is_one_line(
    command: str, name: str, plan: str, message: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(files.iterdir())
    chosen = ["--run", "a"] if "--run" not in message and command not in ("backtest", "compare-runs") else []
    assert stopped(command, name, "--schedule", plan, *chosen, *AHEAD[command]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith(f"error: {message}")
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize("command", AHEAD)
def test_a_file_in_place_of_a_folder_is_one_line(command: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = "two.csv/out.html" if command == "report" else "two.csv"
    assert stopped(command, "two.csv", "--schedule", PLAN, *AHEAD[command][:-1], out) == 2
    assert capsys.readouterr().err == "error: --out must be a folder; got 'two.csv' which is a file. Choose another folder.\n"
