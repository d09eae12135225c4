"""What pictures are drawn with: axes, bands, marks and colours."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayes_tsl._common.digits import decimals
from bayes_tsl._common.dims import DRAWS
from bayes_tsl._common.intervals import interval_over_draws
from bayes_tsl._common.validation import require
from bayes_tsl.data.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PROBS = {0.9: 0.2, 0.5: 0.4}  # mass of a band, and its opacity
PAST, AHEAD, TRUTH, NOTE = "#3b3b3b", "#1f6fb4", "#d1495b", "#8a8a8a"
LINES = (AHEAD, "#c77f00", "#a8437f", "#4db6a9")  # several of a kind, of which the first is the one to compare with
STYLES = ("-", "--", "-.", ":")  # theirs, for print without colour
INKS = {PAST: "ink", "#000000": "ink", "#ffffff": "paper", AHEAD: "ahead", TRUTH: "mark", NOTE: "note"}  # by colour
INKS |= {color: f"line-{number}" for number, color in enumerate(LINES) if number}
_SIZE, _LABEL = 7.0, 8.0  # points, of notices and labels
_APART = 1.25  # line height
_ROOM = 30  # characters of a title beside which a warning fits


def figure_of(
    plot: Callable[..., object], *, size: tuple[float, float], heights: Sequence[float] = (1.0,), columns: int = 1
) -> Figure:
    """A figure of what ``plot`` draws on axes in rows (of these relative heights) or columns, outside of pyplot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    plot(ax=figure.subplots(len(heights), columns, height_ratios=heights))
    return figure


def as_text(name: object) -> str:
    r"""A name as matplotlib shows it letter by letter: between two dollars it would see a formula.

    >>> as_text("$A_$B")
    '\\$A_\\$B'
    """
    return str(name).replace("$", r"\$")


def require_axes(ax: Any, count: int, what: str) -> list[Axes]:
    """The axes that a user gave, as many as a picture has panels."""
    axes = list(np.atleast_1d(np.asarray(ax, dtype=object)))
    require(len(axes) == count, "ax", f"hold {count} axes, for {what}", len(axes), cure="Or leave it out.")
    return axes


def stacked_axes(heights: Sequence[float] = (3.0, 1.0), *, shared: bool = True) -> list[Axes]:
    """Axes one above the other, of these relative heights, whose horizontal axis is ``shared`` or not."""
    import matplotlib.pyplot as plt

    size = (7.0, 1.4 * sum(heights))
    figure = plt.subplots(len(heights), 1, figsize=size, sharex=shared, height_ratios=heights, layout="constrained")
    return list(figure[1])


def draw_learning_rate(ax: Axes, schedule: Schedule, last: float, **line: Any) -> None:
    """The learning rate of a schedule up to a last step."""
    knots = np.unique(np.clip(np.append(schedule.steps, last), None, last))
    ax.plot(knots, schedule.lr(knots), **line)


def draw_bands(
    ax: Axes,
    draws: xr.DataArray,
    *,
    start: tuple[float, float] | None = None,
    color: str = AHEAD,
    label: str | None = None,
) -> None:
    """Median and central bands along the last axis; they grow out of the point ``start`` (step, loss) where there is one."""
    before, value = ([], []) if start is None else ([start[0]], [start[1]])
    x = np.concatenate([before, draws[draws.dims[-1]].to_numpy()])

    def line(losses: xr.DataArray) -> np.ndarray:
        return np.concatenate([value, losses.to_numpy()])

    for prob, alpha in PROBS.items():
        lower, upper = interval_over_draws(draws, prob)
        ax.fill_between(
            x, line(lower), line(upper), color=color, alpha=alpha, lw=0, label=None if label else f"{prob:.0%} interval"
        )
    ax.plot(x, line(draws.quantile(0.5, dim=DRAWS)), color=color, lw=1.8, label=label or "median")


