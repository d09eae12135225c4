"""Divide one budget of training steps among several unfinished runs, a look at a time.

python examples/divide_budget.py

The runs are fitted together, and the budget is divided so that the run that ends lowest is expected to end lowest. While it is
worth more than ``LEAST`` to see a run for a few more steps first, the run of the largest knowledge gradient is trained for
these, and all are fitted again. Then the runs of the portfolio are trained to their ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

import bayes_tsl as bt

LEAST = 0.001  # knowledge gradient below which one does not look any more, in nats


def divide(
    losses: bt.LossTable,
    schedules: Mapping[str, bt.Schedule],
    *,
    start: Mapping[str, float],
    budget: float,
    look: float,
    least: float = LEAST,
    fit: Callable[..., bt.Fit] = bt.fit,
    **settings: object,
) -> pd.Series:
    """Last step of each run, of finished runs that are seen until ``start`` of each and then as far as the budget pays.

    Args:
        losses: of all runs, whole.
        schedules: of all runs.
        start: last step of each that is trained already.
        budget: further steps of all runs.
        look: steps of one look.
        least: knowledge gradient of a look that is made.  [nats]
        fit: how runs are fitted together.
        settings: of ``fit``.
    """
    trained, spent = pd.Series(dict(start)), 0.0
    while True:
        seen = losses.frame[losses.frame["step"] <= losses.frame["run"].map(trained)]
        together = fit(bt.LossTable.from_frame(seen), schedules=schedules, **settings)
        portfolio = bt.best_portfolio(together, budget=budget - spent, as_planned=True, look=look)
        gradient = portfolio.to_frame().set_index("run")["gradient"]
        if not gradient.max() > least:
            break
        trained[gradient.idxmax()] += look
        spent += look
    for run, schedule in portfolio.schedules.items():
        trained[run] = schedule.end
    return trained


if __name__ == "__main__":
    mixtures = bt.datasets.load("small_lm").select(test_set="prose")
    plan = bt.schedules.cosine(peak=2e-3, warmup=100, total=2500, final=2e-4)
    first = dict.fromkeys(mixtures.runs, 500.0)
    print(divide(mixtures, dict.fromkeys(first, plan), start=first, budget=2500, look=250, num_draws=500).to_string())
