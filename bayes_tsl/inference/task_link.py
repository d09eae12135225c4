"""The link from test loss to a task, fitted: what a loss that is forecast means for bits per byte of right answers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.dims import DRAWS, RUN
from bayes_tsl._common.display import Facts, counted, shown, warned
from bayes_tsl._common.intervals import draws_first
from bayes_tsl._common.jax_settings import float64
from bayes_tsl._common.netcdf import read_whole
from bayes_tsl._common.validation import floats, numbers, pandas_frame, require, require_seed, require_type
from bayes_tsl.data.loss_table import LossTable, require_losses
from bayes_tsl.inference.law_files import Sampled, datasets, save_law, sound_draws
from bayes_tsl.inference.nuts import TARGET_ACCEPT, Settings, over_draws, sample
from bayes_tsl.inference.preconditioning import whitening
from bayes_tsl.model.task_link import KNOTS, Apart, TaskDesign, last_distances, links_at, model, typical_values

Array = NDArray[np.float64]

SCHEMA = "bayes_tsl task link 1"
KNOT = "knot"
MIN_CHECKPOINTS = 8
MEASURED = ("run", "step", "loss", "value")


@shown
@dataclass(frozen=True, eq=False)
class TaskFit(Sampled):
    """Posterior of the link from test loss to a task; ``fit_task`` makes it, ``forecast_task`` uses it.

    Attributes:
        metric: name of what is measured on the task.
        test_set: whose loss it is linked to.
        measured: checkpoints, in order of run and step: run, step, loss [nats per token], value.
        draws: of every parameter of ``model.task_link`` (chain, draw[, knot]).
        stats: of the sampler (chain, draw).
        notices: what the user should know, in words.

    Example::

        task = bt.fit_task(losses, values, metric="hellaswag_bpb")  # columns run, step, hellaswag_bpb
        ahead = bt.forecast_task(task, fit.forecast([100_000]))
        print(ahead.to_frame())
    """

    metric: str
    test_set: str
    measured: pd.DataFrame
    draws: xr.Dataset = field(repr=False)
    stats: xr.Dataset = field(repr=False)
    notices: tuple[str, ...] = ()

    def _facts(self) -> Facts:
        ranges = {name: f"{self.measured[name].min():.4g} to {self.measured[name].max():.4g}" for name in ("loss", "value")}
        return {
            "": f"{self.metric} by the loss on {self.test_set}, {len(self.measured)} checkpoints",
            "runs": counted(self.runs),
            **ranges,
            **warned(self.notices, converged=self.converged),
        }

    @property
    def runs(self) -> list[str]:
        """Names of the runs that were measured."""
        return list(self.measured[RUN].unique())

    def of_run(self, run: str) -> pd.DataFrame:
        """Checkpoints of one run; none if it was not measured."""
        return pd.DataFrame(self.measured.loc[self.measured[RUN] == run])

    @cached_property
    def line(self) -> tuple[float, float]:
        """The straight line through all checkpoints: value at the lowest loss, and what it rises by until the highest."""
        return _line(self.measured)

    @cached_property
    def design(self) -> TaskDesign:
        """What the model conditions on."""
        return _design(self.measured)

    def link(self, losses: ArrayLike, *, seed: int = 0) -> xr.DataArray:
        """Value of a run that lies on the link at these losses (chain, draw, loss).

        Args:
            losses: in nats per token (loss).
            seed: of how the link goes on beyond the losses measured.

        Raises:
            DataError: a loss is no number.
        """
        require_seed(seed)
        asked = np.atleast_1d(floats(losses, "losses"))
        require(np.isfinite(asked).all(), "losses", "be finite", asked)
        draws = {str(name): draws_first(values) for name, values in self.draws.items()}
        many = len(draws["level"])
        linked = links_at(draws, self.design.knots, np.tile(asked, (many, 1)), np.random.default_rng(seed))
        lowest, rise = self.line
        shape = (*(self.draws.sizes[name] for name in DRAWS), len(asked))
        coords = {**self.draws["level"].coords, "loss": asked}
        return xr.DataArray((lowest + rise * linked).reshape(shape), coords, (*DRAWS, "loss"), name=self.metric)

    def last_distance(self, run: str) -> tuple[float, Apart | None]:
        """Last step at which a run was measured, and its distance from the link there (draw); None if it never was."""
        if run not in self.runs:
            return 1.0, None
        sites = {str(name): values.to_numpy() for name, values in self.draws.items()}
        with float64():
            of_all = over_draws(last_distances, (self.design,), sites)
        number = self.runs.index(run)
        return self.of_run(run)["step"].to_numpy(float).max(), Apart(*(part[..., number].ravel() for part in of_all))

    def save(self, path: str | Path) -> None:
        """Write the fit to a NetCDF file that ends in a checksum, whole or not at all; ``load_task`` reads it."""
        names = {"metric": self.metric, "test_set": self.test_set, "notices": json.dumps(self.notices)}
        save_law(path, SCHEMA, self.measured, self.draws, self.stats, **names)


def fit_task(
    losses: LossTable,
    values: pd.DataFrame,
    *,
    metric: str,
    seed: int = 0,
    chains: int = 4,
    num_warmup: int | None = None,
    num_draws: int | Literal["auto"] = "auto",
    target_accept: float = TARGET_ACCEPT,
    progress: bool = True,
    throw: bool = True,
) -> TaskFit:
    """Posterior of the monotone link from test loss to a task, by NUTS, from checkpoints at which both were measured.

    Args:
        losses: of one or several runs on one test set; means over positions are used.
        values: one row per checkpoint: ``run`` (not needed where there is one run), ``step`` and a column named ``metric``.
            Blank cells are checkpoints that were not evaluated.
        metric: column of ``values`` to forecast, which falls with the loss: bits per byte of right answers, or an error rate.
        seed: the same seed gives the same draws on the same machine.
        chains: number of chains, at least 2.
        num_warmup: adaptation, per chain; by default 300, and 500 where num_draws is a number.
        num_draws: draws kept, per chain; "auto" for as few of 300, 500, 750 and 1000 as pass the checks.
        target_accept: acceptance that the step size aims at.
        progress: show a bar on stderr.
        throw: raise if the chains did not converge; else the fit says so itself (``converged``).

    Raises:
        DataError: a column is missing, too few checkpoints have both, or the metric rises as the loss falls.
        ConvergenceError: carrying ``.diagnostics``, unless ``throw`` is False.

    >>> losses = LossTable.from_frame(pd.DataFrame({"step": range(100, 1100, 100), "loss": np.linspace(4.0, 3.1, 10)}))
    >>> values = pd.DataFrame({"step": range(100, 1100, 100), "bpb": np.linspace(1.4, 1.1, 10)})
    >>> quick = {"chains": 2, "num_warmup": 100, "num_draws": 100, "progress": False, "throw": False}
    >>> fit_task(losses, values, metric="bpb", **quick).runs
    ['run']
    """
    measured, notices = _joined(losses, values, metric)
    settings = Settings(
        seed=seed, chains=chains, num_warmup=num_warmup, num_draws=num_draws, target_accept=target_accept, progress=progress
    )
    design = _design(measured)
    start = typical_values(design)
    with float64():
        drawn = sample(model, design, coordinates=whitening(model, design, start=start, dense=list(start)), **asdict(settings))
    made = TaskFit(metric, losses.test_sets[0], measured, *datasets(drawn, axis=KNOT), notices)
    if throw:
        made.diagnostics.require()
    return made


def load_task(path: str | Path) -> TaskFit:
    """The link that ``TaskFit.save`` wrote.

    Raises:
        DataError: there is no such file, it holds no link, or it is damaged.

    Example::

        import bayes_tsl as bt

        task = bt.load_task("hellaswag.nc")
    """
    return read_whole(path, "task link", _task_of, schema=SCHEMA, saved_by="TaskFit.save", again="fit again")


def require_task(task: TaskFit) -> None:
    """Raise ``DataError`` where this is no link to a task."""
    require_type(task, "task", TaskFit, cure="Make one with fit_task(losses, values, metric=...).")


def _task_of(data: xr.DataTree) -> TaskFit:
    observed = data["observed_data"].to_dataset()
    measured = pd.DataFrame({name: observed[name].to_numpy() for name in MEASURED})
    draws, stats = sound_draws(data, typical_values(_design(measured)))
    metric, test_set = (str(data.attrs[name]) for name in ("metric", "test_set"))
    return TaskFit(metric, test_set, measured, draws, stats, tuple(json.loads(data.attrs["notices"])))


def _joined(losses: LossTable, values: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Checkpoints that have a loss and a value, in order of run and step, and notices."""
    require_losses(losses)
    cure = "Choose one with losses.select(test_set=...)."
    require(len(losses.test_sets) == 1, "losses", "hold a single test_set", losses.test_sets, cure=cure)
    table = _checked(values, metric, losses.runs)
    means = pd.concat([losses.select(run).mean_losses().reset_index().assign(run=run) for run in losses.runs])
    joined = table.merge(means, on=[RUN, "step"]).sort_values([RUN, "step"], ignore_index=True)
    both = pd.DataFrame(joined, columns=list(MEASURED))
    rule = f"have {MIN_CHECKPOINTS} checkpoints or more whose loss is known"
    require(len(both) >= MIN_CHECKPOINTS, metric, rule, len(both), cure="Evaluate more checkpoints, or give their losses.")
    _require_rising(both, metric)
    left = len(table) - len(both)
    return both, (f"{left} of {len(table)} values of {metric} are left out: no loss is known at their step.",) * (left > 0)


