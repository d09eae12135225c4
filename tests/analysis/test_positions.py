"""Questions to losses by position: answers on curves whose truth is known, and against plain textbook versions."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

import bayes_tsl as bt
from bayes_tsl.analysis.positions import first_settled
from bayes_tsl.model.lr_response import FAST_WEIGHT, make_time_axis, relative_excess
from tests.conftest import ORIGIN, STEPS, TRUTH, refusal

POSITIONS = np.arange(64.0)


@pytest.fixture(autouse=True)
def _no_screen() -> None:
    mpl.use("agg")


def table(gap: np.ndarray, rate: np.ndarray, floor: np.ndarray, *, exponent: float = 1.0, run: str = "a") -> pd.DataFrame:
    """Noiseless curves of some checkpoints."""
    curves = floor[:, None] + gap[:, None] * (1.0 + rate[:, None] * POSITIONS) ** -exponent
    steps = np.repeat(100.0 * np.arange(1, len(gap) + 1), len(POSITIONS))
    return pd.DataFrame({"run": run, "step": steps, "position": np.tile(POSITIONS, len(gap)), "loss": curves.ravel()})


GAP, RATE, FLOOR = np.linspace(1.0, 1.6, 6), np.linspace(0.5, 0.3, 6), np.linspace(4.0, 3.0, 6)


@pytest.mark.parametrize(("exponent", "asked"), [(1.0, 1.0), (0.6, 0.6), (0.6, None)])
def test_laws_of_noiseless_curves_are_those_that_made_them(exponent: float, asked: float | None) -> None:
    both = [table(GAP, RATE, FLOOR, exponent=exponent), table(1.1 * GAP, RATE, FLOOR, exponent=exponent, run="b")]
    found = bt.position_laws(bt.LossTable.from_frame(pd.concat(both)), exponent=asked)
    assert found["run"].tolist() == ["a"] * 6 + ["b"] * 6
    loose = {"rtol": 0.05} if asked is None else {"rtol": 1e-3}
    np.testing.assert_allclose(found["exponent"], exponent, **loose)
    np.testing.assert_allclose(found["gap"], np.append(GAP, 1.1 * GAP), **loose)
    np.testing.assert_allclose(found["rate"], np.append(RATE, RATE), rtol=0.15 if asked is None else 2e-3)
    np.testing.assert_allclose(found["floor"], np.append(FLOOR, FLOOR), **loose)
    assert (found["r2"] > 0.9999).all()


def test_effects_of_positions_explain_what_the_law_leaves() -> None:
    bumps = 0.2 * np.sin(1.7 * POSITIONS) * (POSITIONS > 8)
    rows = table(GAP, RATE, FLOOR)
    losses = bt.LossTable.from_frame(rows.assign(loss=rows["loss"] + np.tile(bumps, 6)))
    found = bt.position_laws(losses)
    assert (found["mse"] > 0.01).all()
    assert (found["mse_effect"] < 0.02 * found["mse"]).all()
    curve = losses.curve()
    gap, rate, floor = (found[[name]].to_numpy() for name in ("gap", "rate", "floor"))
    missed = curve - (floor + gap / (1.0 + rate * POSITIONS))
    np.testing.assert_allclose(found["mse"], (missed**2).mean(axis=1), rtol=1e-10)
    np.testing.assert_allclose(found["r2"], 1.0 - (missed**2).mean(axis=1) / curve.var(axis=1, ddof=0), rtol=1e-10)


def test_mean_losses_have_no_law_over_positions(simulation: bt.Simulation, mean_fit: bt.Fit) -> None:
    means = bt.LossTable.from_frame(simulation.losses.mean_losses().reset_index())
    with refusal("losses must have 8 positions or more; got 1 on test. See bayes_tsl.collect."):
        bt.position_laws(means)
    with refusal("losses must be given by position; got 'means over positions'. See bayes_tsl.collect."):
        bt.paired_differences(means, pairs={"run": "run"})
    for ask in (bt.convergence_step, bt.position_effects, lambda fit: bt.learning_speed(fit, since=1000.0)):
        with refusal("fit must be of losses by position; got 'mean losses only'. Give losses by position."):
            ask(mean_fit)


def test_what_has_no_laws_is_refused() -> None:
    rows = table(GAP, RATE, FLOOR)
    losses = bt.LossTable.from_frame(rows)
    with refusal("exponent must be a number above 0; got 0. The paper's is 1."):
        bt.position_laws(losses, exponent=0)
    with refusal("losses must have two checkpoints of a run; got 1 on test. One alone does not tell noise from effects."):
        bt.position_laws(losses.after(500))
    other = rows[rows["position"] % 2 == 0].assign(run="b")
    message = "runs must be measured where a is; got 'b' on test. Fit them apart, or drop the positions that some lack."
    with refusal(message):
        bt.position_laws(bt.LossTable.from_frame(pd.concat([rows, other])))


def test_several_runs_are_asked_one_by_one(ahead: bt.Forecast) -> None:
    several = bt.Fit(xr.DataTree())
    several.data.attrs["runs"] = '["a", "b"]'
    speed, picture = lambda fit: bt.learning_speed(fit, since=1000.0), lambda fit: bt.plot_positions(fit, ahead)
    for ask in (bt.convergence_step, bt.position_effects, speed, picture):
        with refusal("fit must be of a single run; got 'a', 'b'. Choose one with fit.select(run=...)."):
            ask(several)


def settled_by_hand(slope: float, curvature: float, stop: float, *, change: float) -> float:
    """The same from the model's own words, one step at a time, with progress in steps."""

    def value(u: float) -> float:
        moving = min(u, stop) - min(0.0, stop)
        return slope * (moving if curvature == 0 else (1.0 - np.exp(-curvature * moving)) / curvature)

    steps = np.geomspace(100.0, 10_000.0, 4001)
    u = np.log(steps / 1000.0)
    moves = [abs(value(at + np.log(2.0)) - value(at)) >= np.log1p(change) for at in u]
    if not any(moves):
        return 0.0
    return np.inf if moves[-1] else float(steps[1 + int(np.flatnonzero(moves)[-1])])


