"""Commands read logs themselves, and take the learning rates that a log has."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.cli.inputs import read_run_losses
from bayes_tsl.cli.options import LOG_OPTIONS
from bayes_tsl.cli.schedules import read_schedule, require_planned
from tests.cli.test_cli import run
from tests.conftest import refusal
from tests.data.test_log_kinds import log_of

NOTHING: dict[str, Any] = dict.fromkeys(["test_set", *LOG_OPTIONS])


def table(lrs: dict[float, float], *, last: float = 1000.0) -> bt.LossTable:
    """Losses every 100 steps, with learning rates at some of them."""
    steps = [100.0 * at for at in range(1, int(last / 100) + 1)]
    return bt.LossTable.from_frame(pd.DataFrame({"step": steps, "loss": 3.0, "lr": [lrs.get(step) for step in steps]}))


@pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
def test_a_log_is_read_where_a_table_was_asked_for() -> None:
    log = log_of("console_forecast_on_log")
    assert read_run_losses(log, NOTHING, run=None).frame.equals(bt.read_log(log).frame)
    named = read_run_losses(log_of("runs_by_run_name"), NOTHING, run="wide")
    assert (named.runs, len(named.steps)) == (["wide"], 10)
    books = read_run_losses(log_of("several_eval_sets_hf"), NOTHING | {"test_set": "books"}, run=None)
    assert books.test_sets == ["books"]
    assert read_run_losses(log_of("few_evals_many_train"), NOTHING | {"split": "train"}, run=None).steps.size == 40


def test_a_table_of_losses_is_held_to_its_rules(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text("step,loss\n100,5.0\n100,4.0\n")
    with pytest.raises(bt.DataError, match="loss must be given once per run"):
        read_run_losses(tmp_path / "losses.csv", NOTHING, run=None)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "runs_by_run_name",
            "--run must be one of 'base', 'wide'; got none. Name one run of",
        ),
        ("several_eval_sets_hf", "--test-set must be one of 'books', 'code', 'web'; got none. Name one test set of"),
    ],
)
def test_one_of_several_is_asked_for_before_anything_else(kind: str, message: str, tmp_path: Path) -> None:
    done = run("forecast", log_of(kind), "--to", 300, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert message in done.stderr


def test_learning_rates_that_are_not_used_are_said() -> None:
    with pytest.warns(bt.Notice, match=r"^Learning rates were logged \(column lr\) and are not used; --schedule column takes"):
        assert not read_schedule(None, table({100: 1e-3, 1000: 1e-3}), None).known
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not read_schedule(None, table({}), None).known


def test_a_column_is_held_for_an_evaluation_just_beyond_it() -> None:
    lrs = {100.0: 1e-3, 900.0: 5e-4}
    assert read_schedule("column", table(lrs), None).lr([900, 1000]).tolist() == [5e-4, 5e-4]
    assert read_schedule("column", table(lrs, last=2000), None).end == 900
    with refusal(
        "--schedule column must reach the step 4000; got 1000. Say the rest: --schedule 'column, then "
        "cosine:total=4000,final=3e-5'."
    ):
        require_planned(read_schedule("column", table(lrs), None), "column", 4000)


@pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
def test_a_column_is_of_every_step_that_a_log_has_rates_for(tmp_path: Path) -> None:
    rates = {0: 0.0, 50: 1e-3, 400: 1e-3, 900: 5e-4}
    rows = [f'{{"step": {step}, "lr": {lr}}}' for step, lr in rates.items()]
    (tmp_path / "log.jsonl").write_text("\n".join([*rows, '{"step": 950, "val_loss": 3.0}', ""]))
    losses = bt.read_log(tmp_path / "log.jsonl")
    assert losses.steps.tolist() == [950]
    schedule = read_schedule("column", losses.until(950), None)
    assert (schedule.warmup, schedule.lr([25, 650, 950]).tolist()) == (50, [5e-4, 7.5e-4, 5e-4])


@pytest.mark.parametrize(
    ("plan", "last"), [("linear:total=2000", 0.0), ("linear:total=2000,final=2e-4", 2e-4), ("constant", 1e-3)]
)
@pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
def test_a_column_goes_on_as_planned(plan: str, last: float) -> None:
    schedule = read_schedule(f"column, then {plan}", table({100: 0.0, 200: 1e-3, 1000: 1e-3}), None)
    assert schedule.lr([150, 200, 1000, 2000]).round(9).tolist() == [5e-4, 1e-3, 1e-3, last]
    require_planned(schedule, f"column, then {plan}", 2000)


def test_a_plan_that_misses_the_last_learning_rate_is_said() -> None:
    with pytest.warns(bt.Notice, match=r"jumps from 0\.0005, as logged, to 0\.001, as planned, at step 1000\.$"):
        bt.schedules.continued(
            bt.schedules.from_frame(table({100: 1e-3, 1000: 5e-4}).frame.dropna(subset="lr")), "wsd:total=3000"
        )
    with refusal("plan must go on beyond the last learning rate at 1000; got 900. Give the last step of the run as total."):
        bt.schedules.continued(
            bt.schedules.from_frame(pd.DataFrame({"step": [0, 1000], "lr": [1e-3, 1e-3]})), "cosine:total=900"
        )


@pytest.mark.slow
def test_a_log_in_one_command(tmp_path: Path) -> None:
    plan = ("--schedule", "column, then cosine:total=8000,final=3e-5", "--to", 8000)
    done = run("forecast", log_of("lr_column_short_of_end"), *plan, "--out", tmp_path / "out")
    assert done.returncode in (0, 3), done.stderr
    assert json.loads((tmp_path / "out" / "summary.json").read_text())
    log = run("forecast", log_of("console_forecast_on_log"), "--to", 4000, "--out", tmp_path / "log")
    assert log.returncode in (0, 3), log.stderr
    assert "note: train.log has only 9 checkpoints" in log.stderr
