"""Runs whose truth is known: the model function itself, with nothing observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from numpyro import handlers
from numpyro.infer import Predictive

from bayes_tsl._common.dims import STEP
from bayes_tsl._common.display import Facts, extent, shown
from bayes_tsl._common.jax_settings import float64
from bayes_tsl._common.validation import floats, require, require_choice, require_number, require_seed
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.data.schedules import Schedule, as_schedule
from bayes_tsl.model.design import Design
from bayes_tsl.model.drift import covariance
from bayes_tsl.model.lr_response import make_time_axis
from bayes_tsl.model.position_law import CoefficientEstimates, law_tangent, mean_falling, mean_polynomial
from bayes_tsl.model.priors import Priors, default_priors
from bayes_tsl.model.single_run import model
from bayes_tsl.model.single_run import parameters as parameters_of
from bayes_tsl.model.time_axis import make_anchor
from bayes_tsl.model.tracing import traced_alone

Array = NDArray[np.float64]


@shown
@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated run, and what made it.

    Attributes:
        losses: as they would have been measured.
        parameters: global parameters.
        coefficients: gap, rate and floor of each checkpoint, its own noise included (step).

    >>> import bayes_tsl as bt
    >>> plan = bt.schedules.constant(peak=1e-3)
    >>> made = bt.simulate(steps=[500, 1000], schedule=plan, origin=1000, positions=range(4), seed=0)
    >>> made.losses.steps.tolist()
    [500.0, 1000.0]
    """

    losses: LossTable
    parameters: Mapping[str, float]
    coefficients: xr.Dataset = field(repr=False)

    def _facts(self) -> Facts:
        kind = "by position" if self.losses.by_position else "mean losses"
        parameters = {name: f"{value:.4g}" for name, value in self.parameters.items()}
        return {"": kind, "steps": extent(self.losses.steps), **parameters}


def simulate(
    *,
    steps: ArrayLike,
    schedule: Schedule | str,
    origin: float,
    positions: Sequence[float] = (),
    parameters: Mapping[str, float] | None = None,
    priors: Priors | None = None,
    centre: Sequence[float] = (0.3, -1.0, 3.5),
    position_noise: float = 0.04,
    effect_scale: float = 0.15,
    seed: int = 0,
) -> Simulation:
    """A run drawn from the model.

    Args:
        steps: checkpoints, past and future (step).
        schedule: learning rates of the whole run.
        origin: step at which levels and slopes are meant, and drift is zero.
        positions: token positions; none for mean losses.
        parameters: global parameters to set; the others are drawn from the priors.
        priors: where they are drawn from.
        centre: log gap, log rate and floor around which priors of the levels lie.
        position_noise: standard deviation of one position's loss.  [nats]
        effect_scale: standard deviation of the position effects.  [nats]
        seed: the same seed gives the same run.

    Raises:
        DataError: there is no parameter of that name.

    Example::

        from bayes_tsl.data import schedules

        plan = schedules.cosine(peak=2e-3, warmup=100, total=2500)
        run = simulate(steps=range(200, 2501, 100), schedule=plan, origin=1200, positions=range(64), seed=1)
        run.losses, run.parameters["heat"]
    """
    require_seed(seed)
    step, position = np.unique(floats(steps, "steps")), floats(positions, "positions")
    design = unseen_design(step, position, as_schedule(schedule), origin, np.asarray(centre, float))
    given = dict(parameters or {})
    priors = priors or Priors()
    for name in given:
        require_choice(name, "parameter", parameters_of(design, priors))
    with float64():
        sites = _sites(design, priors, {name: jnp.asarray(value) for name, value in given.items()}, jax.random.key(seed))
    drawn = {name: np.asarray(site["value"]) for name, site in sites.items() if site["type"] == "sample"}
    floor, coefficients = drawn["mean_estimate"], {}
    if design.by_position:
        gap, rate = (np.exp(drawn[f"log_{name}_estimate"]) for name in ("gap", "rate"))
        floor = floor - gap * mean_falling(rate, position, 1.0)
        coefficients = {"gap": (STEP, gap), "rate": (STEP, rate)}
    latent = xr.Dataset(coefficients | {"floor": (STEP, floor)}, {STEP: step})
    rng = np.random.default_rng(seed)
    return Simulation(
        losses=_measure(rng, latent, position, design.centre, noise=position_noise, effect_scale=effect_scale),
        parameters={name: float(drawn[name]) for name in parameters_of(design, priors)},
        coefficients=latent,
    )


