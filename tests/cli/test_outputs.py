"""Results of a command appear together; a disk that is full leaves what was there, and is one line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.cli.main import main
from bayes_tsl.cli.outputs import write_backtest, write_forecast
from bayes_tsl.evaluation.backtesting import summarise
from bayes_tsl.inference.posterior import example_fit
from tests.conftest import full_disk

RESULTS = ["fit.nc", "forecast.csv", "forecast.png", "summary.json"]


@pytest.fixture(scope="module")
def results() -> dict[str, object]:
    ahead = bt.forecast(example_fit(), steps=[1500.0, 2500.0])
    moved = bt.prior_sensitivity(example_fit(), steps=[2500.0])
    later = pd.Series([3.6], index=pd.Index([1500.0], name="step"), name="observed")
    return {"posterior": example_fit(), "ahead": ahead, "moved": moved, "later": later, "prob": 0.9, "target": None}


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
