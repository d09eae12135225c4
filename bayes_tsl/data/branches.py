"""Branches of a run: which run left which other, at what step, and its learning rate from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bayes_tsl._common.validation import require, require_choice, require_number, show
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedule import Schedule
from bayes_tsl.data.schedules import splice

_SAME = 0.02  # nats by which two evaluations of one checkpoint may differ


@dataclass(frozen=True)
class Branch:
    """A run that left another, its parent.

    Attributes:
        run: its name.
        parent: name of the run that it left.
        step: last step that the two share.
        schedule: of the whole branch, that of its parent until ``step``.
    """

    run: str
    parent: str
    step: float
    schedule: Schedule


def make_branches(
    losses: LossTable, branches: Mapping[str, tuple[str, float]], schedules: Mapping[str, Schedule]
) -> tuple[str, list[Branch]]:
    """The run that others left, and these, each after its parent.

    Args:
        losses: of all of them on one test set.
        branches: parent, and last step that the two share, by the name of the branch.
        schedules: of every run, that of a branch as followed from this step on, by name.

    Raises:
        DataError: a run, parent or schedule that is not there, branches that leave each other or nothing, several trunks, no
            checkpoint since the branch was left, or losses before it that are not those of the parent.

    >>> import pandas as pd
    >>> from bayes_tsl.data import schedules
    >>> rows = {"run": ["main", "main", "tried"], "step": [100, 200, 250], "loss": [5.0, 4.5, 4.2]}
    >>> plans = {"main": schedules.constant(peak=1e-3), "tried": schedules.linear(peak=1e-3, total=300)}
    >>> trunk, [branch] = make_branches(LossTable.from_frame(pd.DataFrame(rows)), {"tried": ("main", 200)}, plans)
    >>> trunk, branch.schedule.lr([200, 300]).tolist()
    ('main', [0.001, 0.0])
    """
    for run, (parent, step) in branches.items():
        require_choice(run, "branch", losses.runs, cure="Choose one of these.")
        require_choice(parent, f"parent of branch {run!r}", losses.runs, cure="Choose one of these.")
        require_number(step, f"step at which {run!r} leaves {parent!r}")
    trunks = [run for run in losses.runs if run not in branches]
    cure = "Fit one run and its branches at a time; choose the runs with losses.select(run=[...])."
    require(len(trunks) == 1, "branches", "be of one run", trunks, cure=cure)
    whole, made = {trunks[0]: schedules[trunks[0]]}, []
    while len(made) < len(branches):
        ready = [run for run, (parent, _) in branches.items() if run not in whole and parent in whole]
        left = [run for run in branches if run not in whole]
        require(bool(ready), "branches", f"lead back to {trunks[0]!r}", left, cure="Two of these leave each other.")
        for run in ready:
            parent, step = branches[run]
            _check(losses, run, parent, step)
            whole[run] = splice(whole[parent], schedules[run], at=step)
            made.append(Branch(run, parent, step, whole[run]))
    return trunks[0], made


def _check(losses: LossTable, run: str, parent: str, step: float) -> None:
    """Raise ``DataError`` unless a branch leaves its parent within its history, goes on since, and has its losses before."""
    own, before = (losses.select(run=name).mean_losses().to_dict() for name in (run, parent))
    first, last = min(before), max(before)
    what = f"branch {run!r}"
    require(first <= step <= last, what, f"leave {parent!r} between steps {show(first)} and {show(last)}", step)
    cure = "Leave it out, or give its evaluations."
    require(max(own) > step, what, f"have a checkpoint after step {show(step)}", list(own), cure=cure)
    apart = {at: abs(own[at] - before[at]) for at in own if at <= step and at in before}
    worst = max(apart, key=apart.__getitem__, default=step)
    rule, cure = (
        f"have the losses of {parent!r} until step {show(step)}, within {_SAME:g} nats",
        "Is it a branch of another run?",
    )
    got = apart.get(worst, 0.0)
    require(got <= _SAME, what, rule, got, where=f"between them at step {show(worst)}", cure=cure)
