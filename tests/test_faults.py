"""Logs as they are: outliers, spikes, plateaus, divergence, gaps, rounding. A fit survives each, and some leave less known."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from tests.conftest import ORIGIN, SETTLED, means

pytestmark = pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
END = 8000.0
Losses = pd.Series  # by step


class Outcome(NamedTuple):
    """Forecast of the end: 90 % interval, median, and whether the chains agreed."""

    lower: float
    median: float
    upper: float
    converged: bool

    @property
    def width(self) -> float:
        return self.upper - self.lower


def outlier(losses: Losses) -> Losses:
    return losses + 0.3 * (losses.index == 2000.0)


def spike(losses: Losses) -> Losses:
    since = losses.index.to_numpy() - 2400.0
    return losses + np.where(since >= 0, 0.5 * np.exp(-since / 150.0), 0.0)


def plateau(losses: Losses) -> Losses:
    return losses.clip(lower=losses.loc[2800.0])


def divergence(losses: Losses) -> Losses:
    return losses + 0.05 * np.maximum(losses.index.to_numpy() - 3000.0, 0.0) / 200.0


def five(losses: Losses) -> Losses:
    return losses.iloc[[2, 6, 10, 14, 18]]


def irregular(losses: Losses) -> Losses:
    kept = np.random.default_rng(0).random(len(losses)) < 0.6
    return losses[kept | (losses.index == ORIGIN)]


def rounded(losses: Losses) -> Losses:
    return losses.round(2)


FAULTS: dict[str, Callable[[Losses], Losses]] = {
    fault.__name__: fault for fault in (outlier, spike, plateau, divergence, five, irregular, rounded)
}


def outcome(losses: Losses, schedule: bt.Schedule) -> Outcome:
    table = bt.LossTable.from_frame(losses.rename("loss").rename_axis("step").reset_index())
    fit = bt.fit(table, schedule=schedule, num_draws=2000, throw=False, **SETTLED)
    quantiles = bt.forecast(fit, steps=[END]).quantile([0.05, 0.5, 0.95]).to_numpy()[:, 0]
    return Outcome(*map(float, quantiles), fit.converged)


@pytest.fixture(scope="module")
def past(simulation: bt.Simulation) -> Losses:
    return means(simulation).until(ORIGIN).mean_losses()


@pytest.fixture(scope="module")
def outcomes(past: Losses, schedule: bt.Schedule) -> dict[str, Outcome]:
    found = {"clean": outcome(past, schedule)}
    return found | {name: outcome(fault(past), schedule) for name, fault in FAULTS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clean", *FAULTS])
def test_every_fault_is_survived(outcomes: dict[str, Outcome], name: str) -> None:
    assert np.isfinite(outcomes[name][:3]).all()
    assert outcomes[name].width < (6.0 if name == "divergence" else 4.0) * outcomes["clean"].width


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clean", "outlier", "spike", "five", "irregular", "rounded"])
def test_the_interval_still_holds_the_truth(outcomes: dict[str, Outcome], simulation: bt.Simulation, name: str) -> None:
    truth = float(simulation.losses.mean_losses().loc[END])
    assert outcomes[name].lower < truth < outcomes[name].upper


@pytest.mark.slow
@pytest.mark.parametrize("name", ["outlier", "irregular", "rounded"])
def test_what_tells_nothing_new_moves_little(outcomes: dict[str, Outcome], name: str) -> None:
    assert abs(outcomes[name].median - outcomes["clean"].median) < 0.5 * outcomes["clean"].width
    assert outcomes[name].width < 2.0 * outcomes["clean"].width


@pytest.mark.slow
@pytest.mark.parametrize(("name", "times"), [("spike", 1.3), ("plateau", 1.1), ("divergence", 1.3), ("five", 1.0)])
def test_the_interval_widens_where_less_is_known(outcomes: dict[str, Outcome], name: str, times: float) -> None:
    """Five checkpoints over the whole past say nearly as much as nineteen: the prior of a long run does the rest."""
    assert outcomes[name].width > times * outcomes["clean"].width


def test_a_position_missing_everywhere_is_no_matter(simulation: bt.Simulation, schedule: bt.Schedule, fit: bt.Fit) -> None:
    frame = simulation.losses.until(ORIGIN).frame
    without = bt.LossTable.from_frame(frame[frame["position"] != 7])
    refit = bt.fit(without, schedule=schedule, throw=False, **SETTLED)
    assert 7.0 not in refit.data["constant_data"]["position"]
    shift = bt.forecast(refit, steps=[END]).observed.mean() - bt.forecast(fit, steps=[END]).observed.mean()
    assert abs(float(shift)) < 0.05


def test_too_few_checkpoints_are_refused_with_the_number_needed(past: Losses, schedule: bt.Schedule) -> None:
    with pytest.raises(bt.DataError, match="losses must hold 4 usable checkpoints; got 3 of 3 checkpoints"):
        outcome(past.iloc[-3:], schedule)
