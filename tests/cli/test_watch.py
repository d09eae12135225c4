"""``bayes-tsl watch``: files that grow, are cut and come back, gates for scripts, and lines for people."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import bayes_tsl as bt
from bayes_tsl.cli import watching
from bayes_tsl.cli.console import Console
from bayes_tsl.cli.options import LOG_OPTIONS
from tests.cli.test_cli import run
from tests.conftest import refusal

SPEC = "cosine:peak=2e-3,warmup=150,total=8000,final=2e-4"
READ = dict.fromkeys(["run", "test_set", *LOG_OPTIONS]) | {"every": 0.0}


def write(log: Path, until: int) -> None:
    rows = "".join(f"{step},{5 - step / 4000}\n" for step in range(400, until + 1, 400))
    log.write_text(f"step,loss\n{rows}")


def test_a_log_is_read_again_when_it_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.csv"
    write(log, 800)
    versions = watching._versions(log, READ | {"once": False}, Console())
    assert next(versions).steps.tolist() == [400, 800]
    write(log, 1200)
    assert next(versions).steps.tolist() == [400, 800, 1200]
    write(log, 400)
    assert next(versions).steps.tolist() == [400]


def test_a_log_in_pieces_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("step,lo")
    monkeypatch.setattr(watching.time, "sleep", lambda seconds: write(log, 800))
    assert next(watching._versions(log, READ | {"once": False}, Console())).steps.tolist() == [400, 800]
    assert capsys.readouterr().err.startswith("note: log.csv must ")


def test_gates() -> None:
    fine = bt.Outlook(step=100, loss=4.0, end=1000, median=3.5, lower=3.4, upper=3.6, target=3.5, prob_target=0.5)
    assert [watching._fails(gate, fine) for gate in ("alarm", "diverging", "target-missed")] == [False] * 3
    late = bt.Outlook(step=100, loss=4.0, end=1000, median=3.5, lower=3.4, upper=3.6, target=3.2, prob_target=0.01)
    assert watching._fails("target-missed", late)
    rising = bt.Outlook(step=100, loss=4.0, end=1000, alarms=("The loss has risen: the run may be diverging.",))
    assert [watching._fails(gate, rising) for gate in ("alarm", "diverging", "target-missed")] == [True, True, False]
    waiting = bt.Outlook(step=100, loss=4.0, end=1000, waiting="4 of 8 checkpoints past the warm-up")
    assert not any(watching._fails(gate, waiting) for gate in ("alarm", "diverging", "target-missed"))


@pytest.mark.parametrize(
    ("fail_on", "message"),
    [
        ("rain", "--fail-on must be one of 'alarm', 'diverging', 'target-missed'; got 'rain'. Give some, with commas between."),
        ("target-missed", "--fail-on target-missed must come with --target; got none. Give the loss to reach."),
    ],
)
def test_a_gate_that_is_none(tmp_path: Path, fail_on: str, message: str) -> None:
    with refusal(message):
        watching.watch_log(tmp_path / "log.csv", tmp_path / "out", every=1.0, fail_on=fail_on, target=None)


def test_a_young_run_is_a_line(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    write(log, 2000)
    done = run("watch", log, "--schedule", SPEC, "--once", "--fail-on", "alarm", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "step 2000: loss 4.5000; 5 of 8 checkpoints past the warm-up\n"
    written = json.loads((tmp_path / "out" / "latest.json").read_text())
    assert written["test"]["waiting"] == "5 of 8 checkpoints past the warm-up"
    assert written["test"]["median"] is None


@pytest.mark.slow
def test_a_run_in_progress(tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log.csv"
    losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose").mean_losses()
    plan = "cosine:peak=2e-3,warmup=100,total=2500,final=2e-4"
    for until in (1250, 1300):
        losses.loc[:until].reset_index().to_csv(log, index=False)
        done = run("watch", log, "--schedule", plan, "--target", 3.0, "--once", "--fail-on", "target-missed", "--out", out)
        assert done.returncode == 4, done.stderr
        assert done.stderr.endswith("failed: target-missed\n")
        assert done.stdout.startswith(f"step {until}: loss ")
        found = json.loads((out / "latest.json").read_text())["test"]
        assert found["lower"] < losses.iloc[-1] + 0.1
        assert np.isclose(found["fitted"], 1250)
        assert "</html>" in (out / "report.html").read_text()
