"""The command line, as a user runs it: in a process of its own, with good input and bad."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.cli import _steps, main
from tests.conftest import ORIGIN

SPEC = "cosine:peak=2e-3,warmup=150,total=8000,final=2e-4"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bayes_tsl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def losses(simulation: bt.Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input") / "losses.csv.gz"
    simulation.losses.frame[["run", "test_set", "step", "position", "loss"]].to_csv(path, index=False)
    return path


def test_a_forecast_from_a_file(losses: Path, simulation: bt.Simulation, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    done = run(
        "forecast", losses, "--schedule", SPEC, "--until", 4000, "--steps", "6000,5000,8000", "--target", 3.4, "--out", out
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"forecast.csv", "summary.json", "fit.nc", "forecast.png"}
    frame = pd.read_csv(out / "forecast.csv")
    assert list(frame) == ["run", "step", "mean", "median", "lower", "upper", "prob", "sd"]
    assert list(frame["step"]) == [5000, 6000, 8000]
    pd.testing.assert_frame_equal(
        frame, bt.forecast(bt.load_fit(out / "fit.nc"), steps=[5000, 6000, 8000]).to_frame(), check_dtype=False
    )
    table, verdict = done.stdout.splitlines()[:4], done.stdout.splitlines()[4]
    assert table[0].split() == ["step", "mean", "lower", "upper", "observed"]
    observed = simulation.losses.mean_losses().loc[[5000, 6000, 8000]]
    np.testing.assert_allclose([float(line.split()[-1]) for line in table[1:]], observed, atol=6e-5)
    assert verdict.startswith("converged: R-hat at most 1.0")
    assert "sampling: 100%" in done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["converged"] is True
    assert summary["last"]["step"] == 8000
    assert 0 <= summary["target"]["prob_below_at_last"] <= 1
    assert summary["against_observed"]["steps"] == 3
    assert summary["versions"]["bayes_tsl"] == bt.__version__
    assert matplotlib.image.imread(out / "forecast.png").std() > 0.05


def test_help_has_an_example() -> None:
    done = run("forecast", "--help")
    assert done.returncode == 0
    assert "bayes-tsl forecast losses.csv --until 1250 --to 2500" in done.stdout


GOOD = {"step": [100, 200, 300, 400, 500], "loss": [5.0, 4.5, 4.2, 4.0, 3.9]}
TAIL = ["--schedule", "constant:peak=1e-3", "--to", "1000"]
BAD = [
    (
        {"step": [100], "loss": ["nan"]},
        TAIL,
        "loss must be finite; got nan at run='run', test_set='test', step=100 (line 2 of losses.csv). "
        "Drop the row or correct it.",
    ),
    ({"step": [100]}, TAIL, "losses.csv must have columns step and loss; got 'step'. Add 'loss'."),
    ("", TAIL, "losses.csv must hold a table; got an empty file. Check that the log was written."),
    (GOOD, [*TAIL, "--run", "b"], "run must be one of 'run'; got 'b'. Choose one of these."),
    (GOOD, [*TAIL, "--test-set", "b"], "test_set must be one of 'test'; got 'b'. Choose one of these."),
    (
        GOOD,
        ["--schedule", "cosine:peak=1e-3,total=800", "--to", "1000"],
        "schedule must reach the last forecast step 1000; got 800. "
        "Give a schedule for the whole forecast, or forecast fewer steps.",
    ),
    (GOOD, ["--to", "300"], "--to must lie after the origin 500; got 300. Lower --until."),
    (GOOD, ["--steps", "300"], "--steps must lie after the origin 500; got 300. Lower --until."),
    (GOOD, ["--steps", "a,b"], "--steps must be numbers with commas between; got 'a,b'. Write e.g. 1500,2000."),
    (GOOD, [], "one of --steps and --to must be given; got 'neither'."),
    (
        GOOD,
        [*TAIL, "--until", "50"],
        "losses must have rows of step up to 50; got 100, 200, 300, 400, 500 as steps. Choose another.",
    ),
    (GOOD, [*TAIL, "--prob", "90"], "--prob must lie between 0 and 1; got 90. 0.9 is a 90 % interval."),
    (GOOD, [*TAIL, "--target", "-1"], "--target must be a number above 0; got -1. It is a loss in nats per token."),
    (GOOD, [*TAIL, "--bogus"], "No such option '--bogus'"),
    (GOOD, ["--to", "1000", "--schedule", "missing.csv"], "file must exist; got 'missing.csv'. Check the path."),
    (
        GOOD,
        ["--to", "1000", "--schedule", "column"],
        "column lr must have at least two rows; got 0. Give the first and the last step.",
    ),
]


@pytest.mark.parametrize(("content", "arguments", "message"), BAD)
def test_bad_input_is_one_line_and_exit_code_2(
    content: object, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "losses.csv"
    if isinstance(content, str):
        path.write_text(content)
    else:
        pd.DataFrame(content).to_csv(path, index=False)
    with pytest.raises(SystemExit) as stopped:
        main(["forecast", str(path), *arguments, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.match(f"^error: {re.escape(message)}", lines[0]), lines[0]
    assert not (tmp_path / "out").exists()


def test_a_process_with_bad_input_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    done = run("forecast", tmp_path / "losses.csv", *TAIL, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: losses.csv must be a csv table; got ")


def test_steps_go_on_as_often_as_checkpoints(simulation: bt.Simulation) -> None:
    past = simulation.losses.until(ORIGIN)
    np.testing.assert_allclose(_steps(None, 5000, past), [4200, 4400, 4600, 4800, 5000])
    assert len(_steps(None, 1e6, past)) == 50
