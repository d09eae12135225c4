"""Steps as people give them: any iterable of numbers, or one."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayes_tsl as bt
from bayes_tsl.forecasting.curve_fits import usable_past
from bayes_tsl.inference.posterior import example_fit
from tests.conftest import refusal

WAYS: dict[str, Callable[[], object]] = {
    "list": lambda: [2000, 1500],
    "generator": lambda: (step for step in (1500, 2000)),
    "map": lambda: map(float, ["1500", "2000"]),
    "set": lambda: {2000, 1500},
    "range": lambda: range(1500, 2001, 500),
    "series": lambda: pd.Series([1500.0, 2000.0]),
    "jax": lambda: jax.numpy.array([1500.0, 2000.0]),
}


@pytest.mark.parametrize("way", WAYS)
def test_steps_are_taken(way: str) -> None:
    assert bt.forecast(example_fit(), steps=WAYS[way]()).steps.tolist() == [1500.0, 2000.0]


def test_one_step_is_taken() -> None:
    assert bt.forecast(example_fit(), steps=np.array(2000.0)).steps.tolist() == [2000.0]


@pytest.mark.parametrize(
    ("steps", "shown"),
    [("soon", "'soon'"), ([2000j], "2000j"), ([[1500], [2000, 1]], "1500, 2000, 1"), ([None, "x"], "None, 'x'")],
)
def test_other_steps_are_refused(steps: object, shown: str) -> None:
    with refusal(f"steps must be numbers; got {shown}. Give e.g. steps=[2000, 2500]."):
        bt.forecast(example_fit(), steps=steps)


def test_more_steps_than_memory_are_refused_with_the_number() -> None:
    steps = np.linspace(1201.0, 2500.0, 1_000_000)
    with refusal("steps must be at most 186046 for 100 draws; got 1000000. They would take 43 GB of memory; give fewer."):
        bt.forecast(example_fit(), steps=steps)


def test_a_fit_is_asked_for() -> None:
    with refusal("fit must be a Fit; got 'str'. Make one with fit(...) or load_fit(path)."):
        bt.forecast("fit.nc", steps=[2000])


def test_prefixes_and_forecasters_are_taken_alone() -> None:
    losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    one, other = (
        bt.backtest(losses, prefixes=prefixes, forecasters=names, progress=False)
        for prefixes, names in ((0.5, "last-value"), ((prefix for prefix in [0.5]), ["last-value"]))
    )
    pd.testing.assert_frame_equal(one, other)


def test_a_file_is_named_by_a_path() -> None:
    for use in (bt.load_fit, bt.read_losses, bt.read_log, example_fit().save):
        with refusal("path must be a path; got 'NoneType'. Give e.g. 'fit.nc'."):
            use(None)


def test_more_draws_than_memory_are_refused() -> None:
    losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    with refusal("draws of all chains must be at most 10000000; got 1000000000000. 4 x 1000 are usual."):
        bt.fit(losses, chains=10**9)


PLAN = "constant:peak=1e-3"


def test_steps_may_come_second() -> None:
    assert bt.forecast(example_fit(), [2000]).steps.tolist() == [2000.0]


def test_a_text_is_a_schedule() -> None:
    fit, plan = example_fit(), bt.schedules.parse(PLAN)
    xr.testing.assert_equal(bt.forecast(fit, [2000], schedule=PLAN).expected, bt.forecast(fit, [2000], schedule=plan).expected)
    assert bt.what_if(fit, {"flat": PLAN}, steps=[2000]).schedules["flat"].lr(2000) == 1e-3
    stopping = bt.stop_or_continue(fit, bt.Cost(per_step=0.01), value=1000.0, steps=[2500], schedule=PLAN)
    assert stopping.plans.schedules["as planned"].lr(2500) == 1e-3
    tried = bt.Measurement([1700], branch="linear:peak=2e-3,total=1700")
    assert bt.worth_measuring(fit, {"cooldown": tried}, end=2500, plans={"flat": PLAN}).taken == {"cooldown": 500.0}
    assert bt.schedules.splice(PLAN, "constant:peak=5e-4", at=1000).lr(1001) == 5e-4
    assert bt.schedules.decayed(PLAN, start=1000, total=1500).lr(1250) == 5e-4
    losses = bt.datasets.load().select("mix50_cosine", test_set="prose").until(1200)
    past = usable_past(losses, steps=[2500], schedule=PLAN, least=2, seed=0)
    assert past.schedule.lr(2500) == 1e-3


def test_a_text_that_is_no_schedule_is_refused() -> None:
    message = (
        "schedule must be one of 'constant', 'linear', 'cosine', 'wsd'; got 'flat'. "
        "Give e.g. cosine:peak=2e-3,warmup=100,total=2500, or a CSV file."
    )
    with refusal(message):
        bt.what_if(example_fit(), {"flat": "flat"}, steps=[2000])
