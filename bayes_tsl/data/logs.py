"""Logs that training programs leave, read into a loss table.

A format (``bayes_tsl.data.formats``) says how a file is recognised and what its lines mean; ``bayes_tsl.data.reading`` turns it
into scalars, one row per metric and step in the order in which they were logged, and settles what all logs share.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import file_path, numbers, require, require_choice, show
from bayes_tsl.data.ancestry import ANCESTRY
from bayes_tsl.data.formats import FORMATS, Format, Line
from bayes_tsl.data.loss_table import BESIDE, COLUMNS, KEY, LossTable
from bayes_tsl.data.reading.beside import logged_rates, with_beside
from bayes_tsl.data.reading.cells import number, read_cells
from bayes_tsl.data.reading.choice import UNITS, choose, in_nats
from bayes_tsl.data.reading.documents import read_document, read_json_lines, read_printed, read_trainer_state
from bayes_tsl.data.reading.events import read_events, read_wandb
from bayes_tsl.data.reading.history import one_history
from bayes_tsl.data.reading.lines import read_lines
from bayes_tsl.data.reading.oddities import oddities
from bayes_tsl.data.reading.recognition import format_of, is_folder_of_events
from bayes_tsl.data.reading.source import Source, printable
from bayes_tsl.data.reading.wide import scalars_of
from bayes_tsl.errors import DataError, Notice

Scalars = tuple[pd.DataFrame, tuple[str, ...]]
_MANY = 5  # rows logged again that are no accident, where they are half as many as steps
_DOCUMENTS = {"trainer-state": read_trainer_state, "json": read_document}


def read_log(
    path: str | Path,
    *,
    format: str | None = None,
    metric: str | None = None,
    split: str | None = None,
    unit: str | None = None,
    run: str | None = None,
    step: str | None = None,
    pattern: str | None = None,
    part: int | str | None = None,
) -> LossTable:
    r"""Losses of a training log as a loss table, in nats per token.

    Where the steps fall back the run was restarted, and rows of the branch that was abandoned are left out; where they begin
    anew it is another run. Losses that are not finite are left out. Each is said in ``notices``. Learning rates and token
    counts come along, on straight lines between the steps that have them. Several validation sets are test sets of one table.
    Times are left out: a loss table has no place for them.

    Args:
        path: a file, or a folder of TensorBoard's event files.
        format: a name of ``FORMATS``, as docs/logs.md lists them; by default recognised by the content.
        metric: name of the loss in the log, without the run, or ``all`` losses of the split, each as a test set; by default
            those with a name like a loss.
        split: ``eval`` or ``train``, by the metric's name; by default ``eval`` where there is any. Training losses come as test
            set ``train``.
        unit: of the logged losses: ``nats`` or ``bits`` per token, or ``perplexity``; by default by the metric's name.
        run: name of the run; where the log names its runs, the one to read.
        step: name of the column or key that counts the steps; any clock will do, e.g. epochs or tokens.
        pattern: regular expression of the lines of any other console, with the groups ``step`` and ``loss``; further groups,
            as ``lr``, are metrics.
        part: where one file has several runs one after the other: its number from 1, ``all`` as runs, or ``join`` where only
            the counter began anew; by default the last that began from the start.

    Raises:
        DataError: there is no such file, format, metric, split or run; the choice of a metric is not clear; or a row is wrong.

    >>> import tempfile
    >>> log = Path(tempfile.mkdtemp(), "train.log")
    >>> _ = log.write_text("".join(f"step {at}: train loss 3.1, val loss {4 - at / 1000}\n" for at in range(0, 1000, 100)))
    >>> read_log(log).mean_losses().tolist()[:3]
    [4.0, 3.9, 3.8]
    """
    path = file_path(path)
    source = printable(path.name)
    if unit is not None:
        require_choice(unit, "unit", UNITS, cure="Convert the losses to one of these.")
    known, (rows, notices) = _read(path, format, pattern, step)
    cure = "Check the format and the log."
    require(len(rows) > 0, source, f"hold losses in the format {known.name}", [], cure=cure)
    rows = _of_run(rows.assign(step=rows["step"].map(number)), run)
    rows, falls = one_history(rows.assign(step=pd.to_numeric(rows["step"], errors="coerce")), source, part)
    chosen = choose(rows, source, metric=metric, split=split, unit=unit, table=known.name == "table", native=known.unit)
    losses, left_out = _last_and_finite(_losses(rows, chosen.sets), source)
    losses, more = with_beside(losses, rows, source)
    notices = (*notices, *_of_chosen(falls, chosen.sets), *chosen.notices, *more, *left_out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        table = LossTable.from_frame(losses, source=source)
    frame = in_nats(table, chosen.unit, source)
    asked = metric is not None or split is not None
    odd = oddities(frame, source, split=chosen.split, unit=chosen.unit, chosen=asked, others=chosen.others)
    notices = (*notices, *table.notices, *odd)
    for notice in notices:
        warnings.warn(notice, Notice, stacklevel=2)
    return LossTable(frame, notices, logged_rates(rows))


def recognise(path: str | Path, *, step: str | None = None) -> str:
    r"""Format of a log, a key of ``FORMATS``, from its content (of csv and parquet from their columns).

    Args:
        path: a file, or a folder of TensorBoard's event files.
        step: name of the column that counts the steps, where it is no usual one.

    Raises:
        DataError: there is no such file, or it is none of them.

    >>> import tempfile
    >>> log = Path(tempfile.mkdtemp(), "train.log")
    >>> _ = log.write_text("step 0: train loss 4.2874, val loss 4.2823\n")
    >>> recognise(log)
    'nanogpt'
    """
    return _recognised(Source(file_path(path)), step)


def _read(path: Path, format: str | None, pattern: str | None, step: str | None) -> tuple[Format, Scalars]:
    """The format of a log, its scalars, and what is to be said of them."""
    if pattern is not None:
        for name, given in {"format": format, "step": step}.items():
            require(given is None, name, "be left out where a pattern is given", given, cure="Give one of them.")
        _require_there(path, folder=False)
        known = _format_of_pattern(pattern)
        return known, read_lines(Source(path), known)
    if format is not None:
        require_choice(format, "format", FORMATS, cure="Leave it out to have it recognised by the content.")
    source = Source(path)
    known = FORMATS[_recognised(source, step) if format is None else format]
    _require_there(path, folder=known.shape == "events")
    if known.shape in ("console", "events"):
        cure = "Its lines say their steps; another clock needs a pattern."
        require(step is None, "step", f"be left out with the format {known.name}", step, cure=cure)
    if known.shape == "console":
        rows, notices = read_lines(source, known)
        clock = () if known.clock == "steps" else (f"{path.name} counts {known.clock}: these stand for steps.",)
        return known, (rows, (*notices, *clock))
    if known.shape == "events":
        return known, (read_events(path), ())
    return known, _columns(source, known, step)


def _recognised(source: Source, step: str | None) -> str:
    """Name of the format of a file, or of a folder of event files."""
    _require_there(source.path, folder=True)
    return "tensorboard" if source.path.is_dir() else format_of(source, step=step)


def _columns(source: Source, known: Format, step: str | None) -> Scalars:
    """Scalars of a format that has a column, or a key, per metric."""
    if known.shape == "table":
        frame, notices = read_cells(source)
        by_file = {known.by_file: source.path.stem} if known.by_file else {}
        frame = frame.rename(columns=lambda name: by_file.get(str(name), str(name)))
        frame = frame.loc[:, [name for name in frame if name != "Wall time"]] if by_file else frame
    else:
        read = {"dicts": read_printed, "wandb": lambda one: read_wandb(one.path, one.content)}.get(known.shape)
        made = (read or _DOCUMENTS.get(known.name, read_json_lines))(source)
        frame, notices = made.to_frame(), made.notices
    if not len(frame):
        return frame, notices
    if known.name == "table":
        missing = [name for name in ("step", "loss") if name not in frame]
        require(not missing, source.name, "have columns step and loss", frame.columns, cure=f"Add {show(missing)}.")
        frame, left_out = _plain(frame, source.name)
        notices = (*notices, *left_out)
    only = COLUMNS if known.name == "table" else ()
    rows, more = scalars_of(frame, source.name, step=step, no_step=known.no_step if step is None else "", only=only)
    return rows, (*notices, *more)


def _plain(frame: pd.DataFrame, source: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A table without what a log does not have, whose rows of averaged weights would pass for others; and a notice of it."""
    beside = [name for name in (*BESIDE, *ANCESTRY) if name in frame and np.any(frame[name].notna())]
    if not beside:
        return frame, ()
    averaged = numbers(frame, "averaged").gt(0).to_numpy(bool) if "averaged" in frame else np.zeros(len(frame), bool)
    rows = f", with {int(averaged.sum())} rows of averaged weights" if averaged.any() else ""
    notice = f"Columns {show(beside)} of {source} are left out{rows}: read the table as it is, with read_losses, to keep them."
    return pd.DataFrame(frame.loc[~averaged]), (notice,)


