"""One budget for several runs: the portfolio and its looks, beside all to the current best and successive halving.

    python -m benchmarks.public.portfolio [--others] [--quick] [--workers N] [--out FOLDER]

All runs of a group of pooling.py are seen until .2 of their steps; a budget of further steps pays for the end of one of them,
and for a third or two thirds of the rest of the others. *Lowest so far* finishes runs in the order of their losses, *halving*
trains all alike and drops the worse half of those that are left, by their losses, at rungs that spend the budget (Jamieson &
Talwalkar 2016), *portfolio* finishes those of ``best_portfolio``, *with looks* does what examples/divide_budget.py does.
*Regret* is by how much the best run that is finished ends above the best of all, *spent* the share of the budget, *promised*
the regret that the portfolio expected at the start. --others: groups of other families, of multipowerlaw by size and length,
and of own small runs of one size, batch and length, which differ in peak and schedule. --quick: one group.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

import bayes_tsl as bt
from benchmarks.bundled.measured_runs import measured_runs
from benchmarks.common import SHORT, judged_rows, keep, options
from benchmarks.public.curves import public_runs
from benchmarks.public.pooling import cut, groups
from examples.divide_budget import divide

START = 0.2  # share of every run that is seen
LOOK = 0.1  # share of the longest run that one look takes
BUDGETS = (1 / 3, 2 / 3)  # of what finishing all others takes, beside finishing one


def other_groups() -> dict[str, tuple[bt.LossTable, dict[str, bt.Schedule]]]:
    """Runs to choose among, of other families than pooling.py has, by the name of the group."""
    losses, plans, kinds = public_runs()
    runs = pd.DataFrame({"run": [run for run in plans if kinds[run].startswith("multipowerlaw")]})
    ends = losses.frame.groupby("run")["step"].max()
    size, thousands = runs["run"].str.split("_").str[0], (runs["run"].map(ends) / 1000).round()
    found = {
        f"multipowerlaw {size}, {thousand:g}k steps": (losses.select(run=list(own)), {run: plans[run] for run in own})
        for (size, thousand), own in runs["run"].groupby([size, thousands])
    }
    alike = [run for run in measured_runs() if "_b32_" in run.name and "seed" not in run.name]
    for size in dict.fromkeys(run.name[0] for run in alike):
        own = [run for run in alike if run.name[0] == size]
        table = pd.concat([run.losses.select(run=run.name).frame for run in own])
        found[f"small runs {size}, 2k steps"] = (
            bt.LossTable.from_frame(table),
            {run.name: run.schedules[run.name] for run in own},
        )
    return found


class Group(NamedTuple):
    """Runs to choose among.

    Attributes:
        losses: whole.
        plans: schedules by name.
        start: step until which each is seen.
        budget: further steps of all.
    """

    losses: bt.LossTable
    plans: Mapping[str, bt.Schedule]
    start: pd.Series
    budget: float

    @property
    def ends(self) -> pd.Series:
        """Last step of each."""
        return self.losses.frame.groupby("run")["step"].max().loc[list(self.plans)]

    @property
    def final(self) -> pd.Series:
        """Last loss of each."""
        return pd.Series({run: self.losses.select(run=run).mean_losses().iloc[-1] for run in self.plans})

    def reached(self, steps: pd.Series) -> pd.Series:
        """Last loss of each until its step."""
        return pd.Series({run: self.losses.select(run=run).until(steps[run]).mean_losses().iloc[-1] for run in steps.index})


def made(name: str, share: float) -> Group:
    """The group of a name, with a budget."""
    losses, plans = (groups() | other_groups())[name]
    last = cut(losses, START).frame.groupby("run")["step"].max().loc[list(plans)]
    rest = losses.frame.groupby("run")["step"].max().loc[list(plans)] - last
    return Group(losses, plans, last, float(rest.max() + share * (rest.sum() - rest.max())))


def lowest_so_far(group: Group) -> pd.Series:
    """Runs are finished in the order of their losses while the budget pays for it."""
    trained, left = group.start.copy(), group.budget
    for run in group.reached(group.start).sort_values().index:
        rest = group.ends[run] - trained[run]
        if rest <= left:
            trained[run], left = group.ends[run], left - rest
    return trained


def halving(group: Group) -> pd.Series:
    """All are trained alike, and the worse half of those that are left is dropped at each rung."""
    runs = list(group.plans)
    sizes = [int(np.ceil(len(runs) / 2**rung)) for rung in range(int(np.ceil(np.log2(len(runs)))))]
    trained = group.start.copy()
    rest = float((group.ends - group.start).max())
    between = (group.budget - rest) / (sum(sizes) - len(sizes))
    for size in sizes:
        trained[runs] = np.minimum(trained[runs] + between, group.ends[runs])
        runs = list(group.reached(trained[runs]).sort_values().index[: int(np.ceil(size / 2))])
    trained[runs] = group.ends[runs]
    return trained


def planned(group: Group, fit: Callable[..., bt.Fit]) -> tuple[pd.Series, float]:
    """Those of the portfolio of the start are finished; and the regret that it expects."""
    portfolio = bt.best_portfolio(fit(cut(group.losses, START), schedules=group.plans), budget=group.budget, as_planned=True)
    return group.ends.where(group.ends.index.isin(list(portfolio.schedules)), group.start), portfolio.regret


def with_looks(group: Group, fit: Callable[..., bt.Fit]) -> pd.Series:
    """Those of examples/divide_budget.py."""
    start, apart = group.start.to_dict(), float(np.median(np.diff(group.losses.select(run=group.start.index[0]).steps)))
    look = apart * round(LOOK * float(group.ends.max()) / apart)
    return divide(group.losses, group.plans, start=start, budget=group.budget, look=look, fit=fit)


def remembered() -> Callable[..., bt.Fit]:
    """A way of fitting runs together that makes no fit of the same checkpoints twice."""
    made: dict[tuple[float, ...], bt.Fit] = {}

    def fit(losses: bt.LossTable, *, schedules: Mapping[str, bt.Schedule]) -> bt.Fit:
        seen = tuple(losses.frame.groupby("run")["step"].max())
        if seen not in made:
            made[seen] = bt.fit(losses, schedules=schedules, **SHORT)
        return made[seen]

    return fit


def judged(name: str) -> list[dict[str, object]]:
    """What each way of spending each budget leads to in one group."""
    warnings.simplefilter("ignore", bt.Notice)
    fit, rows = remembered(), []
    for share in BUDGETS:
        group = made(name, share)
        best_planned, promised = planned(group, fit)
        ways = {
            "lowest so far": lowest_so_far(group),
            "halving": halving(group),
            "portfolio": best_planned,
            "with looks": with_looks(group, fit),
        }
        label = {"group": name, "budget": share}
        of_way = {"portfolio": {"promised": promised}}
        rows += [scored(group, trained) | label | {"way": way} | of_way.get(way, {}) for way, trained in ways.items()]
    return rows


def scored(group: Group, trained: pd.Series) -> dict[str, object]:
    """How good the best of the runs is that are trained to their end."""
    finished = group.final[trained >= 0.999 * group.ends]
    regret = float(finished.min() - group.final.min())
    spent = float((trained - group.start).sum()) / group.budget
    return {"runs": len(trained), "finished": len(finished), "spent": spent, "regret": regret, "best": float(regret == 0.0)}


def main() -> None:
    asked = options(__doc__, "portfolio", others="groups of other families")
    if asked.others:
        asked.out, asked.table = (path.with_stem(f"{path.stem}_others") for path in (asked.out, asked.table))
    names = list(other_groups() if asked.others else groups())[: 1 if asked.quick else None]
    table = judged_rows(judged, names, asked=asked)
    means = table.drop(columns="group").groupby(["budget", "way"], sort=False).mean().reset_index().assign(group="mean")
    columns = ["group", "budget", "way", "runs", "finished", "spent", "regret", "best", "promised"]
    keep(pd.concat([means, table])[columns], asked.table)


if __name__ == "__main__":
    main()
