"""Signs in the fitted past that the model does not describe a run: each named, with what to do.

An interval is right for runs that the model describes. What contradicts it is often there before the forecast begins: an
evaluation that has stalled, a loss that rises, a jump where the data changed, or a learning-rate response, curvature or drift
that no run has had which priors were learned from, as a wrong schedule asks for. Limits were set on the runs of
``benchmarks.public.families`` so that at most one sound run in twenty is warned of (docs/modelling.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.validation import show
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.model.checkpoints import MIN_CHECKPOINTS, after_warmup
from bayes_tsl.model.early_phase import noise
from bayes_tsl.model.priors import ABSOLUTE, Priors

Array = NDArray[np.float64]

OTHERWISE = 0.1  # relative departure of a learning rate from its plan, and share of checkpoints, beyond which it is another
STALE = 4  # last checkpoints with one value
FINE = 0.25  # resolution of the losses, in usual differences, at which equal values are no matter of rounding
WINDOWS = (4, 6, 10)  # last checkpoints in which a rise is looked for
RISE = 4.0  # standard errors by which it is sure
SIDE = 3  # checkpoints on either side of a jump
JUMP = 10.0  # robust standard deviations by which it stands out
SUDDEN = 0.5  # share of a jump that one interval makes
COARSE = 3.0  # resolutions of the losses that a jump exceeds
LATE = 0.5  # share of the past before which a jump no longer matters
STEADY = 0.1  # change of the log learning rate between checkpoints that leaves no jump
BENT = 1.0  # standard deviations of the prior of drift beyond which a measured excess loss makes intervals too narrow
UNUSUAL = {"heat": 2.0, "floor_curvature": 2.0, "drift_scale": 2.0}  # standard deviations of the prior


def misfits(
    losses: LossTable, schedule: Schedule, priors: Priors, drawn: Mapping[str, Any], *, measured: bool = False
) -> tuple[str, ...]:
    """What contradicts the model, in words; nothing for a sound run.

    Args:
        losses: of the run, as far as they were fitted.
        schedule: of the run, a batch ramp included.
        priors: of the fit.
        drawn: its parameters (chain, draw).
        measured: whether branches or averaged weights were fitted beside them.
    """
    means = after_warmup(losses, schedule)[0].mean_losses()
    step, loss = means.index.to_numpy(float), means.to_numpy(float)
    late = bent(priors, drawn) if measured else ""
    found = (stale(step, loss), rising(step, loss, schedule), jump(step, loss, schedule), late, *unusual(priors, drawn))
    return tuple(notice for notice in found if notice)


def stale(step: Array, loss: Array) -> str:
    """An evaluation that repeats its last value.

    >>> stale(np.arange(8.0), np.array([5.0, 4.6, 4.3, 4.11, 4.0, 4.0, 4.0, 4.0]))[:46]
    'The loss is the same (4) at the last 4 checkpo'
    """
    changed = np.flatnonzero(loss != loss[-1])
    equal = len(loss) - 1 - (changed[-1] if changed.size else -1)
    moves = np.abs(np.diff(loss[: len(loss) - equal + 1]))
    if equal < STALE or moves.size == 0 or resolution(loss) >= FINE * np.median(moves):
        return ""
    since = show(step[-equal])
    return f"The loss is the same ({show(loss[-1])}) at the last {equal} checkpoints, since step {since}: check the evaluation."


def resolution(loss: Array) -> float:
    """Last decimal that the losses have; 0 where they are not rounded.

    >>> resolution(np.array([3.1, 3.25]))
    0.01
    """
    return next((10.0**-digits for digits in range(7) if np.allclose(loss, loss.round(digits), rtol=0.0, atol=1e-9)), 0.0)


def planned_otherwise(losses: LossTable, schedule: Schedule) -> tuple[str, ...]:
    """A column lr that does not follow the schedule; up to a factor, where one of the two is in a unit of its own.

    >>> import bayes_tsl as bt
    >>> table = bt.LossTable.from_frame(pd.DataFrame({"step": range(100, 1100, 100), "loss": 3.0, "lr": 1e-3}))
    >>> planned_otherwise(table, bt.schedules.linear(peak=1e-3, total=1000))[0][:52]
    'The column lr does not follow the schedule: at step '
    """
    logged = losses.frame.dropna(subset="lr").groupby("step")["lr"].first() if "lr" in losses.frame else pd.Series(dtype=float)
    step, planned = logged.index.to_numpy(float), schedule.lr(logged.index.to_numpy(float))
    used = (planned > 0) & (logged.to_numpy(float) > 0)
    if not schedule.known or used.sum() < MIN_CHECKPOINTS:
        return ()
    ratio = logged.to_numpy(float)[used] / planned[used]
    alike = all(ABSOLUTE[0] <= peak <= ABSOLUTE[1] for peak in (schedule.peak, float(logged.to_numpy(float).max())))
    off = np.abs(ratio / (1.0 if alike else np.median(ratio)) - 1.0)
    if np.mean(off > OTHERWISE) < OTHERWISE:
        return ()
    worst = int(np.argmax(off))
    at, one, other = step[used][worst], logged.to_numpy(float)[used][worst], planned[used][worst]
    worst_row = f"at step {show(at)} it is {one:.3g}, planned was {other:.3g}"
    return (f"The column lr does not follow the schedule: {worst_row}. Check the schedule, or take --schedule column.",)


def rising(step: Array, loss: Array, schedule: Schedule) -> str:
    """A loss that has been rising although the learning rate has not.

    >>> from bayes_tsl.data import schedules
    >>> loss = 3.0 + np.array([0.4, 0.3, 0.22, 0.17, 0.12, 0.1, 0.16, 0.23, 0.31, 0.4])
    >>> rising(np.arange(1.0, 11.0), loss, schedules.constant(peak=1e-3))
    'The loss has risen by 0.3 nats over the last 6 checkpoints: the run may be diverging, which no law foresees.'
    """
    scale = max(noise(loss), 1e-6)
    found = []
    for size in WINDOWS:
        if len(loss) < size or schedule.lr(step[-1]) > 1.001 * schedule.lr(step[-size]):
            continue
        time = np.linspace(-1.0, 1.0, size)
        rise, error = 2.0 * time @ loss[-size:] / (time @ time), 2.0 * scale / np.sqrt(time @ time)
        if rise > RISE * error:
            found.append((float(rise), size))
    if not found:
        return ""
    rise, size = max(found)
    over = f"over the last {size} checkpoints"
    return f"The loss has risen by {rise:.2g} nats {over}: the run may be diverging, which no law foresees."


def jump(step: Array, loss: Array, schedule: Schedule) -> str:
    """A jump between two checkpoints that stays, where the learning rate did not change."""
    if len(loss) < 4 * SIDE:
        return ""
    at, time = np.arange(SIDE, len(loss) - SIDE + 1), np.log(schedule.progress(step))
    near, wide = (np.array([_jump(time, loss, int(i), side) for i in at]) for side in (SIDE, 3 * SIDE))
    moves, moved = np.diff(loss), np.abs(np.diff(np.log(np.maximum(schedule.lr(step), 1e-3 * schedule.peak))))
    sudden = np.abs(moves[at - 1] - [np.median(moves[max(i - SIDE, 0) : i + 2]) for i in at]) > SUDDEN * np.abs(near)
    stays = (wide * np.sign(near) > SUDDEN * np.abs(near)) & (np.abs(near) > COARSE * resolution(loss))
    steady = np.array([moved[max(i - 1 - SIDE, 0) : i + 1].max() < STEADY for i in at])
    scale = max(1.4826 * float(np.median(np.abs(near - np.median(near)))), noise(loss), 1e-6)
    late = step[at] > LATE * step[-1]
    off = np.where(sudden & stays & steady & late, np.abs(near - np.median(near)), 0.0) / scale
    most = int(np.argmax(off))
    if off[most] < JUMP:
        return ""
    where = f"between steps {show(step[at[most] - 1])} and {show(step[at[most]])}"
    return f"The loss jumps by {near[most]:+.2g} nats {where} and stays: if data or settings changed there, fit from there on."


def _jump(time: Array, loss: Array, i: int, side: int) -> float:
    """Median after less median before, each carried to the middle along the slope that both sides share."""
    before, after = slice(max(i - side, 0), i), slice(i, i + side)
    slope = np.median([np.polyfit(time[part], loss[part], 1)[0] for part in (before, after)])
    flat = loss - slope * (time - 0.5 * (time[i - 1] + time[i]))
    return float(np.median(flat[after]) - np.median(flat[before]))


def surprise(priors: Priors, drawn: Mapping[str, Any], name: str) -> float:
    """Posterior mean of a parameter, in standard deviations of its prior from its centre."""
    prior, values = getattr(priors, name), np.asarray(drawn[name])
    if prior.family == "fixed":
        return 0.0
    return float(prior.standardised(values).mean())


def bent(priors: Priors, drawn: Mapping[str, Any]) -> str:
    """A curve that departs from its law, while branches or averaged weights measure the excess loss alone."""
    off = surprise(priors, drawn, "drift_scale")
    if off <= BENT:
        return ""
    departs = "The curve departs from its law more than those of other runs"
    size = f"drift_scale lies {off:.1f} prior standard deviations above"
    alone = "branches and averaged weights measure the excess loss alone, so that intervals are too narrow"
    return f"{departs} ({size}): {alone}. Fit finished runs of its kind beside it."


def unusual(priors: Priors, drawn: Mapping[str, Any]) -> tuple[str, ...]:
    """Parameters that no run has had which priors were learned from."""
    cure = "check schedule, unit of steps and losses."
    notices = []
    for name, limit in UNUSUAL.items():
        off = surprise(priors, drawn, name)
        if off > limit or (off < -limit and name != "drift_scale"):
            side = "above" if off > 0 else "below"
            notices.append(f"{name} lies {abs(off):.1f} prior standard deviations {side} what such runs have: {cure}")
    return tuple(notices)
