"""The drift as a covariance, as a path to draw, and as a Kalman filter: three views of one process."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_tsl.model import drift


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-4.0, 4.0), min_size=8, max_size=8))
def test_drift_covariance_is_one_and_knows_no_way_across_the_origin(u: list[float]) -> None:
    with jax.enable_x64(True):
        covariance = np.asarray(drift.covariance(np.array(u)))
    across = np.multiply.outer(u, u) <= 0
    np.testing.assert_array_equal(covariance, covariance.T)
    assert (covariance[across] == 0).all()
    assert np.linalg.eigvalsh(covariance).min() > -1e-10 * max(covariance.max(), 1.0)


@pytest.mark.parametrize(("s", "t"), [(0.5, 2.0), (2.0, 0.5), (1.5, 1.5), (-0.7, -2.0)])
def test_drift_covariance_integrates_that_of_a_wiener_process_twice(s: float, t: float) -> None:
    midpoints = (np.arange(1500) + 0.5) / 1500
    wiener = np.minimum.outer(abs(s) * midpoints, abs(t) * midpoints)
    assert float(drift.covariance([s, t])[0, 1]) == pytest.approx(wiener.mean() * s * t, rel=1e-5)


def test_a_path_has_the_covariance_of_the_process() -> None:
    u = np.array([0.2, 0.5, 1.5])
    drawn = drift.draw_path(np.random.default_rng(0), u, (40000,))
    np.testing.assert_allclose(np.cov(drawn.T), drift.covariance(u), rtol=0.05)


def test_the_filter_is_the_normal_with_this_covariance() -> None:
    rng = np.random.default_rng(0)
    u = -np.sort(rng.uniform(0.0, 2.0, 12))[::-1]
    off, noise = rng.normal(size=(12, 2)), rng.uniform(0.1, 1.0, 12)
    covariance = np.asarray(0.7**2 * drift.covariance(u) + np.diag(noise))
    white, log_det = drift.whiten(u, off, noise=noise, scale=0.7)
    np.testing.assert_allclose(white.T @ white, off.T @ np.linalg.solve(covariance, off), rtol=1e-10)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(covariance)[1], rtol=1e-10)
