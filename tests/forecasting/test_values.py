"""Steps as people give them: any iterable of numbers, or one."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
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
