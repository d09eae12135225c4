"""Consoles: lines that match the templates of a format, as scalars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import require
from bayes_tsl.data.formats import Format, Line
from bayes_tsl.data.reading.cells import number
from bayes_tsl.data.reading.source import CUT_OFF, Source, is_cut_off, printable


def read_lines(source: Source, format: Format) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Scalars of a console (row: line), and what is to be said of them."""
    rows = [(number, *one) for number, line in source.lines for one in matches(line, format.lines)]
    notices = ()
    if source.cut and rows and _last_is_cut_off(rows, source):
        rows, notices = rows[:-1], (CUT_OFF.format(source.name),)
    frame = pd.DataFrame(rows, columns=["line", "metric", "step", "value"]).set_index("line")
    frame = frame.assign(step=_filled(_steps(frame, source.name), format))
    if format.by_file:
        frame["metric"] = frame["metric"].replace(format.by_file, printable(source.path.stem))
    return pd.DataFrame(frame.loc[frame["metric"] != ""]), notices


def matches(line: str, kinds: Iterable[Line]) -> Iterator[tuple[str, str | None, str]]:
    """Metric, step and value of everything that a line says; a step alone is a metric without a name."""
    for kind in kinds:
        found = kind.pattern.search(line)
        if found is None:
            continue
        said = dict(zip(kind.slots, found.groups())) or found.groupdict()
        step, place = said.pop("step", None), said.pop("set", None)
        values = [(name, value) for name, value in said.items() if value is not None]
        values += kind.pair.findall(line) if kind.pair else []
        if step is not None and not values:
            yield "", _plain(step), "nan"
        for name, value in values:
            yield f"{place}/{name}" if place else name, step and _plain(step), _plain(value)


def _steps(frame: pd.DataFrame, source: str) -> pd.Series:
    """Steps as numbers, NaN where a line has none."""
    steps = [np.nan if step is None or step != step else number(step) for step in frame["step"]]
    words = [(line, step) for line, step in zip(frame.index, steps) if isinstance(step, str)]
    where = f"(line {words[0][0]} of {source})" if words else ""
    require(not words, "step", "be a number", words[0][1] if words else None, where=where, cure="Correct the pattern.")
    return pd.Series(steps, index=frame.index, dtype=float)


def _plain(text: str) -> str:
    return text.replace(",", "").rstrip(";|)]}")


def _last_is_cut_off(rows: list[tuple], source: Source) -> bool:
    *earlier, (number, metric, _, value) = rows
    at_end = number == source.lines[-1][0] and source.lines[-1][1].endswith(value)
    return at_end and is_cut_off(value, [one[3] for one in earlier if one[1] == metric])


def _filled(step: pd.Series, format: Format) -> pd.Series:
    """Steps, where lines without one take those of their neighbours."""
    if format.stepless == "last":
        return step.ffill().fillna(step.bfill())
    following = step.bfill() - (1 if format.stepless == "before next" else 0)
    return step.fillna(following).fillna(step.ffill())
