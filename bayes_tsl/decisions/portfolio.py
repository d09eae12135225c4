"""One budget for several unfinished runs: which to continue, for how long, and which to stop.

A portfolio gives every run a share of the budget, after which its learning rate has decayed; a run without a share stops where
it is. Its value is the expected loss of the run that ends lowest,

    E min_r loss_r(share_r),

over draws that all runs share, so that a second run is worth its share where the first may disappoint.

Before the budget is divided for good one may look: train a run for a few more steps, and divide what is left by what its loss
then says. The knowledge gradient (Frazier, Powell & Dayanik 2008, SIAM J. Control Optim. 47(5)) of such a look is

    E min_r loss_r(share_r)  -  E[ min over portfolios with the look of E[min_r loss_r(share_r) | its loss] ].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.display import Facts, doubted, estimate, shown, warned
from bayes_tsl._common.intervals import draws_last, evenly, interval_along, require_prob
from bayes_tsl._common.seeds import seed_of
from bayes_tsl._common.validation import percent, require, require_number, require_seed, show
from bayes_tsl.data.schedules import Schedule
from bayes_tsl.decisions.frontier import FINALS, STARTS
from bayes_tsl.decisions.plans import candidates, require_plannable
from bayes_tsl.decisions.share_table import ShareTable, improved, knowledge_gradient, simple
from bayes_tsl.forecasting.predict import at_origin, losses_at_ends, mean_by_law
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.model.single_run import TAIL

Array = NDArray[np.float64]

PARTS = 10  # of the budget, the smallest share of a run
_STOP = "stop"


class Share(NamedTuple):
    """What a run does with a share of the budget.

    Attributes:
        price: of the steps, in the unit of the budget.
        end: last step.
        plan: its name.
        schedule: learning rate of the whole run; None where the run stops.
        losses: expected loss at the end (draw).  [nats]
    """

    price: float
    end: float
    plan: str
    schedule: Schedule | None
    losses: Array


@shown
@dataclass(frozen=True, eq=False)
class Portfolio:
    """Shares of one budget; ``best_portfolio`` makes it.

    Attributes:
        shares: what each run does, by name.
        others: simpler portfolios: all to each run that alone would do best, and equal shares (draws of the lowest loss).
        perfect: lowest loss of the best portfolio of every draw, were it known beforehand (draw).
        budget: in the unit of the prices.
        notices: what the user should know, in words.
        converged: False where the chains of a fit did not agree.
        gradient: knowledge gradient of a look at each run, by name: how much lower the run that ends lowest would end, since
            the rest of the budget is divided after it; below zero where its steps cost more than it tells, NaN where it has
            an end before.  [nats]

    Example::

        portfolio = bt.best_portfolio(fit, budget=40_000)  # a fit of several runs, and steps
        portfolio.to_frame()
        portfolio.schedules["run a"]
    """

    shares: Mapping[str, Share]
    others: Mapping[str, Array] = field(repr=False)
    perfect: Array = field(repr=False)
    budget: float
    notices: tuple[str, ...] = ()
    converged: bool = True
    gradient: Mapping[str, float] = field(default_factory=dict)

    def _facts(self) -> Facts:
        lowest = {"lowest loss": estimate(self.losses)}
        return {"": f"budget {show(self.budget)}", **self._acts, **lowest, **warned(self.notices, converged=self.converged)}

    @property
    def _acts(self) -> dict[str, str]:
        """What each run does, in words."""
        return {
            run: _STOP if share.schedule is None else f"{share.plan}, end at step {show(float(round(share.end)))}"
            for run, share in self.shares.items()
        }

    @property
    def losses(self) -> Array:
        """Loss of the run that ends lowest (draw), in nats per token."""
        return np.min([share.losses for share in self.shares.values()], axis=0)

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Learning rates of the runs that go on."""
        return {run: share.schedule for run, share in self.shares.items() if share.schedule is not None}

    @property
    def regret(self) -> float:
        """Expected loss above that of the best portfolio of every draw: the most that knowing more could gain, in nats."""
        return float((self.losses - self.perfect).mean())

    def gains(self) -> pd.DataFrame:
        """Expected loss that this portfolio is lower by than each simpler one, and the probability that it is lower."""
        ahead = {name: losses - self.losses for name, losses in self.others.items()}
        rows = [{"than": n, "gain": x.mean(), "prob": (x > 0).mean(), "prob_equal": (x == 0).mean()} for n, x in ahead.items()]
        return pd.DataFrame(rows)

    def to_frame(self, *, prob: float = 0.9) -> pd.DataFrame:
        """One row per run: run, plan, price, end, mean, lower, upper (of ``prob``), prob_lowest, and gradient of a look.

        Raises:
            DataError: ``prob`` does not lie between 0 and 1.
        """
        require_prob(prob)
        losses = np.array([share.losses for share in self.shares.values()])
        lower, upper = interval_along(losses, prob, axis=1)
        lowest = losses == losses.min(axis=0)
        columns = {
            "run": list(self.shares),
            **{name: [getattr(share, name) for share in self.shares.values()] for name in ("plan", "price", "end")},
            "mean": losses.mean(axis=1),
            "lower": lower,
            "upper": upper,
            "prob_lowest": (lowest / lowest.sum(axis=0)).mean(axis=1),
            "gradient": [self.gradient.get(run, np.nan) for run in self.shares],
        }
        return pd.DataFrame(columns)

    def __str__(self) -> str:
        acts = "; ".join(f"{run}: {act}" for run, act in self._acts.items())
        best = self.gains().sort_values(by="gain").iloc[0]
        than = f"the same as {best['than']}"
        if best["prob_equal"] < 1.0:
            than = f"{best['gain']:.4f} nats lower than {best['than']} (lower with {percent(float(best['prob']))})"
        return doubted(f"{acts}. Lowest loss {estimate(self.losses)}, {than}.", converged=self.converged)


