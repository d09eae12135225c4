"""Weighted draws against plain formulas and against refits; the alarm against draws, and runs that leave their curve."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import integrate, stats

import bayes_tsl as bt
from bayes_tsl.analysis.monitoring import tail_probability
from bayes_tsl.forecasting.checkpoint_filter import filter_checkpoints
from bayes_tsl.forecasting.predict import forecast_paths
from bayes_tsl.forecasting.reweighting import resampled
from bayes_tsl.model.drift import covariance
from tests.conftest import ORIGIN, SETTLED, STEPS, TRUTH

pytestmark = pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
AT = [6000.0, 8000.0]
U = np.array([0.05, 0.12, 0.2])


@pytest.fixture(scope="module")
def losses(schedule: bt.Schedule) -> bt.LossTable:
    """Mean losses of a whole run."""
    truth = {name: value for name, value in TRUTH.items() if not name.startswith(("gap_", "rate_"))}
    return bt.simulate(steps=STEPS, schedule=schedule, origin=ORIGIN, parameters=truth, seed=3).losses


@pytest.fixture(scope="module")
def fitted(losses: bt.LossTable, schedule: bt.Schedule) -> Callable[[float], bt.Fit]:
    """A small fit of the losses until a step; each is made once."""
    made: dict[float, bt.Fit] = {}

    def until(step: float) -> bt.Fit:
        if step not in made:
            made[step] = small_fit(losses.until(step), schedule)
        return made[step]

    return until


def small_fit(losses: bt.LossTable, schedule: bt.Schedule | None, *, num_draws: int = 2000) -> bt.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.Notice)
        return bt.fit(losses, schedule=schedule, num_draws=num_draws, throw=False, **SETTLED)


def shifted(losses: bt.LossTable, by: float) -> bt.LossTable:
    """The run, off its curve from the origin on."""
    frame = losses.frame
    return bt.LossTable.from_frame(frame.assign(loss=frame["loss"] + by * (frame["step"] > ORIGIN)))


def test_one_checkpoint_has_the_density_of_student_noise_and_normal_drift() -> None:
    """At the centre, and forty scales out, where a few normals would not do."""
    scale, noise, u, error = 0.05, 0.004, 0.3, 0.001
    drift = np.hypot(scale * u**1.5 / np.sqrt(3.0), error)
    for off in (0.0, 0.01, 0.15):
        scales = {"drift_scale": np.array([scale]), "noise_scale": np.array([noise])}
        found, _ = filter_checkpoints(np.random.default_rng(0), np.array([[off]]), u=np.array([u]), **scales, error=error)

        def product(d: float, off: float = off) -> float:
            return stats.norm.pdf(d, scale=drift) * stats.t.pdf(off - d, 4.0, scale=noise)

        exact = integrate.quad(product, -10 * drift, 10 * drift, points=[0.0, off], epsabs=0.0, limit=200)[0]
        assert found[0] == pytest.approx(np.log(exact), abs=1e-5)


def test_several_checkpoints_have_their_joint_density_on_average() -> None:
    """Against averages over noise weights drawn from their prior, with the second checkpoint an outlier."""
    off, scale, noise, error, count = np.array([0.004, 0.02, 0.01]), 0.2, 0.004, 0.001, 40_000
    one = np.ones(count)
    scales = {"drift_scale": scale * one, "noise_scale": noise * one}
    density, _ = filter_checkpoints(np.random.default_rng(0), off * one[:, None], u=U, **scales, error=error)
    weights = np.random.default_rng(1).gamma(2.0, 0.5, (count, 3))
    covariance = scale**2 * drift(U) + np.eye(3) * (error**2 + noise**2 / weights)[:, None, :]
    pull = np.linalg.solve(covariance, np.tile(off[:, None], (count, 1, 1)))[..., 0]
    plain = np.exp(-0.5 * pull @ off) / np.sqrt(np.linalg.det(2.0 * np.pi * covariance))
    within = 5.0 * np.sqrt(np.var(plain) / count + np.var(np.exp(density)) / count)
    assert np.exp(density).mean() == pytest.approx(plain.mean(), abs=within)
    assert np.std(density) < 0.5 * np.std(np.log(plain)), "taking each weight given its checkpoint should help"


def test_drift_goes_on_from_where_the_checkpoints_put_it() -> None:
    """Value and speed against partitioned covariances; errors so wide that the weights of the noise do not matter."""
    off, scale, error = np.array([0.03, 0.05, 0.12]), 0.5, 0.02
    scales = {"drift_scale": np.array([scale]), "noise_scale": np.array([1e-9])}
    _, found = filter_checkpoints(np.random.default_rng(0), off[None], u=U, **scales, error=error)
    step = 1e-4
    late = np.append(U, [U[-1] + step, U[-1] + 2.0 * step])
    joint = scale**2 * drift(late)
    pull = np.linalg.solve(joint[:3, :3] + error**2 * np.eye(3), joint[:3]).T
    mean, cover = pull @ off, joint - pull @ joint[:3]
    assert found.value[0] == pytest.approx(mean[2], rel=1e-6)
    assert found.speed[0] == pytest.approx((mean[3] - mean[2]) / step, rel=1e-3)
    assert found.value_value[0] == pytest.approx(cover[2, 2], rel=1e-6)
    assert found.value_speed[0] == pytest.approx((cover[3, 2] - cover[2, 2]) / step, rel=1e-3)
    speed = (cover[4, 4] - 2.0 * cover[4, 3] + cover[3, 3]) / step**2
    assert found.speed_speed[0] == pytest.approx(speed, rel=1e-2)


def drift(u: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(covariance(u))


def test_draws_are_taken_as_often_as_their_weights_say() -> None:
    weights = np.random.default_rng(0).dirichlet(np.full(50, 0.3))
    taken = np.bincount(resampled(np.random.default_rng(1), weights), minlength=50)
    assert np.abs(taken - 50 * weights).max() < 1.0
    assert taken.sum() == 50


@pytest.mark.slow
@pytest.mark.parametrize("until", [4200.0, 4600.0])
def test_an_update_agrees_with_a_refit(until: float, fitted: Callable[[float], bt.Fit], losses: bt.LossTable) -> None:
    updated = bt.update(fitted(ORIGIN), losses.until(until))
    assert updated.pareto_k < updated.max_pareto_k
    assert not updated.needs_refit
    assert float(updated.weights.sum()) == pytest.approx(1.0)
    here, there = updated.forecast(steps=AT), bt.forecast(fitted(until), steps=AT)
    assert here.origin == until
    np.testing.assert_array_equal(here.history["step"], losses.until(until).after(300.0).steps)
    one, other = here.to_frame(), there.to_frame()
    error = other["sd"] * np.sqrt(1.0 / updated.ess + 1.0 / fitted(until).diagnostics.min_ess)
    assert (abs(one["mean"] - other["mean"]) < 3.0 * error).all(), (one, other)
    ratio = (one["upper"] - one["lower"]) / (other["upper"] - other["lower"])
    assert (abs(ratio - 1.0) < 0.15).all(), ratio


def test_an_update_says_more_than_the_fit_did(fitted: Callable[[float], bt.Fit], losses: bt.LossTable) -> None:
    """Of the expected loss: a measurement's own noise, with its long tails, no update takes away."""
    before = bt.forecast(fitted(ORIGIN), steps=[4800.0]).expected
    after = bt.update(fitted(ORIGIN), losses.until(4600.0)).forecast(steps=[4800.0]).expected
    assert float(after.std()) < 0.85 * float(before.std())


