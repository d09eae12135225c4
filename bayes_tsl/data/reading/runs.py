"""Which column of a table names its runs, by its name or because it tells apart rows of the same step."""

from __future__ import annotations

import pandas as pd

from bayes_tsl._common.validation import require
from bayes_tsl.data.formats import names as words
from bayes_tsl.data.reading.cells import floats, number

_OF_RUNS = ({"state", "runtime"}, {"state", "created"}, {"status", "duration"})  # columns of a dashboard's list of runs


def run_column(wide: pd.DataFrame, clock: str, beside: list[str]) -> str | None:
    """The column that names runs, or None where there is a single one.

    Args:
        wide: a column per metric, cells as they are written.
        clock: the column that counts the steps.
        beside: columns that tell rows of one run and step apart: test set, split, position.
    """
    found = [name for known in words.RUNS for name in wide if words.plain(name) == known]
    named = next((name for name in found if name == "run" or len(names_in(wide, name)) > 1), None)
    return named or _column_that_parts(wide, clock, beside)


def names_in(wide: pd.DataFrame, column: str) -> list[str]:
    """Different cells of a column, as texts."""
    return sorted(set(map(str, pd.Series(wide[column]).dropna())))


def require_steps(wide: pd.DataFrame, source: str) -> None:
    """Refuse a table that has one row per run, as dashboards list them."""
    plain = {words.plain(name) for name in wide}
    named = [name for name in wide if words.plain(name) in words.RUNS and len(names_in(wide, name)) == len(wide)]
    runs = len(wide) > 1 and (bool(named) or any(columns <= plain for columns in _OF_RUNS))
    cure = "Export a chart of the loss, or the history of a run."
    require(not runs, source, "be a table of steps, not of runs", f"one row for each of {len(wide)} runs", cure=cure)


def _column_that_parts(wide: pd.DataFrame, clock: str, beside: list[str]) -> str | None:
    """A column whose values each have a step once, where steps come more than once.

    Numbers name runs, as seeds and widths do, where all begin at the same step: those that change with a restart do not.
    """
    losses = sorted((name for name in wide if words.is_loss(name)), key=lambda name: not words.is_eval(name))
    rows = wide.loc[wide[losses[0]].notna()] if losses else wide.iloc[:0]
    keys = [clock, *beside]
    if not rows.duplicated(keys).any():
        return None
    others = [name for name in rows if name not in (*keys, *losses) and words.clock_rank(name) is None]
    return next((name for name in others if _parts(pd.DataFrame(rows), name, keys)), None)


def _parts(rows: pd.DataFrame, name: str, keys: list[str]) -> bool:
    """Whether the values of a column are one run each."""
    several = 1 < len(names_in(rows, name)) <= len(rows) // 2
    if not several or len(rows.drop_duplicates([name, *keys])) < len(rows) or rows[name].isna().to_numpy().any():
        return False
    text = all(isinstance(number(cell), str) for cell in rows[name])
    starts = {floats(of_run[keys[0]]).min() for _, of_run in rows.groupby(name)}
    return text or len(starts) == 1
