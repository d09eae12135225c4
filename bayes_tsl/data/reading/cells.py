"""Tables as text: any separator, decimal points or commas, rows numbered as the lines of their file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.validation import require, require_once
from bayes_tsl.data.formats.names import clock_rank
from bayes_tsl.data.loss_table import read_table
from bayes_tsl.data.reading.source import CUT_OFF, Source, is_cut_off, printable
from bayes_tsl.errors import DataError

_NUMBER = re.compile(r"\s*[-+]?(?:\d[\d.,]*(?:e[-+]?\d+)?|nan|inf|infinity)\s*", re.IGNORECASE)
_THOUSANDS = re.compile(r"\s*[-+]?\d{1,3}(?:,\d{3})+(?:\.\d*)?\s*")
_COMMA = re.compile(r"[-+]?\d+,\d+(?:e[-+]?\d+)?", re.IGNORECASE)
_COMMENTS = ("#", "sep=")  # the second is Excel's word for the separator
_BLANK = ("", "-", "null", "none", "None", "NULL")
_SAMPLE = 20  # lines that say how a table is separated


def looks_like_table(source: Source, *, step: str | None = None) -> bool:
    """Whether a text begins with names, one of them a clock or ``step``, over a row of numbers."""
    first = [line for line in _lines(source.text[:100_000]) if line][:2]
    if len(first) < 2:
        return False
    names, row = (_split(line, _separator(first)) for line in first)
    words = not any(_NUMBER.fullmatch(name) for name in names)
    clock = any(clock_rank(name) is not None or name.strip() == step for name in names)
    numeric = [bool(_NUMBER.fullmatch(cell)) for cell in row if cell.strip().lower() not in _BLANK]
    return 2 <= len(names) == len(row) and words and clock and sum(numeric) >= 2


def read_cells(source: Source) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A table with its cells as they are written, NaN where blank (row: line or row), and what is to be said of it."""
    if source.binary == "parquet":
        frame = read_table(source.path)
        return frame.astype(object).set_axis(pd.RangeIndex(1, len(frame) + 1, name="row")), ()
    rows = _rows(source)
    names = _header(rows, source)
    lines, cells = [], []
    for line, row in rows:
        if len(row) > len(names):
            _require_blank(row[len(names) :], len(names), line, source)
        lines.append(line)
        cells.append(row[: len(names)])
    cells, lines, notices = _without_cut_row(cells, lines, len(names), source)
    filled = [[*row, *[""] * (len(names) - len(row))] for row in cells]
    frame = pd.DataFrame(filled, columns=names, index=pd.Index(lines, name="line", dtype=int), dtype=object)
    frame = frame.loc[:, [name for name in names if name]]
    return _with_points(frame.mask(frame.isin(_BLANK))), notices


def columns_of(source: Source) -> list[str]:
    """Names of the columns of a table."""
    return list(map(str, read_table(source.path).columns)) if source.binary == "parquet" else _header(_rows(source), source)


def _header(rows: Iterator[tuple[int, list[str]]], source: Source) -> list[str]:
    _, names = next(rows, (0, []))
    require(names, source.name, "hold a table", [], cure="Check that the log was written.")
    names = [printable(name.strip()) for name in names]
    require_once([name for name in names if name], source.name, dict.fromkeys(names))
    return names


def _rows(source: Source) -> Iterator[tuple[int, list[str]]]:
    """Rows with the numbers of their lines; comments and blank lines are none."""
    lines = _lines(source.text)
    separator = _separator([line for line in lines[:_SAMPLE] if line])
    if separator is None:
        yield from ((number, line.split()) for number, line in enumerate(lines, start=1) if line.strip())
        return
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=separator)
    try:
        for row in reader:
            if len(row) > 1 or any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{source.name} must be a table; got {error} in line {reader.line_num}. Export it again.") from None


def _lines(text: str) -> list[str]:
    """Lines of a table, comments as blank ones; names after a #, as NumPy writes them, are the first line."""
    lines = ["" if not line.strip() else line for line in text.split("\n")]
    first = next((at for at, line in enumerate(lines) if line and not line.startswith(_COMMENTS)), len(lines))
    names = lines[first - 1].lstrip("# ") if first and lines[first - 1].startswith("#") else ""
    if first < len(lines) and names and _NUMBER.match(lines[first]) and any(map(_is_clock, re.split(r"[\s,;|]+", names))):
        return [*[""] * (first - 1), names, *lines[first:]]
    return ["" if line.startswith(_COMMENTS) else line for line in lines]


def _is_clock(name: str) -> bool:
    return clock_rank(name) is not None


def _separator(lines: list[str]) -> str | None:
    """What separates the cells of these lines: the mark that gives the first two as many cells; None for white space."""

    def cells(mark: str) -> tuple[int, bool]:
        widths = [len(_split(line, mark)) for line in lines[:2]]
        return min(widths, default=0), len(set(widths)) == 1

    mark = max(("\t", ";", ",", "|"), key=cells)
    return None if cells(mark)[0] < 2 and lines and len(lines[0].split()) > 1 else mark


def _split(line: str, mark: str | None) -> list[str]:
    if mark is None:
        return line.split()
    try:
        return next(csv.reader([line], delimiter=mark), [])
    except csv.Error:
        return []


def _require_blank(extra: list[str], width: int, line: int, source: Source) -> None:
    """Refuse a row with more cells than the first line has names, unless they are blank."""
    got = width + sum(bool(cell.strip()) for cell in extra)
    cure = "Quote cells that hold the separator, or export it again."
    require(got == width, f"line {line} of {source.name}", f"have at most {width} cells, as its first line", got, cure=cure)


def _without_cut_row(
    cells: list[list[str]], lines: list[int], width: int, source: Source
) -> tuple[list[list[str]], list[int], tuple[str, ...]]:
    """A last row that was cut off while it was written goes: it has fewer cells than all others, or its last fewer decimals."""
    if not source.cut or len(cells) < 4:
        return cells, lines, ()
    *earlier, last = cells
    shorter = len(last) < min(map(len, earlier))
    ends = [row[width - 1] for row in earlier if len(row) == width and row[width - 1]]
    if shorter or (len(last) == width and is_cut_off(last[-1], ends)):
        return earlier, lines[:-1], (CUT_OFF.format(source.name),)
    return cells, lines, ()


def _with_points(frame: pd.DataFrame) -> pd.DataFrame:
    """Decimal commas as points, where no cell has a point: 7,25 is a number of many countries."""
    texts = [str(cell) for cell in frame.to_numpy().ravel() if isinstance(cell, str)]
    if any(re.fullmatch(r"[-+]?\d+\.\d+", text) for text in texts) or not any(map(_COMMA.fullmatch, texts)):
        return frame
    return frame.map(lambda cell: cell.replace(",", ".") if isinstance(cell, str) and _COMMA.fullmatch(cell) else cell)


def floats(cells: Iterable[object]) -> NDArray[np.float64]:
    """Numbers that cells say, NaN where they say none."""
    values = [number(cell) for cell in cells]
    return np.array([value if isinstance(value, float) else np.nan for value in values], float)


def number(cell: object) -> object:
    """The number that a cell says, NaN and infinity among them; anything else as it is."""
    try:
        if isinstance(cell, str | int | float | np.number) and not isinstance(cell, bool):
            return float(cell)
    except ValueError:
        return _with_thousands(str(cell))
    except OverflowError:  # whole numbers of more than 308 digits
        return np.inf
    return cell


def _with_thousands(text: str) -> object:
    """The number in a text like 1,234.5, or the text."""
    return float(text.replace(",", "")) if _THOUSANDS.fullmatch(text) else text