def best_portfolio(
    fits: Fit | Sequence[Fit],
    *,
    budget: float,
    per_step: float | Mapping[str, float] = 1.0,
    as_planned: bool = False,
    parts: int = PARTS,
    look: float | None = None,
    seed: int = 0,
) -> Portfolio:
    """The shares of a budget with which the run that ends lowest is expected to end lowest.

    Args:
        fits: a fit of several runs, or fits of one run each on one test set, each with a seed of its own.
        budget: to spend on further steps of all runs, in any unit: steps, GPU-hours, money.
        per_step: price of a step in that unit, of all runs or by name.
        as_planned: runs go on to the end of their own schedule or stop; else the decay of each is planned for its share.
        parts: of the budget: the smallest share of a run.
        look: steps that a run may be trained for before the rest is divided; its knowledge gradient is in ``gradient``.
        seed: of the drift ahead, and of the noise of a look.

    Raises:
        DataError: fewer than two runs, an unknown schedule, a price that is missing, a budget that pays for nothing, or a look
            that is none.

    Example::

        import bayes_tsl as bt

        fit = bt.fit(losses, schedules=plans)  # several runs, each until now
        portfolio = bt.best_portfolio(fit, budget=40_000, look=2_000)  # steps
        print(portfolio)
        print(portfolio.to_frame())  # and what it is worth to look at each run first
    """
    runs = _runs(fits)
    require_number(budget, "budget", low=0.0, cure="It pays for further steps of all runs.")
    require_seed(seed)
    if look is not None:
        require_number(look, "look", low=0.0, cure="It is in steps.")
    prices = _prices(per_step, runs)
    ask = partial(_as_planned if as_planned else partial(_planned_anew, parts=parts), budget=budget, look=look)
    asked = _equally_many(
        {run: ask(fit, prices[run], seed=seed_of(seed, number)) for number, (run, fit) in enumerate(runs.items())}
    )
    shares = {run: own for run, (own, _) in asked.items()}
    require(any(len(own) > 1 for own in shares.values()), "budget", "pay for a share of some run", budget, cure="Raise it.")
    table = ShareTable(
        *(np.array([[getattr(share, of) for share in own] for own in _filled(shares)]) for of in ("price", "losses"))
    )
    alone, equal = simple(table, budget)
    best = min((improved(start, table, budget) for start in (*alone, equal)), key=table.value)
    leading = int(np.argmin([table.value(chosen) for chosen in alone]))
    others = {f"all to {list(runs)[leading]}": table.lowest(alone[leading]), "equal shares": table.lowest(equal)}
    notices = dict.fromkeys(notice for fit in runs.values() for notice in (*fit.notices, *fit.diagnostics.problems))
    return Portfolio(
        shares={run: shares[run][place] for run, place in zip(runs, best)},
        others=others,
        perfect=np.min([table.lowest(chosen) for chosen in alone], axis=0),
        budget=float(budget),
        notices=tuple(notices),
        converged=all(fit.converged for fit in runs.values()),
        gradient={
            run: knowledge_gradient(table, best, budget, number, look * prices[run], asked[run][1])
            for number, run in enumerate(runs)
            if look is not None
        },
    )


_Asked = tuple[list[Share], Array | None]  # the shares of a run, and what a look would read (draw, 1)