def _checked(values: pd.DataFrame, metric: str, runs: list[str]) -> pd.DataFrame:
    """Columns run, step, value of the checkpoints that were evaluated."""
    given = pandas_frame(values, "values", (RUN, "step", metric))
    needed = ["step", metric] if len(runs) == 1 and RUN not in given else [RUN, "step", metric]
    missing = [name for name in needed if name not in given]
    require(not missing, "values", f"have columns {', '.join(needed)}", list(given), cure=f"Add {', '.join(missing)}.")
    given = given.dropna(subset=[metric])
    names = given[RUN].astype(str) if RUN in given else runs[0]
    table = pd.DataFrame({RUN: names, "step": numbers(given, "step"), "value": numbers(given, metric)})
    odd = list(table[~np.isfinite(table[["step", "value"]]).all(axis=1)].index)
    require(not odd, f"step and {metric}", "be numbers", odd, where="as rows of others", cure="Correct these rows.")
    twice = list(table[table.duplicated([RUN, "step"])]["step"])
    require(not twice, metric, "have one value a checkpoint", twice, where="as steps of more", cure="Keep one.")
    return table


def _require_rising(both: pd.DataFrame, metric: str) -> None:
    """Raise ``DataError`` unless values are the larger, the larger the loss."""
    require(both["loss"].nunique() > 1, "losses", "differ between checkpoints", both["loss"].iloc[0], cure="Add checkpoints.")
    rank = float(pd.Series(both["loss"]).rank().corr(pd.Series(both["value"]).rank()))
    cure = "Give what falls with the loss: bits per byte, or 1 - accuracy in place of accuracy."
    require(rank > 0 and _line(both)[1] > 0, metric, "fall as the loss falls", f"a rank correlation of {rank:.2f}", cure=cure)


