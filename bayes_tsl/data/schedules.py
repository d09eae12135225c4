"""Ways to make a learning-rate schedule: by shape, from a text or a table, or from another one.

Warm-up rises linearly from zero at step 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import signature
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.validation import numbers, pandas_frame, require, require_choice, require_number, require_type, show
from bayes_tsl.data.schedule import Array, Schedule
from bayes_tsl.errors import DataError, Notice

__all__ = [
    "SHAPES",
    "Schedule",
    "constant",
    "continued",
    "cosine",
    "decayed",
    "from_frame",
    "held",
    "linear",
    "parse",
    "reshaped",
    "splice",
    "unknown",
    "wsd",
]


def __dir__() -> list[str]:
    return __all__


UNKNOWN = "The learning-rate schedule is unknown and treated as constant: a decay ahead is not foreseen."
_CURVE_KNOTS = 512  # straight pieces of a curved decay: relative error of the learning rate below 1e-5
_DECAY_KNOTS = 65  # of a curved decay, closest where it begins
_BENDS = 16  # straight pieces of a bend between two knots
_MISFIT = 0.05  # of the peak by which a plan may miss the last learning rate that was logged
_JUMP = 1e-6  # steps that a jump of the learning rate takes
_ROUNDING = 1e-14  # a curve logged at each of a million steps turns by 5e-12 a step


def constant(*, peak: float, warmup: float = 0.0, total: float = np.inf) -> Schedule:
    """Constant learning rate after the warm-up.

    >>> constant(peak=1e-3, warmup=100).lr([50, 100, 10_000])
    array([0.0005, 0.001 , 0.001 ])
    """
    _check_shape(peak, warmup, total, final=None)
    last = warmup + 1.0 if np.isinf(total) else total
    return _planned("constant", {"peak": peak, "warmup": warmup, "total": total}, [last], [peak])


def linear(*, peak: float, total: float, warmup: float = 0.0, final: float = 0.0) -> Schedule:
    """Straight line from the peak, at the end of warm-up, to ``final`` at ``total``.

    >>> linear(peak=1e-3, warmup=100, total=1100).lr([100, 600, 1100]).tolist()
    [0.001, 0.0005, 0.0]
    """
    _check_shape(peak, warmup, total, final)
    return _planned("linear", {"peak": peak, "warmup": warmup, "total": total, "final": final}, [total], [final])


def cosine(*, peak: float, total: float, warmup: float = 0.0, final: float = 0.0) -> Schedule:
    """Half a cosine from the peak to ``final`` at ``total`` (Loshchilov & Hutter, arXiv 1608.03983, eq. 5).

    >>> round(float(cosine(peak=2e-3, warmup=100, total=2500, final=2e-4).lr(1300)), 6)
    0.0011
    """
    _check_shape(peak, warmup, total, final)
    share = np.linspace(0.0, 1.0, _CURVE_KNOTS + 1)[1:]
    lrs = final + (peak - final) * 0.5 * (1.0 + np.cos(np.pi * share))
    asked = {"peak": peak, "warmup": warmup, "total": total, "final": final}
    return _planned("cosine", asked, warmup + (total - warmup) * share, lrs)


def wsd(
    *, peak: float, total: float, warmup: float = 0.0, final: float = 0.0, decay: float = 0.2, shape: str = "linear"
) -> Schedule:
    """Warm-up, stable, decay: constant, then down to ``final`` over the last ``decay`` share of all steps.

    Args:
        peak: highest learning rate.
        total: last step.
        warmup: step at which the warm-up ends.
        final: learning rate at ``total``.
        decay: share of ``total`` that the decay takes, between 0 and 1.
        shape: ``linear``, or ``exponential`` (straight in log lr, so ``final`` must be positive).

    >>> wsd(peak=1e-3, total=1000, decay=0.2).lr([500, 900, 1000]).round(6).tolist()
    [0.001, 0.0005, 0.0]
    """
    _check_shape(peak, warmup, total, final)
    require_number(decay, "decay", low=0.0, high=1.0, cure="It is the share of all steps spent decaying.")
    require_choice(shape, "shape", ("linear", "exponential"), cure="Choose one of these.")
    start = total * (1.0 - decay)
    start = warmup if np.isclose(start, warmup, rtol=1e-9, atol=0.0) else start  # 400 * (1 - 0.9) is below 40
    require(start >= warmup, "decay", f"begin after the warm-up {show(warmup)}", start, cure="Shorten one of them.")
    asked = {"peak": peak, "warmup": warmup, "total": total, "final": final, "decay": decay, "shape": shape}
    if shape == "linear":
        return _planned("wsd", asked, [start, total], [peak, final])
    require(final > 0, "final", "be positive for an exponential decay", final, cure="Use shape='linear'.")
    share = np.linspace(0.0, 1.0, _CURVE_KNOTS + 1)
    return _planned("wsd", asked, start + (total - start) * share, peak * (final / peak) ** share)


def unknown() -> Schedule:
    """Stands in for an unknown learning rate: constant, and marked as not known.

    >>> unknown().known
    False
    """
    return Schedule("unknown, treated as constant", np.array([0.0, 1.0]), np.ones(2), 1.0, np.inf, known=False)


def assumptions(schedule: Schedule) -> tuple[str, ...]:
    """What a schedule assumes where nobody gave one, as a notice; empty for a schedule that was given.

    >>> assumptions(unknown()) == (UNKNOWN,), assumptions(constant(peak=1e-3))
    (True, ())
    """
    if not schedule.known:
        return (UNKNOWN,)
    if np.isinf(schedule.assumed_after):
        return ()
    at, lr = schedule.assumed_after, f"{schedule.lrs[-1]:.4g}"
    past = f"The learning rate is the one that was logged (column lr) until step {show(at)}"
    return (f"{past}, and assumed constant at {lr} after it: a decay ahead is not foreseen.",)


def as_schedule(value: Schedule | str, *, name: str = "schedule") -> Schedule:
    """A schedule as it is, or the one that a text describes, as ``parse`` reads it.

    Args:
        value: schedule or text.
        name: of the argument, for errors.

    Raises:
        DataError: it is neither, or the text describes no schedule.

    >>> as_schedule("linear:peak=1e-3,total=1000").end
    1000.0
    """
    cure = "Make one with schedules.cosine(...), schedules.parse('cosine:...') or schedules.from_frame(table)."
    value = parse(value) if isinstance(value, str) else value
    require_type(value, name, Schedule, cure=cure)
    return value


def optional_schedule(value: Schedule | str | None) -> Schedule | None:
    """The same, or None where the schedule is unknown or that of the fit."""
    return None if value is None else as_schedule(value)


def from_frame(frame: pd.DataFrame, *, source: str = "schedule") -> Schedule:
    """Schedule from a table with columns ``step`` and ``lr``: rows are joined by straight lines.

    A jump is two rows one step apart. Before the first row a rising line is drawn on backwards, down to zero at most; any
    other starts at the learning rate of the first row.

    Raises:
        DataError: columns are missing, a cell is no finite number, steps repeat, or no learning rate is positive.

    >>> from_frame(pd.DataFrame({"step": [0, 100, 1000], "lr": [0.0, 1e-3, 0.0]})).lr([50, 550]).round(6).tolist()
    [0.0005, 0.0005]
    """
    frame = pandas_frame(frame, source, ("step", "lr"))
    missing = [name for name in ("step", "lr") if name not in frame.columns]
    require(not missing, source, "have columns step and lr", frame.columns, cure=f"Add {show(missing)}.")
    table = pd.DataFrame({name: numbers(frame, name) for name in ("step", "lr")})
    cells = table.to_numpy(float)
    bad = np.asarray(~(np.isfinite(cells) & (cells >= 0)).all(axis=1))
    got = [f"{step}, {lr}" for step, lr in zip(frame["step"][bad], frame["lr"][bad])]
    where = f"in step, lr ({frame.index.name or 'row'} {show(frame.index[bad])})"
    cure = "Drop the row or correct it."
    require(not bad.any(), source, "hold finite numbers, none negative", got, where=where, cure=cure)
    table = table.drop_duplicates().sort_values(by="step")
    require(len(table) > 1, source, "have at least two rows", len(table), cure="Give the first and the last step.")
    repeated = table.loc[table["step"].duplicated(), "step"]
    require(repeated.empty, source, "have one lr per step", repeated, where="more than once", cure="Keep one of each.")
    require(table["lr"].max() > 0, source, "have a positive lr somewhere", table["lr"].max(), cure="Check the unit.")
    steps, lrs = table["step"].to_numpy(float), table["lr"].to_numpy(float)
    if steps[0] > 0:
        slope = max(float(lrs[1] - lrs[0]) / float(steps[1] - steps[0]), 0.0)
        steps, lrs = np.insert(steps, 0, 0.0), np.insert(lrs, 0, max(lrs[0] - slope * steps[0], 0.0))
    keep = _corners(steps, lrs)
    return Schedule(f"table of {len(frame)} rows", steps[keep], lrs[keep], float(lrs.max()), float(steps[-1]))


def splice(past: Schedule | str, future: Schedule | str, *, at: float) -> Schedule:
    """``past`` up to the step ``at``, then ``future``; measured by the peak of ``past``, whose coefficients were fitted.

    Raises:
        DataError: one of them is unknown, or ``past`` ends before ``at``.

    >>> splice(constant(peak=1e-3), constant(peak=5e-4), at=1000).lr([1000, 1001]).tolist()
    [0.001, 0.0005]
    """
    past, future = as_schedule(past, name="past schedule"), as_schedule(future, name="future schedule")
    for name, schedule in (("past schedule", past), ("future schedule", future)):
        require(schedule.known, name, "be known", "unknown", cure="Pass schedule= to fit, and again to forecast.")
    past.require_reaches(at)
    landing = max(at + _JUMP, float(np.nextafter(at, np.inf)))  # so many tokens that a millionth rounds away
    before, after = past.steps < at, future.steps > landing
    steps = np.concatenate([past.steps[before], [at, landing], future.steps[after]])
    lrs = np.concatenate([past.lrs[before], past.lr([at]), future.lr([landing]), future.lrs[after]])
    text = f"{past.text} until {show(at)}, then {future.text}"
    return Schedule(text, steps, lrs, past.peak, future.end)


def held(schedule: Schedule, *, until: float) -> Schedule:
    """``schedule`` with its last learning rate held up to the step ``until``, as for an evaluation after the last rate logged.

    >>> held(from_frame(pd.DataFrame({"step": [0, 100], "lr": [1e-3, 5e-4]})), until=120).lr([100, 120]).tolist()
    [0.0005, 0.0005]
    """
    if until <= schedule.end:
        return schedule
    steps, lrs = np.append(schedule.steps, until), np.append(schedule.lrs, schedule.lrs[-1])
    return replace(schedule, text=f"{schedule.text}, held until {show(until)}", steps=steps, lrs=lrs, end=float(until))


def continued(past: Schedule, spec: str) -> Schedule:
    """``past``, as it was logged, then the plan ``spec``; what that does not say of peak and warm-up is as in the past.

    Warns where the learning rate jumps by more than a twentieth of the peak, so that the plan hardly is the one of the run.

    Raises:
        DataError: ``spec`` is no plan, or ends before the past does.

    >>> past = from_frame(pd.DataFrame({"step": [0, 100, 550], "lr": [0.0, 1e-3, 5e-4]}))
    >>> continued(past, "linear:total=1000").lr([100, 550, 775]).round(6).tolist()
    [0.001, 0.0005, 0.00025]
    """
    name, _, rest = spec.partition(":")
    known = {"peak": float(past.lrs[-1] if name == "constant" else past.peak), "warmup": past.warmup}
    given = [item for item in rest.split(",") if item]
    said = [item.partition("=")[0].strip() for item in given]
    future = parse(f"{name}:{','.join([*given, *(f'{key}={value!r}' for key, value in known.items() if key not in said)])}")
    at, cure = past.end, "Give the last step of the run as total."
    require(future.end > at, "plan", f"go on beyond the last learning rate at {show(at)}", future.end, cure=cure)
    before, after = float(past.lr(at)), float(future.lr(at))
    if abs(after - before) > _MISFIT * past.peak:
        jump = f"The learning rate jumps from {show(before)}, as logged, to {show(after)}, as planned, at step {show(at)}."
        warnings.warn(jump, Notice, stacklevel=2)
    return splice(past, future, at=at)


def reshaped(schedule: Schedule, at: ArrayLike, factor: Callable[[Array], Array], why: str) -> Schedule:
    """A schedule times a ``factor`` of the step that bends between the steps ``at``; measured by the same peak.

    >>> halved = reshaped(constant(peak=1e-3, total=1000), [0, 1000], lambda step: 1.0 - 0.5 * step / 1000, "halved")
    >>> halved.lr([0, 500, 1000]).round(5).tolist()
    [0.001, 0.00075, 0.0005]
    """
    knots = np.unique(np.concatenate([schedule.steps, np.asarray(at, float)]))
    between = np.concatenate([np.linspace(first, last, _BENDS + 1) for first, last in pairwise(knots)])
    steps = np.unique(between) if len(knots) > 1 else knots
    lrs = schedule.lr(steps) * factor(steps)
    keep = _corners(steps, lrs)
    return replace(schedule, text=f"{schedule.text}, {why}", steps=steps[keep], lrs=lrs[keep])


SHAPES: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: 1.0 - x,
    "cosine": lambda x: 0.5 * (1.0 + np.cos(np.pi * x)),
    "1-sqrt": lambda x: 1.0 - np.sqrt(x),
}
"""Shapes of a decay: what is left of it, from 1 to 0, at each share of its steps (1-sqrt: Haegele et al., arXiv 2405.18392)."""


def decayed(plan: Schedule | str, *, start: float, total: float, final: float = 0.0, shape: str = "linear") -> Schedule:
    """``plan`` up to the step ``start``, then a decay to ``final`` at ``total``: what if it decays from there?

    >>> decayed(constant(peak=1e-3), start=1000, total=1500).lr([500, 1250, 1500])
    array([0.001 , 0.0005, 0.    ])
    >>> decayed(constant(peak=1e-3), start=1000, total=1500, shape="1-sqrt").lr([1125, 1500])
    array([0.0005, 0.    ])

    Raises:
        DataError: ``plan`` is unknown or ends before ``start``, ``shape`` is none of ``SHAPES``, or the numbers are no decay.
    """
    require_choice(shape, "shape", SHAPES)
    plan = as_schedule(plan, name="plan")
    require(plan.known, "plan", "be known", "unknown", cure="Give the learning rate of the run so far.")
    require_number(start, "start", low=0.0, cure="It is the step at which the decay begins.")
    require(start < total < np.inf, "total", f"exceed the start {show(start)}", total, cure="It is the last step.")
    require(0 <= final <= plan.peak, "final", f"lie between 0 and the peak {show(plan.peak)}", final, cure="0 is usual.")
    require(start <= plan.end, "start", f"lie before the end of the plan {show(plan.end)}", start, cure="Start earlier.")
    before = plan.steps < start
    share = np.linspace(0.0, 1.0, 2 if shape == "linear" else _DECAY_KNOTS) ** 2
    steps = np.concatenate([plan.steps[before], start + share * (total - start)])
    lrs = np.concatenate([plan.lrs[before], final + (plan.lr([start]) - final) * SHAPES[shape](share)])
    way = "" if shape == "linear" else f"by {shape} "
    text = f"{plan.text} until {show(start)}, then {way}to {show(final)} at {show(total)}"
    return Schedule(text, steps, lrs, plan.peak, float(total))


def parse(spec: str) -> Schedule:
    """Schedule from a text such as ``cosine:peak=2e-3,warmup=100,total=2500,final=2e-4``.

    >>> parse("linear:peak=1e-3,total=1000").end
    1000.0
    """
    makers = {"constant": constant, "linear": linear, "cosine": cosine, "wsd": wsd}
    name, _, rest = spec.partition(":")
    require_choice(name, "schedule", makers, cure="Give e.g. cosine:peak=2e-3,warmup=100,total=2500, or a CSV file.")
    pairs = [item.partition("=") for item in rest.split(",") if item]
    arguments = {key.strip(): value if key.strip() == "shape" else _number(key, value) for key, _, value in pairs}
    try:
        return makers[name](**arguments)
    except TypeError as error:
        reason = str(error).replace(f"{name}() ", "").replace("keyword-only ", "").partition(". Did you mean")[0]
        cure = f"Give {', '.join(signature(makers[name]).parameters)}, as key=value with commas between."
        raise DataError(f"schedule must give the arguments of {name}; got {spec!r}: {reason}. {cure}") from None


def _check_shape(peak: float, warmup: float, total: float, final: float | None) -> None:
    require_number(peak, "peak", low=0.0, cure="It is the highest learning rate.")
    require(0 <= warmup < np.inf, "warmup", "be a number of steps, 0 or more", warmup, cure="0 is none.")
    require(total > warmup, "total", f"exceed the warm-up {show(warmup)}", total, cure="It is the last step.")
    require(final is None or total < np.inf, "total", "be finite for a decay", total, cure="It is the last step.")
    cure = "It is the learning rate at the last step."
    require(final is None or 0 <= final <= peak, "final", f"lie between 0 and the peak {show(peak)}", final, cure=cure)


def _planned(name: str, asked: Mapping[str, float | str], steps: ArrayLike, lrs: ArrayLike) -> Schedule:
    peak, warmup = float(asked["peak"]), float(asked["warmup"])
    start = ([0.0, warmup], [0.0, peak]) if warmup > 0 else ([0.0], [peak])
    knots = np.concatenate([start[0], np.asarray(steps, float)])
    heights = np.concatenate([start[1], np.asarray(lrs, float)])
    fresh = np.append(True, np.diff(knots) > 0)
    arguments = ",".join(f"{key}={value if isinstance(value, str) else f'{value:.10g}'}" for key, value in asked.items())
    return Schedule(f"{name}:{arguments}", knots[fresh], heights[fresh], peak, float(asked["total"]))


def _corners(steps: Array, lrs: Array) -> NDArray[np.bool_]:
    """Knots that carry a change of direction; those on a straight line between their neighbours go."""
    slopes = np.diff(lrs) / np.diff(steps)
    turns = np.abs(np.diff(slopes)) > _ROUNDING * lrs.max() / np.diff(steps)[1:]
    return np.concatenate([[True], turns, [True]])


def _number(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        cure = "Write e.g. peak=2e-3."
        raise DataError(f"{key.strip() or 'argument'} must be a number; got {value!r} in the schedule. {cure}") from None
