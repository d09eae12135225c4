"""Which run ends lowest, how surely, and what choosing wrongly would cost.

All runs are compared draw by draw, so what they share in a fit of them together does not blur the difference between them.
Losses are *expected*: the noise of one evaluation is nothing that a choice could be right about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._common.dims import CHAIN, DRAW, DRAWS, RUN, STEP
from bayes_tsl._common.display import Facts, cut, estimate, shown, warned
from bayes_tsl._common.intervals import draws_last, evenly, interval_along, require_prob
from bayes_tsl._common.validation import percent, require, require_choice, show
from bayes_tsl.forecasting.distribution import Forecast, side_by_side


@shown
@dataclass(frozen=True, eq=False)
class Comparison:
    """Several runs at one step, draw by draw.

    Attributes:
        losses: draws of the expected loss (chain, draw, run).  [nats/token]
        step: where they are compared.
        test_set: name of the test set.
        notices: what the user should know, in words.
        converged: False where the chains of the fit did not agree.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> from dataclasses import replace
    >>> one = bt.forecast(example_fit(), steps=[2500])
    >>> comparison = bt.compare_runs([one, replace(one, run="worse", expected=one.expected + 0.1)])
    >>> comparison.prob_lowest().to_dict()
    {'mix50_cosine': 1.0, 'worse': 0.0}
    """

    losses: xr.DataArray = field(repr=False)
    step: float
    test_set: str
    notices: tuple[str, ...] = ()
    converged: bool = True

    def _facts(self) -> Facts:
        draws = dict(zip(self.runs, draws_last(self.losses)))
        rows = {
            f"run {row['run']}": f"{estimate(draws[row['run']])}; {_odds(row['prob_lowest'], row['regret'])}"
            for row in self.to_frame().to_dict("records")
        }
        title = f"{len(self.runs)} runs at step {show(self.step)} on {self.test_set}"
        return {"": title, **cut(rows), **warned(self.notices, converged=self.converged)}

    @property
    def runs(self) -> list[str]:
        """Names of the runs."""
        return [str(run) for run in self.losses[RUN].to_numpy()]

    def prob_lowest(self) -> pd.Series:
        """Probability that a run is the lowest of all (run); a tie counts in equal parts."""
        lowest = self.losses == self.losses.min(RUN)
        return (lowest / lowest.sum(RUN)).mean(DRAWS).to_series().rename("prob_lowest")

    def prob_below(self) -> pd.DataFrame:
        """Probability that the run of the row ends below the run of the column (run, run); blank on the diagonal."""
        draws = draws_last(self.losses)
        below = (draws[:, None] < draws[None]).mean(axis=-1) + 0.5 * (draws[:, None] == draws[None]).mean(axis=-1)
        np.fill_diagonal(below, np.nan)
        return pd.DataFrame(below, pd.Index(self.runs, name=RUN), pd.Index(self.runs, name="below"))

    def difference(self, run: str, other: str) -> xr.DataArray:
        """Draws of the loss of ``run`` less that of ``other`` (chain, draw), in nats per token.

        Raises:
            DataError: there is no such run.
        """
        for name in (run, other):
            require_choice(name, "run", self.runs, cure="Choose one of these.")
        one, two = (self.losses.isel({RUN: self.runs.index(name)}, drop=True) for name in (run, other))
        return (one - two).rename("difference")

    def regret(self) -> pd.Series:
        """Expected loss of each run above the lowest of all (run): the cost of choosing it now, in nats per token."""
        return (self.losses - self.losses.min(RUN)).mean(DRAWS).to_series().rename("regret")

    def to_frame(self, *, prob: float = 0.9) -> pd.DataFrame:
        """One row per run, likeliest to be lowest first.

        Columns: run, step, mean, median, lower, upper (of ``prob``), prob_lowest, regret, and gap, gap_lower, gap_upper: the
        loss above that of the first row.

        Raises:
            DataError: ``prob`` does not lie between 0 and 1.
        """
        require_prob(prob)
        draws, chance, regret = draws_last(self.losses), self.prob_lowest().to_numpy(), self.regret().to_numpy()
        order = np.lexsort((regret, -chance))
        behind = draws - draws[order[0]]
        (lower, upper), (gap_lower, gap_upper) = (interval_along(each, prob, axis=1) for each in (draws, behind))
        table = {
            "run": self.runs,
            "step": self.step,
            "mean": draws.mean(axis=1),
            "median": np.median(draws, axis=1),
            "lower": lower,
            "upper": upper,
            "prob_lowest": chance,
            "regret": regret,
            "gap": behind.mean(axis=1),
            "gap_lower": gap_lower,
            "gap_upper": gap_upper,
        }
        return pd.DataFrame(table).iloc[order].reset_index(drop=True)


def compare_runs(ahead: Forecast | Sequence[Forecast], *, at: float | None = None) -> Comparison:
    """Compare the runs of a forecast where they end.

    Args:
        ahead: ``forecast`` of a fit of several runs; or forecasts of runs that were fitted apart, each with a seed of its own
            (as by ``fit_each``), on one test set and at the same steps; where one has more draws a chain, some of them are left
            out.
        at: one of its steps; by default the last.

    Raises:
        DataError: the forecast is of a single run, or has no such step; or forecasts do not belong together.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> from dataclasses import replace
    >>> runs = [replace(bt.forecast(example_fit(), steps=[2000], seed=seed), run=f"run {seed}") for seed in (0, 1)]
    >>> comparison = compare_runs(runs)
    >>> comparison.runs, comparison.step, round(float(comparison.prob_lowest().sum()), 6)
    (['run 0', 'run 1'], 2000.0, 1.0)
    """
    if not isinstance(ahead, Forecast):
        ahead = _joined(ahead)
    cure = "Fit several with fit(losses, schedules={run: schedule}) and forecast that."
    require(len(ahead.runs) > 1, "forecast", "be of several runs", ahead.runs, cure=cure)
    at = float(ahead.steps[-1]) if at is None else at
    ahead.require_step(at)
    losses = ahead.expected.sel({STEP: at}, drop=True).transpose(*DRAWS, RUN)
    return Comparison(losses, float(at), ahead.test_set, ahead.notices, ahead.converged)


def _odds(prob_lowest: float, regret: float) -> str:
    return f"{percent(prob_lowest)} likely lowest, regret {regret:.4f} nats"


def _joined(forecasts: Sequence[Forecast]) -> Forecast:
    """Forecasts that were made apart, as one."""
    require(len(forecasts) > 1, "forecasts", "be two or more", len(forecasts), cure="Pass one of each run.")
    runs = [run for one in forecasts for run in one.runs]
    require(len(set(runs)) == len(runs), "forecasts", "be of different runs", runs, cure="Pass one of each run.")
    sets = sorted({one.test_set for one in forecasts})
    require(len(sets) == 1, "forecasts", "be on one test set", sets, cure="Compare those of one test set.")
    steps = {tuple(one.steps) for one in forecasts}
    require(len(steps) == 1, "forecasts", "be at the same steps", f"{len(steps)} lists of them", cure="Forecast equal steps.")
    chains = sorted({one.expected.sizes[CHAIN] for one in forecasts})
    require(len(chains) == 1, "forecasts", "have equally many chains", chains, cure="Fit all with the same chains.")
    return side_by_side([_with_draws(one, min(one.expected.sizes[DRAW] for one in forecasts)) for one in forecasts])


def _with_draws(ahead: Forecast, many: int) -> Forecast:
    """A forecast with so many draws of each chain."""
    had = ahead.expected.sizes[DRAW]
    if had == many:
        return ahead

    def kept(values: Any) -> Any:
        return values.isel({DRAW: evenly(had, many)}, missing_dims="ignore").drop_vars(DRAW, errors="ignore")

    parts = {name: kept(getattr(ahead, name)) for name in ("expected", "observed", "coefficients")}
    return replace(ahead, positions=None if ahead.positions is None else kept(ahead.positions), **parts)
