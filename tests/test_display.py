"""Public values state their content: in a few lines, and in a notebook as a table with everything escaped."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayes_tsl as bt
from bayes_tsl.decisions.allocation import Allocation
from bayes_tsl.forecasting.distribution import side_by_side
from bayes_tsl.inference.posterior import example_fit
from bayes_tsl.inference.scaling import ScalingFit
from bayes_tsl.model.drift import DriftState
from tests import by_hand

COST = bt.Cost(per_step=0.01, currency="USD")
CURVE = by_hand.TEN.expected + 0.002  # no quantile of which is half a digit
TEN = dataclasses.replace(by_hand.TEN, expected=CURVE, observed=CURVE)
LOWER = dataclasses.replace(TEN, expected=TEN.expected - 0.1)
LOSSES = TEN.expected.isel(step=[0, 2])


def updated() -> bt.Updated:
    fit, weights = example_fit(), xr.DataArray(np.full((2, 50), 0.01), dims=("chain", "draw"))
    losses, drift = xr.DataArray([3.7, 3.6], {"step": [1250.0, 1300.0]}, "step"), DriftState(*np.zeros((5, 100)))
    return bt.Updated(fit, losses, fit.schedule, weights, pareto_k=0.3, ess=100.0, drift=drift)


def frontier() -> bt.Frontier:
    rows = {"end": [10.0, 30.0], "cost": [0.05, 0.25], "loss_0.9": [4.0, 3.5], "plan_0.9": "a", "prob_below": [0.0, 0.55]}
    return bt.Frontier(pd.DataFrame(rows), {}, {}, COST, 3.6, 5.0)


def worth() -> bt.Worth:
    now = np.linspace(3.0, 4.0, 101)[None]
    return bt.Worth(30.0, now, {"wait": 0.5 * now}, {"wait": 0.01}, {"wait": 0.0})


def best_plan() -> bt.BestPlan:
    losses = xr.concat([LOSSES.isel(step=1, drop=True), LOSSES.isel(step=1, drop=True) - 0.1], "plan").transpose(..., "plan")
    rows = {"end": 30.0, "start": [np.nan, 5.0], "final": [1e-4, 0.0], "shape": ["as planned", "linear"], "score": [0.0, 1.0]}
    names = ["as planned", "decay now"]
    return bt.BestPlan(losses, pd.DataFrame(rows, pd.Index(names, name="plan")), {}, "expected loss", ("as planned",), 5.0)


def scaling_fit() -> ScalingFit:
    draws = xr.Dataset({"alpha": (("chain", "draw"), np.random.default_rng(0).normal(size=(2, 100)))})
    stats = xr.Dataset({"diverging": draws["alpha"] > 9, "energy": draws["alpha"]})
    return ScalingFit(pd.DataFrame({"parameters": [1e7, 1e8], "tokens": [1e9, 1e10], "loss": [3.5, 3.0]}), draws, stats)


VALUES = {
    "LossTable": lambda: bt.LossTable.from_frame(pd.DataFrame({"run": "<b>", "step": [100, 200], "loss": [5.1, 4.7]})),
    "Schedule": lambda: bt.schedules.linear(peak=1e-3, total=1000),
    "Fit": example_fit,
    "Diagnostics": lambda: example_fit().diagnostics,
    "Priors": bt.Priors,
    "Forecast": lambda: TEN,
    "Arrival": lambda: TEN.time_to(3.5, prob=0.8),
    "WhatIf": lambda: bt.WhatIf({"planned": TEN, "now": LOWER}, {}),
    "Updated": updated,
    "Budget": lambda: bt.at_budget(TEN, COST, 0.15),
    "Stopping": lambda: bt.Stopping(LOSSES, LOSSES.isel(step=0) - LOSSES, COST, bt.WhatIf({"planned": TEN}, {})),
    "BestPlan": best_plan,
    "Frontier": frontier,
    "Worth": worth,
    "Allocation": lambda: Allocation(1e18, np.array([1e7, 1e8]), np.linspace([3.0, 3.5], [4.0, 4.5], 101)),
    "ScalingFit": scaling_fit,
    "Comparison": lambda: bt.compare_runs([TEN, dataclasses.replace(LOWER, run="b")]),
    "Population": lambda: bt.Population({}, {}, 1000.0, {"priors": bt.Priors().to_dict()}, {"runs": ["a", "b"]}),
    "Outlook": lambda: bt.Outlook(step=100, loss=3.5, end=1000, waiting="too early"),
    "Simulation": lambda: bt.Simulation(VALUES["LossTable"](), {"heat": 0.3}, xr.Dataset()),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_states_its_content(name: str) -> None:
    value = VALUES[name]()
    assert type(value).__name__ == name
    text, page = repr(value), value._repr_html_()
    assert text.startswith(name)
    assert "object at 0x" not in text
    assert len(text.splitlines()) < 15
    assert page.startswith(f"<table><caption>{name}")
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("LossTable", ["LossTable", "  runs       1: <b>", "  test sets  1: test", "  steps      2, 100 to 200"]),
        ("Schedule", ["Schedule: linear:peak=0.001,warmup=0,total=1000,final=0", "  peak       0.001"]),
        (
            "Forecast",
            ["Forecast: a on test, after step 5", "  steps    3, 10 to 30", "  step 30  3.55 (3.15 to 3.96, 90% interval)"],
        ),
        (
            "WhatIf",
            [
                "WhatIf: a on test, after step 5",
                "  planned  3.55 (3.15 to 3.96, 90% interval) at step 30",
                "  now      3.45 (3.05 to 3.86, 90% interval) at step 30; lower than planned by 0.1000 (0.1000 to 0.1000, "
                "90% interval)",
            ],
        ),
        ("Updated", ["Updated: mix50_cosine on prose, fitted to step 1200", "  new checkpoints  2, 1250 to 1300"]),
        ("Frontier", ["Frontier: 2 budgets, 0.05 USD to 0.25 USD, ends 10 to 30", "  loss, 90% assured  4.0000 to 3.5000"]),
        (
            "Worth",
            [
                "Worth: end at step 30, 90% interval 0.9000 nats wide now",
                "  wait  90% interval 0.4500 nats wide, 50% narrower; gain 0.0100 nats",
            ],
        ),
        (
            "Comparison",
            [
                "Comparison: 2 runs at step 30 on test",
                "  run b  3.45 (3.05 to 3.86, 90% interval); over 99% likely lowest, regret 0.0000 nats",
            ],
        ),
    ],
)
def test_the_lines_of_a_value(name: str, lines: list[str]) -> None:
    assert repr(VALUES[name]()).splitlines()[: len(lines)] == lines


def test_answers_are_their_text() -> None:
    for name in ("Arrival", "Budget", "Stopping", "BestPlan", "Outlook"):
        value = VALUES[name]()
        assert repr(value).splitlines()[0] == f"{name}: {value}"


def test_what_stands_against_a_forecast_is_stated() -> None:
    doubtful = dataclasses.replace(TEN, notices=("one", "two"), converged=False)
    assert repr(doubtful).splitlines()[-2:] == ["  chains   NOT CONVERGED", "  notices  2, in .notices"]


def test_a_forecast_of_several_runs_states_each() -> None:
    several = repr(side_by_side([dataclasses.replace(TEN, run=f"r{number}") for number in range(7)])).splitlines()
    assert several[2] == "  step 30 run r0  3.55 (3.15 to 3.96, 90% interval)"
    assert several[7] == "  and             2 more"
