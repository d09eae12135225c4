"""A learning-rate schedule: what was planned, as straight lines between knots.

A schedule gives the learning rate of a step and the progress ``S(step)`` (its integral over the peak: steps weighted by their
learning rate). Everything else that the model knows of time follows from these two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.display import Facts, shown
from bayes_tsl._common.validation import require, show

_REPEAT_KNOTS = 2048  # pieces of the repeated part of a run, within which worth is straight
_WORN = 15.4  # repeats after which a token is worth 1 / e

Array = NDArray[np.float64]


@shown
@dataclass(frozen=True, eq=False)
class Schedule:
    """A learning rate for every step, by straight lines between knots; make one with the functions of ``schedules``.

    Attributes:
        text: how it was asked for, e.g. ``cosine:peak=0.002,warmup=100,total=2500,final=0.0002``.
        steps: knots (knot), increasing.
        lrs: learning rate at the knots (knot).
        peak: learning rate that all others are measured by: the highest, unless spliced.
        end: last step that the plan covers; infinite for a constant one.
        known: False where nobody gave a schedule and a constant one stands in.
        first_epoch: step at which the training data begin to repeat.
        assumed_after: step after which the last learning rate is assumed to stay, since none was planned.

    >>> from bayes_tsl.data import schedules
    >>> plan = schedules.cosine(peak=1e-3, warmup=100, total=1000)
    >>> plan.lr([50, 100, 1000]).tolist()
    [0.0005, 0.001, 0.0]
    """

    text: str
    steps: Array = field(repr=False)
    lrs: Array = field(repr=False)
    peak: float
    end: float
    known: bool = True
    first_epoch: float = np.inf
    assumed_after: float = np.inf

    def _facts(self) -> Facts:
        known = {"peak": f"{self.peak:.6g}", "last step": show(self.end)} if self.known else {}
        return {"": self.text, **known}

    @property
    def warmup(self) -> float:
        """Step at which the first rise of the learning rate ends; 0 where there is none."""
        falls = np.flatnonzero(np.diff(self.lrs) <= 0)
        return float(self.steps[falls[0]] if falls.size else self.steps[-1]) if self.lrs[0] < self.lrs[1] else 0.0

    def lr(self, step: ArrayLike) -> Array:
        """Learning rate at ``step`` (any shape)."""
        return np.interp(np.asarray(step, float), self.steps, self.lrs)

    def progress(self, step: ArrayLike) -> Array:
        """Learning-rate-weighted progress ``S(step)``, in steps at peak (any shape); exact."""
        step = np.asarray(step, float)
        knot = np.clip(np.searchsorted(self.steps, step, side="right") - 1, 0, None)
        part = (step - self.steps[knot]) * 0.5 * (self.lrs[knot] + self.lr(step)) / self.peak
        return self._progress_at_knots[knot] + part

    def repeats(self, step: ArrayLike) -> Array:
        """Epochs of the training data beyond the first (any shape)."""
        return np.maximum(np.asarray(step, float) / self.first_epoch - 1.0, 0.0)

    def learning(self, step: ArrayLike) -> Array:
        """Progress as the laws count it (any shape): a step on data seen ``r`` times before counts ``exp(-r / 15.4)``.

        So do repeated tokens in Muennighoff et al. (arXiv 2305.16264, eq. 5).
        """
        step = np.asarray(step, float)
        last = float(step.max(initial=0.0))
        if last <= self.first_epoch:
            return self.progress(step)
        knots = self.steps[(self.steps > self.first_epoch) & (self.steps < last)]
        grid = np.unique(np.concatenate([np.linspace(self.first_epoch, last, _REPEAT_KNOTS), knots]))
        worth = np.exp(-self.repeats(grid) / _WORN)
        gained = np.diff(self.progress(grid)) * 0.5 * (worth[1:] + worth[:-1])
        beyond = np.interp(step, grid, np.concatenate([[0.0], np.cumsum(gained)]))
        return self.progress(np.minimum(step, self.first_epoch)) + beyond

    def last_step(self, origin: float) -> float:
        """Last step that the plan covers, or ``origin`` where it has no end."""
        return self.end if np.isfinite(self.end) else origin

    def require_reaches(self, step: float) -> None:
        """Raise ``DataError`` if ``step`` lies beyond the end of the plan."""
        cure = "Give a schedule for the whole forecast, or forecast fewer steps."
        require(step <= self.end, "schedule", f"reach the last forecast step {show(step)}", self.end, cure=cure)

    @cached_property
    def _progress_at_knots(self) -> Array:
        pieces = np.diff(self.steps) * 0.5 * (self.lrs[1:] + self.lrs[:-1]) / self.peak
        return np.concatenate([[0.0], np.cumsum(pieces)])
