"""What would be believed after a reading, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_tsl.decisions.preposterior import believed, lowest_believed


def test_what_is_left_of_a_normal_is_its_conditional_spread() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(4000)
    ends, reading = truth + 0.5 * rng.standard_normal((1, 4000)), truth[:, None] + 0.1 * rng.standard_normal((4000, 1))
    left = ends - believed(ends, reading)
    assert left.std() == pytest.approx(np.sqrt(0.5**2 + 0.1**2 / (1 + 0.1**2)), rel=0.05)


def test_a_reading_of_nothing_leaves_all_and_gains_nothing() -> None:
    rng = np.random.default_rng(1)
    ends, reading = np.array([[0.0], [0.5]]) + rng.standard_normal((2, 4000)), rng.standard_normal((4000, 3))
    after = believed(ends, reading)
    assert (ends - after).std() == pytest.approx(1.0, rel=0.05)
    assert lowest_believed(ends, after).mean() == pytest.approx(ends[0].mean(), abs=0.02)


def test_the_gain_is_that_of_choosing_by_the_sign() -> None:
    rng = np.random.default_rng(2)
    sign = rng.standard_normal(20_000)
    ends = np.stack([sign, np.zeros(20_000)])
    gained = min(ends.mean(axis=1)) - lowest_believed(ends, believed(ends, sign[:, None])).mean()
    assert gained == pytest.approx(1 / np.sqrt(2 * np.pi), abs=0.01), "E[max(0, x)] of a standard normal"
