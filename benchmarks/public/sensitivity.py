"""How far wider priors move a forecast: by weights of the draws in hand, beside a second fit under these priors.

    python -m benchmarks.public.sensitivity [--quick] [--out FOLDER]

Twenty development fits, alternately of the first 30 and 60 %, batch and size known: the bundled small_lm on two test sets,
runs of lr_scheduling and multipowerlaw from the half that models were chosen on, of olmo_ladder, and olmo_1b on three test
sets. All are under the default priors, and every other one once more under those of another family (``OTHER``), which may
contradict it; four chains of a thousand draws each. Beside the two ways, the weights of the doubled spread itself (*direct*).
--quick: the first fit. Started again with the same --out it keeps the fits that it has.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import bayes_tsl as bt
from bayes_tsl._common.intervals import draws_first
from bayes_tsl.inference.arviz_versions import pareto_smoothed
from bayes_tsl.model.single_run import parameters
from benchmarks.common import keep, options
from benchmarks.public.curves import by_hash, public_runs
from benchmarks.public.families import Family, lr_scheduling, multipowerlaw, olmo_1b, olmo_ladder, small_lm

PREFIXES = (0.3, 0.6)
AHEAD = (1 / 3, 2 / 3, 1.0)  # of what is left of the run: steps at which forecasts are compared
OTHER = {
    "small_lm": "olmo_ladder",
    "lr_scheduling": "small_lm",
    "multipowerlaw": "datablations",
    "olmo_ladder": "lr_scheduling",
    "olmo_1b": "multipowerlaw",
}


class Case(NamedTuple):
    """One run on one test set, seen until a share of its steps, and the family whose priors it is fitted under, if any."""

    number: int
    family: str
    priors: str
    seen: float
    losses: bt.LossTable
    schedule: bt.Schedule
    known: dict[str, float]

    @property
    def past(self) -> bt.LossTable:
        return self.losses.until(self.seen * float(self.losses.steps[-1]))

    @property
    def steps(self) -> np.ndarray:
        origin, end = float(self.past.steps[-1]), float(self.losses.steps[-1])
        return origin + (end - origin) * np.array(AHEAD)

    def fit(self) -> bt.Fit:
        priors = bt.priors.family(self.priors) if self.priors else None
        return bt.fit(self.past, schedule=self.schedule, priors=priors, **self.known, progress=False, throw=False)


def curves() -> list[tuple[str, Family, str, str]]:
    """Family, run and test set of each development fit."""
    order = by_hash(public_runs()[0].runs)
    development = order[: len(order) // 2]
    wanted = ((small_lm, 2, 2), (lr_scheduling, 6, 1), (multipowerlaw, 4, 1), (olmo_ladder, 3, 1), (olmo_1b, 1, 3))
    chosen = []
    for maker, runs, test_sets in wanted:
        family = maker()
        if maker is small_lm:
            family = family._replace(losses=bt.datasets.load("small_lm"))  # by position
        public = maker in (lr_scheduling, multipowerlaw)
        names = [run for run in by_hash(family.schedules) if not public or run in development]
        for run in names[:runs]:
            sets = by_hash(family.losses.select(run=run).test_sets)[:test_sets]
            chosen += [(maker.__name__, family, run, test_set) for test_set in sets]
    return chosen


def cases() -> list[Case]:
    made = []
    for number, (name, family, run, test_set) in enumerate(curves()):
        losses = family.losses.select(run=run, test_set=test_set)
        known = family.known.loc[run].dropna().to_dict()
        case = Case(number, name, "", PREFIXES[number % 2], losses, family.schedules[run], known)
        made += [case, case._replace(priors=OTHER[name])] if number % 4 in (0, 3) else [case]
    return sorted(made, key=lambda case: (case.priors != "", case.number))


def row(case: Case, out: Path) -> pd.DataFrame:
    """Both ways, at each step; fit and refit are kept in the folder."""
    place = out / f"{case.number:02d} {case.priors or 'default'}"
    place.mkdir(parents=True, exist_ok=True)
    posterior = fitted(place / "fit.nc", case.fit)
    refit = table(place / "refit.csv", partial(compared, posterior, case.steps, refit=True))
    bt.forecast(posterior, steps=case.steps)  # compiled, as it is when the command comes to this
    weights = compared(posterior, case.steps).add_suffix("_weights").join(direct(posterior, case.steps))
    of = {"family": case.family, "run": case.losses.runs[0], "test_set": case.losses.test_sets[0], "prefix": case.seen}
    of |= {"priors": case.priors or "default", "converged": posterior.converged}
    return weights.join(refit.add_suffix("_refit")).reset_index().assign(**of)


def compared(posterior: bt.Fit, steps: np.ndarray, *, refit: bool = False) -> pd.DataFrame:
    begin = time.perf_counter()
    moved = bt.prior_sensitivity(posterior, steps=steps, refit=refit)
    return moved.assign(seconds=time.perf_counter() - begin)


def direct(posterior: bt.Fit, steps: np.ndarray) -> pd.DataFrame:
    """Shares by weights of the doubled spread itself, the ratio of the two densities, and their Pareto k."""
    drawn, priors, design = posterior.parameters(), posterior.priors, posterior.design
    standard = [priors.standardised(name, drawn[name], design.centre).ravel() for name in parameters(design, priors)]
    log_weights, k = pareto_smoothed(0.375 * np.sum(np.square(standard), axis=0), relative_ess=posterior.relative_ess)
    ahead = bt.forecast(posterior, steps=steps)
    draws, interval = draws_first(ahead.observed), ahead.interval()
    wider = np.quantile(draws, 0.5, axis=0, weights=np.exp(log_weights), method="inverted_cdf")
    share = (wider - np.median(draws, axis=0)) / (interval["upper"] - interval["lower"]).to_numpy()
    return pd.DataFrame({"share_direct": share, "pareto_k_direct": k}, pd.Index(steps, name="step"))


def fitted(path: Path, fit: Callable[[], bt.Fit]) -> bt.Fit:
    if not path.exists():
        fit().save(path)
    return bt.load_fit(path)


def table(path: Path, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    if not path.exists():
        make().to_csv(path)
    return pd.read_csv(path, index_col="step")


def main() -> None:
    asked = options(__doc__, "sensitivity")
    warnings.simplefilter("ignore", bt.Notice)
    rows = []
    for case in cases()[: 1 if asked.quick else None]:
        rows.append(row(case, asked.out))
        print(rows[-1][["family", "prefix", "priors", "share_weights", "share_refit", "seconds_refit"]], flush=True)
    keep(pd.concat(rows), asked.table)


if __name__ == "__main__":
    main()