def _require_there(path: Path, *, folder: bool) -> None:
    require(path.is_file() or (folder and path.is_dir()), "file", "exist", str(path), cure="Check the path.")
    events = path.is_file() or is_folder_of_events(path)
    require(events, "folder", "hold event files of TensorBoard", str(path), cure="Name the log itself.")


def _format_of_pattern(pattern: str) -> Format:
    """A format of the user's own, from a regular expression with named groups."""
    try:
        groups = list(re.compile(pattern).groupindex)
    except re.error as error:
        raise DataError(f"pattern must be a regular expression; got {pattern!r}: {error}. Correct it.") from None
    cure = r"Write e.g. 'step (?P<step>\d+).*loss (?P<loss>\S+)'."
    require({"step"} < set(groups), "pattern", "have the groups step and loss", groups, cure=cure)
    return Format("pattern", "the user's own", lines=(Line(pattern),))


def _of_run(rows: pd.DataFrame, run: str | None) -> pd.DataFrame:
    """Rows of one run, or of all; where the log does not name it, it is called ``run``, or what that says."""
    if "run" not in rows:
        return rows.assign(run=run or "run")
    if run is None:
        return rows
    require_choice(run, "run", sorted(set(map(str, rows["run"].dropna()))), cure="Choose one of these.")
    return rows.loc[rows["run"].astype(str) == run]


