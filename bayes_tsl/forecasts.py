"""A forecast: draws of the future test loss, and what can be asked of them.

*Expected* draws are where the loss curve goes; *observed* draws add the noise of measuring one checkpoint. The interval of the
next measurement is about the observed, the time at which a target is reached about the expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._checks import require_choice, require_number
from bayes_tsl._types import DRAWS, STEP

Kind = Literal["observed", "expected"]


@dataclass(frozen=True, eq=False)
class Forecast:
    """Draws of the mean test loss at steps after an origin, in nats per token.

    Attributes:
        run: name of the run.
        test_set: name of the test set.
        origin: last step that the forecaster has seen.
        expected: draws of the loss curve (chain, draw, step).
        observed: draws of what a checkpoint's evaluation will read (chain, draw, step).
        history: mean losses that the forecaster has seen (step).
        notices: what the user should know, in words.
        converged: False where the chains of its fit did not agree.
        coefficients: draws of gap, rate and floor (chain, draw, step); empty for a forecaster that has none.
        positions: draws of the observed loss at the positions asked for (chain, draw, step, position); else None.
    """

    run: str
    test_set: str
    origin: float
    expected: xr.DataArray = field(repr=False)
    observed: xr.DataArray = field(repr=False)
    history: xr.DataArray = field(repr=False)
    notices: tuple[str, ...] = ()
    coefficients: xr.Dataset = field(default_factory=xr.Dataset, repr=False)
    positions: xr.DataArray | None = field(default=None, repr=False)
    converged: bool = True

    @property
    def steps(self) -> np.ndarray:
        """Steps forecast, increasing (step)."""
        return self.observed[STEP].to_numpy()

    def draws(self, kind: Kind = "observed") -> xr.DataArray:
        """Draws of one kind (chain, draw, step), in nats per token.

        Raises:
            DataError: ``kind`` is neither observed nor expected.
        """
        cure = "Ask for the next measurements, or for the curve that they scatter around."
        require_choice(kind, "kind", ("observed", "expected"), cure=cure)
        return self.observed if kind == "observed" else self.expected

    def quantile(self, q: float | Sequence[float], *, kind: Kind = "observed") -> xr.DataArray:
        """Quantiles of the loss ([quantile,] step), in nats per token."""
        for level in np.atleast_1d(q):
            require_number(level, "quantile", low=0.0, high=1.0, cure="0.5 is the median.")
        return self.draws(kind).quantile(q, dim=DRAWS)

    def interval(self, *, prob: float = 0.9, kind: Kind = "observed") -> xr.Dataset:
        """Central credible interval that holds ``prob`` of the draws: variables ``lower`` and ``upper`` (step).

        Raises:
            DataError: ``prob`` does not lie between 0 and 1.
        """
        require_number(prob, "prob", low=0.0, high=1.0, cure="0.9 is a 90 % interval.")
        tail = 0.5 * (1.0 - prob)
        draws = self.draws(kind)
        bounds = {name: draws.quantile(q, dim=DRAWS, keep_attrs=False) for name, q in (("lower", tail), ("upper", 1 - tail))}
        return xr.Dataset({name: bound.drop_vars("quantile") for name, bound in bounds.items()}, attrs={"prob": prob})

    def prob_below(self, target: float, *, kind: Kind = "observed") -> xr.DataArray:
        """Probability that the loss lies below ``target`` (step)."""
        return (self.draws(kind) < _loss(target)).mean(DRAWS).rename("prob_below")

    def time_to(self, target: float) -> xr.DataArray:
        """Draws of the step at which the expected loss first falls to ``target`` (chain, draw).

        Straight lines join the forecast steps; a draw that starts below is given the first of them. Where a draw does not
        get there within the forecast its step is infinite, so ``np.isinf(...).mean()`` is the probability of that.
        """
        reached = first_below(self.expected.to_numpy(), self.steps, _loss(target))
        return self.expected.isel({STEP: 0}, drop=True).copy(data=reached).rename("time_to")

    def to_frame(self, *, prob: float = 0.9, kind: Kind = "observed") -> pd.DataFrame:
        """One row per step: run, step, mean, median, lower, upper, prob, sd."""
        draws, interval = self.draws(kind), self.interval(prob=prob, kind=kind)
        return pd.DataFrame(
            {
                "run": self.run,
                "step": self.steps,
                "mean": draws.mean(DRAWS).to_numpy(),
                "median": draws.median(DRAWS).to_numpy(),
                "lower": interval["lower"].to_numpy(),
                "upper": interval["upper"].to_numpy(),
                "prob": prob,
                "sd": draws.std(DRAWS, ddof=1).to_numpy(),
            }
        )


def _loss(target: float) -> float:
    require_number(target, "target", low=0.0, cure="It is a loss in nats per token.")
    return float(target)


def first_below(losses: np.ndarray, steps: np.ndarray, target: float) -> np.ndarray:
    """Step at which straight lines through losses (..., step) first fall to ``target``; infinite where they do not (...)."""
    steps, below = np.asarray(steps, float), losses <= target
    at = below.argmax(axis=-1)
    later, earlier = (np.take_along_axis(losses, i[..., None], -1)[..., 0] for i in (at, np.maximum(at - 1, 0)))
    share = np.divide(earlier - target, earlier - later, out=np.ones_like(later), where=earlier > later)
    crossing = steps[np.maximum(at - 1, 0)] * (1.0 - share) + steps[at] * share
    return np.where(below.any(axis=-1), crossing, np.inf)