def test_a_run_that_leaves_its_curve_demands_a_refit(fitted: Callable[[float], bt.Fit], losses: bt.LossTable) -> None:
    message = r"^Pareto k must not exceed 0\.70; got \d\.\d\d from 4000 draws\. Fit again, old and new losses together: bt\.fit"
    with pytest.warns(bt.Notice, match=message):
        updated = bt.update(fitted(ORIGIN), shifted(losses, 0.3).until(4600.0))
    assert updated.needs_refit
    ahead = updated.forecast(steps=AT)
    assert not ahead.converged
    assert set(updated.problems) <= set(ahead.notices)


def test_one_checkpoint_far_off_is_an_outlier(fitted: Callable[[float], bt.Fit], losses: bt.LossTable) -> None:
    """It moves the forecast by little, as in a fit; the surprise tells of it."""
    strange = shifted(losses, 0.3).until(4200.0)
    before = bt.forecast(fitted(ORIGIN), steps=AT).to_frame()
    after = bt.update(fitted(ORIGIN), strange).forecast(steps=AT).to_frame()
    assert (abs(after["mean"] - before["mean"]) < before["sd"]).all()
    ahead = bt.forecast(fitted(ORIGIN), steps=[4200.0])
    assert bt.predictive_p_value(ahead, strange) < 0.01 < bt.predictive_p_value(ahead, losses)