def _line(measured: pd.DataFrame) -> tuple[float, float]:
    loss, value = (measured[name].to_numpy(float) for name in ("loss", "value"))
    slope, middle = np.polyfit(loss - loss.mean(), value, 1)
    return float(middle + slope * (loss.min() - loss.mean())), float(slope * np.ptp(loss))


def _design(measured: pd.DataFrame) -> TaskDesign:
    """Checkpoints by run, shorter runs filled up with places that do not count."""
    lowest, rise = _line(measured)
    loss, value = measured["loss"].to_numpy(float), (measured["value"].to_numpy(float) - lowest) / rise
    log_step = np.log(np.maximum(measured["step"].to_numpy(float), 1.0))
    number, order = measured[RUN].factorize()[0], measured.groupby(RUN).cumcount().to_numpy()
    parts: dict[str, Any] = {"loss": loss, "value": value, "since": np.where(order > 0, np.diff(log_step, prepend=0.0), 0.0)}
    filled = {name: np.zeros((number.max() + 1, order.max() + 1)) for name in (*parts, "counts")}
    filled["loss"] += loss.min()
    for name, column in (parts | {"counts": np.ones(len(loss))}).items():
        filled[name][number, order] = column
    return TaskDesign(**filled, knots=np.linspace(loss.min(), loss.max(), KNOTS))
