"""What losses at single positions tell: the law at each checkpoint, when its shape settles, which positions still learn.

These are the questions of Xiong et al. (arXiv 2404.17785) to a run that is under way or over, answered with draws:
``position_laws`` reads a table, the others read the posterior of a fit by position and never refit it.
"""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayes_tsl import scoring
from bayes_tsl._checks import require, require_number
from bayes_tsl._types import CHAIN, DRAW, DRAWS, POSITION, STEP
from bayes_tsl.data import LossTable, require_losses
from bayes_tsl.design import make_path
from bayes_tsl.fits import Fit
from bayes_tsl.laws import relaxation
from bayes_tsl.model import heat_at
from bayes_tsl.predict import at_origin, shown_positions
from bayes_tsl.sampling import over_draws
from bayes_tsl.summaries import Summary, summarise_positions

Array = NDArray[np.float64]

MIN_SINCE = 3  # checkpoints, below which a speed is two points and their noise


def position_laws(losses: LossTable, *, exponent: float | None = 1.0) -> pd.DataFrame:
    """The position law at every checkpoint of every run: coefficients, their standard errors, and how well it fits.

    Each test set has one effect per position, shared by its checkpoints and runs (``summaries``). ``r2`` and ``mse``
    [nats^2] are of the law alone, as in the paper; ``r2_effect`` and ``mse_effect`` of law and effects together.

    Args:
        losses: by position; runs on a test set measured at the same positions.
        exponent: of the law; None for the one that fits a test set best.

    Returns:
        One row per run, test set and step: run, test_set, step, gap, rate, floor, gap_se, rate_se, floor_se, exponent, r2, mse,
        r2_effect, mse_effect.

    Raises:
        DataError: losses are means over positions.

    >>> from bayes_tsl import datasets
    >>> laws = position_laws(datasets.load().select(run="mix50_cosine", test_set="prose").after(2000))
    >>> laws[["step", "gap", "rate", "floor"]].round(2).tail(1).to_numpy().tolist()
    [[2500.0, 1.58, 0.34, 3.37]]
    """
    require_losses(losses)
    require(losses.by_position, "losses", "be given by position", "means over positions", cure="See bayes_tsl.collect.")
    return pd.concat([_laws_on(losses, name, exponent) for name in losses.test_sets], ignore_index=True)


def _laws_on(losses: LossTable, test_set: str, exponent: float | None) -> pd.DataFrame:
    curves = {run: losses.select(run=run, test_set=test_set).curve() for run in losses.select(test_set=test_set).runs}
    seen = pd.concat(curves, names=["run"]).sort_index(axis=1)
    starts = np.cumsum([0, *map(len, curves.values())])[:-1]
    values, positions = seen.to_numpy(float), seen.columns.to_numpy(float)
    summary = summarise_positions(values, positions, exponent=exponent, starts=starts)
    (log_gap, log_rate, floor), errors = summary.coefficients.T, np.sqrt(np.diagonal(summary.covariance, axis1=1, axis2=2)).T
    law = _curves(summary, positions)
    fits = {name: _agreement(values, expected) for name, expected in (("", law), ("_effect", law + summary.effect))}
    gap, rate = np.exp(log_gap), np.exp(log_rate)
    table = {
        "run": seen.index.get_level_values("run"),
        "test_set": test_set,
        "step": seen.index.get_level_values("step"),
        "gap": gap,
        "rate": rate,
        "floor": floor,
        "gap_se": gap * errors[0],
        "rate_se": rate * errors[1],
        "floor_se": errors[2],
        "exponent": summary.exponent,
    }
    return pd.DataFrame(table | {f"{score}{name}": values for name, both in fits.items() for score, values in both.items()})


def _curves(summary: Summary, positions: Array) -> Array:
    """The law at every checkpoint (step, position)."""
    gap, rate, floor = (column[:, None] for column in summary.coefficients.T)
    return floor + np.exp(gap) * (1.0 + np.exp(rate) * positions) ** -summary.exponent


def _agreement(losses: Array, expected: Array) -> dict[str, list[float]]:
    """R2 and mean squared error of each checkpoint, over the positions that it has (step)."""
    rows = [(seen[np.isfinite(seen)], fitted[np.isfinite(seen)]) for seen, fitted in zip(losses, expected)]
    return {"r2": [scoring.r2(*row) for row in rows], "mse": [scoring.mse(*row) for row in rows]}


def settling(fit: Fit, *, change: float = 0.05) -> xr.Dataset:
    """Step from which a doubling of progress changes gap, and rate, by less than a share ``change`` (chain, draw).

    Progress is the learning rate summed over steps, as in the laws. Zero where it was so from the first checkpoint that was
    fitted, infinite where the schedule ends before: ``(steps <= end).mean()`` is the probability of having settled, and
    quantiles want ``method="inverted_cdf"``. Under the paper's law a coefficient settles at its convergence at the latest.

    Raises:
        DataError: the fit is of several runs or has seen mean losses only, or ``change`` does not lie between 0 and 1.
    """
    require_number(change, "change", low=0.0, high=1.0, cure="0.05 is five percent.")
    _require_positions(fit)
    sites = at_origin(fit).sites
    return xr.Dataset({name: (DRAWS, _settled(fit, sites, name, change)) for name in ("gap", "rate")})