def mark_origin(ax: Axes, origin: float, *, name: str = "now") -> None:
    """A line at the last step that was fitted, and its name."""
    ax.axvline(origin, color=PAST, lw=0.8, ls=":")
    where = {"xycoords": ("data", "axes fraction"), "xytext": (3, -10), "textcoords": "offset points"}
    ax.annotate(name, (origin, 1.0), fontsize=_LABEL, **where)
    bare(ax)


def bare(*axes: Axes) -> None:
    """Axes without a frame above and on the right."""
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)


def label_right(ax: Axes, labels: Sequence[tuple[float, float, str, str]], **text: Any) -> None:
    """Texts right of points (x, y, text, colour) of final axes, moved apart where they would cover each other."""
    pixels = ax.figure.dpi / 72.0
    spots = ax.transData.transform([label[:2] for label in labels])
    heights = np.array([_APART * _LABEL * pixels * (1 + text.count("\n")) for _, _, text, _ in labels])
    for column in np.unique(spots[:, 0].round()):
        here = np.flatnonzero(spots[:, 0].round() == column)
        here = here[np.argsort(spots[here, 1], kind="stable")]
        moved = _apart(spots[here, 1], heights[here])
        for number, up in zip(here, (moved - spots[here, 1]) / pixels):
            x, y, words, color = labels[number]
            place = {"xytext": (5, up), "textcoords": "offset points", "va": "center", "annotation_clip": False}
            ax.annotate(words, (x, y), color=color, fontsize=_LABEL, **place, **text)


def _apart(wanted: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Middles of boxes of these heights, increasing and as near to those wanted as pushing up and sinking back allows."""
    moved = wanted.astype(float)
    for number in range(1, len(moved)):
        moved[number] = max(moved[number], moved[number - 1] + 0.5 * (heights[number - 1] + heights[number]))
    return moved - np.mean(moved - wanted)


def interval_text(value: float, lower: float, upper: float) -> str:
    """A number and its interval.

    >>> interval_text(3.5069, 3.418, 3.5799)
    '3.507 [3.418, 3.580]'
    """
    digits = decimals(lower, upper)
    middle, low, high = (f"{each:.{digits}f}" for each in (value, lower, upper))
    return f"{middle} [{low}, {high}]"


def mark_unconverged(ax: Axes, converged: bool) -> None:
    """Say it in the title where chains did not agree."""
    if not converged:
        if len(ax.get_title()) > _ROOM:
            ax.title.set_text(f"{ax.get_title()}\n")
        ax.set_title("NOT CONVERGED", loc="right", color=TRUTH, fontsize=10, fontweight="bold")


def write_notices(ax: Axes, notices: Sequence[str]) -> None:
    """Notices in small grey print under the label of the x axis, no wider than the axes."""
    points = ax.get_window_extent().width / ax.figure.dpi * 72.0
    lines = [line for notice in notices for line in textwrap.wrap(notice, max(int(points / (0.5 * _SIZE)), 30))]
    if lines:
        place = {"xycoords": "axes fraction", "xytext": (0, -34), "textcoords": "offset points", "va": "top"}
        ax.annotate(as_text("\n".join(lines)), (0.0, 0.0), fontsize=_SIZE, color=NOTE, **place)


def one_axes(ax: Axes | None, size: tuple[float, float] = (7.0, 4.2)) -> Axes:
    """The axes that a user gave, or those of a new figure."""
    return new_axes(1, size)[0] if ax is None else ax


def new_axes(count: int, size: tuple[float, float]) -> list[Axes]:
    """A new figure of so many axes side by side."""
    import matplotlib.pyplot as plt

    return list(np.atleast_1d(plt.subplots(1, count, figsize=size, layout="constrained")[1]))


def finish(axes: list[Axes]) -> list[Axes]:
    """Axes without a frame, each with its legend."""
    bare(*axes)
    for ax in axes:
        ax.legend(frameon=False, fontsize=_LABEL)
    return axes
