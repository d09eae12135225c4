"""What the tree of a fit must hold, checked when a file is read: everything that a forecast reads has a value that it can have.

A file without a checksum, of an earlier version, may have been damaged since; one with a checksum may have been made by hand.
"""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from bayes_tsl._common.dims import CHAIN, DRAW, STEP
from bayes_tsl._common.validation import require
from bayes_tsl.inference import schema
from bayes_tsl.inference.branch_groups import BRANCHES

_GROUPS = ("posterior", "sample_stats", "observed_data", "constant_data")
_SHARED = {STEP: ("observed_data", "constant_data", "posterior"), CHAIN: _GROUPS[:2], DRAW: _GROUPS[:2]}
_POSITIVE = ("weight", "gap", "rate", "count", "effect_scale", "position_exponent", "prior_sd", "variance", "trait_spread")
_NOT_NEGATIVE = ("position", "position_noise", "schedule_step", "schedule_lr")
_CURE = "Save it again with Fit.save, or fit again."


def require_sound(data: xr.DataTree, name: str) -> None:
    """Raise ``DataError``, or whatever a missing part leads to, unless the tree of the file ``name`` is that of a fit."""
    for run, tree in schema.run_trees(data).items():
        place = f"{name}, run {run!r}"
        _require_groups(tree, place)
        _require_times(tree, place)
        _require_support(tree, place)
        _require_texts(tree)
        _require_branches(tree, place)
    if "population" in data.children:
        _require_numbers(data["population"].to_dataset(), name)
        schema.population_of(data)


def _require_groups(tree: xr.DataTree, place: str) -> None:
    """Numbers are finite, and coordinates are the same in all groups."""
    groups = {group: tree[group].to_dataset() for group in _GROUPS}
    for group in groups.values():
        _require_numbers(group, place)
    for dim, among in _SHARED.items():
        first, *others = (groups[group][dim].to_numpy() for group in among)
        same = all(np.array_equal(first, other) for other in others)
        _require(same, f"{place}, {dim}", f"be the same in {' and '.join(among)}", first)


def _require_times(tree: xr.DataTree, place: str) -> None:
    """Steps increase up to the origin, those of the schedule too, and what is measured in them is positive."""
    steps, anchor, schedule = tree["observed_data"][STEP].to_numpy(), schema.anchor_of(tree), schema.schedule_of(tree)
    _require(bool((np.diff(steps) > 0).all()), f"{place}, step", "increase", steps)
    _require(bool((np.diff(schedule.steps) > 0).all()), f"{place}, schedule_step", "increase", schedule.steps)
    _require(steps[-1] <= anchor.origin < np.inf, f"{place}, origin", f"be {steps[-1]:.10g} or later", anchor.origin)
    _require(0 < anchor.time_unit < np.inf, f"{place}, time_unit", "be positive", anchor.time_unit)
    _require(0 < schedule.peak < np.inf, f"{place}, schedule_peak", "be positive", schedule.peak)
    _require(schedule.end >= anchor.origin, f"{place}, schedule_end", "lie after the origin", schedule.end)


def _require_support(tree: xr.DataTree, place: str) -> None:
    """Draws lie where their priors do."""
    priors = schema.priors_of(tree)
    for name, draws in schema.sampled_of(tree).items():
        positive = getattr(getattr(priors, name, None), "family", "") == "lognormal"
        _require(not positive or float(draws.min()) > 0, f"{place}, {name}", "be positive", float(draws.min()))


def _require_branches(tree: xr.DataTree, place: str) -> None:
    """Branches can be read, and lie after the run's start."""
    if BRANCHES in tree.children:
        _require_numbers(tree[BRANCHES].to_dataset(), place)
        rows = schema.design_of(tree).branches
        least = float(np.min(rows.time)) if rows else 0.0
        _require(least >= 0, f"{place}, time", "not be negative", least)


def _require_texts(tree: xr.DataTree) -> None:
    """Texts that are read as values can be."""
    schema.recipe_of(tree)
    for name in ("notices", "misfits", "versions"):
        json.loads(tree.attrs.get(name, "[]"))


def _require_numbers(group: xr.Dataset, place: str) -> None:
    """Numbers are finite, and not negative where that makes no sense."""
    for name, variable in group.variables.items():
        if variable.dtype.kind in "iuf":
            numbers = variable.to_numpy().astype(float)
            least = float(numbers.min(initial=np.inf))
            _require(bool(np.isfinite(numbers).all()), f"{place}, {name}", "be finite", numbers[~np.isfinite(numbers)])
            _require(name not in _POSITIVE or least > 0, f"{place}, {name}", "be positive", least)
            _require(name not in _NOT_NEGATIVE or least >= 0, f"{place}, {name}", "not be negative", least)


def _require(ok: object, name: str, rule: str, got: object) -> None:
    require(ok, name, rule, got, cure=_CURE)