def _losses(rows: pd.DataFrame, sets: dict[str, str]) -> pd.DataFrame:
    """Rows of the metrics that are the loss, as a loss table has them."""
    losses = rows.loc[rows["metric"].isin(list(sets))]
    named = losses["metric"].map(sets)
    if "test_set" in losses:
        named = losses["test_set"].where(losses["test_set"].notna(), named)
    return losses.assign(test_set=named, loss=losses["value"].map(number)).drop(columns=["metric", "value"])


def _of_chosen(falls: list[tuple[str, pd.DataFrame]], sets: dict[str, str]) -> tuple[str, ...]:
    """Notices of a history that concern the losses that are read, with the number of rows that went."""
    said = []
    for text, gone in falls:
        count = sum(metric in sets for metric in gone["metric"])
        said += [text.format(count)] if "{}" in text and count else [text] if "{}" not in text else []
    return tuple(said)


def _last_and_finite(losses: pd.DataFrame, source: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Of each step the loss that was logged last, where it is finite; what was left out is counted."""
    last = losses.drop_duplicates([name for name in KEY if name in losses], keep="last")
    words = last["loss"].map(lambda cell: isinstance(cell, str)).to_numpy(bool)  # which the table turns down
    good = words | np.isfinite(numbers(last, "loss").to_numpy(float))
    require(good.any(), "loss", "be finite somewhere", last["loss"], where=f"in {source}", cure="Check the log.")
    again = len(losses) - len(last)
    by_whom = ", as by several processes or runs in one file" if again >= max(_MANY, len(last) // 2) else ""
    counts = {
        f"rows of {source} were logged again at the same step{by_whom}; the last of each step counts.": again,
        f"rows of {source} without a finite loss are left out.": int((~good).sum()),
    }
    return last.loc[good], tuple(f"{count} {what}" for what, count in counts.items() if count)
