"""From three runs to six other schedules: one law for all runs of a size.

    python -m benchmarks.public.transfer [--quick]

multipowerlaw, 25M and 100M (--quick: 25M, few rows and draws): cosine_24000, constant_24000 and wsdcon_9 are fitted together,
the other six are predicted whole. Beside the model, the multi-power law and the annealing law by least squares on the same
three. Steps before twice the warm-up are left out, as they are in ``fit``. All runs of a size share the model's laws, heat and
drift under its default priors, and departures from these that are smooth in log progress and learning rate; each has smaller
ones of its own, so that an interval knows that no law is exact.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from numpy.typing import NDArray

import bayes_tsl as bt
from bayes_tsl.evaluation import scoring
from bayes_tsl.forecasting.baselines import joint_curves
from bayes_tsl.inference.nuts import sample
from bayes_tsl.inference.preconditioning import whitening
from bayes_tsl.model import laws
from bayes_tsl.model.checkpoints import SKIP_WARMUPS
from bayes_tsl.model.lr_response import excess_loss, make_time_axis
from bayes_tsl.model.priors import Prior, Priors, family, lognormal
from bayes_tsl.model.time_axis import SHORTEST, Anchor, TimeAxis
from benchmarks.common import keep, options
from benchmarks.public.curves import PEAK_STEP, multipowerlaw, plan

Array = NDArray[np.float64]
FITTED = ("cosine_24000", "constant_24000", "wsdcon_9")
ANCHOR = 24000.0  # steps at which log progress is zero, and the unit of the heat's memory
SPACING = 0.02  # log progress between two rows that are fitted: neighbours say the same


class Runs(NamedTuple):
    """Rows of several runs, one under the other.

    Attributes:
        axis: time, seen through the schedule of each row's run (row).
        relative_lr: learning rate over its peak (row).
        run: number of the run (row).
        loss: mean loss, in nats (row).
    """

    axis: TimeAxis
    relative_lr: Array
    run: Array
    loss: Array


def stack(curves: dict[str, pd.DataFrame], spacing: float) -> Runs:
    """Runs on one axis of progress, rows thinned to a spacing in log progress or in heat."""
    axes, rates, numbers, losses = [], [], [], []
    for number, rows in enumerate(curves.values()):
        schedule, rows = plan(rows, from_peak=True), settled(rows)
        step = rows["step"].to_numpy(float)
        axis = make_time_axis(step, schedule, Anchor(step[-1], ANCHOR))
        u = axis.u + np.log(float(schedule.progress(step[-1])) / ANCHOR)
        relative_lr = schedule.lr(step) / schedule.peak
        travelled = np.cumsum(np.abs(np.diff(u, prepend=u[0])) + np.abs(np.diff(relative_lr, prepend=1.0)))
        at = np.unique(np.floor(travelled / spacing), return_index=True)[1] if spacing else np.arange(len(step))
        axes.append((u[at], axis.lag[at]))
        rates.append(relative_lr[at])
        numbers.append(np.full(len(at), number))
        losses.append(rows["loss"].to_numpy(float)[at])
    u, lag = (np.concatenate(parts) for parts in zip(*axes))
    return Runs(
        TimeAxis(u, lag, np.zeros_like(lag), 0.0, np.zeros_like(u), SHORTEST),
        *(np.concatenate(parts) for parts in (rates, numbers, losses)),
    )


def settled(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a run from twice the warm-up on."""
    return pd.DataFrame(rows[rows["step"] >= SKIP_WARMUPS * PEAK_STEP])


def mean(axis: TimeAxis, sites: dict) -> jax.Array:
    law = laws.temporal_law(axis.u, level=sites["level"], slope=sites["slope"], curvature=sites["curvature"])
    return law + excess_loss(axis, {"averaging": 1.0, **sites})


