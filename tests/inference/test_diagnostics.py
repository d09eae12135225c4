"""The verdict is the same whatever the version of ArviZ: figures of one file, as ArviZ 0.21, 0.23 and 1.3 give them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayes_tsl.inference.diagnostics import diagnose
from bayes_tsl.inference.posterior import example_fit


def test_figures_do_not_depend_on_the_version() -> None:
    found = example_fit().diagnostics
    assert found.max_r_hat == pytest.approx(1.17597516, abs=1e-6)
    assert found.min_ess == pytest.approx(15.337355, abs=1e-4)
    assert found.table["ess_tail"].sum() == pytest.approx(2900.7454, abs=1e-2)
    assert found.table["ess_bulk"].sum() == pytest.approx(4574.2003, abs=1e-2)


def test_the_tails_are_the_outer_tenth() -> None:
    """A chain that sticks in one twentieth of its draws, below all others, has few of them in that tail."""
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((4, 1000))
    stuck = draws.copy()
    stuck[:, :50] = -3.0 - 0.01 * rng.random((4, 1))
    stats = xr.Dataset({name: (("chain", "draw"), values) for name, values in (("diverging", draws > 9), ("energy", draws))})
    tails = {
        name: diagnose({"": xr.Dataset({"x": (("chain", "draw"), values)})}, stats).table.loc["x", "ess_tail"]
        for name, values in (("free", draws), ("stuck", stuck))
    }
    assert tails["stuck"] < 0.1 * tails["free"]


def test_elements_have_the_name_of_their_place() -> None:
    draws = np.random.default_rng(0).standard_normal((2, 50, 2, 1))
    sampled = xr.Dataset(
        {"effect": (("chain", "draw", "covariate", "trait"), draws), "heat": (("chain", "draw"), draws[..., 0, 0])},
        {"covariate": ["size", "depth"], "trait": ["heat"]},
    )
    stats = xr.Dataset(dict.fromkeys(("diverging", "energy"), (("chain", "draw"), draws[..., 0, 0])))
    table = diagnose({"": sampled}, stats).table
    assert list(table.index) == ["effect[size, heat]", "effect[depth, heat]", "heat"]