@pytest.mark.parametrize(
    ("slope", "curvature", "stop", "truth"),
    [
        (0.5, 1.0, np.inf, 1000.0 * 0.25 / np.log(1.05)),
        (-0.5, 1.0, np.inf, 1000.0 * 0.25 / np.log(1.05)),
        (
            0.5,
            1.0,
            0.5,
            1000.0 * np.exp(0.5 + np.log1p(-(np.exp(0.5) * np.log(1.05) / 0.5) / (1 + np.exp(0.5) * np.log(1.05) / 0.5))),
        ),
        (0.05, 1.0, -1.0, None),
        (0.2, 0.0, 0.5, None),
        (0.1, 0.0, np.inf, np.inf),
        (0.1, 1e-4, np.inf, np.inf),
        (0.05, -0.3, np.inf, np.inf),
        (0.01, 1.0, np.inf, None),
        (0.01, 0.0, np.inf, 0.0),
    ],
)
def test_a_coefficient_settles_where_a_doubling_changes_it_by_less(
    slope: float, curvature: float, stop: float, truth: float | None
) -> None:
    """At a constant rate progress is steps, and by a power law a doubling from u on changes exp(-k u) of what the first did."""
    steps, drawn = np.geomspace(100.0, 10_000.0, 512), {"gap_slope": slope, "gap_curvature": curvature, "convergence": stop}
    sites = {name: np.full((1, 1), value) for name, value in drawn.items()}
    found = float(first_settled(steps, np.log(steps / 1000.0), sites, name="gap", change=0.05)[0, 0])
    by_hand = settled_by_hand(slope, curvature, stop, change=0.05)
    for expected in (by_hand, by_hand if truth is None else truth):
        assert found == pytest.approx(expected, rel=0.012)


def test_what_is_asked_for_loosely_settles_earlier(fit: bt.Fit) -> None:
    loose, strict = bt.convergence_step(fit, change=0.2), bt.convergence_step(fit, change=0.02)
    for name in ("gap", "rate"):
        assert loose[name].dims == ("chain", "draw")
        assert (loose[name] <= strict[name]).all()
        assert (loose[name] < strict[name]).any()
    with refusal("change must lie between 0 and 1; got 5. 0.05 is five percent."):
        bt.convergence_step(fit, change=5)


