"""Schedules against plain formulas, sums and loops; and every message that turns one down."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.data import schedules
from tests.conftest import refusal

PEAK, WARMUP, TOTAL, FINAL = 2e-3, 40.0, 400.0, 2e-4
SHAPE = {"peak": PEAK, "warmup": WARMUP, "total": TOTAL, "final": FINAL}
TABLE = pd.DataFrame({"step": [10, 20, 40, 250, 251, 400], "lr": [5e-4, 1e-3, 2e-3, 2e-3, 6e-4, 2e-4]})


def warmed(after: Callable[[float], float], warmup: float = WARMUP) -> Callable[[float], float]:
    return lambda step: PEAK * step / warmup if step < warmup else after(step)


def line(step: float, start: float) -> float:
    return PEAK + (FINAL - PEAK) * max(step - start, 0.0) / (TOTAL - start)


def half_cosine(step: float) -> float:
    return FINAL + (PEAK - FINAL) * 0.5 * (1.0 + math.cos(math.pi * (step - WARMUP) / (TOTAL - WARMUP)))


def exponential(step: float) -> float:
    return PEAK * (FINAL / PEAK) ** (max(step - 300.0, 0.0) / 100.0)


def tabled(step: float) -> float:
    if step < 40:
        return 5e-5 * step
    if step < 250:
        return 2e-3
    return 2e-3 - 1.4e-3 * (step - 250) if step < 251 else 6e-4 - 4e-4 * (step - 251) / 149


# name: a schedule, the learning rate it should have, its warm-up, its end
ROWS: dict[str, tuple[bt.Schedule, Callable[[float], float], float, float]] = {
    "constant": (schedules.constant(peak=PEAK), lambda _: PEAK, 0, np.inf),
    "constant, warm-up": (schedules.constant(peak=PEAK, warmup=40), warmed(lambda _: PEAK), 40, np.inf),
    "constant, total": (schedules.constant(peak=PEAK, warmup=40, total=400), warmed(lambda _: PEAK), 40, 400),
    "linear": (schedules.linear(**SHAPE), warmed(lambda step: line(step, WARMUP)), 40, 400),
    "linear, no warm-up": (schedules.linear(peak=PEAK, total=400, final=FINAL), lambda step: line(step, 0), 0, 400),
    "cosine": (schedules.cosine(**SHAPE), warmed(half_cosine), 40, 400),
    "wsd": (schedules.wsd(**SHAPE), warmed(lambda step: line(step, 320)), 40, 400),
    "wsd, all decay": (schedules.wsd(**SHAPE, decay=0.9), warmed(lambda step: line(step, WARMUP)), 40, 400),
    "wsd, exponential": (schedules.wsd(**SHAPE, decay=0.25, shape="exponential"), warmed(exponential), 40, 400),
    "table": (schedules.from_frame(TABLE), tabled, 40, 400),
}
MADE = [name for name in ROWS if name != "table"]


def plain_rates(formula: Callable[[float], float], steps: np.ndarray) -> np.ndarray:
    return np.array([formula(float(step)) for step in steps])


@pytest.mark.parametrize("name", ROWS)
def test_learning_rate_is_the_plain_formula(name: str) -> None:
    schedule, formula, warmup, end = ROWS[name]
    steps = np.linspace(0.0, 400.0, 3001)
    np.testing.assert_allclose(schedule.lr(steps), plain_rates(formula, steps), rtol=0, atol=1e-5 * PEAK)
    assert (schedule.peak, schedule.warmup, schedule.end, schedule.known) == (PEAK, warmup, end, True)
    assert schedule.lr(399.0).shape == ()
    assert schedule.lr([[1, 2, 3], [4, 5, 6]]).shape == (2, 3)


@pytest.mark.parametrize("name", ROWS)
def test_progress_is_the_integral_of_the_relative_learning_rate(name: str) -> None:
    schedule, formula, _, _ = ROWS[name]
    steps = np.linspace(0.0, 400.0, 8001)
    rates = plain_rates(formula, steps) / PEAK
    integral = np.concatenate([[0.0], np.cumsum(0.5 * (rates[1:] + rates[:-1]) * np.diff(steps))])
    np.testing.assert_allclose(schedule.progress(steps), integral, rtol=1e-5, atol=1e-4)
    assert schedule.progress(0.0) == 0.0


@pytest.mark.parametrize("name", MADE)
def test_text_parses_to_the_same_schedule(name: str) -> None:
    schedule = ROWS[name][0]
    again = schedules.parse(schedule.text)
    np.testing.assert_array_equal(again.steps, schedule.steps)
    np.testing.assert_array_equal(again.lrs, schedule.lrs)
    assert (again.text, again.peak, again.end) == (schedule.text, schedule.peak, schedule.end)


def test_text_says_how_it_was_asked_for() -> None:
    assert schedules.cosine(**SHAPE).text == "cosine:peak=0.002,warmup=40,total=400,final=0.0002"
    assert schedules.parse("wsd: peak=2e-3, total=400, shape=linear").text == schedules.wsd(peak=2e-3, total=400).text


def test_unknown_is_constant_and_says_so() -> None:
    schedule, steps = schedules.unknown(), np.array([0.0, 0.5, 7.0, 1e6])
    np.testing.assert_array_equal(schedule.lr(steps), 1.0)
    np.testing.assert_array_equal(schedule.progress(steps), steps)
    assert (schedule.known, schedule.warmup, schedule.end) == (False, 0.0, np.inf)


def test_table_in_any_order_and_with_repeated_rows() -> None:
    shuffled = pd.concat([TABLE, TABLE.iloc[[3, 0]]]).sample(frac=1, random_state=0)
    again, schedule = schedules.from_frame(shuffled), schedules.from_frame(TABLE)
    np.testing.assert_array_equal(again.steps, schedule.steps)
    np.testing.assert_array_equal(again.lrs, schedule.lrs)


@pytest.mark.parametrize(
    ("steps", "lrs", "at_zero"),
    [
        ([100, 200, 400], [5e-4, 1e-3, 1e-3], 0.0),  # warm-up from nothing
        ([100, 200, 400], [6e-4, 1e-3, 1e-3], 2e-4),  # warm-up from something
        ([100, 200, 400], [2e-4, 1e-3, 1e-3], 0.0),  # the line reaches zero after step 0
        ([100, 200, 400], [1e-3, 1e-3, 5e-4], 1e-3),  # flat
        ([100, 200, 400], [1e-3, 8e-4, 5e-4], 1e-3),  # falling
        ([0, 200, 400], [3e-4, 1e-3, 1e-3], 3e-4),  # nothing to draw on
    ],
)
def test_table_is_drawn_on_backwards(steps: list[float], lrs: list[float], at_zero: float) -> None:
    schedule = schedules.from_frame(pd.DataFrame({"step": steps, "lr": lrs}))
    assert schedule.lr(0.0) == pytest.approx(at_zero, abs=1e-12)
    np.testing.assert_allclose(schedule.lr(steps), lrs)


def test_table_keeps_only_its_corners() -> None:
    steps = np.arange(0.0, 10_001.0)
    lrs = np.interp(steps, [0, 100, 6000, 6001, 10_000], [0.0, 1e-3, 1e-3, 4e-4, 1e-4])
    schedule = schedules.from_frame(pd.DataFrame({"step": steps, "lr": lrs}))
    np.testing.assert_array_equal(schedule.steps, [0, 100, 6000, 6001, 10_000])
    np.testing.assert_allclose(schedule.lr(steps), lrs, rtol=1e-9)
    assert schedule.text == "table of 10001 rows"


def test_table_keeps_a_curve_that_turns_slowly() -> None:
    steps, cosine = np.arange(200_001.0), schedules.cosine(peak=PEAK, total=200_000)
    lrs = PEAK * 0.5 * (1.0 + np.cos(np.pi * steps / 200_000))
    schedule = schedules.from_frame(pd.DataFrame({"step": steps, "lr": lrs}))
    np.testing.assert_allclose(schedule.lr(steps), cosine.lr(steps), rtol=0, atol=1e-5 * PEAK)


@pytest.mark.parametrize("at", [200.0, 4e11], ids=["steps", "tokens"])
def test_splice_follows_the_past_then_the_future(at: float) -> None:
    past = schedules.cosine(peak=2e-3, warmup=at / 10, total=2 * at)
    future = schedules.constant(peak=1e-3, total=3 * at)
    both = schedules.splice(past, future, at=at)
    before, after = np.linspace(0.0, at, 50), np.linspace(1.001 * at, 3 * at, 50)
    np.testing.assert_array_equal(both.lr(before), past.lr(before))
    np.testing.assert_array_equal(both.progress(before), past.progress(before))
    np.testing.assert_array_equal(both.lr(after), 1e-3)
    np.testing.assert_allclose(both.progress(after), past.progress(at) + 0.5 * (after - at), rtol=1e-6)
    assert (both.peak, both.end) == (2e-3, 3 * at)
    assert both.text == f"{past.text} until {at:.10g}, then {future.text}"


def test_splice_of_a_schedule_with_itself_is_that_schedule() -> None:
    schedule, steps = schedules.cosine(**SHAPE), np.linspace(0.0, 400.0, 999)
    both = schedules.splice(schedule, schedule, at=123.0)
    np.testing.assert_allclose(both.lr(steps), schedule.lr(steps), rtol=0, atol=1e-9 * PEAK)
    np.testing.assert_allclose(both.progress(steps), schedule.progress(steps), rtol=1e-9)


def test_a_plan_reaches_its_last_step() -> None:
    schedule = schedules.linear(**SHAPE)
    schedule.require_reaches(400)
    schedules.constant(peak=PEAK).require_reaches(1e15)
    with refusal(f"schedule must reach the last forecast step 401; got 400. {REACH}"):
        schedule.require_reaches(401)


TOO_SHORT = "Give the first and the last step."
REACH = "Give a schedule for the whole forecast, or forecast fewer steps."
KNOWN = "Pass schedule= to fit, and again to forecast."
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "peak": (
        lambda: schedules.constant(peak=0.0),
        "peak must be a number above 0; got 0. It is the highest learning rate.",
    ),
    "warmup": (
        lambda: schedules.linear(peak=1e-3, warmup=-1, total=10),
        "warmup must be a number of steps, 0 or more; got -1. 0 is none.",
    ),
    "total": (
        lambda: schedules.cosine(peak=1e-3, warmup=100, total=100),
        "total must exceed the warm-up 100; got 100. It is the last step.",
    ),
    "total without end": (
        lambda: schedules.cosine(peak=1e-3, total=np.inf),
        "total must be finite for a decay; got inf. It is the last step.",
    ),
    "final": (
        lambda: schedules.linear(peak=1e-3, total=100, final=2e-3),
        "final must lie between 0 and the peak 0.001; got 0.002. It is the learning rate at the last step.",
    ),
    "decay": (
        lambda: schedules.wsd(peak=1e-3, total=100, decay=1.0),
        "decay must lie between 0 and 1; got 1. It is the share of all steps spent decaying.",
    ),
    "decay in warm-up": (
        lambda: schedules.wsd(peak=1e-3, warmup=50, total=100, decay=0.75),
        "decay must begin after the warm-up 50; got 25. Shorten one of them.",
    ),
    "shape": (
        lambda: schedules.wsd(peak=1e-3, total=100, shape="round"),
        "shape must be one of 'linear', 'exponential'; got 'round'. Choose one of these.",
    ),
    "exponential to zero": (
        lambda: schedules.wsd(peak=1e-3, total=100, shape="exponential"),
        "final must be positive for an exponential decay; got 0. Use shape='linear'.",
    ),
    "no frame": (
        lambda: schedules.from_frame([1, 2], source="plan"),
        "plan must be a pandas DataFrame; got 'list'. Make one with pandas.DataFrame(...).",
    ),
    "no lr": (
        lambda: schedules.from_frame(pd.DataFrame({"step": [1], "rate": [2]}), source="plan.csv"),
        "plan.csv must have columns step and lr; got 'step', 'rate'. Add 'lr'.",
    ),
    "bad cells": (
        lambda: schedules.from_frame(pd.DataFrame({"step": [0, 5, 9], "lr": ["a", 1, -1]})),
        "schedule must hold finite numbers, none negative; got '0, a', '9, -1' in step, lr (row 0, 2). "
        "Drop the row or correct it.",
    ),
    "blank cells": (
        lambda: schedules.from_frame(pd.DataFrame({"step": [0, 5, 9], "lr": [np.nan, 1, None]}), source="plan.csv"),
        "plan.csv must hold finite numbers, none negative; got '0, nan', '9, nan' in step, lr (row 0, 2). "
        "Drop the row or correct it.",
    ),
    "truth": (
        lambda: schedules.from_frame(pd.DataFrame({"step": [0, 5], "lr": [True, True]})),
        "schedule must hold finite numbers, none negative; got '0, True', '5, True' in step, lr (row 0, 1). "
        "Drop the row or correct it.",
    ),
    "lr twice": (
        lambda: schedules.from_frame(pd.DataFrame([[0, 1.0, 1.0], [5, 1.0, 1.0]], columns=["step", "lr", "lr"])),
        "schedule must have each column once; got 'lr' more than once. Rename or remove one.",
    ),
    "one row": (
        lambda: schedules.from_frame(pd.DataFrame({"step": [3], "lr": [1.0]})),
        f"schedule must have at least two rows; got 1. {TOO_SHORT}",
    ),
    "one row, twice": (
        lambda: schedules.from_frame(pd.DataFrame({"step": [3, 3], "lr": [1.0, 1.0]})),
        f"schedule must have at least two rows; got 1. {TOO_SHORT}",
    ),
    "two rates at a step": (
        lambda: schedules.from_frame(pd.DataFrame({"step": [0, 7, 7], "lr": [1.0, 2.0, 3.0]})),
        "schedule must have one lr per step; got 7 more than once. Keep one of each.",
    ),
    "all zero": (
        lambda: schedules.from_frame(pd.DataFrame({"step": [0, 7], "lr": [0.0, 0.0]})),
        "schedule must have a positive lr somewhere; got 0. Check the unit.",
    ),
    "splice unknown past": (
        lambda: schedules.splice(schedules.unknown(), schedules.constant(peak=1.0), at=5),
        f"past schedule must be known; got 'unknown'. {KNOWN}",
    ),
    "splice unknown future": (
        lambda: schedules.splice(schedules.constant(peak=1.0), schedules.unknown(), at=5),
        f"future schedule must be known; got 'unknown'. {KNOWN}",
    ),
    "splice beyond the past": (
        lambda: schedules.splice(schedules.linear(**SHAPE), schedules.constant(peak=1.0), at=500.0),
        f"schedule must reach the last forecast step 500; got 400. {REACH}",
    ),
    "parse name": (
        lambda: schedules.parse("triangle:peak=1"),
        "schedule must be one of 'constant', 'linear', 'cosine', 'wsd'; got 'triangle'. "
        "Give e.g. cosine:peak=2e-3,warmup=100,total=2500, or a CSV file.",
    ),
    "parse without total": (
        lambda: schedules.parse("linear:peak=1e-3"),
        "schedule must give the arguments of linear; got 'linear:peak=1e-3': missing 1 required argument: 'total'. "
        "Give peak, total, warmup, final, as key=value with commas between.",
    ),
    "parse a word too many": (
        lambda: schedules.parse("constant:peak=1e-3,speed=3"),
        "schedule must give the arguments of constant; got 'constant:peak=1e-3,speed=3': "
        "got an unexpected keyword argument 'speed'. Give peak, warmup, total, as key=value with commas between.",
    ),
    "parse a word mistyped": (
        lambda: schedules.parse("constant:peek=1e-3"),
        "schedule must give the arguments of constant; got 'constant:peek=1e-3': "
        "got an unexpected keyword argument 'peek'. Give peak, warmup, total, as key=value with commas between.",
    ),
    "parse no number": (
        lambda: schedules.parse("constant:peak=fast"),
        "peak must be a number; got 'fast' in the schedule. Write e.g. peak=2e-3.",
    ),
    "parse no name": (
        lambda: schedules.parse("constant:=3"),
        "schedule must give the arguments of constant; got 'constant:=3': got an unexpected keyword argument ''. "
        "Give peak, warmup, total, as key=value with commas between.",
    ),
    "parse no value": (
        lambda: schedules.parse("constant:peak"),
        "peak must be a number; got '' in the schedule. Write e.g. peak=2e-3.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said(name: str) -> None:
    make, message = REFUSED[name]
    with refusal(message):
        make()
