"""Signs of a misfit in the past: each fault is named, and a sound run is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.inference.misfit import bent, jump, planned_otherwise, rising, stale, unusual
from bayes_tsl.model.priors import Priors
from tests.conftest import ORIGIN, QUICK, means, refusal

PLAN = bt.schedules.cosine(peak=1e-3, warmup=300, total=10_000, final=1e-4)
STEP = np.arange(600.0, 5001.0, 100.0)
SOUND = 2.7 + 0.9 * (STEP / 1000.0) ** -0.45 + 0.004 * np.random.default_rng(1).standard_normal(len(STEP))


def sound(seed: int) -> np.ndarray:
    return 2.7 + 0.9 * (STEP / 1000.0) ** -0.45 + 0.004 * np.random.default_rng(seed).standard_normal(len(STEP))


def test_sound_runs_are_rarely_warned_of() -> None:
    warned = [bool(stale(STEP, loss) or rising(STEP, loss, PLAN) or jump(STEP, loss, PLAN)) for loss in map(sound, range(200))]
    assert np.mean(warned) <= 0.05


@pytest.mark.parametrize("by", [0.15, -0.15])
@pytest.mark.parametrize("at", [3000.0, 4500.0])
def test_a_jump_is_named_with_its_steps(by: float, at: float) -> None:
    said = jump(STEP, SOUND + by * (at <= STEP), PLAN)
    assert said.startswith(f"The loss jumps by {by:+.2g} nats between steps {at - 100:g} and {at:g} and stays") or (
        f"between steps {at - 100:g} and {at:g}" in said
    )


def test_an_outlier_or_a_step_of_the_learning_rate_is_no_jump() -> None:
    assert jump(STEP, SOUND + 0.3 * (STEP == 4000.0), PLAN) == ""
    stepped = bt.schedules.from_frame(pd.DataFrame({"step": [0, 3950, 3951, 9000], "lr": [1e-3, 1e-3, 3e-4, 3e-4]}))
    assert jump(STEP, SOUND - 0.1 * (STEP >= 4000.0), stepped) == ""


def test_rounded_losses_neither_jump_nor_stall() -> None:
    assert jump(STEP, SOUND.round(1), PLAN) == ""
    assert stale(STEP, SOUND.round(1)) == ""


def test_a_stalled_evaluation_is_named() -> None:
    loss = np.where(STEP < 3500.0, SOUND, SOUND[STEP == 3500.0])
    assert "at the last 16 checkpoints, since step 3500: check the evaluation." in stale(STEP, loss)


def test_a_rise_is_named_unless_the_learning_rate_rises() -> None:
    loss = SOUND + 0.09 * np.maximum(STEP - 4400.0, 0.0) / 600.0
    assert "the run may be diverging" in rising(STEP, loss, PLAN)
    again = bt.schedules.from_frame(pd.DataFrame({"step": [0, 4000, 9000], "lr": [5e-4, 5e-4, 1e-3]}))
    assert rising(STEP, loss, again) == ""


def test_parameters_like_no_other_run_are_named() -> None:
    priors = Priors()
    usual = {name: np.full((2, 9), getattr(priors, name).centre) for name in ("heat", "floor_curvature", "drift_scale")}
    assert unusual(priors, usual) == ()
    [said] = unusual(priors, usual | {"drift_scale": 8.0 * usual["drift_scale"]})
    assert said.startswith("drift_scale lies 3.5 prior standard deviations above what such runs have")
    assert unusual(priors, usual | {"drift_scale": usual["drift_scale"] / 8.0}) == (), "a smooth run is no fault"


def test_a_bend_of_a_run_whose_excess_loss_was_measured_is_named() -> None:
    priors = Priors()
    usual = priors.drift_scale.centre * np.ones((2, 9))
    assert bent(priors, {"drift_scale": usual}) == ""
    said = bent(priors, {"drift_scale": usual * np.exp(1.2 * priors.drift_scale.sd)})
    assert said.startswith("The curve departs from its law more than those of other runs (drift_scale lies 1.2 ")
    assert said.endswith("Fit finished runs of its kind beside it.")


@pytest.mark.parametrize(("factor", "named"), [(1.0, False), (1e3, False), (PLAN.lr(STEP) / 1e-3, False), (2.0, True)])
def test_only_a_unit_of_its_own_excuses_a_column_lr(factor: object, named: bool) -> None:
    constant = bt.schedules.constant(peak=1e-3, total=10_000) if np.isscalar(factor) else PLAN
    lr = constant.lr(STEP) * factor if np.isscalar(factor) else PLAN.lr(STEP)
    table = bt.LossTable.from_frame(pd.DataFrame({"step": STEP, "loss": SOUND, "lr": lr}))
    assert bool(planned_otherwise(table, constant)) == named


def test_a_column_lr_that_contradicts_the_schedule_is_named() -> None:
    table = bt.LossTable.from_frame(pd.DataFrame({"step": STEP, "loss": SOUND, "lr": 1e-3}))
    [said] = planned_otherwise(table, PLAN)
    assert said.startswith("The column lr does not follow the schedule: at step 5000 it is 0.001, planned was 0.00")
    assert planned_otherwise(table, bt.schedules.unknown()) == ()


@pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
def test_a_fit_says_it_and_its_file_too(simulation: bt.Simulation, schedule: bt.Schedule, tmp_path) -> None:
    past = means(simulation).until(ORIGIN).frame
    last = past.loc[past["step"] == 2400.0, "loss"].item()
    table = bt.LossTable.from_frame(past.assign(loss=past["loss"].where(past["step"] < 2400.0, last)))
    fit = bt.fit(table, schedule=schedule, **QUICK)
    [said] = [notice for notice in fit.misfits if notice.startswith("The loss is the same")]
    fit.save(tmp_path / "fit.nc")
    again = bt.load_fit(tmp_path / "fit.nc")
    assert said in again.notices
    assert said in bt.forecast(again, steps=[8000]).notices


def test_a_perplexity_is_refused() -> None:
    table = bt.LossTable.from_frame(pd.DataFrame({"step": STEP, "loss": np.exp(SOUND)}))
    cure = "Take the logarithm of a perplexity; divide a sum by its tokens."
    got = f"{np.exp(SOUND[-1]):.10g}"
    with refusal(f"loss must be in nats per token, at most 14; got {got} at the end. {cure}"):
        bt.fit(table, schedule=PLAN)
