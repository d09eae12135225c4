"""``bayes-tsl plan``: what it writes and says, and what it refuses before anything is fitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.image
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.cli import inputs
from bayes_tsl.cli.exit_codes import NOT_CONVERGED
from bayes_tsl.cli.main import main
from bayes_tsl.inference.posterior import example_fit

SPEC = "cosine:peak=2e-3,warmup=100,total=2500,final=2e-4"


@pytest.fixture
def losses(tmp_path: Path) -> Path:
    path = tmp_path / "losses.csv"
    means = bt.datasets.load().select(run="mix50_cosine", test_set="prose").mean_losses()
    means.rename("loss").reset_index().to_csv(path, index=False)
    return path


def ended(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ending:
        main(list(map(str, arguments)))
    return int(str(ending.value.code))


def test_a_plan_is_written_and_said(
    losses: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(inputs, "fit", lambda past, **given: asked.update(given, past=past) or example_fit())
    out = tmp_path / "out"
    code = ended("plan", losses, "--schedule", SPEC, "--until", 1200, "--end", 2500, "--parameters", 1.1e6, "--out", out)
    assert code == NOT_CONVERGED, "the example has few draws"
    assert asked["past"].steps[-1] == 1200
    assert asked["parameters"] == 1.1e6
    assert {path.name for path in out.iterdir()} == {"plans.csv", "plan.json", "schedule.csv", "fit.nc", "plan.png"}
    best = bt.best_plan(example_fit(), end=2500)
    pd.testing.assert_frame_equal(pd.read_csv(out / "plans.csv"), best.to_frame().reset_index(), check_dtype=False)
    schedule = bt.schedules.from_frame(pd.read_csv(out / "schedule.csv"))
    assert schedule.lr(2400) == pytest.approx(best.schedule.lr(2400))
    written = json.loads((out / "plan.json").read_text())
    assert written["answer"] == best.reason
    assert written["best"]["plan"] == best.name
    assert [row["plan"] for row in written["against"]] == list(best.standard)
    assert matplotlib.image.imread(out / "plan.png").std() > 0.05
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == best.reason
    assert printed[-1].startswith("wrote ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--end", 1000], "end must be a number above 1200; got 1000. It is the last step that the budget allows."),
        (["--end", 2500, "--value", 3], "--value must come with a cost; got 3. Give e.g. --per-step 0.01."),
        (["--end", 2500, "--tail", 3], "--tail must lie between 0 and 1; got 3. 0.1 is the worst tenth."),
        ([], "the end of the run must be given; got 'none'. Give --end, --budget or --deadline."),
        (
            ["--end", 2500, "--budget", 10, "--per-step", 1],
            "the end of the run must be given once; got '--end and --budget'. Leave one out.",
        ),
        (["--budget", 10], "--budget must come with a price; got 10. Give e.g. --per-step 0.01."),
        (["--budget", 10, "--per-step", 100], "--budget must pay for a step; got 10. Raise it, or lower --fixed."),
        (
            ["--end", 2500, "--per-hour", 1, "--seconds-per-step", 3600, "--deadline", 10],
            "end must come before the deadline, at step 1210; got 2500. End earlier, or raise the deadline.",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_before_a_fit(
    losses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[object], message: str
) -> None:
    out = tmp_path / "out"
    assert ended("plan", losses, "--schedule", SPEC, "--until", 1200, *arguments, "--out", out) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not out.exists()


@pytest.mark.parametrize(
    "paid", [["--budget", 33, "--per-step", 0.1], ["--deadline", 0.55, "--per-hour", 1, "--seconds-per-step", 6]]
)
def test_a_budget_or_a_deadline_ends_the_run(
    losses: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paid: list[object]
) -> None:
    monkeypatch.setattr(inputs, "fit", lambda past, **given: example_fit())
    assert ended("plan", losses, "--schedule", SPEC, "--until", 1200, *paid, "--out", tmp_path / "out") == NOT_CONVERGED
    assert set(pd.read_csv(tmp_path / "out" / "plans.csv")["end"]) == {1530.0}


def test_a_plan_needs_a_schedule(losses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("plan", losses, "--until", 1200, "--end", 2500, "--out", tmp_path / "out") == 2
    message = "error: --schedule must be given; got 'none'. Plans start from the learning rate of the run."
    assert capsys.readouterr().err.splitlines()[-1] == message
