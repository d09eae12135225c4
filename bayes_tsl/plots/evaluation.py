"""Pictures of a backtest: whether intervals are right, and how large errors are. All draw on ``ax`` if given one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import require
from bayes_tsl.plots.style import PAST, finish, new_axes, one_axes, require_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PIT_BINS = 10


def plot_calibration(scores: pd.DataFrame, *, ax: Sequence[Axes] | None = None) -> list[Axes]:
    """Are the intervals right? Histogram of the PIT (flat if they are), and coverage against mass (on the diagonal).

    Args:
        scores: what ``backtest`` returned.
        ax: two axes; a new figure by default.

    Raises:
        DataError: ``ax`` has another number of axes, or no forecast was scored.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    >>> scores = bt.backtest(losses, prefixes=[0.5], forecasters=["last-value"], progress=False)
    >>> [panel.get_xlabel() for panel in plot_calibration(scores, ax=Figure().subplots(1, 2))]
    ['PIT', 'mass of the interval']
    """
    good = _scored(scores)
    axes = new_axes(2, (9.0, 3.8)) if ax is None else require_axes(ax, 2, "PIT and coverage")
    levels = np.linspace(0.0, 1.0, _PIT_BINS + 1)
    axes[1].plot([0, 1], [0, 1], lw=0.8, ls=":", color=PAST)
    for model, part in good.groupby("model", sort=True):
        density = np.histogram(part["pit"], bins=levels, density=True)[0]
        axes[0].stairs(density, levels, label=str(model), lw=1.6)
        mass = levels[1:-1]
        axes[1].plot(mass, [(2.0 * np.abs(part["pit"] - 0.5) <= prob).mean() for prob in mass], "o-", ms=3.5, label=str(model))
    axes[0].axhline(1.0, lw=0.8, ls=":", color=PAST)
    axes[0].set(xlabel="PIT", ylabel="density", title="where the truth fell")
    axes[1].set(xlabel="mass of the interval", ylabel="share covered", title="coverage")
    return finish(axes)


def plot_errors(scores: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Mean absolute error at the last step against the share of the run that was seen, by model.

    Raises:
        DataError: no forecast was scored.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    >>> scores = bt.backtest(losses, prefixes=[0.3, 0.6], forecasters=["last-value"], progress=False)
    >>> plot_errors(scores, ax=Figure().subplots()).get_xlabel()
    'share of the run seen'
    """
    good = _scored(scores)
    ax = one_axes(ax, (6.0, 3.8))
    last = good.groupby(["run", "test_set", "model", "prefix"], sort=True).tail(1)
    errors = last.assign(error=(last["mean"] - last["observed"]).abs())
    for model, part in errors.groupby("model", sort=True):
        prefix, error = part["prefix"].to_numpy(float), part["error"].to_numpy(float)
        prefixes = np.unique(prefix)
        ax.plot(prefixes, [error[prefix == share].mean() for share in prefixes], "o-", ms=4, label=str(model))
    ax.set(xlabel="share of the run seen", ylabel="endpoint error [nats/token]", yscale="log")
    return finish([ax])[0]


def _scored(scores: pd.DataFrame) -> pd.DataFrame:
    good = scores[scores["reason"] == ""]
    cure = "The column reason says what went wrong."
    require(len(good) > 0, "scores", "hold a forecast that did not fail", 0, where=f"of {len(scores)} rows", cure=cure)
    return pd.DataFrame(good)
