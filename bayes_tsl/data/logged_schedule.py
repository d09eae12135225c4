"""Learning rates as they were logged beside the losses, and what is assumed after them where no schedule is given."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import require, show
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedule import Schedule
from bayes_tsl.data.schedules import from_frame, held, unknown
from bayes_tsl.errors import DataError, Notice

_BEYOND = 0.05  # of the last step by which evaluations may go on after the last learning rate


def logged_schedule(losses: LossTable, *, until: float = np.inf) -> Schedule:
    """Learning rates of one run as they were logged.

    Args:
        losses: of one run, with learning rates.
        until: last step whose learning rate is read.

    Raises:
        DataError: fewer than two steps have a learning rate, a step has several, or none is positive.

    >>> losses = LossTable.from_frame(pd.DataFrame({"step": [100, 200], "loss": [5.1, 4.7], "lr": [1e-3, 5e-4]}))
    >>> logged_schedule(losses).lr([100, 150]).tolist()
    [0.001, 0.00075]
    """
    rates = losses.frame.dropna(subset="lr") if losses.rates is None else losses.rates
    return from_frame(pd.DataFrame(rates.loc[rates["step"] <= until]), source="column lr")


def held_to_last(logged: Schedule, losses: LossTable) -> Schedule:
    """Learning rates that were logged, the last of them kept for evaluations just after it."""
    last, spacing = float(losses.steps[-1]), float(np.median(np.diff(losses.steps))) if len(losses.steps) > 1 else 0.0
    just = last - logged.end <= max(spacing, _BEYOND * last)
    return held(logged, until=last) if just else logged


def schedule_so_far(losses: LossTable) -> Schedule:
    """The schedule of one run for which none is given: learning rates as logged until its last loss, then the last of them.

    It is unknown where no learning rates were logged, or, with a notice, where they cannot be used.

    >>> losses = LossTable.from_frame(pd.DataFrame({"step": [100, 200], "loss": [5.1, 4.7], "lr": [1e-3, 5e-4]}))
    >>> schedule_so_far(losses).text
    'column lr until 200, then constant at 0.0005 (assumed)'
    """
    if losses.rates is None and not bool(losses.frame["lr"].notna().any()):
        return unknown()
    last = float(losses.steps[-1])
    try:
        past = held_to_last(logged_schedule(losses, until=last), losses)
        require(past.end >= last, "column lr", f"reach the last loss at step {show(last)}", past.end)
    except DataError as error:
        warnings.warn(f"Learning rates were logged and are not used: {error}", Notice, stacklevel=2)
        return unknown()
    text = f"column lr until {show(last)}, then constant at {past.lrs[-1]:.4g} (assumed)"
    return replace(past, text=text, end=np.inf, assumed_after=last)
