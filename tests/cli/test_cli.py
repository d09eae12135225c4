"""The command line, as a user runs it: in a process of its own, with good input and bad."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayes_tsl as bt
from bayes_tsl._common.digits import decimals
from bayes_tsl.cli import options
from bayes_tsl.cli.inputs import steps_ahead
from bayes_tsl.cli.main import cli, main
from bayes_tsl.cli.outputs import losses_text
from bayes_tsl.data import recipe
from bayes_tsl.data.formats import FORMATS
from bayes_tsl.data.reading import choice
from bayes_tsl.forecasting.forecasters import FORECASTERS
from bayes_tsl.reporting.content import json_text, target_text
from tests.conftest import ORIGIN, means

SPEC = "cosine:peak=2e-3,warmup=150,total=8000,final=2e-4"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bayes_tsl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def losses(simulation: bt.Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input") / "losses.csv.gz"
    frame = means(simulation).frame[["run", "test_set", "step", "loss"]]
    frame[frame["step"] % 400 == 0].to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_a_comparison_from_a_file(tmp_path: Path) -> None:
    steps = np.arange(400.0, 4001.0, 300.0)
    frame = pd.concat(
        pd.DataFrame({"run": run, "step": steps, "loss": level + 3.0 * (steps / 400.0) ** -0.5})
        for run, level in (("low", 3.0), ("hi/gh", 3.3))
    )
    frame.to_csv(tmp_path / "losses.csv", index=False)
    pd.DataFrame({"run": ["low", "hi/gh"], "share": [0.2, 0.5]}).to_csv(tmp_path / "runs.csv", index=False)
    out, shown = tmp_path / "out", ("--schedule", SPEC, "--until", 3000, "--at", 8000)
    done = run(
        "compare-runs", tmp_path / "losses.csv", *shown, "--runs", tmp_path / "runs.csv", "--covariates", "share", "--out", out
    )
    assert done.returncode in (0, 3), done.stderr
    assert {path.name for path in out.iterdir()} == {"compare.csv", "compare.json", "pairs.csv", "fit.nc", "compare.png"}
    table, pairs = pd.read_csv(out / "compare.csv"), pd.read_csv(out / "pairs.csv", index_col="run")
    assert list(table["run"]) == ["low", "hi/gh"]
    assert table.loc[0, "prob_lowest"] == pytest.approx(pairs.loc["low", "hi/gh"])
    assert bt.load_fit(out / "fit.nc").runs == ["hi/gh", "low"]
    assert done.stdout.split()[:6] == ["run", "median", "lower", "upper", "prob_lowest", "regret"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--at", 9000), "error: schedule must reach the last forecast step 9000; got 8000."),
        (("--at", 3000), "error: steps must not lie before the origin 4000 of run 'a'; got 3000. Forecast it alone"),
        (("--at", "nan"), "error: steps must be finite; got nan."),
        (("--at", 8000, "--run", "a"), "error: No such option"),
        (("--at", 8000, "--until", 300), "error: losses must have rows of step up to 300;"),
        (("--at", 8000, "--covariates", "x"), "error: covariates must be columns of runs; got 'x' without runs."),
    ],
)
def test_what_cannot_be_compared(options: tuple, message: str, tmp_path: Path) -> None:
    steps = np.arange(400.0, 4001.0, 300.0)
    pd.concat(pd.DataFrame({"run": run, "step": steps, "loss": 3.0}) for run in "ab").to_csv(tmp_path / "l.csv", index=False)
    done = run("compare-runs", tmp_path / "l.csv", "--schedule", SPEC, *options, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_one_run_is_not_compared(losses: Path, tmp_path: Path) -> None:
    done = run("compare-runs", losses, "--schedule", SPEC, "--at", 8000, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr == "error: losses.csv.gz must hold several runs; got 'run'. Use bayes-tsl forecast for a single one.\n"


def test_a_forecast_from_a_file(losses: Path, simulation: bt.Simulation, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    done = run(
        "forecast", losses, "--schedule", SPEC, "--until", 4000, "--steps", "6000,5200,8000", "--target", 3.4, "--out", out
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"forecast.csv", "summary.json", "fit.nc", "forecast.png"}
    frame = pd.read_csv(out / "forecast.csv")
    assert list(frame) == ["run", "step", "mean", "median", "lower", "upper", "prob", "sd"]
    assert list(frame["step"]) == [5200, 6000, 8000]
    digits = decimals(frame["lower"], frame["upper"])
    pd.testing.assert_frame_equal(
        frame, bt.forecast(bt.load_fit(out / "fit.nc"), steps=[5200, 6000, 8000]).to_frame(), check_dtype=False
    )
    table, verdict = done.stdout.splitlines()[:4], done.stdout.splitlines()[5]
    assert table[0].split() == ["step", "median", "lower", "upper", "observed"]
    frame["observed"] = simulation.losses.mean_losses().loc[[5200, 6000, 8000]].to_numpy()
    printed = [[f"{value:.{digits}f}" for value in row] for row in frame[["median", "lower", "upper", "observed"]].to_numpy()]
    assert [line.split()[1:] for line in table[1:]] == printed
    assert verdict.startswith("converged: R-hat at most 1.0")
    target = (
        r"target 3\.4: (over |under )?\d+% likely to be reached by step 8000; first step there: [\w .]+ \(median\), "
        r"[\w .]+ \(90% interval\); (over |under )?\d+% likely to measure less at step 8000"
    )
    moves = (
        r"(priors|note: the prior decides): with priors twice as wide the median at step \d+ moves by [+-][\d.]+, \d+% of .*"
    )
    assert re.fullmatch(target, done.stdout.splitlines()[4]), "the answer comes before its checks"
    assert re.fullmatch(moves, done.stdout.splitlines()[6])
    assert done.stderr == "", "no progress bar where stderr is no terminal"
    summary = json.loads((out / "summary.json").read_text())
    assert summary["converged"] is True
    assert summary["last"]["step"] == 8000
    assert summary["law"] == "general"
    assert set(summary["wider_priors"]) == {"shift", "share", "prior_decides", "pareto_k", "trusted"}
    assert summary["wider_priors"]["pareto_k"] < 0.7
    assert 0 <= summary["target"]["prob_below_at_last"] <= 1
    assert summary["against_observed"]["steps"] == 3
    assert summary["versions"]["bayes_tsl"] == bt.__version__
    assert matplotlib.image.imread(out / "forecast.png").std() > 0.05


@pytest.mark.slow
def test_wider_priors_by_another_fit(losses: Path, tmp_path: Path) -> None:
    done = run("forecast", losses, "--schedule", SPEC, "--until", 2400, "--to", 8000, "--refit-wider", "--out", tmp_path)
    assert done.returncode in (0, 3), done.stderr
    assert json.loads((tmp_path / "summary.json").read_text())["wider_priors"]["pareto_k"] is None


def test_help_has_an_example() -> None:
    done = run("forecast", "--help")
    assert done.returncode == 0
    assert "bayes-tsl forecast losses.csv --until 1250 --to 2500" in done.stdout


HELP = """
import sys
from bayes_tsl.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *sorted({"jax", "numpy", "pandas", "scipy"} & set(sys.modules)))
"""


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], *([name, "--help"] for name in cli.commands)], ids=" ".join)
def test_help_waits_for_no_library(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", HELP, *arguments], capture_output=True, text=True, timeout=60, check=True)
    assert len(done.stdout.splitlines()) > 1
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (options.FORECASTERS, FORECASTERS),
        (options.FORMATS, FORMATS),
        (options.LAWS, bt.priors.LAWS),
        (options.OPTIMIZERS, recipe.OPTIMIZERS),
        (options.SPLITS, choice.SPLITS),
        (options.UNITS, choice.UNITS),
    ],
)
def test_options_offer_what_the_library_takes(offered: tuple[str, ...], taken: Iterable[str]) -> None:
    assert offered == tuple(taken)


GOOD = {"step": [100, 200, 300, 400, 500], "loss": [5.0, 4.5, 4.2, 4.0, 3.9]}
TAIL = ["--schedule", "constant:peak=1e-3", "--to", "1000"]
BAD = [
    (
        {"step": [100], "loss": ["nan"]},
        TAIL,
        "loss must be finite; got nan at run='run', test_set='test', step=100 (line 2 of losses.csv). "
        "Drop the row or correct it.",
    ),
    ({"step": [100]}, TAIL, "losses.csv must have a column of losses; got 'step'. Export the loss as well."),
    (GOOD, [*TAIL, "--batch-tokens", "-5"], "batch_tokens must be a number above 0; got -5. Give the tokens of one step"),
    (GOOD, [*TAIL, "--batch-tokens", "lots"], "--batch-tokens must be a number; got 'lots'. Write e.g. 524288, or a file"),
    (GOOD, [*TAIL, "--parameters", "0"], "parameters must be a number above 0; got 0. Give a count, e.g. 1.2e8."),
    (GOOD, [*TAIL, "--unique-tokens", "1e9"], "unique_tokens must come with batch_tokens; got 1000000000."),
    (GOOD, [*TAIL, "--optimizer", "rmsprop"], "Invalid value for '--optimizer': 'rmsprop' is not one of 'adamw', 'adam',"),
    (
        GOOD,
        [*TAIL, "--family", "llama"],
        "family must be one of 'datablations',",
    ),
    (GOOD, [*TAIL, "--batch-tokens", "ramp.csv"], "file must exist; got 'ramp.csv'. Check the path."),
    ("", TAIL, "losses.csv must hold a table; got an empty file. Check that the log was written."),
    (GOOD, [*TAIL, "--run", "b"], "run must be one of 'run'; got 'b'. Choose one of these."),
    (GOOD, [*TAIL, "--test-set", "b"], "test_set must be one of 'test'; got 'b'. Choose one of these."),
    (
        GOOD,
        ["--schedule", "cosine:peak=1e-3,total=800", "--to", "1000"],
        "schedule must reach the last forecast step 1000; got 800. "
        "Give a schedule for the whole forecast, or forecast fewer steps.",
    ),
    (GOOD, ["--to", "300"], "--to must lie after the origin 500; got 300. Give later ones, or --until."),
    (GOOD, ["--steps", "300"], "--steps must lie after the origin 500; got 300. Give later ones, or --until."),
    (GOOD, ["--steps", "a,b"], "--steps must be numbers with commas between; got 'a,b'. Write e.g. 1500,2000."),
    (GOOD, [], "one of --steps and --to must be given; got 'neither'. Give e.g. --to 2000."),
    (GOOD, ["--to", "inf"], "--to must be finite; got inf. Give the last step of the run."),
    (GOOD, ["--to", "nan"], "--to must be finite; got nan. Give the last step of the run."),
    (GOOD, ["--steps", "600,inf,nan"], "--steps must be finite; got inf, nan. Give the last step of the run."),
    *(
        (
            GOOD,
            [*TAIL, "--seed", seed],
            f"seed must be a whole number from 0 to 9223372036854775807; got {seed}. Any such number will do, e.g. 0.",
        )
        for seed in ("-1", "9223372036854775808")
    ),
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
    assert [path.name for path in tmp_path.iterdir()] == ["losses.csv"]


def test_a_process_with_bad_input_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    done = run("forecast", tmp_path / "losses.csv", *TAIL, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: losses.csv must be a csv table; got ")


def test_steps_go_on_as_often_as_checkpoints(simulation: bt.Simulation) -> None:
    past = simulation.losses.until(ORIGIN)
    np.testing.assert_allclose(steps_ahead(None, 5000, past, past), [4200, 4400, 4600, 4800, 5000])
    np.testing.assert_allclose(steps_ahead(None, 4450, past, past), [4200, 4400, 4450])
    halves = bt.LossTable.from_frame(pd.DataFrame({"step": [100, 225, 350, 476], "loss": 3.0}))
    np.testing.assert_allclose(steps_ahead(None, 900, halves, halves), [601, 726, 851, 900])
    by_epoch = bt.LossTable.from_frame(pd.DataFrame({"step": [0.5, 1.0, 1.5], "loss": 3.0}))
    np.testing.assert_allclose(steps_ahead(None, 3, by_epoch, by_epoch), [2.0, 2.5, 3.0])
    for far in (1e6, 1e300):
        steps = steps_ahead(None, far, past, past)
        assert len(steps) == 50
        assert steps[-1] == far
        assert (np.diff(steps) > 0).all()


def test_steps_are_the_later_checkpoints_where_there_are_any() -> None:
    table = bt.LossTable.from_frame(pd.DataFrame({"step": [100, 200, 300, 410, 550, 700], "loss": 3.0}))
    past = table.until(300)
    np.testing.assert_array_equal(steps_ahead(None, 600, past, table), [410, 550, 600])
    np.testing.assert_array_equal(steps_ahead(None, 550, past, table), [410, 550])
    np.testing.assert_array_equal(steps_ahead(None, 950, past, table), [410, 550, 700, 800, 900, 950])
    many = bt.LossTable.from_frame(pd.DataFrame({"step": range(1, 1001), "loss": 3.0}))
    assert set(steps_ahead(None, 900, many.until(300), many)) <= set(range(301, 901))
    assert len(steps_ahead(None, 900, many.until(300), many)) == 50


def stopped(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(str(stop.value.code))


@pytest.mark.parametrize("command", [["forecast", *TAIL], ["backtest"]])
@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("file", "--out must be a folder; got '{0}/file' which is a file. Choose another folder."),
        ("file/deep", "--out must be a folder; got '{0}/file' which is a file. Choose another folder."),
        ("locked/deep", "--out must be a folder that can be written to; got '{0}/locked' which cannot. Choose another folder."),
    ],
)
def test_a_folder_that_cannot_be_written_is_said_at_once(
    command: list[str],
    out: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr("bayes_tsl.cli.outputs.os.access", lambda path, _: Path(path).name != "locked")  # tests may run as root
    assert stopped(command[0], "missing.csv", *command[1:], "--out", tmp_path / out) == 2
    assert capsys.readouterr().err == f"error: {message.format(tmp_path)}\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "locked"]


def test_a_schedule_file_with_faults_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame(GOOD).assign(run="001").to_csv(tmp_path / "losses.csv", index=False)
    arguments = ["forecast", tmp_path / "losses.csv", "--to", 900, "--out", tmp_path / "out", "--schedule"]
    (tmp_path / "plan.CSV").write_text("run,step,lr\n001,0,1\n\n001,500,\n001,900,1\n")
    assert stopped(*arguments, tmp_path / "plan.CSV") == 2
    (tmp_path / "other.csv").write_text("run,step,lr\n1,0,1\nNA,900,1\n")
    assert stopped(*arguments, tmp_path / "other.csv") == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: plan.CSV must hold finite numbers, none negative; got '500, nan' in step, lr (line 4). "
        "Drop the row or correct it.",
        "error: other.csv must have rows of run '001'; got '1', 'NA'. Add them, or leave out the column run.",
    ]


def test_what_is_unknown_is_said_with_the_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = np.arange(100, 2001, 100)
    pd.DataFrame({"step": steps, "loss": 3 + 10 / steps**0.5}).to_csv(tmp_path / "losses.csv", index=False)
    arguments = ["backtest", tmp_path / "losses.csv", "--models", "last-value", "--out", tmp_path / "out", "--prefixes"]
    assert stopped(*arguments, "0.1,0.5") == 0
    said = capsys.readouterr()
    assert f"note: {bt.schedules.UNKNOWN} (of 'run')" in said.out.splitlines()
    assert "failed: run, test, last-value at 0.1: losses must hold 4 usable checkpoints" in said.err
    assert stopped(*arguments[:-2], tmp_path / "none", "--prefixes", "0.1") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(
        r"error: a forecast must succeed; got 'losses must hold 4 usable checkpoints; got 2 .*' from every one\. "
        r"Give later prefixes or other models\.",
        said.err.splitlines()[-1],
    )


def test_a_summary_is_json_whatever_its_numbers() -> None:
    assert json.loads(json_text({"a": np.inf, "b": {"c": float("nan"), "d": 1.5}, "e": ["x", np.nan]})) == {
        "a": None,
        "b": {"c": None, "d": 1.5},
        "e": ["x", None],
    }


def test_steps_and_targets_are_shown_whole() -> None:
    assert "2834567" in losses_text(pd.DataFrame({"step": [2834567.0], "median": [3.0], "lower": [2.9], "upper": [3.1]}))
    draws = xr.DataArray([[[3.0, 2.0], [3.0, 2.6]]], {"step": [1e6, 2834567.0]}, ("chain", "draw", "step"))
    history = xr.DataArray([4.0], {"step": [5.0]}, "step")
    ahead = bt.Forecast(run="a", test_set="b", origin=5.0, expected=draws, observed=draws, history=history)
    assert target_text(ahead, 2.3) == (
        "target 2.3: 50% likely to be reached by step 2834567; first step there: 2284196.9 (median), "
        "2284196.9 to beyond 2834567 (90% interval); 50% likely to measure less at step 2834567"
    )
    assert target_text(ahead, 2.8, prob=0.8) == (
        "target 2.8: over 99% likely to be reached by step 2834567; first step there: 1366913.4 (median), "
        "1366913.4 to 1917283.5 (80% interval); over 99% likely to measure less at step 2834567"
    )