def _settled(fit: Fit, sites: dict[str, Array], name: str, change: float) -> Array:
    slope, curvature = np.abs(sites[f"{name}_slope"]), sites[f"{name}_curvature"]
    doubled = slope * np.asarray(relaxation(np.log(2.0), curvature))
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.log(doubled / np.log1p(change)) / curvature
    still = np.where(doubled <= np.log1p(change), -np.inf, np.inf)
    u = np.minimum(np.where(curvature > 0, u, still), sites["convergence"])
    reached = float(fit.schedule.progress(fit.origin)) * np.exp(u)
    first = float(fit.coefficients()[STEP][0])
    step = fit.schedule.step_at(reached)
    return np.where(step <= first, 0.0, step)


def learning_speed(fit: Fit, *, since: float) -> xr.Dataset:
    """How fast each position has been learning from the step ``since`` to the origin, and how unevenly.

    ``speed`` is what the expected loss falls by at a position, in nats per step, as the slope of a straight line through the
    checkpoints (chain, draw, position); of many positions a hundred are chosen, evenly in their logarithm. ``mean`` is that of
    the loss over all positions (chain, draw), and ``spread`` the standard deviation of speed over all positions as a share of
    the mean (chain, draw): 0 where all learn alike.

    Raises:
        DataError: the fit is of several runs, has seen mean losses only, or few checkpoints since then.
    """
    _require_positions(fit)
    late = fit.coefficients()
    late = late.sel({STEP: late[STEP] >= since})
    steps = late[STEP].to_numpy()
    cure = "Choose an earlier step."
    require(len(steps) >= MIN_SINCE, "since", f"leave {MIN_SINCE} checkpoints or more", len(steps), cure=cure)
    lever = (steps - steps.mean()) / np.sum((steps - steps.mean()) ** 2)
    known = fit.data["constant_data"].to_dataset()
    at = known[POSITION].to_numpy()
    everywhere = _falling(late, at, lever, float(known["position_exponent"]))
    mean = everywhere.mean(POSITION)
    shown = everywhere.sel({POSITION: shown_positions(at)})
    return xr.Dataset({"speed": shown, "mean": mean, "spread": everywhere.std(POSITION) / np.abs(mean)})


def _falling(late: xr.Dataset, positions: Array, lever: Array, exponent: float) -> xr.DataArray:
    """Minus the slope over steps of the law at each position (chain, draw, position)."""
    floor = -late["floor"].transpose(*DRAWS, STEP).to_numpy() @ lever
    slopes = np.repeat(floor[..., None], len(positions), axis=-1)
    for weight, gap, rate in zip(lever, *(late[name].transpose(STEP, *DRAWS).to_numpy() for name in ("gap", "rate"))):
        slopes -= weight * gap[..., None] * (1.0 + rate[..., None] * positions) ** -exponent
    coords = {CHAIN: late[CHAIN], DRAW: late[DRAW], POSITION: positions}
    return xr.DataArray(slopes, coords, (*DRAWS, POSITION))


def annealed(fit: Fit, *, since: float) -> xr.DataArray:
    """What the learning rate has taken off the floor from the step ``since`` to the origin, in nats (chain, draw).

    The heat at one less that at the other; negative where the learning rate rose. At a constant learning rate it is what fades
    of the heat.

    Raises:
        DataError: the fit is of several runs, its schedule is unknown, or ``since`` does not lie before the origin.
    """
    cure = "Fit with schedule=."
    require(fit.schedule.known, "schedule", "be known", "unknown", cure=cure)
    require_number(since, "since", low=0.0, high=fit.origin, cure="It is a step before the origin.")
    path = make_path(np.array([since, fit.origin]), fit.schedule, fit.clock)
    with jax.enable_x64(True):
        hot = np.asarray(over_draws(heat_at, (path,), at_origin(fit).sites))
    return xr.DataArray(hot[..., 0] - hot[..., -1], dims=DRAWS, name="annealed")


def position_effects(fit: Fit) -> tuple[xr.DataArray, xr.DataArray]:
    """What each position adds to the law at every checkpoint, and its standard error, in nats (position).

    Raises:
        DataError: the fit is of several runs or has seen mean losses only.
    """
    _require_positions(fit)
    known = fit.data["constant_data"].to_dataset()
    return known["effect"], known["effect_scale"]


def _require_positions(fit: Fit) -> None:
    has = POSITION in fit.data["constant_data"].dims if len(fit.runs) == 1 else False
    got = "mean losses only" if len(fit.runs) == 1 else "several runs"
    cure = "Give losses by position." if len(fit.runs) == 1 else "Choose one with fit.select(run=...)."
    require(has, "fit", "be of one run by position", got, cure=cure)
