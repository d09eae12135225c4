"""Baselines: each recovers its own curve, covers it, and refuses what it cannot fit."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import bayes_tsl as bt
from bayes_tsl.data import schedules
from bayes_tsl.forecasting import baselines, curve_fits
from bayes_tsl.model.design import make_design
from tests.conftest import refusal

SEED = "seed must be a whole number from 0 to 9223372036854775807; got -1. Any such number will do, e.g. 0."
NO_TABLE = "losses must be a LossTable; got 'DataFrame'. Make one with LossTable.from_frame(frame), or read_losses(path)."
NO_SCHEDULE = (
    "schedule must be a Schedule; got 'float'. "
    "Make one with schedules.cosine(...), schedules.parse('cosine:...') or schedules.from_frame(table)."
)
STEPS = np.arange(200.0, 4001.0, 100.0)
ORIGIN = 2000.0
WSD = schedules.wsd(peak=1e-3, warmup=100, total=4000, final=1e-4, decay=0.7)
COSINE = schedules.cosine(peak=1e-3, warmup=100, total=4000, final=1e-4)
CONSTANT = schedules.constant(peak=1e-3, warmup=100, total=4000)


def table(loss: np.ndarray, *, noise: float = 0.0) -> bt.LossTable:
    return bt.LossTable.from_frame(
        pd.DataFrame({"step": STEPS, "loss": loss + noise * np.random.default_rng(0).standard_normal(len(STEPS))})
    )


def annealed(plan: bt.Schedule) -> np.ndarray:
    """``L0 + A S1^-alpha - C S2``, summed step by step."""
    lr = np.maximum(plan.lr(np.arange(4001.0)), np.where(np.arange(4001) < 100, 1e-3, 0.0)) / 1e-3
    momentum = area = 0.0
    areas = np.zeros(4001)
    for step in range(1, 4001):
        momentum = 0.999 * momentum + lr[step - 1] - lr[step]
        area += momentum
        areas[step] = area
    return 3.0 + (plan.progress(STEPS) / 2000.0) ** -0.5 - 2e-3 * areas[STEPS.astype(int)]


def multi_power(plan: bt.Schedule) -> np.ndarray:
    """``L0 + A S1^-alpha - B sum_k drop_k G(lr_k^-gamma S_k)``, fall by fall."""
    grid = np.arange(100.0, 4001.0, 20.0)
    lr, progress = plan.lr(grid) / 1e-3, plan.progress(grid)
    loss = 3.0 + (plan.progress(STEPS) / 2000.0) ** -0.5
    for k in range(1, len(grid)):
        since = np.maximum(plan.progress(STEPS) - progress[k], 0.0) / 2000.0
        loss -= 0.3 * (lr[k - 1] - lr[k]) * (1.0 - (1.0 + 20.0 * lr[k] ** -0.5 * since) ** -0.5)
    return loss


CURVES = {
    "power-law": 3.0 + 0.8 * (STEPS / 1000) ** -0.5,
    "reciprocal": 3.0 + 2.0 / (1.0 + STEPS / 500),
    "logarithmic": 6.0 - 0.3 * np.log(STEPS),
    "annealing-law": annealed(WSD),
    "multi-power-law": multi_power(WSD),
}


@pytest.mark.parametrize("name", CURVES)
def test_each_law_recovers_its_own_curve(name: str) -> None:
    losses = table(CURVES[name], noise=1e-5)
    later = losses.after(ORIGIN).mean_losses()
    ahead = baselines.BASELINES[name](losses.until(ORIGIN), steps=later.index, schedule=WSD)
    error = ahead.expected.median(("chain", "draw")).to_numpy() - later.to_numpy()
    limit = 0.02 if name == "multi-power-law" else 2e-3  # its seven parameters are not all told by half a decay
    assert np.abs(error).max() < limit, f"{name} is off by {np.abs(error).max():.5f}"


PLANS = {"wsd": WSD, "constant": CONSTANT, "cosine": COSINE}
SCHEDULED = {"annealing-law": (annealed, 1e-4), "multi-power-law": (multi_power, 2e-3)}


def together(curve: Callable[[bt.Schedule], np.ndarray]) -> bt.LossTable:
    """Losses of the runs of two schedules."""
    parts = [pd.DataFrame({"run": run, "step": STEPS, "loss": curve(PLANS[run])}) for run in ("wsd", "constant")]
    return bt.LossTable.from_frame(pd.concat(parts))


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_law_fitted_to_runs_of_two_schedules_predicts_a_third(name: str) -> None:
    curve, limit = SCHEDULED[name]
    asked = {"cosine": STEPS[::-1], "wsd": [ORIGIN]}
    found = baselines.joint_curves(name, together(curve), schedules=PLANS, steps=asked, unit_step=100)
    assert list(found) == ["cosine", "wsd"]
    assert found["cosine"].index.tolist() == STEPS.tolist()
    assert found["wsd"].loc[ORIGIN] == pytest.approx(curve(WSD)[STEPS == ORIGIN][0], abs=limit)
    error = np.abs(found["cosine"] - curve(COSINE)).max()
    assert error < limit, f"{name} is off by {error:.5f}"


@pytest.mark.parametrize("name", ["power-law", "reciprocal", "logarithmic"])
def test_the_bootstrap_covers_a_curve_that_is_right(name: str) -> None:
    losses = table(CURVES[name], noise=3e-3)
    later = losses.after(ORIGIN).mean_losses()
    ahead = baselines.BASELINES[name](losses.until(ORIGIN), steps=later.index)
    interval = ahead.interval(prob=0.9)
    inside = ((later.to_numpy() > interval["lower"]) & (later.to_numpy() < interval["upper"])).mean()
    assert float(inside) >= 0.6, f"{name} covers {float(inside):.0%}"
    assert float(interval["upper"][-1] - interval["lower"][-1]) < 0.2


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_every_baseline_is_a_forecast_and_repeats_itself(name: str) -> None:
    losses = table(CURVES["power-law"], noise=3e-3).until(ORIGIN)
    one, two = (baselines.BASELINES[name](losses, steps=[4000, 3000], schedule=WSD, seed=3) for _ in range(2))
    assert isinstance(one, bt.Forecast)
    assert one.observed.dims == ("chain", "draw", "step")
    assert one.steps.tolist() == [3000, 4000]
    assert one.origin == ORIGIN
    assert np.isfinite(one.observed).all()
    assert one.observed.identical(two.observed)


def test_last_value_grows_uncertain_with_the_horizon() -> None:
    ahead = baselines.last_value(table(CURVES["power-law"]).until(ORIGIN), steps=[2100, 3000, 4000])
    assert float(ahead.expected.mean()) == pytest.approx(CURVES["power-law"][STEPS == ORIGIN][0], abs=0.02)
    assert (np.diff(ahead.expected.std(("chain", "draw"))) > 0).all()


def test_an_unknown_schedule_and_what_is_left_out_are_said() -> None:
    losses = table(CURVES["power-law"]).until(ORIGIN)
    left_out = "1 of 19 checkpoints are left out: before step 300, twice the warm-up."
    said = baselines.power_law(losses, steps=[3000]).notices
    assert said == (schedules.UNKNOWN,) == make_design(losses, schedules.unknown())[1]
    late = schedules.constant(peak=1.0, warmup=150)
    assert baselines.last_value(losses, steps=[3000], schedule=late).notices == (left_out,)


@pytest.mark.parametrize("law", [baselines.last_value, baselines.power_law])
def test_wrong_kinds_of_input_are_refused(law: baselines.Forecaster) -> None:
    losses = table(CURVES["power-law"]).until(ORIGIN)
    with pytest.raises(bt.DataError, match=f"^{re.escape(SEED)}$"):
        law(losses, steps=[3000], seed=-1)
    with pytest.raises(bt.DataError, match=f"^{re.escape(NO_TABLE)}$"):
        law(losses.frame, steps=[3000])  # type: ignore[arg-type]
    with pytest.raises(bt.DataError, match=f"^{re.escape(NO_SCHEDULE)}$"):
        law(losses, steps=[3000], schedule=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"law": "power-law"}, "law must be one of 'annealing-law', 'multi-power-law'; got 'power-law'."),
        (
            {"losses": None},
            "losses must be a LossTable; got 'NoneType'. Make one with LossTable.from_frame(frame), or read_losses(path).",
        ),
        (
            {"losses": table(annealed(WSD)).until(700)},
            "schedules must name every run; got 'run' without one. Give the learning rate of each.",
        ),
        ({"schedules": COSINE}, "schedules must be a Mapping; got 'Schedule'. Give {run: schedule}."),
        ({"schedules": PLANS | {"cosine": 1e-3}}, NO_SCHEDULE),
        (
            {"schedules": PLANS | {"wsd": schedules.unknown()}},
            "schedules must name every run; got 'wsd' without one. Give the learning rate of each.",
        ),
        (
            {"schedules": PLANS | {"cosine": schedules.constant(peak=1.0, warmup=200)}},
            "schedules must make the same progress until step 100; got 50, 50, 25. Pass another unit_step=.",
        ),
        (
            {"unit_step": 0},
            "unit_step must be a number above 0; got 0. It is a step until which all runs are the same, e.g. 1000.",
        ),
        ({"steps": {"cosine": []}}, "steps must be finite and above 0; got none. Give steps that the run will reach."),
        ({"steps": {"cosine": [0, 9]}}, "steps must be finite and above 0; got 0, 9. Give steps that the run will reach."),
        (
            {"steps": {"cosine": [5000]}},
            "schedule must reach the last forecast step 5000; got 4000. "
            "Give a schedule for the whole forecast, or forecast fewer steps.",
        ),
        (
            {"losses": together(annealed).until(500), "law": "multi-power-law"},
            "losses must hold 9 usable checkpoints; got 8. Fit later in the run.",
        ),
    ],
)
def test_runs_that_cannot_share_a_law_are_refused(settings: dict[str, object], message: str) -> None:
    given = {
        "law": "annealing-law",
        "losses": together(annealed),
        "schedules": PLANS,
        "steps": {"cosine": [ORIGIN]},
        "unit_step": 100,
    }
    with refusal(message):
        baselines.joint_curves(**given | settings)


def test_a_shared_law_that_overflows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_fit_jointly", lambda *arguments: np.full(4, 1e3))
    with pytest.raises(
        bt.ConvergenceError, match=r"^the annealing-law must be finite ahead; got an overflow\. Fit later in the run\.$"
    ):
        baselines.joint_curves("annealing-law", together(annealed), schedules=PLANS, steps={"wsd": [ORIGIN]}, unit_step=100)


def test_what_cannot_be_fitted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = table(CURVES["power-law"]).until(ORIGIN)
    with pytest.raises(
        bt.DataError,
        match=r"^schedule must be known for the annealing-law; got '.*'\. "
        r"Pass schedule=, or choose a law that is blind to it\.$",
    ):
        baselines.annealing_law(losses, steps=[3000])
    with pytest.raises(bt.DataError, match=r"^steps must lie after the origin 2000; got 1000\. Use Fit\.coefficients\(\)"):
        baselines.power_law(losses, steps=[1000])
    with pytest.raises(bt.DataError, match=r"^losses must hold 5 usable checkpoints; got 4\. Fit later in the run\.$"):
        baselines.power_law(losses.until(500), steps=[1000])
    real = curve_fits.least_squares

    def never(*arguments, **settings):
        found = real(*arguments, **settings)
        found.status, found.message = 0, "the limit of evaluations is reached."
        return found

    monkeypatch.setattr(curve_fits, "least_squares", never)
    message = (
        r"^least squares of the power-law must converge; got 'the limit of evaluations is reached'\. Fit later in the run\.$"
    )
    with pytest.raises(bt.ConvergenceError, match=message) as caught:
        baselines.power_law(losses, steps=[3000])
    assert caught.value.diagnostics is None
