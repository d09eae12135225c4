"""Runs fitted one by one: a bad one stops no other, nothing is fitted twice, and what they say can be compared."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.inference import batch
from tests.conftest import SETTLED, STEPS, TRUTH

PLAN = bt.schedules.cosine(peak=2e-3, warmup=150, total=8000, final=2e-4)
SHORT = SETTLED | {"num_draws": 200}
PARAMETERS = {name: value for name, value in TRUTH.items() if not name.startswith(("gap", "rate"))}


def simulated(run: str, seed: int) -> pd.DataFrame:
    made = bt.simulate(steps=STEPS, schedule=PLAN, origin=4000.0, parameters=PARAMETERS, seed=seed)
    return made.losses.until(5000.0).frame.assign(run=run)


@pytest.fixture(scope="module")
def losses() -> bt.LossTable:
    few = simulated("short/one", 2).tail(2)
    return bt.LossTable.from_frame(pd.concat([simulated("a", 0), simulated("b", 1), few]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fits") / "new"


@pytest.fixture(scope="module")
def table(losses: bt.LossTable, folder: Path) -> pd.DataFrame:
    return bt.fit_each(losses, PLAN, folder=folder, **SHORT)


def test_a_run_that_cannot_be_fitted_says_why_and_stops_no_other(table: pd.DataFrame, folder: Path) -> None:
    assert list(table["run"]) == ["a", "b", "short/one"]
    assert "usable checkpoints" in table["reason"][2]
    assert table["file"][2] == ""
    assert list(table["reason"][:2]) == ["", ""]
    assert sorted(folder.iterdir()) == sorted(Path(file) for file in table["file"][:2])


def test_what_is_kept_is_the_fit_of_that_run(table: pd.DataFrame) -> None:
    fits = [bt.load_fit(file) for file in table["file"][:2]]
    assert [fit.run for fit in fits] == ["a", "b"]
    assert [fit.verdict for fit in fits] == list(table["verdict"][:2])
    one, two = (fit.data["posterior"]["heat"].to_numpy().ravel() for fit in fits)
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.2


def test_nothing_is_fitted_twice(
    losses: bt.LossTable, folder: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refused(losses: bt.LossTable, **settings: object) -> None:
        asked.append(losses)
        raise ValueError("not again")

    monkeypatch.setattr(batch, "fit", refused)
    again = bt.fit_each(losses, PLAN, folder=folder, **SHORT)
    assert len(asked) == 1
    pd.testing.assert_frame_equal(again[:2], table[:2])
    bt.fit_each(losses, PLAN, folder=folder, **SHORT, priors=bt.Priors())
    assert len(asked) == 4


def test_a_damaged_fit_is_set_aside_and_made_anew(
    losses: bt.LossTable, folder: Path, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = bt.load_fit(table["file"][0])
    asked = []
    monkeypatch.setattr(batch, "fit", lambda losses, **settings: (asked.append(losses.runs), kept)[1])
    for path in folder.iterdir():
        content = path.read_bytes()
        flipped = content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:]
        (tmp_path / path.name).write_bytes(flipped if path.name == Path(table["file"][0]).name else content)
    with pytest.warns(
        bt.Notice, match=r"^A result is damaged and made again: .* must be as it was written; got .*\.nc\.damaged now"
    ):
        again = bt.fit_each(losses.select(run="a"), PLAN, folder=tmp_path, **SHORT)
    assert asked == [["a"]]
    assert bt.load_fit(again["file"][0]) == kept
    assert [path.name for path in tmp_path.glob("*.damaged")] == [f"{Path(table['file'][0]).name}.damaged"]


def test_forecasts_made_apart_are_compared(table: pd.DataFrame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        ahead = [bt.forecast(bt.load_fit(file), steps=[8000.0]) for file in table["file"][:2]]
        elsewhere = bt.forecast(bt.load_fit(table["file"][1]), steps=[7500.0])
    chance = bt.compare_runs(ahead).prob_lowest()
    below = ahead[0].expected.to_numpy().ravel() < ahead[1].expected.to_numpy().ravel()
    assert chance.to_dict() == pytest.approx({"a": below.mean(), "b": 1.0 - below.mean()})
    with pytest.raises(bt.DataError, match="forecasts must be at the same steps"):
        bt.compare_runs([ahead[0], elsewhere])
    with pytest.raises(bt.DataError, match="forecasts must be of different runs"):
        bt.compare_runs([ahead[0], ahead[0]])
    with pytest.raises(bt.DataError, match="forecasts must be two or more"):
        bt.compare_runs(ahead[:1])