def test_positions_are_forecast_on_and_their_means_used(fit: bt.Fit, simulation: bt.Simulation) -> None:
    """Losses at all positions and their means say the same; gap and rate of the new checkpoints are not used."""
    whole = simulation.losses.until(4600.0)
    by_position = bt.update(fit, whole)
    means = bt.LossTable.from_frame(whole.mean_losses().reset_index())
    np.testing.assert_allclose(by_position.weights, bt.update(fit, means).weights, atol=1e-12)
    ahead = by_position.forecast(steps=AT, positions=[0, 63])
    assert ahead.positions is not None
    assert ahead.positions.shape == (1, fit.diagnostics.draws, 2, 2)
    assert list(ahead.coefficients) == ["gap", "rate", "floor"]
    truth = simulation.losses.mean_losses().loc[AT].to_numpy()
    interval = ahead.interval(prob=0.99)
    assert ((interval["lower"] < truth) & (truth < interval["upper"])).all()


def test_an_update_follows_another_plan(fitted: Callable[[float], bt.Fit], losses: bt.LossTable, schedule: bt.Schedule) -> None:
    updated = bt.update(fitted(ORIGIN), losses.until(4600.0))
    soon = bt.schedules.decayed(schedule, start=4600.0, total=6000.0)
    now = updated.forecast(steps=[5900.0], schedule=soon)
    assert float(now.expected.mean()) < float(updated.forecast(steps=[5900.0]).expected.mean())
    same = bt.update(fitted(ORIGIN), losses.until(4600.0), schedule=schedule)
    np.testing.assert_allclose(same.weights, updated.weights, rtol=1e-3)


def test_what_cannot_update_a_fit_is_refused(
    fit: bt.Fit, fitted: Callable[[float], bt.Fit], losses: bt.LossTable, simulation: bt.Simulation
) -> None:
    small = fitted(ORIGIN)
    message = (
        r"^losses must have a step after the origin 4000; got .* and 14 more\. Give checkpoints that were measured since\.$"
    )
    with pytest.raises(bt.DataError, match=message):
        bt.update(small, losses.until(ORIGIN))
    other = bt.LossTable.from_frame(losses.frame.assign(run="b"))
    with pytest.raises(bt.DataError, match=r"^run must be one of 'b'; got 'run'\. Choose one of these\.$"):
        bt.update(small, other)
    frame = simulation.losses.frame
    fewer = bt.LossTable.from_frame(frame[frame["position"] < 62])
    message = (
        r"^positions must be those that were fitted; got 62, 63 on one side only\. "
        r"Give losses at all of them, or mean losses over them\.$"
    )
    with pytest.raises(bt.DataError, match=message):
        bt.update(fit, fewer)
    updated = bt.update(small, losses.until(4600.0))
    with pytest.raises(bt.DataError, match=r"^steps must lie after the origin 4600; got 4500\. Use Fit\.coefficients"):
        updated.forecast(steps=[4500.0])
    with pytest.raises(bt.DataError, match=r"^schedule must reach the last forecast step 9000; got 8000\. Give a schedule"):
        updated.forecast(steps=[9000.0])


def test_p_values_are_uniform_where_the_forecast_is_right() -> None:
    """Paths with drift, heavy tails and scales of their own, drawn as the reference is; and twice the mean is told."""
    rng = np.random.default_rng(0)

    def paths(count: int) -> np.ndarray:
        level, noise = rng.standard_normal((count, 1)), rng.standard_t(4.0, (count, 6))
        return (level + np.cumsum(rng.standard_normal((count, 6)), axis=1) + noise) * np.arange(1.0, 7.0)

    reference = paths(2000)
    found = [tail_probability(reference, path) for path in paths(1000)]
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert tail_probability(reference, reference.mean(axis=0) + 8.0 * reference.std(axis=0)) == pytest.approx(2.0 / 2001.0)


