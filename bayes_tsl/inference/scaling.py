"""The scaling law of finished runs, fitted: losses of runs of sizes and lengths that were never trained."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.dims import DRAWS, RUN
from bayes_tsl._common.display import Facts, shown, warned
from bayes_tsl._common.intervals import draws_first
from bayes_tsl._common.jax_settings import float64
from bayes_tsl._common.netcdf import read_whole
from bayes_tsl._common.validation import floats, numbers, pandas_frame, require, require_seed, require_type, show
from bayes_tsl.inference.law_files import Sampled, datasets, save_law, sound_draws
from bayes_tsl.inference.nuts import Settings, sample
from bayes_tsl.inference.preconditioning import whitening
from bayes_tsl.model.checkpoints import MOST_NATS
from bayes_tsl.model.scaling import ScalingDesign, law, losses_at, model, typical_values
from bayes_tsl.model.single_run import TAIL

Array = NDArray[np.float64]

SCHEMA = "bayes_tsl scaling law 1"
MIN_RUNS = 4
NEEDED = ("parameters", "tokens", "loss")
OPTIONAL = ("run", "lr", "loss_se")
TARGET_ACCEPT = 0.95


@shown
@dataclass(frozen=True, eq=False)
class ScalingFit(Sampled):
    """Posterior of a scaling law; ``fit_scaling`` makes it.

    Attributes:
        runs: finished runs, one row each: run, parameters, tokens, loss, loss_se and, if known, lr.
        draws: of every parameter of ``model.scaling`` (chain, draw).
        stats: of the sampler (chain, draw).
        notices: what the user should know, in words.

    Example::

        law = bt.fit_scaling(runs)  # a table of finished runs: parameters, tokens, loss
        law.losses(parameters=[1e9], tokens=[2e10]).mean()
        law.save("law.nc")
    """

    runs: pd.DataFrame
    draws: xr.Dataset = field(repr=False)
    stats: xr.Dataset = field(repr=False)
    notices: tuple[str, ...] = ()

    def _facts(self) -> Facts:
        ranges = {name: f"{self.runs[name].min():.3g} to {self.runs[name].max():.3g}" for name in NEEDED}
        return {"": f"{len(self.runs)} runs", **ranges, **warned(self.notices, converged=self.converged)}

    @cached_property
    def design(self) -> ScalingDesign:
        """What the model conditions on."""
        return _design(self.runs, self.runs)

    def losses(
        self, *, parameters: ArrayLike, tokens: ArrayLike, lr: ArrayLike | None = None, new: bool = True, seed: int = 0
    ) -> xr.DataArray:
        """Final losses of runs that were not trained, drawn jointly, in nats per token (chain, draw, run).

        Args:
            parameters: of each model (run).
            tokens: that each is trained on (run).
            lr: peak learning rate of each (run); by default that of the centre of the runs.
            new: add how one run differs from another of its size, tokens and learning rate; if not, the mean of such runs.
            seed: of what the law does not explain.

        Raises:
            DataError: a number is not positive.
        """
        require_seed(seed)
        asked = self._asked(parameters, tokens, lr)
        rng, flat = np.random.default_rng(seed), {str(name): draws_first(x) for name, x in self.draws.items()}
        drawn = losses_at(flat, self.design, _design(asked, self.runs), rng)
        if new:
            drawn = drawn + flat["noise_scale"][:, None] * rng.standard_t(TAIL, drawn.shape)
        return self._over_draws(drawn)

    def save(self, path: str | Path) -> None:
        """Write the fit to a NetCDF file that ends in a checksum, whole or not at all; ``load_scaling`` reads it."""
        save_law(path, SCHEMA, self.runs, self.draws, self.stats, notices=json.dumps(self.notices))

    def slopes(self, *, parameters: float, tokens: float) -> xr.DataArray:
        """Change of the final loss per unit of log tokens, by the law (chain, draw), in nats."""
        at = _design(self._asked(parameters, tokens, None), self.runs)
        sites = {str(name): values.to_numpy() for name, values in self.draws.items()}
        step = 0.5e-3
        ahead, behind = (np.asarray(law(sites, self.design, at._replace(data=at.data[0] + by))) for by in (step, -step))
        return xr.DataArray((ahead - behind) / (2.0 * step), self.draws["alpha"].coords, DRAWS)

    def beyond(self, *, parameters: float, tokens: float) -> tuple[str, ...]:
        """A notice for each of parameters and tokens that lies outside the runs."""
        notices = []
        for name, value in (("parameters", parameters), ("tokens", tokens)):
            low, high = np.quantile(self.runs[name].to_numpy(float), [0.0, 1.0])
            if not 0.99 * low <= value <= 1.01 * high:
                notices.append(f"{value:.3g} {name} lie outside the runs of the scaling law ({low:.3g} to {high:.3g}).")
        return tuple(notices)

    def _asked(self, parameters: ArrayLike, tokens: ArrayLike, lr: ArrayLike | None) -> pd.DataFrame:
        given = {"parameters": parameters, "tokens": tokens} | ({} if lr is None else {"lr": lr})
        asked = pd.DataFrame({name: np.atleast_1d(floats(value, name)) for name, value in given.items()})
        bad = [name for name in asked if not (np.isfinite(asked[name]) & (asked[name] > 0)).all()]
        require(not bad, "parameters, tokens and lr", "be positive", bad, where="that are not")
        return asked

    def _over_draws(self, drawn: Array) -> xr.DataArray:
        shape = tuple(self.draws.sizes[name] for name in DRAWS)
        return xr.DataArray(drawn.reshape(*shape, -1), self.draws["alpha"].coords, (*DRAWS, RUN), name="loss")


def fit_scaling(
    runs: pd.DataFrame,
    *,
    seed: int = 0,
    chains: int = 4,
    num_warmup: int | None = None,
    num_draws: int | Literal["auto"] = 1000,
    target_accept: float = TARGET_ACCEPT,
    progress: bool = True,
    throw: bool = True,
) -> ScalingFit:
    """Posterior of the scaling law of finished runs, by NUTS: final loss against parameters and tokens.

    Args:
        runs: one row per finished run of one family on one test set: ``parameters``, ``tokens``, the final ``loss`` with the
            learning rate decayed, in nats per token; and optionally ``run``, the peak learning rate ``lr``, and ``loss_se``,
            the standard error of the loss (that of a forecast, for a run that is still training).
        seed: the same seed gives the same draws on the same machine.
        chains: number of chains, at least 2.
        num_warmup: adaptation, per chain; by default 500, and 300 where num_draws is "auto".
        num_draws: draws kept, per chain; "auto" for as few of 300, 500, 750 and 1000 as pass the checks.
        target_accept: acceptance that the step size aims at.
        progress: show a bar on stderr.
        throw: raise if the chains did not converge; else the fit says so itself (``converged``).

    Raises:
        DataError: a column is missing, a number is not positive, or there are too few runs.
        ConvergenceError: carrying ``.diagnostics``, unless ``throw`` is False.

    >>> table = pd.DataFrame({
    ...     "parameters": [2e8, 2e8, 4e8, 4e8, 8e8], "tokens": [4e9, 2e10, 8e9, 4e10, 2e10], "loss": [3.58, 3.3, 3.31, 3.1, 3.1]
    ... })
    >>> scaling = fit_scaling(table, chains=2, num_warmup=200, num_draws=200, progress=False, throw=False)
    >>> scaling.losses(parameters=1.6e9, tokens=3.2e10).sizes["run"]
    1
    """
    table, notices = _checked(runs)
    settings = Settings(
        seed=seed, chains=chains, num_warmup=num_warmup, num_draws=num_draws, target_accept=target_accept, progress=progress
    )
    design = _design(table, table)
    start = typical_values(design)
    with float64():
        drawn = sample(model, design, coordinates=whitening(model, design, start=start, dense=list(start)), **asdict(settings))
    made = ScalingFit(table, *datasets(drawn, axis=RUN), notices)
    if throw:
        made.diagnostics.require()
    return made


def load_scaling(path: str | Path) -> ScalingFit:
    """The scaling law that ``ScalingFit.save`` wrote.

    Raises:
        DataError: there is no such file, it holds no scaling law, or it is damaged.

    Example::

        import bayes_tsl as bt

        scaling = bt.load_scaling("scaling.nc")
    """
    return read_whole(path, "scaling law", _scaling_of, schema=SCHEMA, saved_by="ScalingFit.save", again="fit again")


def _scaling_of(data: xr.DataTree) -> ScalingFit:
    runs = data["observed_data"].to_dataset()
    table, _ = _checked(pd.DataFrame({str(name): runs[name].to_numpy() for name in runs}))
    draws, stats = sound_draws(data, typical_values(_design(table, table)))
    return ScalingFit(table, draws, stats, tuple(json.loads(data.attrs["notices"])))


def require_scaling(scaling: ScalingFit) -> None:
    """Raise ``DataError`` where this is no fit of a scaling law."""
    require_type(scaling, "scaling", ScalingFit, cure="Make one with fit_scaling(runs).")


def _checked(runs: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Rows that can be fitted, and notices."""
    given = pandas_frame(runs, "runs", (*NEEDED, *OPTIONAL))
    missing = [name for name in NEEDED if name not in given]
    require(not missing, "runs", f"have columns {', '.join(NEEDED)}", list(given), cure=f"Add {', '.join(missing)}.")
    names = given["run"].astype(str) if "run" in given else pd.Series(range(len(given)), given.index).map("run {}".format)
    table = pd.DataFrame({"run": names})
    for name in [*NEEDED, *(name for name in ("lr", "loss_se") if name in given)]:
        table[name] = numbers(given, name)
        value = table[name].to_numpy(float)
        good = np.isfinite(value) & ((value >= 0) if name == "loss_se" else (value > 0))
        bad = list(table.loc[~good, "run"])
        require(not bad, name, "be a positive number for every run", bad, where="where it is not", cure="Correct these rows.")
    high = list(table.loc[table["loss"] > MOST_NATS, "run"])
    cure = "Take the logarithm of a perplexity; divide a sum by its tokens."
    require(not high, "loss", f"be in nats per token, at most {MOST_NATS:g}", high, where="where it is not", cure=cure)
    require(len(table) >= MIN_RUNS, "runs", f"hold {MIN_RUNS} runs or more", len(table), cure="Add finished runs.")
    table["loss_se"] = table.get("loss_se", 0.0)
    return table.reset_index(drop=True), _one_value(table)


def _one_value(table: pd.DataFrame) -> tuple[str, ...]:
    """A notice of every quantity in which the runs do not differ, so that the data cannot tell its effect."""
    same = [name for name in ("parameters", "tokens") if len(set(table[name])) == 1]
    return tuple(
        f"All runs have {show(float(table[name].iloc[0]))} {name}: their effect is that of the prior." for name in same
    )


def _design(rows: pd.DataFrame, seen: pd.DataFrame) -> ScalingDesign:
    """Rows relative to the centre of the runs that were seen."""

    def relative(name: str) -> Array:
        return np.log(rows[name].to_numpy(float)) - np.log(seen[name].to_numpy(float)).mean()

    varied = "lr" in seen and len(set(seen["lr"])) > 1
    peak = np.zeros(len(rows) if varied else 0)
    loss, error = (rows[name].to_numpy(float) if name in rows else np.full(len(rows), np.nan) for name in ("loss", "loss_se"))
    return ScalingDesign(
        relative("parameters"), relative("tokens"), relative("lr") if varied and "lr" in rows else peak, loss, error
    )