def test_speed_is_the_slope_of_the_loss_at_each_position(fit: bt.Fit) -> None:
    found = bt.learning_speed(fit, since=2000.0)
    late = fit.coefficients().sel(step=slice(2000.0, None)).isel(chain=1, draw=7)
    at = found["position"].to_numpy()
    curves = late["floor"].to_numpy() + late["gap"].to_numpy() / (1.0 + np.outer(POSITIONS, late["rate"].to_numpy()))
    slopes = -np.polyfit(late["step"].to_numpy(), curves.T, 1)[0]
    one = found.isel(chain=1, draw=7)
    np.testing.assert_allclose(one["speed"], slopes[at.astype(int)], rtol=1e-6)
    np.testing.assert_allclose(one["mean"], slopes.mean(), rtol=1e-6)
    np.testing.assert_allclose(one["spread"], slopes.std() / abs(slopes.mean()), rtol=1e-6)
    with refusal("since must leave 3 checkpoints or more; got 1. Choose an earlier step."):
        bt.learning_speed(fit, since=ORIGIN)
    with refusal("since must be a number above -inf; got 'half'. It is a step before the origin."):
        bt.learning_speed(fit, since="half")  # pyright: ignore[reportArgumentType]


def test_what_annealing_took_is_the_heat_lost(fit: bt.Fit, schedule: bt.Schedule) -> None:
    taken = bt.annealing_gain(fit, since=1000.0)
    one = fit.data["posterior"].to_dataset().isel(chain=2, draw=5)
    axis = make_time_axis(np.array([1000.0, ORIGIN]), schedule, fit.anchor)
    names = ("power", "fast_time", "slow_time", "decay")
    values = {name: float(one.get(f"heat_{name}", fit.priors.fixed().get(f"heat_{name}"))) for name in names}
    hot = float(one["heat"]) * np.asarray(relative_excess(axis, fast_weight=FAST_WEIGHT, **values))
    assert float(taken[2, 5]) == pytest.approx(float(hot[0] - hot[-1]), abs=1e-5)
    low, high = taken.quantile([0.025, 0.975])
    truth = {name: TRUTH[f"heat_{name}"] for name in names}
    lost = TRUTH["heat"] * np.asarray(relative_excess(axis, fast_weight=FAST_WEIGHT, **truth))
    assert low < lost[0] - lost[-1] < high
    with refusal("since must lie between 0 and 4000; got 4000. It is a step before the origin."):
        bt.annealing_gain(fit, since=ORIGIN)
    with refusal("schedule must be known; got 'unknown'. Fit with schedule=."):
        bt.annealing_gain(SimpleNamespace(schedule=bt.schedules.unknown()), since=1.0)  # pyright: ignore[reportArgumentType]


def test_effects_belong_to_positions_and_average_to_nothing(fit: bt.Fit, simulation: bt.Simulation) -> None:
    known = bt.position_effects(fit)
    assert known["effect"].dims == known["error"].dims == ("position",)
    assert abs(float(known["effect"].mean())) < 1e-10
    found = bt.position_laws(simulation.losses.until(ORIGIN))
    curve = simulation.losses.until(ORIGIN).curve()
    gap, rate, floor = (found[[name]].to_numpy() for name in ("gap", "rate", "floor"))
    left = (curve - (floor + gap / (1.0 + rate * POSITIONS))).mean(axis=0)
    assert np.corrcoef(left, known["effect"])[0, 1] > 0.9
    off = np.abs(left - known["effect"]) / known["error"]
    assert float((off < 3.0).mean()) > 0.9


def test_a_constant_difference_is_found_exactly() -> None:
    rows = table(GAP, RATE, FLOOR)
    losses = bt.LossTable.from_frame(pd.concat([rows, rows.assign(run="b", loss=rows["loss"] + 0.1)]))
    found = bt.paired_differences(losses, pairs={"b": "a", "a": "b"})
    np.testing.assert_allclose(found[["difference", "lower", "upper"]], [[0.1] * 3, [-0.1] * 3])
    assert found["step"].tolist() == [600.0, 600.0]
    earlier = bt.paired_differences(losses, pairs={"b": "a"}, at=300.0)
    assert earlier.iloc[0]["step"] == 300.0


