"""What happened to a run: where its steps fell back, it was restarted.

Rows beyond the step of a restart are of a branch that was abandoned, and go, as in W&B's rewind and TensorBoard's purge. Where
the steps begin anew it is another run; where they do while the loss goes on, another stage of training or a counter that began
anew. Only a row whose step lies below that of the row before it in its own series is a fall: evaluations may lag behind.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.validation import require, show
from bayes_tsl.data.formats.names import is_loss
from bayes_tsl.data.reading.cells import floats

_COPIED = "{}: rows that repeat earlier ones, value for value, are left out."
_MOST = 200  # falls of one run; more are of processes that write into one file
_SERIES = ("test_set", "position", "metric")
_EARLY = 0.2  # share of the steps so far below which a fall can be a counter that began anew
_WENT_ON = 0.25  # of the way that the loss had come: so near to its last value, it went on
Part = int | str | None


class Fall(NamedTuple):
    """A row whose step lies below the one before.

    Attributes:
        at: number of the row.
        place: its line or row in the file.
        last: step before.
        step: step now.
        kind: ``rewind``, ``new`` (run) or ``stage``, whose loss went on.
    """

    at: int
    place: Any
    last: float
    step: float
    kind: str


def one_history(rows: pd.DataFrame, source: str, part: Part) -> tuple[pd.DataFrame, list[tuple[str, pd.DataFrame]]]:
    """Rows as if every run had gone straight on, and notices, each with the rows that it explains away."""
    kept, notices = [], []
    for _, of_run in rows.groupby("run", sort=False, dropna=False):
        clean, said = _of_run(of_run, source, part)
        kept.append(clean)
        notices += said
    return pd.concat(kept), notices


def _of_run(rows: pd.DataFrame, source: str, part: Part) -> tuple[pd.DataFrame, list[tuple[str, pd.DataFrame]]]:
    copied = _copied(rows, _falls(rows))
    rows, notices = pd.DataFrame(rows.loc[~copied]), []
    if copied.any():
        notices.append((_COPIED.format(source), rows.iloc[:0]))
    falls, begins = _falls(rows), [Fall(0, None, 0.0, 0.0, "new")]
    keep, parts = np.ones(len(rows), bool), np.zeros(len(rows), int)
    for fall, until in zip(falls, [*(fall.at for fall in falls[1:]), len(rows)]):
        begun = begins[-1].at
        kind = _kind(rows.iloc[begun : fall.at], rows.iloc[fall.at :], fall)
        if kind == "rewind":
            gone = _abandoned(rows, begun, fall, until) & keep
            keep &= ~gone
            notices.append((_rewound(source, rows, fall), pd.DataFrame(rows.loc[gone])))
        else:
            parts[fall.at :] += 1
            begins.append(fall._replace(kind=kind))
    clean = pd.DataFrame(rows.loc[keep])
    if len(begins) == 1:
        alone = part is None or str(part) in ("1", "all", "join")
        require(alone, "part", "be 1 where a run goes straight on", part, where=f"in {source}", cure="Leave it out.")
        return clean, notices
    chosen, said = _chosen(clean, parts[keep], begins, source, part)
    return chosen, [*notices, (said, rows.iloc[:0])]


def _copied(rows: pd.DataFrame, falls: list[Fall]) -> NDArray[np.bool_]:
    """Rows after a fall that repeat what was logged before it, value for value and at two steps or more."""
    copied, known = np.zeros(len(rows), bool), {}
    keys = list(zip(_series(rows), rows["step"].to_numpy(float)))
    values = list(map(str, rows["value"]))
    bounds = [0, *(fall.at for fall in falls), len(rows)]
    for start, end in pairwise(bounds):
        shared = [at for at in range(start, end) if keys[at] in known]
        if len({keys[at][1] for at in shared}) > 1 and all(known[keys[at]] == values[at] for at in shared):
            copied[shared] = True
        known.update(zip(keys[start:end], values[start:end]))
    return copied


def _series(rows: pd.DataFrame) -> NDArray[np.int_]:
    """Number of the series of each row: its metric, test set and position."""
    return rows.groupby([name for name in _SERIES if name in rows], sort=False, dropna=False).ngroup().to_numpy()


def _falls(rows: pd.DataFrame) -> list[Fall]:
    """Falls in the order of the file; after one, every series begins anew.

    Rows in no order, or of many processes that write into one file, have none.
    """
    series, steps = _series(rows), rows["step"].to_numpy(float)
    falling = pd.Series(steps).groupby(series).diff().to_numpy() < 0
    if not falling.any() or _without_order(falling, rows):
        return []
    falls: list[Fall] = []
    last: dict[int, float] = {}
    for at in range(len(steps)):
        before = last.get(int(series[at]), -np.inf)
        if steps[at] < before:
            falls.append(Fall(at, rows.index[at], before, float(steps[at]), ""))
            last = {}
        last[int(series[at])] = float(steps[at])
    return falls if len(falls) <= _MOST else []


def _without_order(falling: NDArray[np.bool_], rows: pd.DataFrame) -> bool:
    """Whether rows stand in no order of time: steps fall at more than half of them, or at a third and none comes twice."""
    keys = [name for name in (*_SERIES, "step") if name in rows]
    share = falling.sum() / max(len(rows) - rows.groupby(keys[:-1], dropna=False).ngroups, 1)
    return share > 0.5 or (share > 1 / 3 and not rows.duplicated(keys).any())


def _abandoned(rows: pd.DataFrame, begun: int, fall: Fall, until: int) -> NDArray[np.bool_]:
    """Rows of the part before a fall that lie beyond where it fell to, each series by what it logged again."""
    series = _series(rows)
    steps, place = rows["step"].to_numpy(float), np.arange(len(rows))
    again = steps[fall.at : until]
    start = np.full(series.max() + 1, np.inf)
    np.fmin.at(start, series[fall.at : until], again)
    beyond = (steps > np.fmin.reduce(again)) | (steps >= start[series])
    return beyond & (place >= begun) & (place < fall.at)


def _kind(before: pd.DataFrame, after: pd.DataFrame, fall: Fall) -> str:
    """What a fall was, by where it fell to and by where the losses went on from."""
    steps = before["step"].to_numpy(float)
    if fall.step <= max(steps.min(), _EARLY * steps.max()) and _went_on(before, after):
        return "stage"
    return "new" if fall.step <= steps.min() else "rewind"


def _went_on(before: pd.DataFrame, after: pd.DataFrame) -> bool:
    """Whether a loss went on from where it was last, and not from where it had been at that step."""
    for metric in dict.fromkeys(map(str, after["metric"])):
        old, new = before.loc[before["metric"] == metric], after.loc[after["metric"] == metric].iloc[:1]
        if not is_loss(metric) or len(old) < 2:
            continue
        steps, values = old["step"].to_numpy(float), floats(old["value"])
        order = np.argsort(steps, kind="stable")
        now, there = floats(new["value"])[0], np.interp(new["step"].to_numpy(float)[0], steps[order], values[order])
        return bool(abs(now - values[-1]) < _WENT_ON * abs(there - values[-1]))
    return False


def _fell(source: str, rows: pd.DataFrame, fall: Fall) -> str:
    place = f"{rows.index.name or 'row'} {fall.place}"
    return f"{source}: at {place} the step fell from {show(fall.last)} to {show(fall.step)}"


def _rewound(source: str, rows: pd.DataFrame, fall: Fall) -> str:
    return _fell(source, rows, fall) + ", a restart; {} rows of the branch abandoned there are left out."


def _chosen(
    rows: pd.DataFrame, parts: NDArray[np.int_], begins: list[Fall], source: str, part: Part
) -> tuple[pd.DataFrame, str]:
    """The part of a log that is read: by default the last run, up to where its counter began anew."""
    count, last = len(begins), max(number for number, fall in enumerate(begins) if fall.kind == "new")
    fall = begins[last or 1]
    went_on = "another stage of training, or a counter that began anew, as the loss went on"
    said = f"{_fell(source, rows, fall)}: {'another run' if fall.kind == 'new' else went_on}; "
    if part == "all":
        names = [f"{run}, part {number + 1}" for run, number in zip(rows["run"], parts)]
        return rows.assign(run=names), f"{said}{count} parts are read as runs."
    if part == "join":
        return rows.assign(step=_counted_on(rows["step"].to_numpy(float), parts)), f"{said}steps count on from there."
    choices = [*map(str, range(1, count + 1)), "all", "join"]
    require(part is None or str(part) in choices, "part", f"be one of {', '.join(choices)}", part, where=f"in {source}")
    number = last if part is None else int(part) - 1
    advice = "Choose another with part=1 (--part 1 on the command line), all as runs with 'all', or count on with 'join'."
    said = f"{said}part {number + 1} of {count} is read."
    return pd.DataFrame(rows.loc[parts == number]), f"{said} {advice}" if part is None else said


def _counted_on(steps: NDArray[np.float64], parts: NDArray[np.int_]) -> NDArray[np.float64]:
    """Steps of every part, counted on from the last of the one before."""
    lasts = [steps[parts == number].max() for number in range(parts.max() + 1)]
    return steps + np.cumsum([0.0, *lasts])[parts]
