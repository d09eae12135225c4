"""How often intervals covered the truth on runs like one at hand: the record of held-out public runs, by kind of schedule."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np

from bayes_tsl._common.validation import show
from bayes_tsl.data.schedule import Schedule
from bayes_tsl.inference.posterior import Fit

HELD_OUT = "held_out.json"  # written by benchmarks/tables.py
_FLAT, _FALLEN, _ALIKE = 0.95, 0.9, 0.05  # shares of the peak
_GRID = 200


def schedule_kind(schedule: Schedule, *, end: float) -> str:
    """What kind of schedule this is up to its ``end``, by its learning rates after the warm-up: constant, wsd, cosine or other.

    >>> from bayes_tsl.data import schedules
    >>> [schedule_kind(one, end=1000) for one in (schedules.constant(peak=1e-3), schedules.cosine(peak=1e-3, total=1000))]
    ['constant', 'cosine']
    >>> schedule_kind(schedules.wsd(peak=1e-3, total=1000, decay=0.2), end=1000)
    'wsd'
    """
    if not schedule.known:
        return "unknown"
    share = np.linspace(0.0, 1.0, _GRID)
    rates = schedule.lr(schedule.warmup + share * (end - schedule.warmup)) / schedule.peak
    if rates.min() > _FLAT:
        return "constant"
    if np.mean(rates > _FLAT) >= 0.5 and rates[-1] < _FALLEN:
        return "wsd"
    cosine = rates[-1] + (1.0 - rates[-1]) * 0.5 * (1.0 + np.cos(np.pi * share))
    return "cosine" if np.abs(rates - cosine).max() < _ALIKE else "other"


def coverage_text(fit: Fit, *, horizon: float, law: str) -> str:
    """What is known of the coverage of such intervals, and in what the run differs from those that were measured."""
    record = json.loads((files("bayes_tsl.reporting") / HELD_OUT).read_text(encoding="utf-8"))
    if law != record["law"]:
        return f"The coverage of intervals of the law {law!r} has not been measured on public runs."
    kind, seen = schedule_kind(fit.schedule, end=horizon), fit.origin / horizon
    unlike = _differences(fit, kind, horizon, record)
    if unlike:
        near = _nearest(record["cells"], seen)
        what = f"{record['kind']}; {_kinds(record)} schedules"
        return f"No runs like this one have been measured: {'; '.join(unlike)}. For comparison, {_record_of(near, what)}"
    near = _nearest(record["schedules"][kind], seen)
    return f"Runs like this one: {_record_of(near, record['kind'] + f'; {kind} schedules')}"


def _nearest(cells: list[dict[str, Any]], seen: float) -> dict[str, Any]:
    return min(cells, key=lambda cell: abs(cell["prefix"] - seen))


def _record_of(cell: dict[str, Any], kind: str) -> str:
    runs = f"on {cell['runs']} held-out public runs ({kind}), observed to {cell['prefix']:.0%}"
    covered = f"90% intervals covered {cell['coverage_90']:.0%} of the later losses"
    return f"{runs}, {covered}, and the mean error of the last loss was {cell['error']:.4f} nats."


def _differences(fit: Fit, kind: str, horizon: float, record: dict[str, Any]) -> list[str]:
    """In what a run lies outside of the record, in words."""
    has = {"steps": horizon, "parameters": fit.recipe.parameters, "peak": fit.schedule.peak if fit.schedule.known else None}
    names = {"steps": "length in steps", "parameters": "parameters", "peak": "peak learning rate"}
    unlike = []
    for name, (low, high) in record["ranges"].items():
        value = has[name]
        if value is not None and not low <= value <= high:
            unlike.append(f"its {names[name]} is {value:.4g}, measured were {low:.4g} to {high:.4g}")
    if kind not in record["schedules"]:
        unlike.append(f"its schedule is of the kind {kind!r}, measured were {_kinds(record)}")
    if not fit.recipe.uses_adam:
        unlike.append(f"its optimizer is {fit.recipe.optimizer}, measured was AdamW")
    return unlike


def _kinds(record: dict[str, Any]) -> str:
    return show(list(record["schedules"])).replace("'", "")
