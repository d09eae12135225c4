"""Trees of earlier versions brought up to date, but for densities that they do not have.

    schema 5    the file ends in a checksum
    schema 4    as now
    schema 3    parameters under other names, estimates among the observed data, no densities

Schemas 1 and 2 were never released.
"""

from __future__ import annotations

import json

import xarray as xr

from bayes_tsl.inference.schema import RUN, SCHEMA
from bayes_tsl.model.priors import RENAMED, present_names


def _of_schema_4(data: xr.DataTree) -> xr.DataTree:
    for tree in data.subtree:
        if "schema" in tree.attrs:
            tree.attrs["schema"] = SCHEMA
    return data


def _of_schema_3(data: xr.DataTree) -> xr.DataTree:
    if "runs" not in data.attrs:
        return _run_of_schema_3(data)
    runs = {name: _run_of_schema_3(tree) for name, tree in data.children.items() if name.startswith(RUN)}
    shared = data["population"].to_dataset().rename(unit="prior_sd")
    if "variance" not in shared:  # of the first such files, whose runs were normal around the population
        shared["variance"] = xr.ones_like(shared["prior_sd"])
    shared["trait"] = [RENAMED.get(name, name) for name in map(str, shared["trait"].to_numpy())]
    made = xr.DataTree(children={"population": xr.DataTree(shared), **runs})
    made.attrs = data.attrs | {"schema": SCHEMA}
    return made


def _run_of_schema_3(tree: xr.DataTree) -> xr.DataTree:
    groups = {name: group.to_dataset() for name, group in tree.children.items()}
    posterior, observed = groups["posterior"], groups["observed_data"]
    estimates = [name for name in observed if name != "mean_loss"]
    groups |= {
        "posterior": posterior.rename({name: new for name, new in RENAMED.items() if name in posterior}),
        "observed_data": observed[["mean_loss"]],
        "constant_data": groups["constant_data"].merge(observed[estimates]),
    }
    made = xr.DataTree.from_dict(groups)
    attrs = dict(tree.attrs)
    priors = json.dumps(present_names(json.loads(attrs["priors"])))
    made.attrs = attrs | {"schema": SCHEMA, "time_unit": attrs.pop("memory_unit"), "priors": priors}
    return made


UPDATES = {"bayes_tsl fit 3": _of_schema_3, "bayes_tsl fit 4": _of_schema_4}
"""How to bring the tree of a file up to date, by its schema."""
