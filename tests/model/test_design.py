"""From losses to model inputs: what is left out, averaged, summarised and said; summaries against plain least squares."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import null_space
from scipy.optimize import least_squares

import bayes_tsl as bt
from bayes_tsl.model.checkpoints import MAX_CHECKPOINTS
from bayes_tsl.model.design import Design, make_design
from bayes_tsl.model.position_law import (
    CoefficientEstimates,
    estimate_coefficients,
    estimates_of_means,
    law_tangent,
    mean_falling,
    with_mean_loss,
)
from bayes_tsl.model.time_axis import SHORTEST, make_anchor
from tests.conftest import refusal

SCHEDULE = bt.schedules.cosine(peak=2e-3, warmup=100, total=2500, final=2e-4)
POSITIONS = np.arange(96.0)
NOISE = 0.03
MEAN_ONLY = "only the mean loss is modelled."


def law(coefficients: np.ndarray, positions: np.ndarray = POSITIONS) -> np.ndarray:
    gap, rate, floor = np.exp(coefficients[:, :1]), np.exp(coefficients[:, 1:2]), coefficients[:, 2:]
    return gap / (1.0 + rate * positions) + floor


def true_coefficients(steps: int) -> np.ndarray:
    time = np.linspace(0.0, 1.0, steps)
    return np.stack([0.2 + 0.2 * time, -0.7 - 0.4 * time, 4.0 - 0.6 * time], axis=1)


def measured(steps: int, *, seed: int = 0, noise: float = NOISE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses (step, position), and the coefficients and position effects that made them."""
    rng = np.random.default_rng(seed)
    coefficients = true_coefficients(steps)
    tangent = law_tangent(coefficients[-1], POSITIONS)
    effect = 0.15 * rng.standard_normal(len(POSITIONS))
    effect -= tangent @ (tangent.T @ effect)
    return law(coefficients) + effect + noise * rng.standard_normal((steps, len(POSITIONS))), coefficients, effect


def long_form(losses: np.ndarray, steps: np.ndarray) -> pd.DataFrame:
    step, position = np.repeat(steps, losses.shape[1]), np.tile(np.arange(losses.shape[1]), len(steps))
    return pd.DataFrame({"step": step, "position": position, "loss": losses.ravel()})


def mean_run(steps: np.ndarray) -> bt.LossTable:
    return bt.LossTable.from_frame(pd.DataFrame({"step": steps, "loss": 3.0 + 5.0 * (1.0 + steps) ** -0.3}))


def small_lm() -> bt.LossTable:
    return bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose")


@pytest.fixture(scope="module")
def estimated() -> tuple[CoefficientEstimates, np.ndarray, np.ndarray]:
    losses, coefficients, effect = measured(40)
    return estimate_coefficients(losses, POSITIONS), coefficients, effect


def test_coefficients_are_recovered_within_their_errors(estimated: tuple[CoefficientEstimates, np.ndarray, np.ndarray]) -> None:
    summary, coefficients, _ = estimated
    error = summary.coefficients - coefficients
    scores = np.einsum("tk,tkl,tl->t", error, np.linalg.inv(summary.covariance), error)  # chi-square of 3
    assert 2.2 < scores.mean() < 3.9, f"mean chi-square {scores.mean():.2f}, not 3"
    assert scores.max() < 21.0, f"largest chi-square {scores.max():.1f}"


def test_effects_and_noise_are_recovered_within_their_errors(
    estimated: tuple[CoefficientEstimates, np.ndarray, np.ndarray],
) -> None:
    summary, _, effect = estimated
    scores = (summary.effect - effect) / summary.effect_scale
    assert 0.8 < np.sqrt(np.mean(scores**2)) < 1.25, f"root mean square score {np.sqrt(np.mean(scores**2)):.2f}, not 1"
    assert summary.noise == pytest.approx(NOISE, rel=0.05)


