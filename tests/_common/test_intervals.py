"""Central intervals: their ends against sorted draws, in whatever order the axes come."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayes_tsl._common.intervals import draws_first, draws_last, interval_along, interval_over_draws, require_prob
from tests.conftest import refusal

DRAWS = xr.DataArray(
    np.random.default_rng(0).normal(size=(2, 50, 3)), {"step": [1.0, 2.0, 3.0]}, ("chain", "draw", "step"), name="loss"
)


def test_draws_of_all_chains_follow_each_other() -> None:
    values = DRAWS.to_numpy()
    for draws in (DRAWS, DRAWS.transpose("step", "draw", "chain")):
        np.testing.assert_array_equal(draws_first(draws), np.concatenate([values[0], values[1]]))
        np.testing.assert_array_equal(draws_last(draws), np.concatenate([values[0], values[1]]).T)
    assert draws_first(DRAWS[..., 0]).shape == draws_last(DRAWS[..., 0]).shape == (100,)


@pytest.mark.parametrize(("prob", "below"), [(0.1, 45), (0.5, 25), (0.9, 5), (0.95, 3)])
def test_an_interval_leaves_as_many_draws_below_as_above(prob: float, below: int) -> None:
    draws = draws_first(DRAWS)
    lower, upper = interval_along(draws, prob, axis=0)
    np.testing.assert_array_equal((draws < lower).sum(axis=0), below)
    np.testing.assert_array_equal((draws > upper).sum(axis=0), below)


@pytest.mark.parametrize("prob", [0.05, 0.5, 0.9])
def test_arrays_and_labelled_draws_have_one_interval(prob: float) -> None:
    labelled = interval_over_draws(DRAWS, prob)
    for one, other in zip(labelled, interval_along(draws_last(DRAWS), prob, axis=-1)):
        assert one.dims == ("step",)
        assert set(one.coords) == {"step"}
        np.testing.assert_allclose(one, other, rtol=1e-14)


@pytest.mark.parametrize(("prob", "shown"), [(0, "0"), (1.0, "1"), (90, "90"), ("a", "'a'"), (None, "None"), (True, "True")])
def test_a_mass_that_is_none_is_refused(prob: object, shown: str) -> None:
    with refusal(f"--prob must lie between 0 and 1; got {shown}. 0.9 is a 90 % interval."):
        require_prob(prob, "--prob")
