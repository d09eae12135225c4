"""JSON of any shape as rows: lines of objects, an array of them, an object of lists, objects in objects, printed dicts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from bayes_tsl._common.validation import require
from bayes_tsl.data.formats.kinds import NUMBER
from bayes_tsl.data.formats.names import clock_rank, is_eval, is_train
from bayes_tsl.data.reading.source import CUT_OFF, Source, parsed, printable
from bayes_tsl.errors import DataError

_PRINTED = re.compile(rf"""['"]([\w/ .-]+)['"]: ['"]?({NUMBER}|\d+/\d+|[\w-]+)""", re.IGNORECASE)
_PAIR = 2


class Rows(NamedTuple):
    """Rows of a document.

    Attributes:
        rows: by name, cells as they are written.
        places: where each is.
        notices: what is to be said.
    """

    rows: list[dict[str, str]]
    places: pd.Index
    notices: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """A table with a column per name, NaN where a row lacks it."""
        return pd.DataFrame(self.rows, index=self.places, dtype=object)


def kind_of(source: Source) -> str | None:
    """Format of a text that is JSON: wandb-jsonl, json or trainer-state; None for any other text."""
    start = source.text.lstrip()[:1]
    if start not in ("{", "["):
        return None
    first, _, more = source.text.strip().partition("\n")
    if start == "{" and more and isinstance(parsed(first), dict):
        return "wandb-jsonl"
    whole = source.document
    if whole is None:
        return _kind_of_damaged(source.text)
    if not isinstance(whole, dict):
        return "json"
    if "log_history" in whole:
        return "trainer-state"
    return "json" if any(isinstance(one, list | dict) for one in whole.values()) else "wandb-jsonl"


def _kind_of_damaged(text: str) -> str | None:
    """Format of a text that begins as JSON and is none."""
    if '"log_history"' in text:
        return "trainer-state"
    return "json" if re.match(r'\s*(?:\[\s*[\[{]|\{\s*")', text) else None


def read_json_lines(source: Source) -> Rows:
    """An object per line; a last line that was cut off while it was written is left out."""
    lines = [(number, line) for number, line in enumerate(source.text.split("\n"), start=1) if line.strip()]
    notices: tuple[str, ...] = ()
    if source.cut and len(lines) > 1 and parsed(lines[-1][1]) is None:
        lines, notices = lines[:-1], (CUT_OFF.format(source.name),)
    rows = [_row(_object(line, f"line {number} of {source.name}")) for number, line in lines]
    return Rows(rows, pd.Index([number for number, _ in lines], name="line"), notices)


def read_trainer_state(source: Source) -> Rows:
    """``log_history`` of the Hugging Face Trainer; ``train_loss``, which the last row has, is a mean over the whole run."""
    state = _require_object(source.document, source.text, source.name)
    history = state.get("log_history")
    good = isinstance(history, list) and all(isinstance(row, dict) for row in history)
    require(good, source.name, "have a list of rows log_history", sorted(state), cure="Give a trainer_state.json.")
    rows = [_row({name: cell for name, cell in row.items() if name != "train_loss"}) for row in history or []]
    return _numbered(rows)


def read_document(source: Source) -> Rows:
    """An array of rows, or an object that has rows or lists somewhere."""
    whole = source.document
    if whole is None:
        start = source.text.strip()[:60]
        raise DataError(f"{source.name} must be JSON; got {start!r}. Correct it, or export it again.")
    rows = list(_rows_of(whole, "", None))
    cure = "Give rows with a step and a loss, or lists of them."
    require(rows, source.name, "have rows of losses", sorted(whole) if isinstance(whole, dict) else [], cure=cure)
    return _numbered(rows)


def read_printed(source: Source) -> Rows:
    """Dicts that a program printed, one per line."""
    found = [(number, dict(_PRINTED.findall(line))) for number, line in source.lines if re.search(r"\{\s*['\"]", line)]
    rows = [(number, row) for number, row in found if len(row) > 1]
    return Rows([row for _, row in rows], pd.Index([number for number, _ in rows], name="line"))


def _numbered(rows: list[dict[str, str]]) -> Rows:
    return Rows(rows, pd.RangeIndex(1, len(rows) + 1, name="row"))


def _object(text: str, name: str) -> dict[str, Any]:
    return _require_object(parsed(text), text, name)


def _require_object(value: Any, text: str, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{name} must be a JSON object; got {printable(text.strip()[:60])!r}. Correct it, or export it again.")
    return value


def _row(cells: dict[str, Any], before: str = "") -> dict[str, str]:
    """Cells of a row by name; those of an object in it are called ``outer.inner``."""
    made: dict[str, str] = {}
    for name, cell in cells.items():
        name = printable(f"{before}{name}")
        if isinstance(cell, dict):
            made |= _row(cell, f"{name}.")
        elif cell is not None:
            made[name] = _cell(name, cell)
    return made


def _cell(name: str, cell: Any) -> str:
    text = printable(cell) if isinstance(cell, str) else json.dumps(cell)[:60]
    return text.partition("/")[0] if re.fullmatch(r"\d+/\d+", text) and clock_rank(name) is not None else text


def _rows_of(value: Any, name: str, steps: list[Any] | None) -> Iterator[dict[str, str]]:
    """Rows in a document: of a list, or of the objects and lists of an object, whose steps hold for all within."""
    if isinstance(value, list):
        yield from _rows_of_list(value, name, steps)
    elif isinstance(value, dict) and value and all(re.fullmatch(r"\d+(?:\.\d+)?", key) for key in value):
        yield from _rows_by_step(value, name)
    elif isinstance(value, dict):
        lists = [key for key, one in value.items() if isinstance(one, list) and clock_rank(key) is not None]
        clocks = sorted(lists, key=lambda key: clock_rank(key) or 0)
        inner = {key: one for key, one in value.items() if key not in clocks and isinstance(one, list | dict) and one}
        as_runs = _are_runs(inner)
        for key, one in inner.items():
            made = _rows_of(one, "" if as_runs else f"{name}/{key}" if name else key, value[clocks[0]] if clocks else steps)
            yield from ({"run": printable(key), **row} if as_runs else row for row in made)


def _are_runs(values: dict[str, Any]) -> bool:
    """Whether the values of an object are one run each: alike, and not named as splits are."""
    keys = [
        set(one[0] if isinstance(one, list) else one)
        for one in values.values()
        if not isinstance(one, list) or isinstance(one[0], dict)
    ]
    alike = len(keys) == len(values) > 1 and bool(set.intersection(*keys))
    return alike and not any(is_eval(key) or is_train(key) for key in values)


def _rows_of_list(values: list[Any], name: str, steps: list[Any] | None) -> Iterator[dict[str, str]]:
    name = printable(name or "loss")
    if values and all(isinstance(one, dict) for one in values):
        before = f"{name}/" if is_eval(name) or is_train(name) else ""
        for one in map(_row, values):
            yield {key if clock_rank(key) is not None else f"{before}{key}": cell for key, cell in one.items()}
    elif values and all(isinstance(one, list) and len(one) == _PAIR for one in values):
        yield from ({"step": str(one[0]), name: str(one[1])} for one in values)
    elif all(not isinstance(one, list | dict) for one in values):
        if steps is None or len(steps) != len(values):
            pairs = list(enumerate(values)) if steps is None else []
            yield from ({"epoch": str(step), name: str(one)} for step, one in pairs if one is not None)
        else:
            yield from ({"step": str(step), name: str(one)} for step, one in zip(steps, values) if one is not None)


def _rows_by_step(value: dict[str, Any], name: str) -> Iterator[dict[str, str]]:
    for step, one in value.items():
        if isinstance(one, dict):
            yield {"step": step, **_row(one)}
        elif not isinstance(one, list) and one is not None:
            yield {"step": step, printable(name or "loss"): str(one)}