def test_effects_are_orthogonal_to_the_law(estimated: tuple[CoefficientEstimates, np.ndarray, np.ndarray]) -> None:
    summary, reference = estimated[0], estimated[0].coefficients[-1]
    shifts = 1e-6 * np.eye(3)
    slopes = (law(reference + shifts) - law(reference - shifts)) / 2e-6
    assert np.abs(slopes @ summary.effect).max() < 1e-7
    tangent = law_tangent(reference, POSITIONS)
    np.testing.assert_allclose(tangent.T @ tangent, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(slopes @ tangent @ tangent.T, slopes, atol=1e-8)


@pytest.mark.parametrize("missing", [0.0, 0.2], ids=["whole", "with holes"])
def test_summaries_are_the_plain_least_squares_fit(missing: float) -> None:
    """All coefficients and effects at once, effects in the space that the law leaves them."""
    losses, coefficients, _ = measured(6, seed=1)
    losses[np.random.default_rng(2).random(losses.shape) < missing] = np.nan
    summary = estimate_coefficients(losses, POSITIONS)
    free = null_space(law_tangent(summary.coefficients[-1], POSITIONS).T)

    def residual(parameters: np.ndarray) -> np.ndarray:
        fitted = law(parameters[:18].reshape(6, 3)) + free @ parameters[18:]
        return (losses - fitted)[np.isfinite(losses)]

    plain = least_squares(residual, np.concatenate([coefficients.ravel(), np.zeros(free.shape[1])]), method="lm")
    error = np.sqrt(np.diagonal(summary.covariance, axis1=1, axis2=2))
    assert np.abs((plain.x[:18].reshape(6, 3) - summary.coefficients) / error).max() < 0.03
    assert np.abs((free @ plain.x[18:] - summary.effect) / summary.effect_scale).max() < 0.03


def test_covariance_is_that_of_repeated_measurement() -> None:
    known = true_coefficients(12)
    repeats = [estimate_coefficients(measured(12, seed=seed)[0], POSITIONS) for seed in range(60)]
    errors = np.array([repeat.coefficients - known for repeat in repeats])[:, :-1]
    scatter = errors.reshape(-1, 3).std(axis=0)
    stated = np.sqrt(np.mean([np.diagonal(repeat.covariance, axis1=1, axis2=2).mean(axis=0) for repeat in repeats], axis=0))
    np.testing.assert_allclose(scatter, stated, rtol=0.2)


def test_without_noise_the_law_is_read_off_exactly() -> None:
    summary = estimate_coefficients(law(true_coefficients(5)), POSITIONS)
    np.testing.assert_allclose(summary.coefficients, true_coefficients(5), atol=1e-5)
    np.testing.assert_allclose(summary.effect, 0.0, atol=1e-6)
    assert summary.noise < 1e-5


def test_checkpoints_may_lack_positions() -> None:
    losses, coefficients, _ = measured(20)
    losses[0, 0] = losses[7, :3] = losses[11, 50:] = np.nan
    summary = estimate_coefficients(losses, POSITIONS)
    error = np.sqrt(np.diagonal(summary.covariance, axis1=1, axis2=2))
    assert np.abs((summary.coefficients - coefficients) / error).max() < 4.5
    assert (error[11, 1:] > 1.1 * error[10, 1:]).all()  # the last positions tell the rate and the floor
    np.testing.assert_allclose(summary.effect_scale[[0, 10, 60]] * np.sqrt([18, 20, 19]), summary.noise)


def test_noise_of_few_positions_counts_what_the_law_took() -> None:
    noise = [estimate_coefficients(measured(100, seed=seed)[0][:, :10], POSITIONS[:10]).noise for seed in range(5)]
    assert np.mean(noise) == pytest.approx(NOISE, rel=0.04)


def test_means_are_floors_without_error() -> None:
    summary = estimates_of_means(np.array([4.0, 3.5]))
    np.testing.assert_array_equal(np.exp(summary.coefficients[:, 0]), 0.0)
    np.testing.assert_array_equal(summary.coefficients[:, 2], [4.0, 3.5])
    assert not summary.covariance.any()


def floors(design: Design) -> np.ndarray:
    """Estimates of a design with the floor in place of the mean loss (step, 3)."""
    gap, rate = np.exp(design.estimates.coefficients[:, :2]).T
    above = gap * mean_falling(rate, design.position, 1.0)
    return np.column_stack([design.estimates.coefficients[:, :2], design.estimates.coefficients[:, 2] - above])


def test_estimates_around_the_mean_say_the_same(estimated: tuple[CoefficientEstimates, np.ndarray, np.ndarray]) -> None:
    """Turned, a mean is known as well as all positions together know it, and the determinant stays."""
    turned = with_mean_loss(estimated[0], POSITIONS)
    np.testing.assert_allclose(np.linalg.det(turned.covariance), np.linalg.det(estimated[0].covariance), rtol=1e-6)
    np.testing.assert_allclose(turned.covariance[:, 2, 2], NOISE**2 / len(POSITIONS), rtol=0.1)
    mean = law(estimated[0].coefficients).mean(axis=1)
    np.testing.assert_allclose(turned.coefficients[:, 2], mean, atol=1e-12)


def test_real_curves_keep_all_they_need() -> None:
    design, said = make_design(small_lm().until(1250), SCHEDULE)
    curve = small_lm().until(1250).after(199).curve()
    assert said == ("4 of 26 checkpoints are left out: before step 200, twice the warm-up.",)
    np.testing.assert_array_equal(design.step, curve.index)
    np.testing.assert_array_equal(design.count, 1.0)
    np.testing.assert_array_equal(design.position, np.arange(256))
    np.testing.assert_allclose(design.mean_loss, curve.mean(axis=1))
    coefficients = floors(design)
    np.testing.assert_allclose(design.centre, coefficients[-1], atol=1e-9)
    np.testing.assert_allclose(design.estimates.coefficients[:, 2], design.mean_loss, atol=2e-3)
    fitted = law(coefficients, design.position) + design.estimates.effect
    residual = (curve.to_numpy() - fitted).std()
    assert residual < 0.06, f"law and effects leave {residual:.3f} nats"
    assert design.by_position


def test_time_is_measured_from_the_origin() -> None:
    design, _ = make_design(small_lm().until(1250), SCHEDULE)
    progress = SCHEDULE.progress(np.append(design.step, 1250.0))
    assert design.anchor == make_anchor(SCHEDULE, 1250.0) == (1250.0, SCHEDULE.progress(2500.0), SHORTEST)
    np.testing.assert_allclose(design.axis.u, np.log(progress / SCHEDULE.progress(1250.0)), atol=1e-12)
    assert design.axis.u[-1] == design.axis.u[-2] == 0.0


def test_memory_of_an_endless_schedule_is_measured_by_the_past() -> None:
    assert make_anchor(bt.schedules.constant(peak=1e-3, warmup=100), 1000.0) == (1000.0, 950.0, SHORTEST)
    assert make_anchor(bt.schedules.constant(peak=1e-3, warmup=100, total=5000), 1000.0) == (1000.0, 4950.0, SHORTEST)


@pytest.mark.parametrize("steps", [84, 300, 2000])
def test_many_checkpoints_are_averaged(steps: int) -> None:
    schedule = bt.schedules.constant(peak=1e-3, warmup=10)
    step = np.arange(1.0, steps + 1.0)
    losses = mean_run(step)
    design, said = make_design(losses, schedule)
    kept = step[step >= 20]
    assert len(design.step) <= MAX_CHECKPOINTS
    assert design.count.sum() == len(kept)
    assert design.count @ design.step == pytest.approx(kept.sum())
    assert design.count @ design.mean_loss == pytest.approx(losses.after(19).mean_losses().sum())
    assert (np.diff(design.step) > 0).all()
    assert design.anchor.origin == steps
    assert design.axis.u[-1] == 0.0
    assert said == (
        f"19 of {steps} checkpoints are left out: before step 20, twice the warm-up.",
        f"{len(kept)} checkpoints are averaged to {len(design.step)}, evenly in log progress.",
    )


def test_averages_are_those_of_equal_cells_of_log_progress() -> None:
    step = np.geomspace(10.0, 10_000.0, 200)
    design, _ = make_design(mean_run(step), bt.schedules.constant(peak=1e-3))
    assert len(design.step) == MAX_CHECKPOINTS
    assert set(design.count) == {4.0, 5.0}
    assert np.ptp(np.diff(np.log(design.step))) < 0.05


def test_positions_are_averaged_with_their_checkpoints() -> None:
    losses, coefficients, _ = measured(200, noise=0.01)
    steps = np.geomspace(1000.0, 50_000.0, 200).round()
    design, _ = make_design(bt.LossTable.from_frame(long_form(losses, steps)), bt.schedules.constant(peak=1e-3))
    at_step = np.stack([np.interp(np.log(design.step), np.log(steps), column) for column in coefficients.T], axis=1)
    assert design.estimates.coefficients.shape == (MAX_CHECKPOINTS, 3)
    np.testing.assert_allclose(floors(design)[:, 2], at_step[:, 2], atol=0.02)


def test_the_step_without_progress_is_left_out() -> None:
    design, said = make_design(mean_run(np.arange(0.0, 600.0, 100.0)), bt.schedules.constant(peak=1e-3))
    assert said == (
        "1 of 6 checkpoints are left out: without progress (step 0).",
        "Only 5 checkpoints are fitted: fewer than 8 hardly show whether the law holds.",
    )
    assert design.step[0] == 100.0


def test_positions_measured_in_warmup_alone_are_left_out() -> None:
    losses, _, _ = measured(12)
    frame = long_form(losses, np.arange(100.0, 1300.0, 100.0))
    design, _ = make_design(bt.LossTable.from_frame(frame[(frame["step"] < 200) | (frame["position"] < 40)]), SCHEDULE)
    np.testing.assert_array_equal(design.position, np.arange(40))
    assert np.isfinite(design.estimates.coefficients).all()
    np.testing.assert_allclose(design.mean_loss, losses[1:, :40].mean(axis=1))


def test_notices_of_the_table_come_first_and_an_unknown_schedule_is_said() -> None:
    frame = mean_run(np.arange(100.0, 1000.0, 100.0)).frame
    with pytest.warns(bt.Notice, match=r"^1 repeated rows of losses gave the same loss and are merged\.$"):
        losses = bt.LossTable.from_frame(pd.concat([frame, frame.iloc[:1]]))
    _, said = make_design(losses, bt.schedules.unknown())
    assert said == (
        "1 repeated rows of losses gave the same loss and are merged.",
        "The learning-rate schedule is unknown and treated as constant: a decay ahead is not foreseen.",
    )


def test_few_positions_leave_the_mean() -> None:
    losses = measured(10)[0][:, :7]
    design, said = make_design(bt.LossTable.from_frame(long_form(losses, np.arange(300.0, 1300.0, 100.0))), SCHEDULE)
    assert said == (f"7 positions are too few for a position law (8 are needed): {MEAN_ONLY}",)
    check_means_alone(design, losses.mean(axis=1))


def test_flat_curves_leave_the_mean() -> None:
    losses = 4.0 - 0.05 * np.arange(10.0)[:, None] + NOISE * np.random.default_rng(0).standard_normal((10, 96))
    design, said = make_design(bt.LossTable.from_frame(long_form(losses, np.arange(300.0, 1300.0, 100.0))), SCHEDULE)
    assert said == (f"Losses hardly fall with position, so gap and rate cannot be estimated: {MEAN_ONLY}",)
    check_means_alone(design, losses.mean(axis=1))


def test_means_need_no_notice() -> None:
    losses = mean_run(np.arange(300.0, 1300.0, 100.0))
    design, said = make_design(losses, SCHEDULE)
    assert said == ()
    check_means_alone(design, losses.mean_losses().to_numpy())


def check_means_alone(design: Design, means: np.ndarray) -> None:
    assert not design.by_position
    assert len(design.position) == 0
    np.testing.assert_allclose(design.mean_loss, means)
    np.testing.assert_array_equal(design.estimates.coefficients[:, 2], design.mean_loss)
    np.testing.assert_array_equal(design.centre, [0.0, 0.0, design.mean_loss[-1]])


def test_too_few_checkpoints() -> None:
    message = "losses must hold 4 usable checkpoints; got 3 of 4 checkpoints. Fit later in the run; steps below 100, the end "
    with refusal(f"{message}of the warm-up (few follow), are left out."):
        make_design(mean_run(np.arange(50.0, 250.0, 50.0)), SCHEDULE)


def test_few_checkpoints_are_kept_from_the_end_of_the_warmup() -> None:
    design, said = make_design(mean_run(np.arange(50.0, 400.0, 50.0)), SCHEDULE)
    assert said[:-1] == ("1 of 7 checkpoints are left out: before step 100, the end of the warm-up (few follow).",)
    assert said[-1].startswith("Only 6 checkpoints are fitted")
    np.testing.assert_array_equal(design.step, np.arange(100.0, 400.0, 50.0))


def test_data_beyond_the_schedule() -> None:
    message = (
        "schedule must reach the last forecast step 2600; got 2500. Give a schedule for the whole forecast, or forecast fewer"
    )
    with refusal(f"{message} steps."):
        make_design(mean_run(np.arange(300.0, 2700.0, 100.0)), SCHEDULE)


def test_several_runs() -> None:
    cure = "Choose one with losses.select(run=...), or --run on the command line."
    with refusal(f"losses must hold a single run; got 'mix20_cosine', 'mix50_cosine'. {cure}"):
        make_design(bt.datasets.load("small_lm"), SCHEDULE)
