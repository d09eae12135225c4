"""Which format a log has, from its content."""

from __future__ import annotations

import re
from pathlib import Path

from bayes_tsl.data.formats import FORMATS, Format
from bayes_tsl.data.formats import names as words
from bayes_tsl.data.loss_table import COLUMNS
from bayes_tsl.data.reading.cells import columns_of, looks_like_table
from bayes_tsl.data.reading.documents import kind_of
from bayes_tsl.data.reading.lines import matches
from bayes_tsl.data.reading.refusals import unknown
from bayes_tsl.data.reading.source import Source

_TABLES = (".csv", ".csv.gz", ".tsv", ".parquet")
_SAMPLE = 3000  # lines with numbers that say which console it is


def format_of(source: Source, *, step: str | None = None) -> str:
    """Name of the format of a file, where ``step`` may name its clock.

    Raises:
        DataError: it is none of those known.
    """
    if source.binary in FORMATS:
        return source.binary
    if source.binary == "parquet" or source.path.name.lower().endswith(_TABLES):
        return _table(source)
    kind = kind_of(source)
    if kind is not None:
        return kind
    if looks_like_table(source, step=step):
        return _table(source)
    counts = _consoles(source)
    best = max(counts, key=lambda name: counts[name])
    if not counts[best]:
        raise unknown(source)
    return best


def _table(source: Source) -> str:
    names = columns_of(source)
    plain = {words.plain(name) for name in names}
    if plain == {"wall_time", "step", "value"}:
        return "tensorboard-csv"
    evals = any(words.is_eval(name) for name in plain - set(COLUMNS))
    return "table" if {"step", "loss"} <= set(names) and not evals else "wandb-csv"


def _consoles(source: Source) -> dict[str, int]:
    """How many lines each console format explains."""
    lines = [line for _, line in source.lines if re.search(r"\d", line)]
    consoles = [one for one in FORMATS.values() if one.shape == "console"]
    for sample in (lines[:_SAMPLE], lines[_SAMPLE:]):
        counts = {one.name: _explained(one, sample) for one in consoles}
        counts["hf-stdout"] = sum(bool(re.search(r"\{\s*['\"][\w/ .-]*loss['\"]: ", line)) for line in sample)
        if any(counts.values()):
            return counts
    return counts  # pyright: ignore[reportPossiblyUnbound]


def _explained(format: Format, lines: list[str]) -> int:
    return sum(any(words.is_loss(name) or name == "value" for name, _, _ in matches(line, format.lines)) for line in lines)


def is_folder_of_events(path: Path) -> bool:
    """Whether a folder has event files of TensorBoard."""
    return any(path.glob("*tfevents*"))
