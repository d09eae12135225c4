"""Convergence checks of every fit, in words that a user can act on: did the chains agree, and is the ESS large enough?

Limits are those of Vehtari et al. (Bayesian Analysis 2021, arXiv 1903.08008, section 4): R-hat at most 1.01, bulk and tail
effective sample size of 100 per chain; BFMI after Betancourt (arXiv 1604.00695).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._common.dims import CHAIN, DRAW
from bayes_tsl._common.display import Facts, shown
from bayes_tsl.inference.arviz_versions import arviz

MAX_RHAT = 1.01
MIN_ESS_PER_CHAIN = 100
MAX_DIVERGING = 0.005
MIN_BFMI = 0.3
TAILS = (0.05, 0.95)  # quantiles whose ESS is that of the tails (Vehtari et al., section 4.3)


class ConvergenceError(RuntimeError):
    """Chains that did not agree, for which ``diagnostics`` says why; or least squares that did not settle, which has none.

    Example::

        try:
            fit = bt.fit(losses, schedule=plan)
        except bt.ConvergenceError as error:
            print(error.diagnostics.table)
    """

    def __init__(self, message: str, diagnostics: Diagnostics | None = None) -> None:
        super().__init__(message)
        self.diagnostics = diagnostics


@shown
@dataclass(frozen=True, eq=False)
class Diagnostics:
    """Convergence of one fit.

    Attributes:
        table: r_hat, ess_bulk and ess_tail of every parameter (index).
        chains: number of chains.
        draws: draws kept, over all chains.
        divergences: draws whose trajectory diverged.
        bfmi: smallest Bayesian fraction of missing information of any chain.

    >>> from bayes_tsl.inference.posterior import example_fit
    >>> checks = example_fit().diagnostics
    >>> checks.converged
    False
    """

    table: pd.DataFrame = field(repr=False)
    chains: int
    draws: int
    divergences: int
    bfmi: float

    def _facts(self) -> Facts:
        return {"": self.verdict, "chains": str(self.chains), "draws": str(self.draws), "parameters": str(len(self.table))}

    @property
    def max_r_hat(self) -> float:
        """Largest R-hat of any parameter."""
        return float(self.table["r_hat"].to_numpy().max())

    @property
    def min_ess(self) -> float:
        """Smallest effective sample size of any parameter, bulk or tail."""
        return float(self.table[["ess_bulk", "ess_tail"]].to_numpy().min())

    @property
    def enough(self) -> bool:
        """Whether the chains agree, and are worth as many independent draws as a fit needs."""
        return self.max_r_hat <= MAX_RHAT and self.min_ess >= MIN_ESS_PER_CHAIN * self.chains

    @property
    def problems(self) -> tuple[str, ...]:
        """What failed, each with the parameter and the cure; empty if nothing did."""
        rhat, ess = self.table["r_hat"], self.table[["ess_bulk", "ess_tail"]].min(axis=1)
        enough = MIN_ESS_PER_CHAIN * self.chains
        worst = rhat.fillna(np.inf).idxmax()
        fewest = ess.fillna(0.0).idxmin()
        checks = (
            (
                bool((rhat <= MAX_RHAT).all()),
                f"chains must agree (R-hat at most {MAX_RHAT}); got R-hat {rhat[worst]:.3f} for {worst!r}. "
                "Raise num_warmup and num_draws.",
            ),
            (
                bool((ess >= enough).all()),
                f"effective sample size must reach {enough}; got {ess[fewest]:.0f} for {fewest!r}. Raise num_draws.",
            ),
            (
                self.divergences <= MAX_DIVERGING * self.draws,
                f"trajectories must not diverge; got {self.divergences} divergences in {self.draws} draws. "
                "Raise target_accept towards 0.99.",
            ),
            (
                self.bfmi >= MIN_BFMI,
                f"BFMI must be at least {MIN_BFMI}; got {self.bfmi:.2f} for the energy. "
                "Raise num_warmup, or narrow the prior of the parameter with the smallest effective sample size.",
            ),
        )
        return tuple(problem for good, problem in checks if not good)

    @property
    def converged(self) -> bool:
        """Whether every check passed."""
        return not self.problems

    def require(self) -> None:
        """Raise ``ConvergenceError`` where a check failed."""
        if self.problems:
            raise ConvergenceError(f"{' '.join(self.problems)} Or pass throw=False to inspect the fit.", self)

    @property
    def verdict(self) -> str:
        """One line for people."""
        worst, fewest = f"R-hat at most {self.max_r_hat:.3f}", f"effective sample size at least {self.min_ess:.0f}"
        diverged = f"{self.divergences} divergences in {self.draws} draws"
        numbers = f"{worst}, {fewest}, {diverged}, BFMI at least {self.bfmi:.2f}"
        return f"converged: {numbers}" if self.converged else f"NOT CONVERGED: {' '.join(self.problems)}"


def diagnose(sampled: Mapping[str, xr.Dataset], stats: xr.Dataset) -> Diagnostics:
    """Diagnostics of a fit, over every parameter that the sampler moved.

    Args:
        sampled: draws by the label of their run, which stands before the names of its parameters; "" for none (chain, draw,
            ...).
        stats: ``diverging`` and ``energy`` of every draw (chain, draw).
    """
    tables = [_table(draws).rename((f"{label}: {{}}" if label else "{}").format) for label, draws in sampled.items()]
    return Diagnostics(
        table=pd.concat(tables),
        chains=stats.sizes[CHAIN],
        draws=stats.sizes[CHAIN] * stats.sizes[DRAW],
        divergences=int(stats["diverging"].sum()),
        bfmi=float(np.min(arviz().bfmi(stats["energy"].to_numpy()))),
    )


def _table(sampled: xr.Dataset) -> pd.DataFrame:
    """R-hat of ranks, bulk ESS and tail ESS of every parameter, named ``weight[200.0]`` where it has an axis (index).

    Probabilities of the tails are stated: those that ArviZ's ``summary`` takes differ between its versions.
    """
    az = arviz()
    found = {
        "r_hat": az.rhat(sampled, method="rank"),
        "ess_bulk": az.ess(sampled, method="bulk"),
        "ess_tail": az.ess(sampled, method="tail", prob=TAILS),
    }
    names = [label for name in sampled for label in _labels(sampled[name])]
    columns = {key: np.concatenate([np.ravel(values[name]) for name in sampled]) for key, values in found.items()}
    return pd.DataFrame(columns, index=names)


def _labels(draws: xr.DataArray) -> list[str]:
    """What each element of a parameter is called (element)."""
    axes = [draws[dim].to_numpy() for dim in draws.dims if dim not in (CHAIN, DRAW)]
    places = [", ".join(map(str, place)) for place in product(*axes)]
    return [f"{draws.name}[{place}]" if place else str(draws.name) for place in places]
