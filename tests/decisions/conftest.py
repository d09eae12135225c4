"""A short fit of the simulated run's mean losses, for decisions that it informs."""

from __future__ import annotations

import warnings

import pytest

import bayes_tsl as bt
from tests.conftest import ORIGIN, means


@pytest.fixture(scope="session")
def short_fit(simulation: bt.Simulation, schedule: bt.Schedule) -> bt.Fit:
    few = {"chains": 2, "num_warmup": 200, "num_draws": 200}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        return bt.fit(means(simulation).until(ORIGIN), schedule=schedule, progress=False, throw=False, **few)
