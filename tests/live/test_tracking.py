"""When a run in progress is fitted anew, and what is known of its end: weights and fits agree, faults raise an alarm."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bayes_tsl as bt
from bayes_tsl.live import Outlook, Plan, track
from bayes_tsl.live.outlook import outlooks_of, outlooks_to_json
from tests.conftest import ORIGIN, QUICK, means, refusal

KNOWN = {"chains": 2, "num_warmup": 100, "num_draws": QUICK["num_draws"]}


@pytest.fixture(scope="module")
def plan(schedule: bt.Schedule) -> Plan:
    return Plan(schedule, target=3.3, known=KNOWN)


@pytest.fixture(scope="module")
def losses(simulation: bt.Simulation) -> bt.LossTable:
    return means(simulation)


@pytest.fixture(scope="module")
def first(losses: bt.LossTable, plan: Plan) -> tuple[bt.Fit, Outlook]:
    made, _, outlook = track(losses.until(ORIGIN), plan)
    assert made is not None
    return made, outlook


def test_a_young_run_has_to_wait(losses: bt.LossTable, plan: Plan) -> None:
    made, _, outlook = track(losses.until(1000), plan)
    assert made is None
    assert np.isnan(outlook.median)
    assert outlook.waiting == "4 of 8 checkpoints past the warm-up"
    assert str(outlook) == f"step 1000: loss {outlook.loss:.4f}; 4 of 8 checkpoints past the warm-up"


def test_an_outlook_is_that_of_the_end(first: tuple[bt.Fit, Outlook], losses: bt.LossTable) -> None:
    made, outlook = first
    assert made.origin == outlook.step == outlook.fitted == ORIGIN
    assert outlook.end == 8000
    assert outlook.lower < outlook.median < outlook.upper
    assert outlook.lower < losses.mean_losses().iloc[-1] < outlook.upper
    expected = bt.forecast(made, steps=[6000, 8000]).to_frame(prob=0.9).iloc[-1]
    assert outlook.median == pytest.approx(expected["median"], abs=0.01)
    assert 0 <= outlook.prob_target <= 1
    assert outlook.metrics()["forecast/p_target"] == outlook.prob_target
    assert outlooks_of(json.loads(outlooks_to_json({"test": outlook}))) == {"test": outlook}


def test_a_few_more_checkpoints_come_in_by_weights(first: tuple[bt.Fit, Outlook], losses: bt.LossTable, plan: Plan) -> None:
    made, before = first
    again, _, outlook = track(losses.until(4400), plan, before=made)
    assert again is made
    assert (outlook.step, outlook.fitted) == (4400, ORIGIN)
    assert outlook.median == pytest.approx(before.median, abs=before.upper - before.lower)


def test_a_quarter_more_checkpoints_ask_for_a_fit(first: tuple[bt.Fit, Outlook], losses: bt.LossTable, plan: Plan) -> None:
    made, _, outlook = track(losses.until(5000), plan, before=first[0])
    assert made is not first[0]
    assert outlook.fitted == 5000


def test_a_run_that_leaves_its_curve_raises_an_alarm(first: tuple[bt.Fit, Outlook], losses: bt.LossTable, plan: Plan) -> None:
    frame = losses.until(4400).frame
    off = bt.LossTable.from_frame(frame.assign(loss=frame["loss"] + 0.3 * (frame["step"] > ORIGIN)))
    made, _, outlook = track(off, plan, before=first[0])
    assert outlook.alarms
    assert outlook.alarms[0].startswith("checkpoints since step 4000 are not as foreseen (p = ")
    assert made is not first[0]
    assert "ALARM: " in str(outlook)


def test_a_run_that_has_ended_is_not_forecast(losses: bt.LossTable, plan: Plan) -> None:
    assert track(losses, plan).outlook.waiting == "the run has ended"


def test_a_plan_is_checked(schedule: bt.Schedule) -> None:
    with refusal("schedule must have an end; got inf. Give end=, the last step of the run."):
        Plan(bt.schedules.constant(peak=1e-3))
    with refusal(
        "schedule must reach the last forecast step 9000; got 8000. "
        "Give a schedule for the whole forecast, or forecast fewer steps."
    ):
        Plan(schedule, end=9000)
    with refusal("target must be a number above 0; got -1. It is a loss in nats per token."):
        Plan(schedule, target=-1)