def covariance(one: Runs, other: Runs, sites: dict) -> jax.Array:
    """Departures from the laws (row, row).

    Drift in progress and a smooth surface over progress and learning rate are common to all runs; a smaller one is a run's.
    """
    u, v = one.axis.u, other.axis.u
    near, far = jnp.minimum(jnp.abs(u)[:, None], jnp.abs(v)), jnp.maximum(jnp.abs(u)[:, None], jnp.abs(v))
    drift = jnp.where(u[:, None] * v > 0, near**2 * (3.0 * far - near) / 6.0, 0.0)
    apart = (u[:, None] - v) ** 2 / 0.5**2 + (one.relative_lr[:, None] - other.relative_lr) ** 2 / 0.5**2
    surface = jnp.exp(-0.5 * apart)
    own = jnp.where(one.run[:, None] == other.run, surface, 0.0)
    return sites["drift_scale"] ** 2 * drift + sites["shared_scale"] ** 2 * surface + sites["own_scale"] ** 2 * own


DEPARTURES = {"shared_scale": lognormal(0.005, 0.8), "own_scale": lognormal(0.0015, 0.5), "noise": lognormal(0.003, 1.0)}


def priors_of(seen: pd.DataFrame) -> dict[str, Prior]:
    """Priors of a run of this family, the level aside, and those of the departures."""
    given = family("multipowerlaw").priors(plan(seen, from_peak=True), origin=ANCHOR)
    shared = {name: getattr(given, f"floor_{name}") for name in ("slope", "curvature")}
    heated = {name: getattr(given, name) for name in Priors.__dataclass_fields__ if name.startswith("heat")}
    return shared | heated | {"drift_scale": given.drift_scale} | DEPARTURES


def model(seen: Runs, priors: dict[str, Prior]) -> None:
    sites = {name: numpyro.sample(name, prior.distribution()) for name, prior in priors.items()}
    sites["level"] = numpyro.sample("level", dist.Normal(jnp.min(seen.loss), 0.5))
    numpyro.sample("loss", dist.MultivariateNormal(mean(seen.axis, sites), noisy(seen, sites)), obs=seen.loss)


def noisy(runs: Runs, sites: dict) -> jax.Array:
    """Covariance of measured losses around the laws (row, row)."""
    return covariance(runs, runs, sites) + sites["noise"] ** 2 * jnp.eye(len(runs.loss))


def predict(seen: Runs, ahead: Runs, draws: dict[str, Array], seed: int) -> Array:
    """Draws of a new run's losses (row, draw): the law, what of its departures the fitted runs tell, and noise."""

    @jax.jit
    def one(sites: dict) -> tuple[jax.Array, jax.Array]:
        known = noisy(seen, sites)
        cross = covariance(ahead, seen, sites)
        solved = jnp.linalg.solve(known, cross.T).T
        left = noisy(ahead, sites) - solved @ cross.T
        expected = mean(ahead.axis, sites) + solved @ (seen.loss - mean(seen.axis, sites))
        return expected, jnp.linalg.cholesky(left)

    rng = np.random.default_rng(seed)
    drawn = []
    for i in range(len(draws["level"])):
        expected, root = one({name: values[i] for name, values in draws.items()})
        drawn.append(np.asarray(expected) + np.asarray(root) @ rng.standard_normal(len(ahead.loss)))
    return np.stack(drawn, axis=-1)


