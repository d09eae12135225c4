"""Which measured checkpoints are fitted: past warm-up and any early bend, and averaged down to a size that stays fast."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.validation import require, show
from bayes_tsl.data.branches import Branch
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.errors import DataError
from bayes_tsl.model.early_phase import after_bend

MAX_CHECKPOINTS = 48
MAX_BRANCH_CHECKPOINTS = 16
MIN_CHECKPOINTS = 4
FEW_CHECKPOINTS = 8
MOST_NATS = 14.0  # loss of a uniform guess among a million tokens: above this it is no loss per token
SKIP_WARMUPS = 2.0

Array = NDArray[np.float64]


class Measured(NamedTuple):
    """Checkpoints of one run that can be fitted (step), averaged where there are many, and notices about them."""

    origin: float
    step: Array
    values: pd.DataFrame
    mean_loss: Array
    number: Array
    by_position: bool
    notices: tuple[str, ...]


def measured(losses: LossTable, schedule: Schedule, *, run: str | None) -> Measured:
    """What can be fitted of a run; an error names one of several."""
    if run is not None:
        try:
            return measured(losses, schedule, run=None)
        except DataError as error:
            raise DataError(f"{error} (run {run!r})") from None
    origin, last = float(losses.curve().index[-1]), float(losses.mean_losses().iloc[-1])
    cure = "Take the logarithm of a perplexity; divide a sum by its tokens."
    require(last <= MOST_NATS, "loss", f"be in nats per token, at most {MOST_NATS:g}", last, where="at the end", cure=cure)
    schedule.require_reaches(origin)
    kept, notices = after_warmup(losses, schedule)
    curve = kept.curve()
    step, values, mean_loss, number = _average(curve, kept.mean_losses(), schedule)
    averaged = (f"{len(curve)} checkpoints are averaged to {len(step)}, evenly in log progress.",)
    few = (f"Only {len(curve)} checkpoints are fitted: fewer than {FEW_CHECKPOINTS} hardly show whether the law holds.",)
    notices += (averaged if len(step) < len(curve) else ()) + (few if len(curve) < FEW_CHECKPOINTS else ())
    return Measured(origin, step, pd.DataFrame(values, columns=curve.columns), mean_loss, number, kept.by_position, notices)


def measured_branch(losses: LossTable, branch: Branch) -> Measured:
    """What can be fitted of a branch: what it has measured since it left its parent."""
    own = losses.select(run=branch.run).after(branch.step)
    curve, origin = own.curve(), float(own.steps[-1])
    branch.schedule.require_reaches(origin)
    step, values, mean_loss, number = _average(curve, own.mean_losses(), branch.schedule, most=MAX_BRANCH_CHECKPOINTS)
    averaged = (f"{len(curve)} checkpoints of branch {branch.run!r} are averaged to {len(step)}, evenly in log progress.",)
    notices = averaged if len(step) < len(curve) else ()
    return Measured(origin, step, pd.DataFrame(values, columns=curve.columns), mean_loss, number, own.by_position, notices)


def measured_averages(losses: LossTable, trunk: Measured, schedule: Schedule, *, window: float, most: int) -> Measured | None:
    """What can be fitted of weights averaged over a window: those whose average begins after what is left out of the run.

    None if there are none. ``losses`` are of the averaged weights; ``most`` checkpoints are kept.
    """
    first = float(trunk.step[0])
    usable = losses.steps[(losses.steps - window >= first) & (losses.steps <= trunk.origin)]
    if not usable.size:
        return None
    own = losses.after(np.nextafter(usable[0], 0.0)).until(trunk.origin)
    curve = own.curve()
    step, values, mean_loss, number = _average(curve, own.mean_losses(), schedule, most=most)
    made = pd.DataFrame(values, columns=curve.columns)
    return Measured(trunk.origin, step, made, mean_loss, number, own.by_position, ())


def after_warmup(losses: LossTable, schedule: Schedule) -> tuple[LossTable, tuple[str, ...]]:
    """Losses that can be fitted: past twice the warm-up and any early bend, where the laws begin to hold; and notices.

    Where twice the warm-up leaves fewer than ``FEW_CHECKPOINTS``, those past the warm-up itself.
    """
    step, first, when = losses.steps, SKIP_WARMUPS * schedule.warmup, "twice the warm-up"
    if schedule.warmup > 0 and np.sum(step >= first) < FEW_CHECKPOINTS:
        first, when = schedule.warmup, "the end of the warm-up (few follow)"
    dropped = int(np.sum((step < first) | (schedule.progress(step) <= 0)))
    kept, rule = len(step) - dropped, f"hold {MIN_CHECKPOINTS} usable checkpoints"
    cure = f"Fit later in the run; steps below {show(first)}, {when}, are left out."
    require(kept >= MIN_CHECKPOINTS, "losses", rule, kept, where=f"of {len(step)} checkpoints", cure=cure)
    why = f"before step {show(first)}, {when}" if first > 0 else "without progress (step 0)"
    notice = f"{dropped} of {len(step)} checkpoints are left out: {why}."
    warm, notices = (losses.after(step[dropped - 1]), (notice,)) if dropped else (losses, ())
    made, more = _after_bend(warm, schedule)
    return made, notices + more


def _after_bend(losses: LossTable, schedule: Schedule) -> tuple[LossTable, tuple[str, ...]]:
    """Losses past an early bend, if enough follow it; and a notice of it."""
    means = losses.mean_losses()
    step = means.index.to_numpy(float)
    first = after_bend(step, means.to_numpy(float), schedule) if schedule.known else 0
    if first == 0:
        return losses, ()
    at, fell = show(step[first]), "the loss fell ever faster, which the laws do not describe"
    if len(step) - first < MIN_CHECKPOINTS:
        return losses, (f"Until step {at} {fell}, and too few checkpoints follow: forecast again later.",)
    return losses.after(step[first - 1]), (f"{first} more checkpoints are left out, before step {at}: {fell}.",)


def _average(
    curve: pd.DataFrame, means: pd.Series, schedule: Schedule, *, most: int = MAX_CHECKPOINTS
) -> tuple[Array, Array, Array, Array]:
    """Average checkpoints within cells of equal width in log progress: (step), (step, position), (step), (step)."""
    step = curve.index.to_numpy(float)
    u = np.log(schedule.progress(step))
    edges = np.linspace(u[0], u[-1], most + 1)[1:-1]
    group = np.searchsorted(edges, u) if len(step) > most else np.arange(len(step))
    cells, count = np.unique(group, return_counts=True)
    steps = np.array([step[group == cell].mean() for cell in cells])
    values, mean_loss = (np.asarray(each.groupby(group).mean(), float) for each in (curve, means))
    return steps, values, mean_loss, count.astype(float)
