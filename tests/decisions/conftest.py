"""A short fit of the simulated run's mean losses, for decisions that it informs."""

from __future__ import annotations

import warnings

import pytest

import bayes_tsl as bt
from tests.conftest import ORIGIN, SETTLED, means


@pytest.fixture(scope="session")
def short_fit(simulation: bt.Simulation, schedule: bt.Schedule) -> bt.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        return bt.fit(means(simulation).until(ORIGIN), schedule=schedule, num_draws=200, throw=False, **SETTLED)