def by_model(
    fitted: dict[str, pd.DataFrame], others: dict[str, pd.DataFrame], *, num_draws: int, spacing: float
) -> dict[str, Array]:
    seen, priors = stack(fitted, spacing), priors_of(fitted[FITTED[0]])
    with jax.enable_x64(True):
        start = {name: prior.centre for name, prior in priors.items()} | {"level": float(seen.loss.min()) - 0.2}
        posterior = sample(
            model,
            seen,
            priors,
            coordinates=whitening(model, seen, priors, start=start, dense=list(start)),
            seed=0,
            chains=2,
            num_warmup=min(300, num_draws),
            num_draws=num_draws,
            target_accept=0.9,
            progress=False,
        ).sites
        few = {name: values.reshape(-1)[:: max(values.size // 300, 1)] for name, values in posterior.items()}
        print({name: f"{values.mean():.4f} +- {values.std():.4f}" for name, values in few.items()})
        ahead = {name: stack({name: rows}, 0.0) for name, rows in others.items()}
        return {
            name: predict(seen, one._replace(run=one.run + len(fitted)), few, seed=number)
            for number, (name, one) in enumerate(ahead.items())
        }


def by_least_squares(fitted: dict[str, pd.DataFrame], others: dict[str, pd.DataFrame], *, law: str) -> dict[str, Array]:
    """A published law fitted to all runs at once, without uncertainty: one draw (row, 1)."""
    losses = pd.concat([rows[["step", "loss"]].assign(run=name) for name, rows in fitted.items()])
    curves = joint_curves(
        law,
        bt.LossTable.from_frame(losses),
        schedules={name: plan(rows, from_peak=True) for name, rows in (fitted | others).items()},
        steps={name: settled(rows)["step"] for name, rows in others.items()},
        unit_step=PEAK_STEP,
    )
    return {name: curve.to_numpy()[:, None] for name, curve in curves.items()}


def judge(predicted: dict[str, Array], others: dict[str, pd.DataFrame]) -> pd.DataFrame:
    rows = []
    for name, draws in predicted.items():
        truth = settled(others[name])["loss"].to_numpy()
        middle = draws.mean(axis=1)
        row = {
            "run": name,
            "mae": np.abs(middle - truth).mean(),
            "r2": scoring.r2(truth, middle),
            "end": middle[-1] - truth[-1],
        }
        if draws.shape[1] > 1:
            ends = {prob: np.quantile(draws, [0.5 - prob / 2, 0.5 + prob / 2], axis=1) for prob in (0.5, 0.9)}
            row |= {f"coverage_{p * 100:.0f}": scoring.covered(truth, *interval).mean() for p, interval in ends.items()}
            row |= {"width_90": np.mean(ends[0.9][1] - ends[0.9][0]), "crps": scoring.crps(truth, draws).mean()}
        rows.append(row)
    table = pd.DataFrame(rows)
    return pd.concat([table, table.drop(columns="run").mean().to_frame().T.assign(run="mean of six")])


def of_size(curves: pd.DataFrame, size: str, *, num_draws: int, spacing: float) -> list[pd.DataFrame]:
    """Scores of every way on the runs of one size; what did not converge is a row with the reason."""
    runs = {str(run).removeprefix(f"{size}_"): rows for run, rows in curves.groupby("run") if str(run).startswith(size)}
    fitted = {name: runs[name] for name in FITTED}
    others = {name: rows for name, rows in runs.items() if name not in FITTED}
    ways = {
        "tsl": partial(by_model, num_draws=num_draws, spacing=spacing),
        **{law: partial(by_least_squares, law=law) for law in ("annealing-law", "multi-power-law")},
    }
    tables = []
    for name, way in ways.items():
        try:
            scores = judge(way(fitted, others), others)
        except bt.ConvergenceError as error:
            scores = pd.DataFrame({"run": ["mean of six"], "reason": [str(error)]})
        tables.append(scores.assign(size=size, model=name))
        print(tables[-1].round(4).to_string(index=False), flush=True)
    return tables


def main() -> None:
    asked = options(__doc__, "transfer")
    warnings.simplefilter("ignore", bt.Notice)
    curves, _ = multipowerlaw()
    sizes, num_draws, spacing = (("25M",), 100, 5 * SPACING) if asked.quick else (("25M", "100M"), 500, SPACING)
    table = pd.concat([scores for size in sizes for scores in of_size(curves, size, num_draws=num_draws, spacing=spacing)])
    first = ["size", "model", "run"]
    keep(table[[*first, *table.columns.drop(first)]], asked.table)


if __name__ == "__main__":
    main()
