"""Logs that training programs leave, read into a loss table.

A reader turns a file into scalars in long form, one row per metric and step, in the order in which they were logged. What all
logs share is settled once, below them: which metric is the loss, its unit, what a resumed run logged again, what is not finite.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import numbers, require, require_choice, require_once, show
from bayes_tsl.data.loss_table import COLUMNS, ENDINGS, KEY, LossTable, read_table
from bayes_tsl.errors import DataError, Notice

SPLITS = {"eval": "test", "train": "train"}  # and what their test set is called
UNITS = ("nats", "bits", "perplexity")
_STEPS = ("global_step", "iteration", "iter", "step", "_step")  # a trainer's own count comes before that of its logger
_BESIDE = {  # what is kept beside a loss, by the last part of a metric's name
    "lr": ("lr", "learning_rate"),
    "tokens": ("tokens_seen", "num_input_tokens_seen", "total_tokens", "consumed_tokens"),
}
_LOSS = re.compile(r"loss|nll|cross.?entropy|perplexity|ppl", re.IGNORECASE)
_EVAL = re.compile(r"(?<![a-z])(eval|evaluation|val|valid|validation|test|dev|held.?out)(?![a-z])", re.IGNORECASE)

_STEP, _VALUE = r"(?P<step>\d+)", r"(?P<value>[-+]?(?:nan|inf|\d[\d.]*(?:e[-+]?\d+)?))"
_LINES = {  # metric, and the line that tells it
    "nanogpt": (  # its training loss of a step line is a mean over batches, that of an iter line of one
        ("val loss", rf"\bstep +{_STEP}: train loss \S+, val loss {_VALUE}"),
        ("train estimate", rf"\bstep +{_STEP}: train loss {_VALUE}, val loss"),
        ("loss", rf"\biter +{_STEP}: loss {_VALUE}"),
    ),
    "llmc": (  # what it prints, which counts the steps of training from 1, and main.log, from 0
        ("loss", rf"\bstep +{_STEP}/\d+ \| (?:train )?loss +{_VALUE}"),
        ("lr", rf"\bstep +{_STEP}/\d+ \|.*\| lr {_VALUE}"),
        ("val loss", rf"^\s*val loss +{_VALUE}"),
        ("loss", rf"^s:{_STEP} trl:{_VALUE}"),
        ("lr", rf"^s:{_STEP} trl:\S+ lr:{_VALUE}"),
        ("val loss", rf"^s:{_STEP} tel:{_VALUE}"),
    ),
    "modded-nanogpt": (
        ("val_loss", rf"\bstep:{_STEP}/\d+\b.*\bval_loss:{_VALUE}"),
        ("train_loss", rf"\bstep:{_STEP}/\d+\b.*\btrain_loss:{_VALUE}"),
    ),
}


def read_log(
    path: str | Path,
    *,
    format: str | None = None,
    metric: str | None = None,
    split: str | None = None,
    unit: str = "nats",
    run: str | None = None,
) -> LossTable:
    r"""Losses of a training log as a loss table, in nats per token.

    Where a step was logged again, as after a resume, the last loss counts; older ones beyond the resume stay until then. Losses
    that are not finite are left out. Both are counted in ``notices``. Learning rates and token counts of the same run and step
    come along. Times are left out: a loss table has no place for them.

    Args:
        path: a file, or a folder of TensorBoard's event files.
        format: ``table``, ``wandb-csv``, ``wandb-jsonl``, ``trainer-state``, ``tensorboard``, ``nanogpt``, ``llmc``
            or ``modded-nanogpt``; by default recognised by the content.
        metric: name of the loss in the log, without the run; by default the only one of the split with a name like a loss.
        split: ``eval`` or ``train``, by the metric's name; by default ``eval`` where there is any. Training losses come as test
            set ``train``.
        unit: of the logged losses: ``nats`` or ``bits`` per token, or ``perplexity``.
        run: name of the run; where the log names its runs, the one to read.

    Raises:
        DataError: there is no such file, format, metric, split or run; the choice of a metric is not clear; or a row is wrong.

    >>> import tempfile
    >>> log = Path(tempfile.mkdtemp(), "train.log")
    >>> _ = log.write_text("step 0: train loss 4.2874, val loss 4.2823\niter 0: loss 4.2659, time 28.1ms, mfu -100.00%\n")
    >>> read_log(log).mean_losses().tolist()
    [4.2823]
    """
    path = Path(path)
    require_choice(unit, "unit", UNITS, cure="Convert the losses to one of these.")
    kind = recognise(path) if format is None else format
    require_choice(kind, "format", FORMATS, cure="Leave it out to have it recognised by the content.")
    _require_there(path, folder=kind == "tensorboard")
    rows = FORMATS[kind](path)
    require(len(rows) > 0, path.name, f"hold losses in the format {kind}", [], cure="Check the format and the log.")
    rows = _of_run(rows.assign(value=rows["value"].map(_number), step=rows["step"].map(_number)), run)
    splits = {name: _split(name, kind) for name in sorted(rows["metric"].unique()) if _beside(name) is None}
    name = _choice(splits, metric, split, path.name)
    losses, notices = _last_and_finite(_with_beside(rows, name, SPLITS[splits[name]]), path.name)
    if metric is None and split is None and splits[name] == "train":
        notices = (f"{path.name} has no evaluation losses; these are of training.", *notices)
    for notice in notices:
        warnings.warn(notice, Notice, stacklevel=2)
    table = LossTable.from_frame(losses, source=path.name)
    return LossTable(_in_nats(table.frame, unit, path.name), (*notices, *table.notices))


def recognise(path: str | Path) -> str:
    r"""Format of a log, a key of ``FORMATS``, from its content (of csv and parquet from their columns).

    Raises:
        DataError: there is no such file, or it is none of them.

    >>> import tempfile
    >>> log = Path(tempfile.mkdtemp(), "train.log")
    >>> _ = log.write_text("step 0: train loss 4.2874, val loss 4.2823\n")
    >>> recognise(log)
    'nanogpt'
    """
    path = Path(path)
    _require_there(path, folder=True)
    if path.is_dir():
        return "tensorboard"
    if path.name.lower().endswith(ENDINGS):
        names = set(map(str, read_table(path).columns))
        return "table" if {"step", "loss"} <= names and not any(map(_EVAL.search, names - set(COLUMNS))) else "wandb-csv"
    text = _text(path)
    if "brain.Event:" in text[:64]:  # the version, which an event file begins with
        return "tensorboard"
    if re.match(r'\s*\{\s*"', text):
        return "trainer-state" if '"log_history"' in text else "wandb-jsonl"
    for name, lines in _LINES.items():
        if any(re.search(line, text, re.MULTILINE | re.IGNORECASE) for _, line in lines if _STEP in line):
            return name
    first = text.strip().partition("\n")[0][:60]
    cure = "Name its format, or make it a table with columns step and loss."
    raise DataError(f"{path.name} must be a log of a known format; got {first!r} as its first line. {cure}")


def _require_there(path: Path, *, folder: bool) -> None:
    require(path.is_file() or (folder and path.is_dir()), "file", "exist", str(path), cure="Check the path.")
    events = path.is_file() or any(path.glob("*tfevents*"))
    require(events, "folder", "hold event files of TensorBoard", str(path), cure="Name the log itself.")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="replace")


def _number(cell: Any) -> Any:
    """The number that a text says, NaN and infinity among them; anything else as it is."""
    try:
        return float(cell) if isinstance(cell, str) else cell
    except ValueError:
        return cell


def _last_part(name: str) -> str:
    return re.split(r"[/.]", name)[-1].strip().lower()


def _beside(name: str) -> str | None:
    """The column that a metric fills beside the losses, if it does."""
    return next((column for column, parts in _BESIDE.items() if _last_part(name) in parts), None)


def _split(name: str, kind: str) -> str:
    return "eval" if kind == "table" or _EVAL.search(name) else "train"


def _of_run(rows: pd.DataFrame, run: str | None) -> pd.DataFrame:
    """Rows of one run, or of all; where the log does not name it, it is called ``run``, or what that says."""
    if "run" not in rows:
        return rows.assign(run=run or "run")
    if run is None:
        return rows
    names = rows["run"].astype(str)
    require_choice(run, "run", sorted(names.unique()), cure="Choose one of these.")
    return rows.loc[names == run]


def _choice(splits: dict[str, str], metric: str | None, split: str | None, source: str) -> str:
    """Name of the metric that is the loss, of all and their splits."""
    candidates = splits if metric else {name: of for name, of in splits.items() if _LOSS.search(name)} or splits
    if split is not None:
        cure = f"Leave it out, or choose a metric of {show(splits)}."
        require_choice(split, "split", sorted(set(candidates.values())), cure=cure)
    elif metric is None:
        split = "eval" if "eval" in candidates.values() else "train"
    names = [name for name, of in candidates.items() if split in (None, of)]
    if metric is not None:
        require_choice(metric, "metric", names, cure=f"Choose one of these of {source}.")
        return metric
    cure = "Choose one with metric=..., or --metric on the command line."
    require(len(names) == 1, "metric", "be given where several may be the loss", names, where=f"in {source}", cure=cure)
    return names[0]


def _with_beside(rows: pd.DataFrame, metric: str, test_set: str) -> pd.DataFrame:
    """Losses of one metric, and what was logged beside them at the same run and step."""
    losses = rows.loc[rows["metric"] == metric].rename(columns={"value": "loss"})
    if "test_set" not in losses:
        losses = losses.assign(test_set=test_set)
    beside = {name: _beside(name) for name in rows["metric"].unique()}
    for column in _BESIDE:
        names = [name for name, of in beside.items() if of == column]
        if len(names) == 1:
            last = rows.loc[rows["metric"] == names[0]].drop_duplicates(["run", "step"], keep="last").set_index(["run", "step"])
            losses = losses.join(last["value"].rename(column), on=["run", "step"])
    return losses


def _last_and_finite(losses: pd.DataFrame, source: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Of each step the loss that was logged last, where it is finite; what was left out is counted."""
    last = losses.drop_duplicates([name for name in KEY if name in losses], keep="last")
    words = last["loss"].map(lambda cell: isinstance(cell, str)).to_numpy(bool)  # which the table turns down
    good = words | np.isfinite(numbers(last, "loss").to_numpy(float))
    require(good.any(), "loss", "be finite somewhere", last["loss"], where=f"in {source}", cure="Check the log.")
    counts = {
        f"rows of {source} were logged again, as after a resume; the last of each step counts.": len(losses) - len(last),
        f"rows of {source} without a finite loss are left out.": int((~good).sum()),
    }
    return last.loc[good], tuple(f"{count} {what}" for what, count in counts.items() if count)


