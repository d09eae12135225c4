"""Columns ``parent`` and ``branch_step`` of a table of losses: which runs left another, and after which step."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import numbers, require

ANCESTRY = ("parent", "branch_step")


def ancestry(frame: pd.DataFrame, runs: pd.Series, source: str) -> dict[str, tuple[str, float]]:
    """Parent of every branch, and the last step that the two share, by name.

    Args:
        frame: the table as it was given.
        runs: name of the run of each row.
        source: what errors call the table.

    Raises:
        DataError: one of the columns is missing, or a run has two parents, or a parent without a step.

    >>> table = pd.DataFrame({"parent": [None, "main"], "branch_step": [None, 200]})
    >>> ancestry(table, pd.Series(["main", "cooldown"]), "losses")
    {'cooldown': ('main', 200.0)}
    """
    given = [name for name in ANCESTRY if name in frame]
    if not given:
        return {}
    missing = [name for name in ANCESTRY if name not in given]
    require(not missing, source, "have both of parent and branch_step", given, cure="Add the other, or leave both out.")
    parents = frame["parent"].where(frame["parent"].notna() & (frame["parent"].astype(str).str.strip() != ""))
    found = {}
    for run, rows in pd.DataFrame({"parent": parents, "step": numbers(frame, "branch_step")}).groupby(runs.to_numpy()):
        left = rows.dropna(how="all").drop_duplicates()
        if len(left):
            what, cure = f"run {run!r} of {source}", "Give each row of a branch the same parent and branch_step."
            require(
                len(left) == 1 and left.notna().all(axis=None), what, "have one parent and one branch_step", left, cure=cure
            )
            found[str(run)] = (str(left["parent"].iloc[0]), float(np.asarray(left["step"])[0]))
    return found