def _equally_many(asked: Mapping[str, _Asked]) -> dict[str, _Asked]:
    """The same with as many draws of every run as the one has that has the fewest: fits of their own are independent."""
    fewest = min(len(own[0].losses) for own, _ in asked.values())

    def kept(draws: Array) -> Array:
        return draws[evenly(len(draws), fewest)]

    return {
        run: ([share._replace(losses=kept(share.losses)) for share in own], None if reading is None else kept(reading))
        for run, (own, reading) in asked.items()
    }


def _filled(shares: Mapping[str, list[Share]]) -> list[list[Share]]:
    """As many shares of every run: those of the shorter lists end with ones that no budget pays for."""
    most = max(map(len, shares.values()))
    return [own + [own[0]._replace(price=np.inf)] * (most - len(own)) for own in shares.values()]


def _as_planned(fit: Fit, price: float, *, budget: float, look: float | None, seed: int) -> _Asked:
    """To stop, and to go on to the end of its schedule; and what a look would read."""
    end = float(fit.schedule.end)
    require(np.isfinite(end), f"schedule of {fit.run!r}", "have a last step", end, cure="Or leave as_planned out.")
    cost = (end - fit.origin) * price
    if not 0.0 < cost <= budget:
        return [_stopped(fit)], None
    losses, reading = _drawn(fit, [fit.schedule], [end], look, seed)
    return [_stopped(fit), Share(cost, end, "as planned", fit.schedule, losses[0])], reading


def _planned_anew(fit: Fit, price: float, *, budget: float, look: float | None, parts: int, seed: int) -> _Asked:
    """To stop, and shares of the budget in equal steps, each with the decay whose expected loss is lowest; and a look."""
    prices = budget * np.arange(1, parts + 1) / parts
    ends = fit.origin + prices / price
    schedules, rows = candidates(fit, ends.tolist(), STARTS, FINALS, ["linear"])
    losses, reading = _drawn(fit, list(schedules.values()), rows["end"].tolist(), look, seed)
    made = [_stopped(fit)]
    for cost, end in zip(prices, ends):
        places = np.flatnonzero(rows["end"] == end)
        best = places[losses[places].mean(axis=1).argmin()]
        name = str(rows.index[best]).partition(", end at ")[0]
        made.append(Share(float(cost), float(end), name, schedules[str(rows.index[best])], losses[best]))
    return made, reading


def _drawn(fit: Fit, schedules: list[Schedule], ends: list[float], look: float | None, seed: int) -> tuple[Array, Array | None]:
    """Losses at the ends (plan, draw), and what a look on the way there would read (draw, 1), if it comes before an end."""
    if look is None or fit.origin + look >= max(ends):
        return draws_last(losses_at_ends(fit, schedules, ends, seed=seed)), None
    at = fit.origin + look
    *losses, reading = draws_last(losses_at_ends(fit, [*schedules, fit.schedule], [*ends, at], seed=seed))
    noise = fit.parameters()["noise_scale"].reshape(-1) * np.random.default_rng([seed, 1]).standard_t(TAIL, reading.shape)
    return np.array(losses), (reading + noise)[:, None]


def _stopped(fit: Fit) -> Share:
    """The run as it is at its origin."""
    law, _ = mean_by_law(fit, fit.time_axis([fit.origin]), at_origin(fit).sites)
    return Share(0.0, fit.origin, _STOP, None, law.reshape(-1))


def _runs(fits: Fit | Sequence[Fit]) -> dict[str, Fit]:
    """Fits by name of their run."""
    each = [fits.select(run=run) for run in fits.runs] if isinstance(fits, Fit) else list(fits)
    for fit in each:
        require_plannable(fit)
    names = [fit.run for fit in each]
    require(len(each) > 1, "fits", "be of two runs or more", names, cure="best_plan is for one run.")
    require(len(set(names)) == len(names), "fits", "be of different runs", names, cure="Give one of each run.")
    sets = sorted({fit.test_set for fit in each})
    require(len(sets) == 1, "fits", "be on one test set", sets, cure="Fit all runs on the same test set.")
    return dict(zip(names, each))


def _prices(per_step: float | Mapping[str, float], runs: Mapping[str, Fit]) -> dict[str, float]:
    """Price of a step of every run."""
    given = dict(per_step) if isinstance(per_step, Mapping) else dict.fromkeys(runs, per_step)
    missing = [run for run in runs if run not in given]
    require(not missing, "per_step", "name every run", missing, where="without a price", cure="Add them.")
    for run in runs:
        require_number(given[run], "per_step", low=0.0, cure="It is the price of one step.")
    return {run: float(given[run]) for run in runs}
