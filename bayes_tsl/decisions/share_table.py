"""Prices and losses of every share of a budget that each run may have, and the search for the shares that are best together.

Nothing here knows what a run is: a table of prices, and of draws of the losses that they buy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_tsl.decisions.preposterior import believed, lowest_believed

Array = NDArray[np.float64]
Places = NDArray[np.intp]  # number of the share of each run (run)


class ShareTable(NamedTuple):
    """Every share of every run, the first of which is to stop: price (run, share) and losses (run, share, draw)."""

    price: Array
    losses: Array

    def lowest(self, chosen: Places) -> Array:
        """Lowest loss of the runs with the share ``chosen`` of each (draw)."""
        return self.losses[np.arange(len(chosen)), chosen].min(axis=0)

    def value(self, chosen: Places) -> float:
        """Its expectation."""
        return float(self.lowest(chosen).mean())

    def affordable(self, budgets: Array) -> Places:
        """The largest share of each run that its budget pays for (run)."""
        within = np.where(self.price <= budgets[:, None] * (1.0 + 1e-9), self.price, -1.0)
        return within.argmax(axis=1)

    def after_look(self, run: int, price: float) -> ShareTable:
        """What is left to pay once a run has been looked at: its shares that end before are no choice any more."""
        own = self.price[run]
        prices = self.price.copy()
        prices[run] = np.where(own == 0.0, 0.0, np.where(own < price * (1.0 - 1e-9), np.inf, own - price))
        return self._replace(price=prices)


def simple(table: ShareTable, budget: float) -> tuple[list[Places], Places]:
    """The whole budget to each run alone (run), and equal shares."""
    runs = len(table.price)
    alone = [table.affordable(budget * np.eye(runs)[number]) for number in range(runs)]
    return alone, table.affordable(np.full(runs, budget / runs))


def knowledge_gradient(table: ShareTable, best: Places, budget: float, run: int, price: float, reading: Array | None) -> float:
    """Knowledge gradient of a look at a run, which reads ``reading`` (draw, step) for a ``price``, beside the best shares."""
    if reading is None or price > budget:
        return float("nan")
    left, later = budget - price, table.after_look(run, price)
    alone, equal = simple(later, left)
    acts = np.stack([later.lowest(chosen) for chosen in (*alone, equal, *_neighbours(best, later, left))])
    return table.value(best) - float(lowest_believed(acts, believed(acts, reading)).mean())


def improved(chosen: Places, table: ShareTable, budget: float) -> Places:
    """Shares that no change of one run's, or of two runs' together, betters: one changes and another takes what is left."""
    best, value = chosen, table.value(chosen)
    while True:
        better = min(_neighbours(best, table, budget), key=table.value, default=best)
        if table.value(better) >= value:
            return best
        best, value = better, table.value(better)


def _neighbours(chosen: Places, table: ShareTable, budget: float) -> Iterator[Places]:
    runs = len(chosen)
    for run in range(runs):
        for share in np.flatnonzero(np.isfinite(table.price[run])):
            changed = np.where(np.arange(runs) == run, share, chosen)
            left = budget - table.price[np.arange(runs), changed].sum()
            if left >= -1e-9 * budget:
                yield changed
            for other in range(runs):
                most = left + table.price[other, changed[other]]
                if other != run and most >= 0.0:
                    own = table.affordable(np.where(np.arange(runs) == other, most, 0.0))[other]
                    yield np.where(np.arange(runs) == other, own, changed)
