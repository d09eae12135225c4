"""Which metrics of a log are its loss: of one split, one quantity in the best of its units, a test set per validation set."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import require, require_choice, show
from bayes_tsl.data.formats import names as words
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.reading.cells import number

SPLITS = {"eval": "test", "train": "train"}  # and what their test set is called
UNITS = ("nats", "bits", "perplexity")
_UNIT_RANK = ("nats", "bits", "perplexity", "bits/byte")


class Choice(NamedTuple):
    """What is read of a log.

    Attributes:
        sets: test set of each metric that is read.
        split: eval or train.
        unit: of the losses.
        notices: what is to be said.
        others: losses of training that are not read, by metric, with their number.
    """

    sets: dict[str, str]
    split: str
    unit: str
    notices: tuple[str, ...]
    others: dict[str, int]


def choose(
    rows: pd.DataFrame, source: str, *, metric: str | None, split: str | None, unit: str | None, table: bool, native: str
) -> Choice:
    """The metrics that are the loss.

    Args:
        rows: scalars.
        source: name of the log.
        metric: name of the loss, or ``all`` those of the split.
        split: eval or train; by default eval where there is any.
        unit: of the losses; by default by their names.
        table: whether the log is a table of losses, which are of evaluation.
        native: unit of the format, where names say none.

    Raises:
        DataError: there is no such metric or split, or several may be the loss.
    """
    splits = {name: _split(name, table) for name in sorted(rows["metric"].unique()) if not _is_beside(name)}
    like = pd.DataFrame(rows.loc[rows["metric"].isin([name for name in splits if words.is_loss(name)])])
    counts = Counter(name for name, cell in zip(like["metric"], like["value"]) if isinstance(number(cell), float))
    losses = {name: of for name, of in splits.items() if name in counts}
    among = splits if metric not in (None, "all") else losses or splits
    if split is not None:
        cure = f"Leave it out, or choose a metric of {_all(splits)}."
        require_choice(split, "split", sorted(set(among.values())), cure=cure)
    if metric not in (None, "all"):
        names = [name for name, of in among.items() if split in (None, of)]
        require_choice(metric, "metric", names, cure=f"Choose one of these of {source}.")
        chosen, split = [str(metric)], splits[str(metric)]
    else:
        split = split or ("eval" if "eval" in among.values() else "train")
        chosen = _best([name for name, of in among.items() if of == split], counts, everything=metric == "all")
    _require_clear(chosen, split, source, metric)
    found = unit or _unit(chosen[0], native)
    notices = _notices(source, chosen, split, found, asked=unit is not None)
    others = {name: counts[name] for name, of in losses.items() if split == "eval" and of == "train"}
    return Choice(_test_sets(chosen, split), split, found, notices, others)


def in_nats(table: LossTable, unit: str, source: str) -> pd.DataFrame:
    """A loss table's frame in nats; the standard error of a perplexity becomes that of its logarithm, to first order."""
    frame = table.frame
    loss, scale = frame["loss"].to_numpy(float), {"nats": 1.0, "bits": math.log(2.0), "bits/byte": 1.0}
    if unit in scale:
        return frame.assign(loss=scale[unit] * loss, loss_se=scale[unit] * frame["loss_se"])
    where = f"at step={show(frame['step'].iloc[int(loss.argmin())])} of {source}"
    require(loss.min() >= 1, unit, "be at least 1", loss.min(), where=where, cure="Give the unit that the log has.")
    return frame.assign(loss=np.log(loss), loss_se=frame["loss_se"] / loss)


def _split(name: str, table: bool) -> str:
    return "eval" if words.is_eval(name) or (table and not words.is_train(name)) else "train"


def _is_beside(name: str) -> bool:
    return words.is_lr(name) or words.is_tokens(name) or name in (words.PER_STEP, "loss_se")


def _best(names: list[str], counts: Mapping[str, int], *, everything: bool) -> list[str]:
    """Of the losses of a split those that are one quantity: no summaries, the best unit, the plainest cross-entropy."""
    names = [name for name in names if not words.is_summary(name)] or names
    names = [name for name in names if not _is_beside_a_better(name, names)] or names
    most = max((counts.get(name, 0) for name in names), default=0)
    names = [name for name in names if counts.get(name, 0) > 1 or most <= 1]
    for rank in (_unit_rank, words.kind_rank):
        best = min(map(rank, names), default=0)
        names = [name for name in names if rank(name) == best]
        if everything and rank is _unit_rank:
            break
    return names


def _unit_rank(name: str) -> int:
    return _UNIT_RANK.index(words.unit_of(name))


def _is_beside_a_better(name: str, names: list[str]) -> bool:
    """Whether Lightning logged a better one: of training the loss of a step, of evaluation that of all batches, the epoch's."""
    ends = ("_step", "_epoch") if words.is_eval(name) else ("_epoch", "_step")
    return name.endswith(ends[0]) and f"{name.removesuffix(ends[0])}{ends[1]}" in names


def _require_clear(names: list[str], split: str, source: str, metric: str | None) -> None:
    """Several validation sets are test sets of one table; several losses of training are a question."""
    choose = "Choose one with metric=..., or --metric on the command line"
    require(len(names) > 0, source, "have a loss, by its name", "none", cure=f"{choose}.")
    clear = len(names) == 1 or metric == "all" or split == "eval"
    rule, cure = "be given where several may be the loss", f"{choose}; 'all' reads each as a test set."
    require(clear, "metric", rule, f"{len(names)} of them", where=f"({_all(names)} in {source})", cure=cure)


def _all(names: object) -> str:
    return ", ".join(map(repr, names))  # pyright: ignore[reportArgumentType, reportCallIssue]


def _unit(name: str, native: str) -> str:
    named = words.unit_of(name)
    return native if named == "nats" else named


def _test_sets(names: list[str], split: str) -> dict[str, str]:
    """Test set of each metric: where there are several, what their names do not share."""
    if len(names) == 1:
        return {names[0]: SPLITS[split]}
    parts = [re.split(r"([/_.\s])", name) for name in names]
    start, end = _shared(parts), _shared([part[::-1] for part in parts])
    middles = ["".join(part[start : max(len(part) - end, start)]).strip("/_. ") or SPLITS[split] for part in parts]
    return dict(zip(names, middles if len(set(middles)) == len(names) else names))


def _shared(parts: list[list[str]]) -> int:
    """How many first parts all names share, one less than the shortest has at most."""
    shared = 0
    for pieces in zip(*parts):
        if len(set(pieces)) > 1:
            break
        shared += 1
    return shared


def _notices(source: str, names: list[str], split: str, unit: str, *, asked: bool) -> tuple[str, ...]:
    notices = []
    if len(names) > 1:
        notices.append(f"{source} has {len(names)} losses of the split {split}; each is a test set.")
    if asked:
        return tuple(notices)
    if unit == "bits/byte":
        notices.append(
            f"{source}: {names[0]} is in bits per byte and left so; a forecast is in that unit, not in nats per token."
        )
    elif unit != "nats":
        notices.append(f"{source}: {names[0]} is in {unit}, by its name or program, and converted to nats.")
    return tuple(notices)