def _in_nats(frame: pd.DataFrame, unit: str, source: str) -> pd.DataFrame:
    """A loss table's frame in nats; the standard error of a perplexity becomes that of its logarithm, to first order."""
    loss, scale = frame["loss"].to_numpy(float), {"nats": 1.0, "bits": math.log(2.0)}
    if unit in scale:
        return frame.assign(loss=scale[unit] * loss, loss_se=scale[unit] * frame["loss_se"])
    where = f"at step={show(frame['step'].iloc[int(loss.argmin())])} of {source}"
    require(loss.min() >= 1, unit, "be at least 1", loss.min(), where=where, cure="Give the unit that the log has.")
    return frame.assign(loss=np.log(loss), loss_se=frame["loss_se"] / loss)


def _table(path: Path) -> pd.DataFrame:
    """A table in long form as of ``read_losses``: csv, csv.gz or parquet with columns step, loss and more; of evaluation."""
    frame = read_table(path)
    missing = [name for name in ("step", "loss") if name not in frame]
    require(not missing, path.name, "have columns step and loss", frame.columns, cure=f"Add {show(missing)}.")
    return frame.filter(items=COLUMNS).rename(columns={"loss": "value"}).assign(metric="loss")


def _columns(path: Path) -> pd.DataFrame:
    """A chart that W&B exported as csv: a column of steps, and one per run and metric named ``RUN - METRIC``.

    ``RUN - METRIC__MIN`` and ``__MAX``, the ranges within a group, are left out. Columns that name no run are of a single one,
    or of those in a column ``run``.
    """
    frame = read_table(path)
    if not path.name.lower().endswith(".parquet"):  # a blank cell is no loss, one that says NaN is
        names = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].to_list()
        require_once(names, path.name, dict.fromkeys(names))
        text = pd.read_csv(path, index_col=False, dtype=str, keep_default_na=False, na_values=[""])
        frame = text.set_index(frame.index)
    return _melted(frame.rename(columns=str), path.name)