def test_runs_that_cannot_be_paired_are_refused() -> None:
    rows = table(GAP, RATE, FLOOR)
    rows = rows.assign(test_set="test")
    losses = bt.LossTable.from_frame(pd.concat([rows, rows.assign(run="b"), rows.assign(run="b", test_set="other")]))
    with refusal(
        "at must be a checkpoint of both runs; got 301 for a and b on test. Both have 100, 200, 300, 400, 500 and 1 more."
    ):
        bt.paired_differences(losses, pairs={"a": "b"}, at=301)
    with refusal("at must be a number above -inf; got 'last'. It is the step of a checkpoint."):
        bt.paired_differences(losses, pairs={"a": "b"}, at="last")  # pyright: ignore[reportArgumentType]
    few = bt.LossTable.from_frame(losses.frame[losses.frame["position"] < 9])
    with refusal(
        "positions must be 16 or more that both have; got 9 for a and b on test. Evaluate both at the same positions."
    ):
        bt.paired_differences(few, pairs={"a": "b"})
    with refusal("run must be one of 'a', 'b'; got 'c'. Choose one of these."):
        bt.paired_differences(losses, pairs={"a": "c"})
    with refusal("test set of b must be one of 'test'; got 'other'. Evaluate a on it too."):
        bt.paired_differences(losses, pairs={"b": "a"})
    with refusal("pairs must be a Mapping; got 'list'. Give {run: reference}."):
        bt.paired_differences(losses, pairs=["a", "b"])  # pyright: ignore[reportArgumentType]
    with refusal("pairs must name a pair of runs; got 'none'. Give {run: reference}."):
        bt.paired_differences(losses, pairs={})
    with refusal("prob must lie between 0 and 1; got 90. 0.9 is a 90 % interval."):
        bt.paired_differences(losses, pairs={"a": "b"}, prob=90)


def test_the_interval_of_a_difference_holds_as_often_as_it_says() -> None:
    chance, held = np.random.default_rng(0), []
    rows = table(GAP[:1], RATE[:1], FLOOR[:1])
    for _ in range(150):
        noisy = [rows["loss"] + chance.normal(0.0, 0.05, len(rows)) for _ in range(2)]
        losses = bt.LossTable.from_frame(pd.concat([rows.assign(loss=noisy[0]), rows.assign(run="b", loss=noisy[1] + 0.02)]))
        found = bt.paired_differences(losses, pairs={"b": "a"}).iloc[0]
        held.append(found["lower"] < 0.02 < found["upper"])
    assert 0.83 <= np.mean(held) <= 0.96, f"90 % intervals held {np.mean(held):.2f}"


def test_what_a_whole_text_adds_is_not_in_the_interval() -> None:
    rows, chance = table(GAP[:1], RATE[:1], FLOOR[:1]), np.random.default_rng(0)
    noisy = rows["loss"] + chance.normal(0.0, 0.01, len(rows))
    found = [
        bt.paired_differences(
            bt.LossTable.from_frame(pd.concat([rows, rows.assign(run="b", loss=noisy + whole)])), pairs={"b": "a"}
        ).iloc[0]
        for whole in (0.0, 0.5)
    ]
    assert found[0]["upper"] - found[0]["lower"] == pytest.approx(found[1]["upper"] - found[1]["lower"])


def test_pictures_by_position_show_what_they_say(fit: bt.Fit, simulation: bt.Simulation) -> None:
    losses = simulation.losses
    found, ax = bt.position_laws(losses), Figure().subplots()
    assert bt.plot_position_laws(losses, found, steps=[1000.0, 4000.0], ax=ax) is ax
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["step 1000", "step 4000"]
    last = found[found["step"] == 4000.0].iloc[0]
    lines = {line.get_label(): line for line in ax.lines}
    expected = last["floor"] + last["gap"] / (1.0 + last["rate"] * POSITIONS)
    np.testing.assert_allclose(lines["step 4000"].get_ydata(), expected)
    assert len(bt.plot_position_laws(losses, found).get_legend().get_texts()) == 4
    advice = "Give those of position_laws for run, test."
    with refusal(f"steps must have a law; got 401. {advice}"):
        bt.plot_position_laws(losses, found, steps=401.0)
    with refusal(f"laws must have checkpoints of the losses; got 'none'. {advice}"):
        bt.plot_position_laws(losses, found.assign(run="another"))
    with refusal("laws must be what position_laws returns; got 'gap' missing. Pass it as it is."):
        bt.plot_position_laws(losses, found.drop(columns="gap"))
    with refusal("speed must be a Dataset; got 'DataFrame'. Make it with learning_speed(fit, since=...)."):
        bt.plot_learning_speed(found)  # pyright: ignore[reportArgumentType]
    effects = bt.plot_position_effects(fit)
    np.testing.assert_allclose(effects.lines[0].get_ydata(), bt.position_effects(fit)["effect"])
    speed = bt.learning_speed(fit, since=float(STEPS[2]))
    drawn = {line.get_label(): line for line in bt.plot_learning_speed(speed).lines}
    np.testing.assert_allclose(drawn["median"].get_ydata(), 1000.0 * speed["speed"].median(["chain", "draw"]))
