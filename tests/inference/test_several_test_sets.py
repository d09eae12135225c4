"""One fit to several test sets: forecasts of each and of weighted means, what is saved, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from tests.conftest import ORIGIN, QUICK, STEPS, refusal

pytestmark = pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")

AHEAD = [5000.0, 6000.0, 8000.0]
SETS = {"code": (-0.3, 0.9), "ood": (0.4, 1.1), "prose": (0.0, 1.0)}  # what is added to the simulated loss, and its factor


@pytest.fixture(scope="module")
def losses(simulation: bt.Simulation) -> bt.LossTable:
    """The simulated run on three test sets, each with noise of its own at every checkpoint."""
    frame, rng = simulation.losses.frame, np.random.default_rng(0)
    own = {name: pd.Series(0.003 * rng.standard_normal(len(STEPS)), STEPS) for name in SETS}
    made = [
        frame.assign(test_set=name, loss=shift + factor * frame["loss"] + frame["step"].map(own[name]))
        for name, (shift, factor) in SETS.items()
    ]
    return bt.LossTable.from_frame(pd.concat(made))


@pytest.fixture(scope="module")
def fit(losses: bt.LossTable, schedule: bt.Schedule) -> bt.Fit:
    """By position, on three test sets."""
    return bt.fit(losses.until(ORIGIN), schedule=schedule, **QUICK)


@pytest.fixture(scope="module")
def ahead(fit: bt.Fit) -> bt.Forecast:
    return bt.forecast(fit, steps=AHEAD, positions=[0, 32])


def test_fit_names_its_test_sets(fit: bt.Fit):
    assert fit.test_sets == ["code", "ood", "prose"]
    assert fit.test_set == "mean of code, ood, prose"


def test_every_set_is_forecast_near_what_was_measured(ahead: bt.Forecast, losses: bt.LossTable):
    assert ahead.test_sets == ["code", "ood", "prose"]
    for name in ahead.test_sets:
        own, later = ahead.select(test_set=name), losses.select(test_set=name).mean_losses().loc[AHEAD].to_numpy()
        off = (later - own.observed.mean(("chain", "draw")).to_numpy()) / own.observed.std(("chain", "draw")).to_numpy()
        assert np.abs(off).max() < 3.0


def test_weighted_means_are_taken_draw_for_draw(ahead: bt.Forecast):
    code, prose = (ahead.select(test_set=name) for name in ("code", "prose"))
    mixed = ahead.weighted({"code": 1.0, "prose": 3.0})
    np.testing.assert_allclose(mixed.observed, 0.25 * code.observed + 0.75 * prose.observed)
    np.testing.assert_allclose(mixed.expected, 0.25 * code.expected + 0.75 * prose.expected)
    np.testing.assert_allclose(mixed.history, 0.25 * code.history + 0.75 * prose.history)
    assert mixed.test_sets == ["mean of code, prose"]
    assert ahead.weighted().history.size == code.history.size
    assert code.weighted() is code


def test_mean_over_all_sets_is_the_mean_that_was_fitted(fit: bt.Fit, ahead: bt.Forecast):
    np.testing.assert_allclose(ahead.weighted().history, fit.observed["mean_loss"], atol=1e-9)
    middle, width = ahead.weighted().observed.mean(("chain", "draw")), ahead.weighted().observed.std(("chain", "draw"))
    alone = bt.what_if(fit, {"as planned": None}, steps=AHEAD).forecasts["as planned"]
    np.testing.assert_array_less(np.abs(middle - alone.observed.mean(("chain", "draw"))), 0.5 * width)
    assert (width >= 0.9 * alone.observed.std(("chain", "draw"))).all()


def test_sets_share_what_the_mean_does(ahead: bt.Forecast):
    code, prose = (ahead.select(test_set=name).expected.isel(step=-1).to_numpy().ravel() for name in ("code", "prose"))
    assert np.corrcoef(code, prose)[0, 1] > 0.3


def test_coefficients_are_those_of_each_set(ahead: bt.Forecast, losses: bt.LossTable):
    for name in ahead.test_sets:
        own, later = ahead.select(test_set=name), losses.select(test_set=name).curve().loc[8000.0]
        drawn = own.positions.sel(step=8000.0).mean(("chain", "draw")).to_numpy()
        np.testing.assert_allclose(drawn, later.loc[[0, 32]], atol=0.1)
        assert list(own.coefficients) == ["gap", "rate", "floor"]


def test_frame_has_a_row_for_every_set(ahead: bt.Forecast):
    frame = ahead.to_frame()
    means = frame[frame["position"].isna()]
    assert means[["test_set", "step"]].values.tolist() == [[name, step] for name in ("code", "ood", "prose") for step in AHEAD]


def test_saved_fit_forecasts_the_same(fit: bt.Fit, ahead: bt.Forecast, tmp_path: Path):
    fit.save(tmp_path / "fit.nc")
    again = bt.load_fit(tmp_path / "fit.nc")
    assert again == fit
    assert bt.forecast(again, steps=AHEAD, positions=[0, 32]).observed.identical(ahead.observed)


def test_later_checkpoints_of_all_sets_update_the_mean(fit: bt.Fit, losses: bt.LossTable):
    updated = bt.update(fit, losses.until(4400))
    assert updated.origin == 4400.0
    means = losses.frame.query("step == 4400").groupby("test_set")["loss"].mean()
    assert updated.losses.to_numpy()[-1] == pytest.approx(means.mean())


def test_what_asks_for_one_set_says_so(fit: bt.Fit, ahead: bt.Forecast, losses: bt.LossTable):
    sets = "got 'code', 'ood', 'prose'. "
    with refusal(f"forecast must be of a single test_set; {sets}Choose one with forecast.select(test_set=...)."):
        bt.plot_forecast(ahead)
    with refusal(f"fit must be of a single test set; {sets}Fit one with losses.select(test_set=...)."):
        bt.prior_sensitivity(fit, steps=AHEAD)
    with refusal(
        "weights must be left out for several test sets; got 'some'. Fit one test set, with losses.select(test_set=...)."
    ):
        bt.forecast(fit, steps=AHEAD, weights={0.0: 1.0})
    with refusal("test_set must be one of 'code', 'ood', 'prose'; got 'web'. Choose one of these."):
        ahead.select(test_set="web")
    with refusal("test_set must be one of 'code', 'ood', 'prose'; got 'web'. Choose from these."):
        ahead.weighted({"web": 1.0})
    with refusal("weights must be numbers, none negative and one above 0; got -1. Give {test set: weight}."):
        ahead.weighted({"code": -1.0})


def test_mean_losses_alone_and_a_missing_checkpoint(losses: bt.LossTable, schedule: bt.Schedule):
    means = losses.frame.groupby(["run", "test_set", "step"], as_index=False)["loss"].mean()
    lacking = bt.LossTable.from_frame(means[~((means["test_set"] == "ood") & (means["step"] == 2000))])
    made = bt.fit(lacking.until(ORIGIN), schedule=schedule, **QUICK)
    assert "1 of 19 checkpoints of run 'run' lack a test set and are left out." in json.loads(made.data.attrs["notices"])
    ahead = bt.forecast(made, steps=AHEAD)
    assert ahead.select(test_set="ood").observed.shape == (2, 150, 3)
    assert list(ahead.coefficients) == ["floor"]
    with pytest.raises(bt.DataError, match="positions must be among those fitted"):
        bt.forecast(made, steps=AHEAD, positions=[3])
