"""Pictures by token position: the law, its coefficients over training, effects of positions, and how fast each learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from bayes_tsl._common.dims import POSITION, STEP
from bayes_tsl._common.validation import pandas_frame, require, require_type, show
from bayes_tsl.analysis.positions import position_effects
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.forecasting.positions import now_and_then
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.model.laws import reciprocal_loss
from bayes_tsl.plots.style import (
    AHEAD,
    NOTE,
    PAST,
    TRUTH,
    as_text,
    draw_bands,
    finish,
    mark_origin,
    mark_unconverged,
    new_axes,
    one_axes,
    require_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 28  # of measured losses by position
_LABELS = {"gap": "gap [nats]", "rate": "rate [1/position]", "floor": "floor [nats]"}


def plot_coefficients(fit: Fit, ahead: Forecast | None = None, *, ax: Sequence[Axes] | None = None) -> list[Axes]:
    """Coefficients of the position law over steps: estimates of the past, posterior bands, and the forecast.

    Args:
        fit: whose coefficients to draw.
        ahead: a forecast of it, to draw onwards.
        ax: one axes per coefficient (gap, rate, floor; floor alone without positions); a new figure by default.

    Raises:
        DataError: ``ax`` has another number of axes, or ``ahead`` is of a forecaster without coefficients.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> [panel.get_title() for panel in plot_coefficients(example_fit(), ahead, ax=Figure().subplots(1, 3))]
    ['gap [nats]', 'rate [1/position]', 'floor [nats]']
    """
    past = fit.coefficients()
    names = list(past.data_vars)
    listed = ", ".join(map(str, names))
    axes = new_axes(len(names), (4.2 * len(names), 3.6)) if ax is None else require_axes(ax, len(names), listed)
    has = names if ahead is None else list(ahead.coefficients)
    cure = "Make it with forecast(fit, ...)."
    require(set(names) <= set(has), "ahead", f"forecast the coefficients {listed}", has, cure=cure)
    for name, panel in zip(names, axes):
        estimate = _estimate(fit, str(name))
        panel.plot(estimate[STEP], estimate, "o", ms=3.5, color=PAST, label="each checkpoint alone")
        draw_bands(panel, past[name], label="fitted")
        if ahead is not None:
            draw_bands(panel, ahead.coefficients[name], color=TRUTH, label="forecast")
        mark_origin(panel, fit.origin)
        panel.set(xlabel="step", title=_LABELS[str(name)])
    axes[-1].legend(frameon=False, fontsize=8, title="median, 50% and 90%", title_fontsize=8)
    return axes


def plot_positions(fit: Fit, ahead: Forecast, *, observed: Any = None, ax: Axes | None = None) -> Axes:
    """Expected loss by token position, at the last checkpoint that was fitted and at the last step forecast.

    Args:
        fit: of one run by position.
        ahead: its forecast.
        observed: losses of the last checkpoint to show beside: a pandas Series (index: position).
        ax: where to draw; a new figure by default.

    Raises:
        DataError: the fit is of mean losses, or ``ahead`` is of a forecaster without coefficients.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[1500, 2000, 2500])
    >>> plot_positions(example_fit(), ahead, ax=Figure().subplots()).get_xlabel()
    'position + 1'
    """
    ax = one_axes(ax)
    if observed is not None:
        ax.plot(1.0 + observed.index.to_numpy(), observed.to_numpy(), ".", ms=3.0, color=NOTE, label="measured")
    for step, curve, color in zip((fit.origin, ahead.steps[-1]), now_and_then(fit, ahead), (AHEAD, TRUTH)):
        curve = curve.assign_coords({POSITION: 1.0 + curve[POSITION]})
        draw_bands(ax, curve, color=color, label=f"step {show(float(step))}")
    ax.set(xscale="log", xlabel="position + 1", ylabel="test loss [nats/token]", title=as_text(f"{fit.run}, {fit.test_set}"))
    mark_unconverged(ax, fit.converged)
    return finish([ax])[0]


def plot_position_laws(
    losses: LossTable, laws: pd.DataFrame, *, steps: ArrayLike | None = None, ax: Axes | None = None
) -> Axes:
    """Measured losses of checkpoints by token position, in bins that widen with position, and the law of each.

    Args:
        losses: of a single run on a single test set.
        laws: what ``position_laws`` returned for them, among others.
        steps: checkpoints to show, by default four evenly in log step.
        ax: where to draw; a new figure by default.

    Raises:
        DataError: there are several runs or test sets, ``laws`` is no such table, or a step is without a law.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> losses = bt.datasets.load().select(run="mix50_cosine", test_set="prose")
    >>> laws = bt.position_laws(losses.after(2000))
    >>> plot_position_laws(losses, laws, ax=Figure().subplots()).get_title()
    'mix50_cosine, prose'
    """
    curve, run, test_set = losses.curve(), losses.runs[0], losses.test_sets[0]
    of_run = _laws_of(laws, run, test_set)
    shared = np.intersect1d(of_run.index, curve.index)
    cure = f"Give those of position_laws for {run}, {test_set}."
    require(len(shared), "laws", "have checkpoints of the losses", "none", cure=cure)
    even = [shared[np.abs(shared - step).argmin()] for step in np.geomspace(shared[0], shared[-1], 4)]
    chosen = np.atleast_1d(even if steps is None else steps)
    require(len(chosen) and np.isin(chosen, shared).all(), "steps", "have a law", np.setdiff1d(chosen, shared), cure=cure)
    ax = one_axes(ax)
    at = curve.columns.to_numpy(float)
    for number, step in enumerate(chosen):
        color = _between(AHEAD, TRUTH, number / max(len(chosen) - 1, 1))
        gap, rate, floor, exponent = of_run.loc[step].to_numpy(float)
        ax.plot(*_binned(1.0 + at, curve.loc[step].to_numpy(float)), "o", ms=3.5, color=color)
        law = reciprocal_loss(at, gap=gap, rate=rate, floor=floor, exponent=exponent)
        ax.plot(1.0 + at, law, lw=1.6, color=color, label=f"step {show(float(step))}")
    ax.set(xscale="log", xlabel="position + 1", ylabel="test loss [nats/token]", title=as_text(f"{run}, {test_set}"))
    return finish([ax])[0]


def _laws_of(laws: pd.DataFrame, run: str, test_set: str) -> pd.DataFrame:
    """Coefficients and exponent of one run on one test set (step)."""
    columns = ["gap", "rate", "floor", "exponent"]
    laws = pandas_frame(laws, "laws", columns)
    missing = sorted({"run", "test_set", "step", *columns} - set(laws.columns))
    require(not missing, "laws", "be what position_laws returns", missing, where="missing", cure="Pass it as it is.")
    chosen = laws[(laws["run"] == run) & (laws["test_set"] == test_set)].set_index("step")
    return pd.DataFrame(chosen.loc[~chosen.index.duplicated(), columns])


def plot_position_effects(fit: Fit, *, ax: Axes | None = None) -> Axes:
    """What each position of the test set adds to the law at every checkpoint, with two standard errors.

    Args:
        fit: of one run by position.
        ax: where to draw; a new figure by default.

    Raises:
        DataError: the fit is of mean losses, or is of several runs.

    >>> from matplotlib.figure import Figure
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> plot_position_effects(example_fit(), ax=Figure().subplots()).get_ylabel()
    'effect [nats]'
    """
    effects = position_effects(fit)
    effect, error = effects["effect"], effects["error"]
    ax = one_axes(ax, (7.0, 3.2))
    at = 1.0 + effect[POSITION].to_numpy()
    ax.fill_between(at, effect - 2.0 * error, effect + 2.0 * error, color=AHEAD, alpha=0.4, lw=0, label="two standard errors")
    ax.plot(at, effect, ".", ms=2.5, color=PAST, label="effect")
    ax.axhline(0.0, color=PAST, lw=0.8, ls=":")
    ax.set(xscale="log", xlabel="position + 1", ylabel="effect [nats]", title=as_text(f"{fit.run}, {fit.test_set}"))
    return finish([ax])[0]


def plot_learning_speed(speed: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """How fast each position learns, against the mean of all.

    Args:
        speed: what ``learning_speed`` returned.
        ax: where to draw; a new figure by default.

    Raises:
        DataError: it is something else.

    >>> from matplotlib.figure import Figure
    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> speed = bt.learning_speed(example_fit(), since=800)
    >>> plot_learning_speed(speed, ax=Figure().subplots()).get_ylabel()
    'fall of the loss [nats per 1,000 steps]'
    """
    require_type(speed, "speed", xr.Dataset, cure="Make it with learning_speed(fit, since=...).")
    ax = one_axes(ax, (7.0, 3.6))
    curve = 1000.0 * speed["speed"]
    draw_bands(ax, curve.assign_coords({POSITION: 1.0 + curve[POSITION]}))
    ax.axhline(1000.0 * float(speed["mean"].mean()), color=PAST, lw=1.0, ls="--", label="mean of all positions")
    ax.set(xscale="log", xlabel="position + 1", ylabel="fall of the loss [nats per 1,000 steps]")
    return finish([ax])[0]


def _binned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of measured values in bins that are even in log x, and where these are (bin)."""
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    place = np.digitize(x, np.unique(np.geomspace(1.0, x[-1] + 1.0, _BINS).round()))
    count = np.bincount(place)
    filled = count > 0
    return tuple(np.bincount(place, each)[filled] / count[filled] for each in (x, y))  # pyright: ignore[reportReturnType]


def _between(first: str, last: str, share: float) -> tuple[float, ...]:
    """A colour between two."""
    ends = [[int(color[at : at + 2], 16) / 255.0 for at in (1, 3, 5)] for color in (first, last)]
    return tuple((1.0 - share) * one + share * other for one, other in zip(*ends))


def _estimate(fit: Fit, name: str) -> xr.DataArray:
    observed = fit.observed
    return observed["floor_estimate"] if name == "floor" else xr.apply_ufunc(np.exp, observed[f"log_{name}_estimate"])