def _objects(path: Path) -> pd.DataFrame:
    """History of a W&B run as JSON lines: an object per row, with ``_step``, ``_timestamp`` and metrics by name."""
    lines = {number: line for number, line in enumerate(_text(path).split("\n"), start=1) if line.strip()}
    rows = [_json(line, f"line {number} of {path.name}") for number, line in lines.items()]
    return _of_objects(rows, pd.Index(list(lines), name="line"), path.name)


def _trainer_state(path: Path) -> pd.DataFrame:
    """``trainer_state.json`` of the Hugging Face Trainer: its ``log_history`` has rows with ``loss``, and with ``eval_loss``.

    ``train_loss``, which the last row has, is a mean over the whole run and left out.
    """
    state = _json(_text(path), path.name)
    history = state.get("log_history")
    good = isinstance(history, list) and all(isinstance(row, dict) for row in history)
    require(good, path.name, "have a list of rows log_history", sorted(state), cure="Give a trainer_state.json.")
    rows = [{name: cell for name, cell in row.items() if name != "train_loss"} for row in history or []]
    return _of_objects(rows, pd.RangeIndex(1, len(rows) + 1, name="row"), path.name)


def _json(text: str, name: str) -> dict[str, Any]:
    """An object whose numbers are left as they are written, so that NaN differs from nothing."""
    try:
        value = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise DataError(f"{name} must be a JSON object; got {text.strip()[:60]!r}. Correct it, or export it again.")
    return value


