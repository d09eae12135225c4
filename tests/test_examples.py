"""The examples run, draw what they say, and print what they return."""

from __future__ import annotations

from pathlib import Path

import choose_a_mixture
import choose_a_schedule
import divide_budget
import matplotlib as mpl
import pytest
import set_a_budget
import watch_a_run
import which_experiment_next

import bayes_tsl as bt
from tests.conftest import QUICK

pytestmark = pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")


@pytest.fixture(autouse=True)
def draw_no_windows() -> None:
    mpl.use("agg")


def test_a_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    enough = set_a_budget.draw(tmp_path / "budget.png", **QUICK)
    assert enough.step > 1250
    assert f"target {set_a_budget.TARGET}: " in capsys.readouterr().out.splitlines()[0]
    assert (tmp_path / "budget.png").is_file()


def test_the_next_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worth = which_experiment_next.draw(tmp_path / "worth.png", **QUICK)
    table = worth.to_frame()
    assert table["width_left"]["ten more checkpoints"] < 0.9 * table["width_now"]["ten more checkpoints"]
    assert table["cost"].to_list() == [4.0, 12.0, 0.0, 0.0, 60.0]
    assert "a cooldown of 300 steps" in capsys.readouterr().out
    assert (tmp_path / "worth.png").is_file()


def test_a_schedule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stopping = choose_a_schedule.choose(tmp_path, **QUICK)
    assert stopping.reason in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"plans.png", "stopping.png"}


@pytest.mark.slow
def test_a_mixture(tmp_path: Path) -> None:
    table = choose_a_mixture.choose(["prose"], tmp_path / "mixtures.png", **QUICK)
    assert set(table["run"]) == {"mix20_cosine", "mix50_cosine"}
    assert table["prob_lowest"].sum() == pytest.approx(1.0)
    assert table["ended"].notna().all()
    assert (tmp_path / "mixtures.png").is_file()


@pytest.mark.slow
def test_a_budget_for_two_mixtures() -> None:
    losses = bt.datasets.load("small_lm").select(test_set="prose")
    means = bt.LossTable.from_frame(losses.mean_losses().reset_index())
    plans, start = bt.datasets.schedules("small_lm"), dict.fromkeys(losses.runs, 500.0)
    trained = divide_budget.divide(means, plans, start=start, budget=2500, look=250, **QUICK)
    assert trained["mix20_cosine"] == 2500.0, "the lower one on prose"
    assert trained.sum() - 1000.0 <= 2500.0
    assert trained["mix50_cosine"] < 2500.0


@pytest.mark.slow
def test_a_run_that_is_watched(tmp_path: Path) -> None:
    one = bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose")
    losses = bt.LossTable.from_frame(one.mean_losses().reset_index())
    plan = bt.schedules.cosine(peak=2e-3, warmup=100, total=2500, final=2e-4)
    table = watch_a_run.watch(losses, plan, tmp_path / "watch.png", **QUICK)
    assert list(table["origin"]) == [*range(1000, 2500, 150)]
    assert table["p_value"][:-1].between(0.0, 1.0).all()
    assert table["fitted"][0]
    assert (tmp_path / "watch.png").is_file()