def prior_predictive(
    *,
    schedule: Schedule | str,
    steps: ArrayLike,
    origin: float,
    loss: float,
    priors: Priors | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Mean losses that the priors hold possible, before any is seen.

    Args:
        schedule: learning rates of the whole run.
        steps: checkpoints, before and after the origin (step).
        origin: step around which the prior of the level is placed.
        loss: mean loss there.  [nats/token]
        priors: by default those that ``fit`` would use.
        draws: number of runs to draw.
        seed: the same seed gives the same runs.

    Returns:
        ``observed`` mean losses (draw, step), and every global parameter (draw); attrs ``origin`` and ``schedule``.

    Raises:
        DataError: the schedule or a number cannot be used.

    Example::

        from bayes_tsl.data import schedules

        plan = schedules.cosine(peak=2e-3, warmup=100, total=2500)
        predictive = prior_predictive(schedule=plan, steps=range(200, 2501, 100), origin=1200, loss=3.8)
        predictive["observed"].quantile([0.05, 0.95], dim="draw")
    """
    schedule = as_schedule(schedule)
    require_seed(seed)
    require_number(loss, "loss", low=0.0, cure="It is a mean loss in nats per token.")
    require(draws >= 1, "draws", "be 1 or more", draws, cure="1000 are usual.")
    step = np.unique(floats(steps, "steps"))
    schedule.require_reaches(max(float(step[-1]), origin))
    design = unseen_design(step, np.array([]), schedule, origin, np.array([0.0, 0.0, loss]))
    priors = priors or default_priors(schedule, origin=origin)
    with float64():
        drawn = traced_alone(Predictive(model, num_samples=draws))(jax.random.key(seed), design, priors, observe=False)
    runs = {name: ("draw", np.asarray(drawn[name])) for name in parameters_of(design, priors)}
    observed = {"observed": (("draw", STEP), np.asarray(drawn["mean_estimate"]))}
    return xr.Dataset(observed | runs, {"draw": np.arange(draws), STEP: step}, {"origin": origin, "schedule": schedule.text})


@traced_alone
def _sites(design: Design, priors: Priors, given: dict[str, Any], key: Any) -> dict[str, Any]:
    """Every site of the model, as NumPyro traces it, with these values of some."""
    seeded = handlers.seed(handlers.substitute(model, data=given), key)
    return handlers.trace(seeded).get_trace(design, priors, observe=False)


def unseen_design(step: Array, position: Array, schedule: Schedule, origin: float, centre: Array) -> Design:
    """A design that says when, not what: no estimate, and coefficients without error."""
    anchor = make_anchor(schedule, origin)
    blank = CoefficientEstimates(np.zeros((len(step), 3)), np.zeros((len(step), 3, 3)), np.zeros(1), np.zeros(1), 0.0)
    axis = make_time_axis(np.append(step, origin), schedule, anchor)
    return Design(
        step=step,
        count=np.ones_like(step),
        axis=axis,
        drift=covariance(axis.u[:-1]),
        estimates=blank,
        mean_polynomial=mean_polynomial(position, 1.0) if len(position) else np.array([]),
        centre=centre,
        anchor=anchor,
        position=position,
        losses=np.full((len(step), len(position)), np.nan),
        mean_loss=np.full_like(step, np.nan),
    )


def _measure(
    rng: np.random.Generator, latent: xr.Dataset, position: Array, centre: Array, *, noise: float, effect_scale: float
) -> LossTable:
    step = latent[STEP].to_numpy()
    if len(position) == 0:
        return LossTable.from_frame(pd.DataFrame({"step": step, "loss": latent["floor"]}))
    gap, rate, floor = (latent[name].to_numpy()[:, None] for name in ("gap", "rate", "floor"))
    tangent = law_tangent(centre, position)
    effect = effect_scale * rng.standard_normal(len(position))
    effect -= tangent @ (tangent.T @ effect)
    loss = floor + gap / (1.0 + rate * position) + effect + noise * rng.standard_normal((len(step), len(position)))
    rows = {"step": np.repeat(step, len(position)), "position": np.tile(position, len(step)), "loss": loss.ravel()}
    return LossTable.from_frame(pd.DataFrame(rows))
