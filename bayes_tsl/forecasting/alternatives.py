"""What if the learning rate did something else from here? Several schedules for one run, compared draw by draw.

All schedules share the posterior draws, the drift in progress and the noise of a measurement, so what they have in common does
not blur the difference between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bayes_tsl._common.display import Facts, cut, estimate, shown, warned
from bayes_tsl._common.intervals import draws_last, interval_along, require_prob
from bayes_tsl._common.validation import require, require_seed, show
from bayes_tsl.data import schedules
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.forecasting.predict import forecast_paths, schedule_ahead
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.model.design import later_steps


@shown
@dataclass(frozen=True, eq=False)
class WhatIf:
    """Forecasts of one run under several schedules.

    Attributes:
        forecasts: by the name of the schedule, each at the steps that its schedule reaches.
        schedules: those of the forecasts, as fitted until the origin.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> plans = bt.what_if(example_fit(), {"planned": None, "constant": "constant:peak=1e-3"}, steps=[2500])
    >>> plans.ends()["mean"].round(2).to_dict()
    {'planned': 3.48, 'constant': 3.55}
    """

    forecasts: Mapping[str, Forecast]
    schedules: Mapping[str, Schedule]

    def _facts(self) -> Facts:
        draws = {name: draws_last(ahead.expected)[-1] for name, ahead in self.forecasts.items()}
        first, one = next(iter(draws)), next(iter(self.forecasts.values()))
        gains = {name: f"; lower than {first} by {estimate(draws[first] - ends)}" for name, ends in draws.items()} | {first: ""}
        at = {name: f" at step {show(ahead.steps[-1])}" for name, ahead in self.forecasts.items()}
        plans = {name: f"{estimate(ends)}{at[name]}{gains[name]}" for name, ends in draws.items()}
        title = f"{one.run} on {one.test_set}, after step {show(one.origin)}"
        return {"": title, **cut(plans), **warned(one.notices, converged=one.converged)}

    def to_frame(self, *, prob: float = 0.9) -> pd.DataFrame:
        """One row per schedule and step.

        Columns: plan (name of the schedule), step, lr; mean, median, lower, upper, prob, sd of the expected loss [nats/token].
        """
        parts = []
        for name, ahead in self.forecasts.items():
            rows = ahead.to_frame(prob=prob, kind="expected").drop(columns="run")
            rows.insert(0, "plan", name)
            rows.insert(2, "lr", self.schedules[name].lr(ahead.steps))
            parts.append(rows)
        return pd.concat(parts, ignore_index=True)

    def ends(self, *, prob: float = 0.9) -> pd.DataFrame:
        """Where the loss ends under each schedule, and how much lower than under the first; one row per schedule.

        Columns: step (its last), mean, lower, upper of the expected loss there; gain (the end under the first schedule less
        that under this one, so positive is better), gain_lower, gain_upper; prob_lower (than under the first), prob_lowest (of
        all).

        Raises:
            DataError: ``prob`` does not lie between 0 and 1.
        """
        require_prob(prob)
        ends = np.stack([draws_last(ahead.expected[..., -1]) for ahead in self.forecasts.values()])
        gain = ends[0] - ends
        lower, upper = interval_along(ends, prob, axis=1)
        gain_lower, gain_upper = interval_along(gain, prob, axis=1)
        table = {
            "step": [ahead.steps[-1] for ahead in self.forecasts.values()],
            "mean": ends.mean(axis=1),
            "lower": lower,
            "upper": upper,
            "gain": gain.mean(axis=1),
            "gain_lower": gain_lower,
            "gain_upper": gain_upper,
            "prob_lower": (gain > 0).mean(axis=1),
            "prob_lowest": np.bincount(ends.argmin(axis=0), minlength=len(ends)) / ends.shape[1],
        }
        return pd.DataFrame(table, pd.Index(self.forecasts, name="plan"))


def what_if(fit: Fit, plans: Mapping[str, Schedule | str | None], *, steps: ArrayLike, seed: int = 0) -> WhatIf:
    """Forecasts under several schedules for the steps after the origin; nothing is refitted.

    Args:
        fit: what the past says.
        plans: schedules or their texts by name, the first of them the one to compare with; None is the one that was fitted.
            ``schedules.decayed`` makes "decay from here".
        steps: later steps; each schedule is forecast at those that it reaches (step).
        seed: of the drift and noise ahead, shared by all schedules.

    Raises:
        DataError: no schedule, one that ends before the first step, or a step that is not later than the origin.

    >>> from bayes_tsl.inference.posterior import example_fit
    >>> plans = {"as planned": None, "decay now": schedules.decayed(example_fit().schedule, start=1200, total=2500)}
    >>> what_if(example_fit(), plans, steps=[1500, 2000, 2500]).ends()["gain"].round(2).to_dict()
    {'as planned': 0.0, 'decay now': 0.02}
    """
    require(
        isinstance(plans, Mapping) and len(plans) > 0, "plans", "name at least one plan", plans, cure="Give {name: schedule}."
    )
    require_seed(seed)
    ahead = later_steps(steps, fit.origin)
    whole = {name: schedule_ahead(fit, schedules.optional_schedule(plan)) for name, plan in plans.items()}
    reached = {name: ahead[ahead <= schedule.end] for name, schedule in whole.items()}
    for name, schedule in whole.items():
        rule = f"reach the first forecast step {show(ahead[0])}"
        require(reached[name].size > 0, f"plan {name!r}", rule, schedule.end, cure="Forecast earlier steps, or plan farther.")
    return WhatIf(forecast_paths(fit, reached, whole, seed=seed), whole)
