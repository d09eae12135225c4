"""What losses at single positions tell: the law at each checkpoint, when its shape settles, which positions still learn.

These are the questions of Xiong et al. (arXiv 2404.17785) to a run that is under way or over, answered with draws:
``position_laws`` reads a table, the others read the posterior of a fit by position and never refit it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayes_tsl._common.dims import CHAIN, DRAW, DRAWS, POSITION, STEP
from bayes_tsl._common.jax_settings import float64
from bayes_tsl._common.validation import require, require_number
from bayes_tsl.data.loss_table import LossTable, require_losses
from bayes_tsl.evaluation import scoring
from bayes_tsl.forecasting.positions import shown_positions
from bayes_tsl.inference.nuts import over_draws
from bayes_tsl.inference.posterior import Fit, require_positions
from bayes_tsl.model.design import MIN_POSITIONS
from bayes_tsl.model.laws import relaxation
from bayes_tsl.model.lr_response import excess_loss
from bayes_tsl.model.position_law import PositionGrid, estimate_coefficients, law_curves

Array = NDArray[np.float64]

MIN_SINCE = 3  # checkpoints, below which a speed is two points and their noise
GRID = 512  # steps at which it is looked whether a coefficient has settled, evenly in their logarithm
FAR = 100.0  # origins, where a schedule without an end is taken to end


def position_laws(losses: LossTable, *, exponent: float | None = 1.0) -> pd.DataFrame:
    """The position law at every checkpoint of every run: coefficients, their standard errors, and how well it fits.

    Each test set has one effect per position, shared by its checkpoints and runs (``position_law``). ``r2`` and ``mse``
    [nats^2] are of the law alone, as in the paper; ``r2_effect`` and ``mse_effect`` of law and effects together. Standard
    errors are of what changes from one checkpoint to the next; the sampling error of the test set, alike in all of them, is not
    in them.

    Args:
        losses: by position; all runs on a test set at the same positions, two checkpoints or more.
        exponent: of the law; None for the one that fits a test set best.

    Returns:
        One row per run, test set and step: run, test_set, step, gap, rate, floor, gap_se, rate_se, floor_se, exponent, r2, mse,
        r2_effect, mse_effect.

    Raises:
        DataError: losses are means over positions, positions are few or differ between runs, there is one checkpoint only, or
            the exponent is no positive number.

    >>> from bayes_tsl import datasets
    >>> laws = position_laws(datasets.load().select(run="mix50_cosine", test_set="prose").after(2000))
    >>> laws[["step", "gap", "rate", "floor"]].round(2).tail(1).to_numpy().tolist()
    [[2500.0, 1.58, 0.34, 3.37]]
    """
    require_losses(losses)
    if exponent is not None:
        require_number(exponent, "exponent", low=0.0, cure="The paper's is 1.")
    return pd.concat(
        [_laws_on(losses.select(test_set=name), exponent=exponent) for name in losses.test_sets], ignore_index=True
    )


def _laws_on(losses: LossTable, *, exponent: float | None) -> pd.DataFrame:
    """Rows of one test set."""
    losses_by_step = _side_by_side({run: losses.select(run=run).curve() for run in losses.runs}, test_set=losses.test_sets[0])
    curves, positions = losses_by_step.to_numpy(float), losses_by_step.columns.to_numpy(float)
    first = ~losses_by_step.index.get_level_values("run").duplicated()
    estimates = estimate_coefficients(curves, positions, exponent=exponent, starts=np.flatnonzero(first))
    (log_gap, log_rate, floor), errors = (
        estimates.coefficients.T,
        np.sqrt(np.diagonal(estimates.covariance, axis1=1, axis2=2)).T,
    )
    law, gap, rate = (
        law_curves(estimates.coefficients, PositionGrid(positions, estimates.exponent)),
        np.exp(log_gap),
        np.exp(log_rate),
    )
    table = {
        "gap": gap,
        "rate": rate,
        "floor": floor,
        "gap_se": gap * errors[0],
        "rate_se": rate * errors[1],
        "floor_se": errors[2],
        "exponent": estimates.exponent,
        **_agreement(curves, law, ""),
        **_agreement(curves, law + estimates.effect, "_effect"),
    }
    return (
        losses_by_step.index.to_frame(index=False)
        .assign(test_set=losses.test_sets[0])[["run", "test_set", "step"]]
        .assign(**table)
    )


def _side_by_side(curves: dict[str, pd.DataFrame], *, test_set: str) -> pd.DataFrame:
    """Curves of several runs, one below the other (run and step, position)."""
    places = next(iter(curves.values())).columns
    strange = [run for run, curve in curves.items() if not curve.columns.equals(places)]
    where = f"on {test_set}"
    cure = "Fit them apart, or drop the positions that some lack."
    require(not strange, "runs", f"be measured where {next(iter(curves))} is", strange, where=where, cure=cure)
    cure = "See bayes_tsl.collect."
    require(
        len(places) >= MIN_POSITIONS, "losses", f"have {MIN_POSITIONS} positions or more", len(places), where=where, cure=cure
    )
    most = max(map(len, curves.values()))
    cure = "One alone does not tell noise from effects."
    require(most > 1, "losses", "have two checkpoints of a run", most, where=where, cure=cure)
    return pd.concat(curves, names=["run"])


def _agreement(losses: Array, expected: Array, name: str) -> dict[str, list[float]]:
    """R2 and mean squared error of each checkpoint, over the positions that it has (step)."""
    rows = [(observed[np.isfinite(observed)], fitted[np.isfinite(observed)]) for observed, fitted in zip(losses, expected)]
    return {f"r2{name}": [scoring.r2(*row) for row in rows], f"mse{name}": [scoring.mse(*row) for row in rows]}


def convergence_step(fit: Fit, *, change: float = 0.05) -> xr.Dataset:
    """Step from which on every doubling of progress changes gap, and rate, by less than a share ``change`` (chain, draw).

    Progress is the learning rate summed over steps, as in the laws; a doubling that goes beyond the schedule is one that the
    law expects. Zero where it was so from the first checkpoint that was fitted, infinite where not even at the end of the
    schedule (of one without an end, at a hundred times the origin): ``(steps <= end).mean()`` is the probability of having
    settled, and quantiles want ``method="inverted_cdf"``. Known to a percent.

    Raises:
        DataError: the fit is of several runs or has seen mean losses only, or ``change`` does not lie between 0 and 1.

    >>> from bayes_tsl.inference.posterior import example_fit
    >>> float((convergence_step(example_fit())["gap"] <= 2500).mean())
    0.0
    """
    require_number(change, "change", low=0.0, high=1.0, cure="0.05 is five percent.")
    require_positions(fit)
    first, end = float(fit.coefficients()[STEP][0]), min(fit.schedule.end, FAR * fit.origin)
    steps, sites = np.geomspace(first, end, GRID), fit.parameters()
    u = fit.time_axis(steps).u[:-1]
    return xr.Dataset({name: (DRAWS, first_settled(steps, u, sites, name=name, change=change)) for name in ("gap", "rate")})


def first_settled(steps: Array, u: Array, sites: dict[str, Array], *, name: str, change: float) -> Array:
    """The first of the steps after which no doubling changes the coefficient by as much (chain, draw)."""
    slope, curvature, stop = (sites[key][..., None] for key in (f"{name}_slope", f"{name}_curvature", "convergence"))
    now, doubled = (np.minimum(at, stop) - np.minimum(0.0, stop) for at in (u, u + np.log(2.0)))
    by_law = slope * (np.asarray(relaxation(doubled, curvature)) - np.asarray(relaxation(now, curvature)))
    moving = np.abs(by_law) >= np.log1p(change)
    after = moving.shape[-1] - np.argmax(moving[..., ::-1], axis=-1)
    return np.where(moving.any(axis=-1), np.append(steps, np.inf)[after], 0.0)


def learning_speed(fit: Fit, *, since: float) -> xr.Dataset:
    """How fast each position has been learning from the step ``since`` to the origin by its law, and how unevenly.

    ``speed`` is what the expected loss falls by at a position, in nats per step, as the slope of a straight line through the
    checkpoints (chain, draw, position); of many positions a hundred are chosen, evenly in their logarithm. ``mean`` is that of
    the loss over all positions (chain, draw), and ``spread`` the standard deviation of speed over all positions as a share of
    the mean (chain, draw): 0 where all learn alike. What a position learns apart from gap, rate and floor is not seen: where
    the law does not fit, as at the first positions, look at the losses too.

    Raises:
        DataError: the fit is of several runs, has seen mean losses only, or few checkpoints since then.

    >>> from bayes_tsl.inference.posterior import example_fit
    >>> round(float(learning_speed(example_fit(), since=800)["mean"].mean()), 4)
    0.0006
    """
    require_number(since, "since", low=-np.inf, cure="It is a step before the origin.")
    require_positions(fit)
    late = fit.coefficients()
    late = late.sel({STEP: late[STEP] >= since})
    steps = late[STEP].to_numpy()
    cure = "Choose an earlier step."
    require(len(steps) >= MIN_SINCE, "since", f"leave {MIN_SINCE} checkpoints or more", len(steps), cure=cure)
    lever = (steps - steps.mean()) / np.sum((steps - steps.mean()) ** 2)
    at, exponent = fit.positions.position, fit.positions.exponent
    everywhere = _falling(late, at, lever=lever, exponent=exponent)
    mean = everywhere.mean(POSITION)
    shown = everywhere.sel({POSITION: shown_positions(at)})
    return xr.Dataset({"speed": shown, "mean": mean, "spread": everywhere.std(POSITION) / np.abs(mean)})


def _falling(late: xr.Dataset, positions: Array, *, lever: Array, exponent: float) -> xr.DataArray:
    """Minus the slope over steps of the law at each position (chain, draw, position)."""
    floor = -late["floor"].transpose(*DRAWS, STEP).to_numpy() @ lever
    slopes = np.repeat(floor[..., None], len(positions), axis=-1)
    for weight, gap, rate in zip(lever, *(late[name].transpose(STEP, *DRAWS).to_numpy() for name in ("gap", "rate"))):
        slopes -= weight * gap[..., None] * (1.0 + rate[..., None] * positions) ** -exponent
    coords = {CHAIN: late[CHAIN], DRAW: late[DRAW], POSITION: positions}
    return xr.DataArray(slopes, coords, (*DRAWS, POSITION))


def annealing_gain(fit: Fit, *, since: float) -> xr.DataArray:
    """What the learning rate has taken off the floor from the step ``since`` to the origin, in nats (chain, draw).

    The heat at one less that at the other; negative where the learning rate rose. At a constant learning rate it is what fades
    of the heat.

    Raises:
        DataError: the fit is of several runs, its schedule is unknown, or ``since`` does not lie before the origin.

    >>> from bayes_tsl.inference.posterior import example_fit
    >>> round(float(annealing_gain(example_fit(), since=600).mean()), 2)
    0.13
    """
    cure = "Fit with schedule=."
    require(fit.schedule.known, "schedule", "be known", "unknown", cure=cure)
    require_number(since, "since", low=0.0, high=fit.origin, cure="It is a step before the origin.")
    axis = fit.time_axis([since])
    with float64():
        excess = np.asarray(over_draws(excess_loss, (axis,), fit.parameters()))
    return xr.DataArray(excess[..., 0] - excess[..., -1], dims=DRAWS, name="annealing_gain")


def position_effects(fit: Fit) -> xr.Dataset:
    """What each position adds to the law at every checkpoint, ``effect``, and its standard ``error``, in nats (position).

    The error is of what changes from one checkpoint to the next: another test set has other effects.

    Raises:
        DataError: the fit is of several runs or has seen mean losses only.

    >>> from bayes_tsl.inference.posterior import example_fit
    >>> position_effects(example_fit())["effect"][:3].round(2).to_numpy().tolist()
    [0.0, 0.11, -0.08]
    """
    require_positions(fit)
    positions, dims = fit.positions, (POSITION,)
    return xr.Dataset(
        {"effect": (dims, positions.effect), "error": (dims, positions.effect_scale)}, {POSITION: positions.position}
    )
