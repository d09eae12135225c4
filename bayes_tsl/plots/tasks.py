"""Picture of the link from test loss to a task."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from bayes_tsl._common.validation import show
from bayes_tsl.forecasting.distribution import TEST_LOSS
from bayes_tsl.inference.task_link import TaskFit, require_task
from bayes_tsl.plots.style import LINES, PAST, as_text, draw_bands, finish, mark_unconverged, one_axes, write_notices

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEYOND = 0.15  # of the range of losses, shown below the lowest
_PLACES = 60


def plot_task(task: TaskFit, *, ax: Axes | None = None) -> Axes:
    """Checkpoints of every run, the link between them with 50 and 90 % bands, and how it goes on below the lowest loss.

    Args:
        task: of ``fit_task``.
        ax: where to draw; a new figure by default.

    Example::

        import bayes_tsl as bt

        bt.plot_task(task).figure.savefig("hellaswag.png")
    """
    require_task(task)
    ax = one_axes(ax)
    lowest, highest = (float(bound) for bound in np.quantile(task.measured["loss"], [0.0, 1.0]))
    for (run, rows), color in zip(task.measured.groupby("run"), cycle(LINES)):
        ax.plot(rows["loss"], rows["value"], "o", ms=3.0, color=color, alpha=0.7, label=as_text(str(run)))
    draw_bands(ax, task.link(np.linspace(lowest - _BEYOND * (highest - lowest), highest, _PLACES)), color=PAST)
    ax.axvline(lowest, color=PAST, lw=0.8, ls=":")
    place = {"xycoords": ("data", "axes fraction"), "xytext": (3, 4), "textcoords": "offset points"}
    ax.annotate(f"lowest loss measured, {show(round(lowest, 3))}", (lowest, 0.0), fontsize=8, **place)
    ax.set(xlabel=TEST_LOSS, ylabel=as_text(task.metric), title=as_text(f"{task.metric}, {task.test_set}"))
    mark_unconverged(ax, task.converged)
    write_notices(ax, task.notices)
    return finish([ax])[0]
