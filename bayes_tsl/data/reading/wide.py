"""From a table with a column per metric to scalars: which column is the clock, and which name runs, test sets and splits."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import require, require_choice, show
from bayes_tsl.data.formats import names as words
from bayes_tsl.data.reading.cells import number
from bayes_tsl.data.reading.runs import names_in, require_steps, run_column

_ENDS = ("__MIN", "__MAX")  # the ranges within a group, which W&B's charts have


class Clock(NamedTuple):
    """The column that counts the steps.

    Attributes:
        name: of the column.
        unit: what it counts: steps, tokens, samples or epochs.
    """

    name: str
    unit: str


def scalars_of(
    wide: pd.DataFrame, source: str, *, step: str | None = None, no_step: str = "", only: Collection[str] = ()
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Scalars of a table, row by row, and what is to be said; blank cells were not logged.

    Columns ``RUN - METRIC``, as of W&B's charts, are of their runs; others of a single one, or of those that a column names.

    Args:
        wide: a column per metric, cells as they are written.
        source: name of the log.
        step: the column that counts the steps; by default by its name.
        no_step: what to do where there are no steps; by default any other clock will do.
        only: the metrics to read; by default all.
    """
    wide = wide.loc[:, [name for name in wide if str(name).strip() and not str(name).startswith("Unnamed:")]]
    require_steps(wide, source)
    wide = _by_metric(wide)
    chart = not any(name in wide for name in words.RUNS) and any(" - " in name for name in wide)
    clock = _clock(wide, step, source, no_step)
    steps = pd.Series(wide[clock.name]).map(number)
    split = _first(wide, words.SPLITS)
    split = split if split and _are_splits(names_in(wide, split)) else None
    found = {"test_set": _first(wide, words.SETS), "position": _first(wide, ("position",))}
    keys = {name: column for name, column in found.items() if column}
    run = None if chart else run_column(wide, clock.name, [*keys.values(), *([split] if split else [])])
    keys |= {"run": run} if run else {}
    metrics = _metrics(wide, {clock.name, *keys.values(), split}, chart)
    metrics = [name for name in metrics if not only or name in only]
    require(metrics, source, "have a column of losses", wide.columns, cure="Export the loss as well.")
    rows = _long(wide, metrics, steps, keys, chart, blank_losses=bool(only))
    if split is not None:
        rows["metric"] = wide[split].reindex(rows.index).astype(str).to_numpy() + "/" + rows["metric"]
    return rows, _notices(wide, clock, run, metrics, source)


def _by_metric(wide: pd.DataFrame) -> pd.DataFrame:
    """A table with columns of the metric's name and value, as of TensorBoard's readers, with a column per metric."""
    name, value = _first(wide, words.METRICS), _first(wide, ("value",))
    if name is None or value is None:
        return wide
    columns = {metric: wide[value].where(wide[name] == metric) for metric in names_in(wide, name)}
    return wide.drop(columns=[name, value]).assign(**columns)


def _clock(wide: pd.DataFrame, step: str | None, source: str, no_step: str) -> Clock:
    if step is not None:
        require_choice(step, "step", [str(name) for name in wide], cure="Name the column that counts the steps.")
        return Clock(step, words.clock_unit(step))
    found = [name for name in wide if words.clock_rank(name) is not None and _counts(pd.Series(wide[name]))]
    if no_step:
        found = [name for name in found if words.clock_unit(name) == "steps"]
    cure = no_step or "Call it 'step', '_step' or 'global_step', or name it with step=..., --step on the command line."
    cure = f"Set the x axis of the chart to Step. {cure}" if any(" - " in name for name in wide) else cure
    require(found, source, "have a column of steps", wide.columns, cure=cure)
    losses = [name for name in wide if words.is_loss(name)]
    logged = wide[losses].notna().any(axis=1)
    name = min(
        found,
        key=lambda one: ((words.clock_rank(one) or 0) // 100, bool(wide.loc[logged, one].isna().any()), words.clock_rank(one)),
    )
    return Clock(name, words.clock_unit(name))


def _counts(column: pd.Series) -> bool:
    """Whether a column has numbers, and more than one where there are several rows."""
    cells = column.dropna()
    return not len(cells) or any(isinstance(number(cell), float | int) for cell in cells.iloc[:50])


def _first(wide: pd.DataFrame, known: tuple[str, ...]) -> str | None:
    return next((name for one in known for name in wide if words.plain(name) == one), None)


def _are_splits(cells: list[str]) -> bool:
    return bool(cells) and all(words.is_eval(cell) or words.is_train(cell) for cell in cells)


def _metrics(wide: pd.DataFrame, keys: set[str | None], chart: bool) -> list[str]:
    others = [name for name in wide if name not in keys and not name.endswith(_ENDS)]
    if chart:
        others = [name for name in others if " - " in name]
    bare = {name: name.rpartition(" - ")[2] for name in others}
    clocks = [name for name in others if words.clock_rank(bare[name]) is not None and words.clock_unit(bare[name]) == "steps"]
    return [name for name in others if name not in clocks]


def _long(
    wide: pd.DataFrame, metrics: list[str], steps: pd.Series, keys: dict[str, str], chart: bool, *, blank_losses: bool
) -> pd.DataFrame:
    """Scalars row by row; of a table of losses a blank one is lost, of any other it was not logged."""
    beside = pd.DataFrame(
        {"step": steps, **{name: wide[column].map(number if name == "position" else _text) for name, column in keys.items()}},
        index=wide.index,
    )
    parts = []
    for order, name in enumerate(metrics):
        run, _, metric = name.rpartition(" - ") if chart else ("", "", name)
        there = wide[name].notna().to_numpy() | (blank_losses and name == "loss")
        part = beside.loc[there].assign(metric=metric, value=wide.loc[there, name], _row=np.flatnonzero(there), _order=order)
        parts.append(part.assign(run=run) if chart else part)
    return pd.concat(parts).sort_values(by=["_row", "_order"], kind="stable").drop(columns=["_row", "_order"])


def _text(cell: object) -> object:
    return cell if cell is None or cell != cell else str(cell)


def _notices(wide: pd.DataFrame, clock: Clock, run: str | None, metrics: list[str], source: str) -> tuple[str, ...]:
    notices = []
    if clock.unit != "steps":
        notices.append(f"{source} counts {clock.unit} ({clock.name}): these stand for steps.")
    if run is not None and words.plain(run) != "run":
        notices.append(f"{source}: column {run} names the runs, {show(names_in(wide, run))}.")
    groups = sorted({name.rpartition(" - ")[0] for name in metrics if name.startswith("Group: ")})
    if groups:
        notices.append(f"{source}: {show(groups)} is a mean over the runs of a group, smoother than any of them.")
    return tuple(notices)
