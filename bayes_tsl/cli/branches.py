"""What ``--branch`` means: a run of the same file that left the one to forecast after a step, under a schedule of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from bayes_tsl._common.validation import require, show
from bayes_tsl.cli.schedules import read_schedule
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import Schedule

_REST = re.compile(r"(?:@(?P<step>[0-9.eE+]+))?(?:=(?P<schedule>.+))?")
_EXAMPLE = "Write e.g. --branch cooldown@12000=linear:peak=1e-3,total=15000."


class Branches(NamedTuple):
    """Branches of a run: parent and the last step that the two share, and schedule, by name."""

    parents: dict[str, tuple[str, float]]
    schedules: dict[str, Schedule]


def read_branches(texts: Sequence[str], every: LossTable, run: str) -> Branches:
    """The branches that are asked for.

    Args:
        texts: RUN@STEP=SCHEDULE each; STEP by default as the columns parent and branch_step have it, SCHEDULE as the column lr.
        every: all runs of the file.
        run: that they left, where the file has no column parent.

    Raises:
        DataError: there is no such run, or nothing says where it left, or under which schedule it went on.
    """
    parents, schedules = {}, {}
    for text in texts:
        name = max((one for one in every.runs if text.startswith(one)), key=len, default="")
        rest = _REST.fullmatch(text.removeprefix(name)) if name else None
        rule = f"be RUN@STEP=SCHEDULE with RUN one of {show(every.runs)}"
        require(rest is not None, "--branch", rule, text, cure=_EXAMPLE)
        step, plan = rest.groups() if rest else (None, None)
        require(step or name in every.branches, "--branch", "say where the branch left, RUN@STEP", text, cure=_EXAMPLE)
        parent, at = every.branches.get(name, (run, 0.0))
        parents[name] = (parent, float(step) if step else at)
        schedules[name] = read_schedule(plan or "column", every.select(run=name), name)
    return Branches(parents, schedules)


def with_branches(past: LossTable, every: LossTable, branches: Branches) -> LossTable:
    """Losses of a run as far as it is fitted, with what was measured beside them, and all of those of its branches."""
    frames = [past.frame, every.select(run=list(branches.parents)).frame]
    together = LossTable.from_frame(pd.concat(frames, ignore_index=True))
    return replace(together, averaged=past.averaged, gradient_noise=past.gradient_noise)
