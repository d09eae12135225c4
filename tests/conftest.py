"""One simulated run whose truth is known, fitted once for the whole session."""

from __future__ import annotations

import re
import resource
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import hypothesis
import numpy as np
import pytest

import bayes_tsl as bt
from tests.finished_runs import finished_runs
from tests.task_values import checkpoints, loss_table

hypothesis.settings.register_profile("noisy machine", deadline=None)  # others compute beside the tests
hypothesis.settings.load_profile("noisy machine")

ORIGIN = 4000.0
STEPS = np.arange(400.0, 8001.0, 200.0)
TRUTH = {
    "gap_level": 0.3,
    "gap_slope": 0.15,
    "gap_curvature": 0.7,
    "rate_level": -1.0,
    "rate_slope": -0.2,
    "rate_curvature": 0.7,
    "floor_level": 3.5,
    "floor_slope": -0.35,
    "floor_curvature": 0.3,
    "heat": 0.25,
    "heat_power": 0.7,
    "heat_fast_time": 0.003,
    "heat_slow_time": 0.03,
    "heat_decay": 0.15,
    "drift_scale": 0.02,
    "noise_scale": 0.004,
    "gap_noise": 0.02,
    "rate_noise": 0.03,
}
SETTLED = {"chains": 2, "num_warmup": 100, "progress": False}
"""For fits that are to converge: a warm-up of 100 gives as many effective draws as one of 500 (docs/modelling.md, sampling).

All fits of a session have the same warm-up, since fits of like length and warm-up compile once.
"""
QUICK = SETTLED | {"num_draws": 150, "throw": False}
"""For fits whose sampling is not the subject."""


def refusal(message: str) -> pytest.RaisesExc[bt.DataError]:
    """A ``DataError`` of exactly these words."""
    return pytest.raises(bt.DataError, match=f"^{re.escape(message)}$")


@contextmanager
def full_disk(most: int = 1000) -> Iterator[None]:
    """No file may become larger than ``most`` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def means(simulation: bt.Simulation) -> bt.LossTable:
    return bt.LossTable.from_frame(simulation.losses.mean_losses().reset_index())


@pytest.fixture(scope="session")
def schedule() -> bt.Schedule:
    return bt.schedules.cosine(peak=2e-3, warmup=150, total=8000, final=2e-4)


@pytest.fixture(scope="session")
def simulation(schedule: bt.Schedule) -> bt.Simulation:
    return bt.simulate(
        steps=STEPS, schedule=schedule, origin=ORIGIN, positions=range(64), parameters=TRUTH, position_noise=0.03, seed=1
    )


@pytest.fixture(scope="session")
def fit(simulation: bt.Simulation, schedule: bt.Schedule) -> bt.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        return bt.fit(simulation.losses.until(ORIGIN), schedule=schedule, seed=0, **SETTLED | {"chains": 4})


@pytest.fixture(scope="session")
def mean_fit(simulation: bt.Simulation, schedule: bt.Schedule) -> bt.Fit:
    """The same run, its mean losses alone."""
    return bt.fit(means(simulation).until(ORIGIN), schedule=schedule, **SETTLED | {"chains": 4})


@pytest.fixture(scope="session")
def ahead(fit: bt.Fit) -> bt.Forecast:
    return bt.forecast(fit, steps=STEPS[STEPS > ORIGIN], positions=[0, 10, 63])


@pytest.fixture(scope="session")
def scaling() -> bt.ScalingFit:
    return bt.fit_scaling(finished_runs(), **SETTLED | {"num_warmup": 300})


@pytest.fixture(scope="session")
def task() -> bt.TaskFit:
    return bt.fit_task(loss_table(checkpoints()), checkpoints(), metric="bpb", progress=False)