def test_p_values_of_a_fit_are_uniform_under_its_own_draws(fitted: Callable[[float], bt.Fit]) -> None:
    """Paths drawn onwards from the posterior with another seed are new losses as the model has them."""
    fit = fitted(ORIGIN)
    steps = STEPS[STEPS > ORIGIN][:5]
    ahead, new = (
        forecast_paths(fit, {"": steps}, {"": fit.schedule}, seed=seed)[""].observed.to_numpy().reshape(-1, 5)
        for seed in (0, 1)
    )
    assert stats.kstest([tail_probability(ahead, path) for path in new], "uniform").pvalue > 0.01


def small_tsl(losses: bt.LossTable, *, steps: object, schedule: bt.Schedule | None = None, seed: int = 0) -> bt.Forecast:
    return bt.forecast(small_fit(losses, schedule, num_draws=500), steps=np.asarray(steps, float), seed=seed)


@pytest.mark.slow
def test_a_forecast_settles_and_a_run_that_leaves_its_curve_raises_an_alarm(
    losses: bt.LossTable, schedule: bt.Schedule
) -> None:
    looks = {"at": [3000.0, 4100.0, 5000.0], "end": 8000.0, "schedule": schedule, "forecaster": small_tsl}
    calm = bt.forecast_revisions(losses.until(6000.0), **looks)
    assert calm["origin"].tolist() == [3000.0, 4000.0, 5000.0]
    assert calm["checkpoints"].tolist() == [5, 5, 5]
    assert not calm["alarm"].any(), calm
    assert calm["observed"].isna().all()
    width = (calm["upper"] - calm["lower"]).to_numpy()
    assert width[2] < width[0]
    with pytest.warns(
        bt.Notice, match=r"^Losses after step 4000 are not as foreseen there \(p = 0\.0\d+\)\. Look for a change"
    ):
        strange = bt.forecast_revisions(shifted(losses, 0.3), **looks)
    assert strange["alarm"].tolist()[:2] == [False, True]
    assert strange["observed"].iloc[0] == pytest.approx(losses.mean_losses().iloc[-1] + 0.3)

    ax = bt.plot_forecast_revisions(strange, ax=Figure().subplots())
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(lines["median"].get_ydata(), strange["median"])
    assert lines["not as foreseen after"].get_xdata()[0] == 4000.0
    assert ax.get_title() == "forecast of step 8000"


def test_looks_that_cannot_be_taken_are_refused(losses: bt.LossTable, fitted: Callable[[float], bt.Fit]) -> None:
    message = (
        r"^at must lie between the first checkpoint 400 and the end 8000; got 300, 9000\. "
        r"Look where there is something to fit and something to forecast\.$"
    )
    with pytest.raises(bt.DataError, match=message):
        bt.forecast_revisions(losses, at=[300.0, 4000.0, 9000.0], end=8000.0, forecaster=small_tsl)
    with pytest.raises(bt.DataError, match=r"^at must name at least one step; got none\. Give e\.g\. at=\[1000, 1500\]\.$"):
        bt.forecast_revisions(losses, at=[], end=8000.0)
    ahead = bt.forecast(fitted(ORIGIN), steps=[4300.0])
    message = (
        r"^losses must have a step among those forecast, 4300; got 400, .* Forecast the steps of the checkpoints to judge\.$"
    )
    with pytest.raises(bt.DataError, match=message):
        bt.predictive_p_value(ahead, losses)


def test_blind_forecasters_are_watched_too(losses: bt.LossTable) -> None:
    """One that knows of no schedule ends too high, and says so as the learning rate falls."""
    drift = bt.forecast_revisions(losses, at=[4000.0, 6000.0], end=8000.0, forecaster=bt.baselines.power_law)
    assert drift["checkpoints"].tolist() == [10, 10]
    assert drift["alarm"].tolist() == [True, False], drift
