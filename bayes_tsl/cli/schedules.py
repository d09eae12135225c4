"""What ``--schedule`` means: words, a file, or the learning rates that the losses came with, and what follows them."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pandas as pd

from bayes_tsl._common.validation import require, show
from bayes_tsl.data import schedules
from bayes_tsl.data.logged_schedule import held_to_last, logged_schedule
from bayes_tsl.data.loss_table import ENDINGS, LossTable, read_table
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.errors import Notice

_COLUMN = re.compile(r"column(?:\s*,\s*then\s+(?P<rest>\S+))?", re.IGNORECASE)
_USED = "Learning rates were logged (column lr) and are not used; --schedule column takes them."


def read_schedule(text: str | None, table: LossTable, run: str | None) -> Schedule:
    """The schedule that ``--schedule`` means for a run: unknown, a column of the losses, words, or a file."""
    if text is None:
        if bool(table.frame["lr"].notna().to_numpy().any()):
            warnings.warn(_USED, Notice, stacklevel=2)
        return schedules.unknown()
    if column := _COLUMN.fullmatch(text.strip()):
        return _of_column(table, column["rest"])
    if not text.lower().endswith(ENDINGS):
        return schedules.parse(text)
    frame = read_table(text)
    if "run" in frame:
        name = run or table.runs[0]
        rows = frame[frame["run"].astype(str) == name]
        runs, cure = sorted(set(frame["run"].astype(str))), "Add them, or leave out the column run."
        require(len(rows) > 0, Path(text).name, f"have rows of run {name!r}", runs, cure=cure)
        return schedules.from_frame(pd.DataFrame(rows), source=Path(text).name)
    return schedules.from_frame(frame, source=Path(text).name)


def read_schedules(text: str | None, table: LossTable) -> dict[str, Schedule]:
    """The same for every run of a table."""
    return {run: read_schedule(text, table.select(run=run), run) for run in table.runs}


def require_planned(schedule: Schedule, text: str | None, step: float) -> None:
    """Raise ``DataError`` where a schedule ends before ``step``; one that was logged needs a plan for the rest."""
    if text is not None and _COLUMN.fullmatch(text.strip()) and "then" not in text:
        cure = f"Say the rest: --schedule 'column, then cosine:total={show(step)},final=3e-5'."
        require(step <= schedule.end, "--schedule column", f"reach the step {show(step)}", schedule.end, cure=cure)
    schedule.require_reaches(step)


def _of_column(table: LossTable, rest: str | None) -> Schedule:
    """Learning rates of a run, held for evaluations just beyond the last, or followed by a plan."""
    logged = logged_schedule(table)
    return held_to_last(logged, table) if rest is None else schedules.continued(logged, rest)
