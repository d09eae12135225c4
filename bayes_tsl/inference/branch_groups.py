"""Checkpoints of branches and of averaged weights in the tree of a fit: the group ``branches``, one row each."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayes_tsl.model.branches import BranchRows
from bayes_tsl.model.design import Design
from bayes_tsl.model.position_law import estimates_of_means
from bayes_tsl.model.time_axis import OF_STEPS

BRANCHES = "branches"
_ROW = "checkpoint"
_DIMS = {
    **dict.fromkeys(("run", "averaged", "step", "count", "mean_loss", "u", "repeats", "log_density"), (_ROW,)),
    **dict.fromkeys(("lag", "gone"), (_ROW, "lag_time", "lag_power")),
    "time": ("process", _ROW),
    "beyond": ("process", _ROW),
    "coefficients": (_ROW, "estimate"),
    "covariance": (_ROW, "estimate", "estimate_"),
}
_OF_POSITIONS = ("coefficients", "covariance", "log_density")


def branch_dataset(rows: BranchRows, *, by_position: bool) -> xr.Dataset:
    """Rows as they were fitted."""
    values = rows._asdict() | {name: getattr(rows.axis, name) for name in OF_STEPS}
    values |= {name: getattr(rows.estimates, name) for name in _OF_POSITIONS}
    kept = [name for name in _DIMS if by_position or name not in _OF_POSITIONS]
    data = xr.Dataset({name: (_DIMS[name], values[name]) for name in kept})
    return data.assign(run=data["run"].astype(object))


def branch_names(data: xr.Dataset) -> list[str]:
    """Names of the branches among the rows, which in older files are all of them."""
    run = data["run"].to_numpy()
    return sorted(set(map(str, run[data["averaged"].to_numpy() == 0] if "averaged" in data else run)))


def with_branches_of(design: Design, data: xr.Dataset) -> Design:
    """The design with the rows that were fitted with it; older files have none of averaged weights."""
    values = {str(name): variable.to_numpy() for name, variable in data.items()}
    values = {"averaged": np.zeros_like(values["u"]), "gone": np.zeros_like(values["lag"])} | values
    own = {name: values.pop(name) for name in _OF_POSITIONS if name in values}
    axis = design.axis._replace(**{name: values.pop(name) for name in OF_STEPS})
    estimates = design.estimates._replace(**own) if own else estimates_of_means(values["mean_loss"])
    run = np.asarray(values.pop("run"), str)
    return design._replace(branches=BranchRows(**values, run=run, axis=axis, estimates=estimates))
