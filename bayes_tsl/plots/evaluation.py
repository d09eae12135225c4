"""Pictures of a backtest: whether intervals are right, and how large errors are. All draw on ``ax`` if given one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import require
from bayes_tsl.plots.style import AHEAD, NOTE, PAST, as_text, bare, label_right, new_axes, one_axes, require_axes

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
    mass = levels[1:-1]
    axes[1].plot([0, 1], [0, 1], lw=0.8, ls=":", color=PAST)
    axes[0].axhline(1.0, lw=0.8, ls=":", color=PAST)
    labels = []
    for (model, part), line in zip(groups := list(good.groupby("model", sort=True)), _lines([name for name, _ in groups])):
        density = np.histogram(part["pit"], bins=levels, density=True)[0]
        axes[0].stairs(density, levels, label=str(model), **line)
        covered = [(2.0 * np.abs(part["pit"] - 0.5) <= prob).mean() for prob in mass]
        axes[1].plot(mass, covered, marker="o", ms=3.5, label=str(model), **line)
        labels.append((mass[-1], covered[-1], as_text(f"{model}: {covered[-1]:.0%} in 90%"), line["color"]))
    axes[0].set(xlabel="PIT", ylabel="density", title="where the truth fell")
    axes[1].set(xlabel="mass of the interval", ylabel="share covered", title="coverage", xlim=(0.0, 1.0), ylim=(0.0, 1.0))
    label_right(axes[1], labels)
    bare(*axes)
    return axes


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
    labels = []
    for (model, part), line in zip(groups := list(errors.groupby("model", sort=True)), _lines([name for name, _ in groups])):
        prefix, error = part["prefix"].to_numpy(float), part["error"].to_numpy(float)
        prefixes = np.unique(prefix)
        means = [float(error[prefix == share].mean()) for share in prefixes]
        ax.plot(prefixes, means, marker="o", ms=4, label=str(model), **line)
        labels.append((prefixes[-1], means[-1], as_text(model), line["color"]))
    ax.set(xlabel="share of the run seen", ylabel="mean error of the last loss [nats/token]", yscale="log")
    ax.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    label_right(ax, labels)
    bare(ax)
    return ax


def _lines(models: Sequence[object]) -> list[dict[str, Any]]:
    """How the line of each model is drawn: thick and coloured the law of this package, or else the first; grey the others."""
    chosen = next((name for name in models if str(name).startswith("tsl")), models[0])
    styles = dict(zip((name for name in models if name != chosen), cycle(("--", "-.", ":", (0, (6, 2)), (0, (1, 2, 5, 2))))))
    return [
        {"color": AHEAD, "lw": 2.6, "zorder": 3} if name == chosen else {"color": NOTE, "lw": 1.3, "ls": styles[name]}
        for name in models
    ]


def _scored(scores: pd.DataFrame) -> pd.DataFrame:
    good = scores[scores["reason"] == ""]
    cure = "The column reason says what went wrong."
    require(len(good) > 0, "scores", "hold a forecast that did not fail", 0, where=f"of {len(scores)} rows", cure=cure)
    return pd.DataFrame(good)
