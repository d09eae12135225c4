"""The plan in a PyTorch scheduler: a copy of it is stepped to the end of training, on learning rates of its own."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.validation import require, require_number, show
from bayes_tsl.data import schedules
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.errors import DataError

CURE = "Give schedule=, e.g. one of schedules.cosine(...)."
DIGITS = 9  # of the peak: processors differ in the last digits of a cosine, and a run that goes on must find its plan again
NEAR = 1e-5  # of the peak: as far as straight lines between knots may be from the learning rate

Array = NDArray[np.float64]


def from_scheduler(scheduler: Any, *, total: int, every: int = 1) -> Schedule:
    """Planned learning rate of a whole run, from its PyTorch scheduler; neither this nor its optimizer is touched.

    Args:
        scheduler: of torch.optim.lr_scheduler or transformers, fresh or in the middle of the run. Of several parameter groups
            the first counts.
        total: steps of the optimizer in the whole run.
        every: steps of the optimizer to one of the scheduler.

    Returns:
        Straight lines between as few steps as keep within 1e-5 of the peak. A million steps take about three seconds.

    Raises:
        DataError: the scheduler cannot be stepped ahead (it waits for a loss, or has no optimizer), or its past cannot be
            found again.

    Example::

        from torch.optim.lr_scheduler import CosineAnnealingLR

        scheduler = CosineAnnealingLR(optimizer, T_max=10_000)
        monitor = bt.Monitor(schedule=from_scheduler(scheduler, total=10_000), folder="monitored")
    """
    require_number(total, "total", low=0.0, cure="It is the number of steps of the whole run.")
    require_number(every, "every", low=0.0, cure="1 is a step of the scheduler at each of the optimizer.")
    own = _stepped(scheduler, -(-int(total) // int(every)))
    _require_past(scheduler, own)
    lrs = np.repeat(own, int(every))[: int(total) + 1]
    lrs = np.round(lrs / lrs.max(), DIGITS) * lrs.max() if lrs.max() > 0 else lrs
    knots = _knots(lrs, near=NEAR * lrs.max())
    plan = schedules.from_frame(pd.DataFrame({"step": knots, "lr": lrs[knots]}), source="scheduler")
    return replace(plan, text=f"{type(scheduler).__name__} of {int(total)} steps")


def _stepped(scheduler: Any, steps: int) -> Array:
    """Learning rates of a copy, from its first step on (step)."""
    try:
        optimizer = scheduler.optimizer
        groups = [
            copy.deepcopy({name: of for name, of in group.items() if name != "params"}) for group in optimizer.param_groups
        ]
        for group in groups:
            group["lr"] = group.get("initial_lr", group["lr"])
        apart = copy.deepcopy(scheduler, {id(optimizer): SimpleNamespace(param_groups=groups, step=lambda: None)})
        lrs = np.empty(steps + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that no optimizer was stepped before
            _restart(apart)
            for step in range(steps):
                lrs[step] = groups[0]["lr"]
                apart.step()
        lrs[steps] = groups[0]["lr"]
        return lrs
    except Exception as error:
        rule = "be one that can be stepped ahead without the training"
        raise DataError(f"scheduler must {rule}; got {type(scheduler).__name__} ({error}). {CURE}") from None


def _restart(scheduler: Any) -> None:
    """Set back to the first step, as its constructor left it."""
    parts = getattr(scheduler, "_schedulers", None)
    if parts is None:
        scheduler.last_epoch = -1
        getattr(scheduler, "_initial_step", scheduler.step)()
        return
    scheduler.last_epoch = 0
    for part in parts[:1] if hasattr(scheduler, "_milestones") else parts:  # one after the other, or all at once
        _restart(part)


def _require_past(scheduler: Any, own: Array) -> None:
    """Raise ``DataError`` unless the copy had the learning rate of now when it came past."""
    now = _steps_of(scheduler)
    rate = float(scheduler.optimizer.param_groups[0]["lr"])
    require(0 <= now < len(own), "scheduler", f"be within its {len(own) - 1} steps", now, cure=CURE)
    agrees = np.isclose(own[now], rate, rtol=1e-5, atol=1e-9 * own.max())
    require(agrees, "scheduler", f"be at {show(own[now])} after {now} steps", rate, where="in the optimizer", cure=CURE)


def _steps_of(scheduler: Any) -> int:
    """Steps so far."""
    if hasattr(scheduler, "last_epoch"):
        return int(scheduler.last_epoch)
    return _steps_of(scheduler._schedulers[0])


def _knots(lrs: Array, *, near: float) -> list[int]:
    """Steps whose joining lines stay near all learning rates (Douglas and Peucker 1973), the first and the last among them."""
    kept, left = {0, len(lrs) - 1}, [(0, len(lrs) - 1)]
    while left:
        first, last = left.pop()
        line = np.linspace(lrs[first], lrs[last], last - first + 1)
        off = np.abs(lrs[first : last + 1] - line)
        if off.max() > near:
            worst = first + int(off.argmax())
            kept.add(worst)
            left += [(first, worst), (worst, last)]
    return sorted(kept)
