"""What commands print, and where: the answer before its checks, each note once, JSON alone, or nothing but results."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bayes_tsl as bt
from bayes_tsl.cli import inputs
from bayes_tsl.cli.console import Console
from bayes_tsl.cli.exit_codes import NOT_CONVERGED
from bayes_tsl.cli.outputs import comparison_frame, comparison_tree, write_comparison
from bayes_tsl.inference.posterior import example_fit
from tests.cli.test_cli import stopped

SPEC = "cosine:peak=2e-3,warmup=100,total=2500,final=2e-4"
ASKED = ["--schedule", SPEC, "--until", 1200, "--to", 2500]
VERDICT, NOTE, PRIORS, WROTE = "NOT CONVERGED: ", "note: ", "priors: ", "wrote "


@pytest.fixture
def losses(tmp_path: Path) -> Path:
    path = tmp_path / "losses.csv"
    means = bt.datasets.load().select(run="mix50_cosine", test_set="prose").mean_losses()
    means.rename("loss").reset_index().assign(run="mix50_cosine", test_set="prose").to_csv(path, index=False)
    return path


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments of the fit, in whose place the example is returned, which warns as a fit does."""
    given: dict[str, Any] = {}

    def fit(past: bt.LossTable, **arguments: Any) -> bt.Fit:
        given.update(arguments)
        for notice in example_fit().notices:
            warnings.warn(notice, bt.Notice, stacklevel=2)
        return example_fit()

    monkeypatch.setattr(inputs, "fit", fit)
    return given


def beginnings(lines: list[str]) -> list[str]:
    return [next((one for one in (VERDICT, NOTE, PRIORS, WROTE, "target ") if line.startswith(one)), "table") for line in lines]


def test_the_answer_comes_before_its_checks(losses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped("forecast", losses, *ASKED, "--target", 3.5, "--out", tmp_path / "out") == NOT_CONVERGED
    printed = capsys.readouterr()
    kinds = beginnings(printed.out.splitlines())
    assert [kind for kind in dict.fromkeys(kinds) if kind != NOTE] == ["table", "target ", VERDICT, PRIORS, WROTE]
    notes = [line for line in (printed.out + printed.err).splitlines() if line.startswith(NOTE)]
    assert sorted(set(notes)) == sorted(notes), "each note once"
    assert set(notes) >= {f"note: {notice}" for notice in example_fit().notices if notice not in example_fit().misfits}


@pytest.mark.parametrize(
    ("command", "out", "written"),
    [
        (["forecast", *ASKED], "out", "out/summary.json"),
        (["report", *ASKED], "page.html", "page.json"),
        (["plan", "--schedule", SPEC, "--until", 1200, "--end", 2500], "out", "out/plan.json"),
    ],
)
def test_stdout_is_the_json_that_is_written(
    command: list[object], out: str, written: str, losses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (command[0], losses, *command[1:], "--json", "--quiet", "--out", tmp_path / out)
    assert stopped(*asked) == NOT_CONVERGED
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads((tmp_path / written).read_text())
    assert printed.out == (tmp_path / written).read_text()
    assert printed.err == ""


def test_sensitivity_may_be_left_out(losses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stopped("forecast", losses, *ASKED, "--no-sensitivity", "--out", tmp_path / "out")
    assert PRIORS not in beginnings(capsys.readouterr().out.splitlines())
    assert "wider_priors" not in json.loads((tmp_path / "out" / "summary.json").read_text())
    stopped("report", losses, *ASKED, "--no-sensitivity", "--out", tmp_path / "page.html")
    assert "priors" not in json.loads((tmp_path / "page.json").read_text())["trust"]


@pytest.mark.parametrize(("draws", "taken"), [((), "auto"), (("--draws", "auto"), "auto"), (("--draws", "500"), 500)])
def test_draws_are_those_of_the_fit(
    draws: tuple[str, ...], taken: object, asked: dict[str, Any], losses: Path, tmp_path: Path
) -> None:
    stopped("plan", losses, "--schedule", SPEC, "--until", 1200, "--end", 2500, *draws, "--out", tmp_path / "out")
    assert (asked["num_draws"], asked["progress"]) == (taken, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--draws", "few"], "--draws must be a number; got 'few'. Write e.g. 500, or auto."),
        (["--draws", "5"], "--draws must be 10 or more, a whole number; got 5. 1000 is usual."),
        (["--draws", "99.5"], "--draws must be 10 or more, a whole number; got 99.5. 1000 is usual."),
        (["--no-sensitivity", "--refit-wider"], "--no-sensitivity must come without --refit-wider; got 'both'. Leave one out."),
    ],
)
def test_options_that_cannot_be(
    options: list[str], message: str, losses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stopped("forecast", losses, *ASKED, *options, "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "out").exists()


def test_a_comparison_as_json(tmp_path: Path) -> None:
    runs = [replace(bt.forecast(example_fit(), steps=[2000], seed=seed), run=f"run {seed}") for seed in (0, 1)]
    comparison = bt.compare_runs(runs)
    frame = comparison_frame(comparison, dict.fromkeys(comparison.runs, example_fit().schedule), prob=0.8)
    tree = comparison_tree(comparison, frame, prob=0.8)
    write_comparison(tmp_path, example_fit(), comparison, frame, tree, prob=0.8)
    written = json.loads((tmp_path / "compare.json").read_text())
    assert [row["peak_lr"] for row in written["runs"]] == [2e-3, 2e-3]
    assert all(row["last_lr"] == pytest.approx(float(example_fit().schedule.lr(2000))) for row in written["runs"])
    assert [row["run"] for row in written["runs"]] == list(frame["run"])
    assert [row["median"] for row in written["runs"]] == pytest.approx(list(frame["median"]))
    assert written["prob_below"]["run 0"] == {"run 1": pytest.approx(comparison.prob_below().loc["run 0", "run 1"])}
    assert (written["step"], written["prob"], written["converged"]) == (2000.0, 0.8, False)


def test_scores_as_json(losses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["backtest", losses, "--models", "last-value", "--prefixes", "0.01,0.5", "--json", "--out", tmp_path / "out"]
    assert stopped(*command) == 0
    printed = capsys.readouterr()
    tree = json.loads(printed.out)
    assert [row["prefix"] for row in tree["summary"]] == [0.01, 0.5]
    assert tree["unknown_schedules"] == ["mix50_cosine"]
    assert [line for line in printed.err.splitlines() if "failed" in line] == [
        f"note: failed: {line}" for line in tree["failed"]
    ]


def test_a_note_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with console.notices():
        for text in ("thin", "odd", "thin"):
            warnings.warn(text, bt.Notice, stacklevel=1)
    assert capsys.readouterr().err == "note: thin\nnote: odd\n"
    assert console.new(["odd", "new"]) == ["new"]
    with Console(quiet=True).notices():
        warnings.warn("thin", bt.Notice, stacklevel=1)
    assert capsys.readouterr().err == ""


def test_progress_is_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert Console().progress
    assert not Console(quiet=True).progress
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert not Console().progress