def _of_objects(rows: list[dict[str, Any]], places: pd.Index, source: str) -> pd.DataFrame:
    scalars = [{name: cell for name, cell in row.items() if isinstance(cell, str)} for row in rows]
    return _melted(pd.DataFrame(scalars, index=places, dtype=object), source)


def _melted(wide: pd.DataFrame, source: str) -> pd.DataFrame:
    """Long form of a table with a column of steps and one per metric; blank cells were not logged."""
    steps = [name for name in wide if _last_part(name) in _STEPS]
    require(steps, source, "have a column of steps", wide.columns, cure="Call it 'step', '_step' or 'global_step'.")
    logged = wide.filter(regex="(?i)loss").notna().any(axis=1)
    step = min(steps, key=lambda name: (wide.loc[logged, name].isna().any(), _STEPS.index(_last_part(name))))
    names = [name for name in wide if name not in (*steps, "run") and not name.endswith(("__MIN", "__MAX"))]
    require(names, source, "have a column of losses", wide.columns, cure="Export the loss as well.")
    by_column = "run" not in wide and any(" - " in name for name in names)
    rows = []
    for name in names:
        run, dash, metric = name.rpartition(" - ") if by_column else ("", "", name)
        column = wide.filter(items=["run"]).assign(step=wide[step], metric=metric, value=wide[name]).dropna(subset="value")
        if bool(dash) == by_column:
            rows.append(column.assign(run=run) if by_column else column)
    return pd.concat(rows)


def _events(path: Path) -> pd.DataFrame:
    """TensorBoard's event files, one or a folder of them: a metric per tag. Needs the extra ``tensorboard``."""
    try:
        from tensorboard.backend.event_processing import event_accumulator  # pyright: ignore[reportMissingImports]
        from tensorboard.util.tensor_util import make_ndarray  # pyright: ignore[reportMissingImports]
    except ImportError:
        cure = "Run pip install 'bayes_tsl[tensorboard]'."
        raise DataError(f"tensorboard must be installed to read {path.name}; got no such package. {cure}") from None
    everything = {"scalars": 0, "tensors": 0}
    log = event_accumulator.EventAccumulator(str(path), size_guidance=everything, purge_orphaned_data=False).Reload()
    rows = [(tag, event.step, event.value) for tag in log.Tags()["scalars"] for event in log.Scalars(tag)]
    for tag in log.Tags()["tensors"]:  # which tf.summary writes in place of scalars
        values = [(event.step, make_ndarray(event.tensor_proto)) for event in log.Tensors(tag)]
        rows += [(tag, step, value.item()) for step, value in values if value.ndim == 0]
    return pd.DataFrame(rows, columns=["metric", "step", "value"])


def _console(path: Path, *, lines: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    """Lines that a training script prints. One without a step is of those done before the next that has one, or of the last."""
    patterns = [(metric, re.compile(line, re.IGNORECASE)) for metric, line in lines]
    rows = [
        (number, metric, match.groupdict().get("step"), match["value"])
        for number, line in enumerate(_text(path).split("\n"), start=1)
        for metric, pattern in patterns
        if (match := pattern.search(line))
    ]
    frame = pd.DataFrame(rows, columns=["line", "metric", "step", "value"]).set_index("line")
    step = frame["step"].astype(float)
    return frame.assign(step=step.fillna(step.bfill() - 1).fillna(step.ffill()))


FORMATS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "table": _table,
    "wandb-csv": _columns,
    "wandb-jsonl": _objects,
    "trainer-state": _trainer_state,
    "tensorboard": _events,
    **{name: partial(_console, lines=lines) for name, lines in _LINES.items()},
}
