r"""The best rest of a run: when the learning rate decays, to what and by which shape, and, where steps cost money, when to end.

    best plan = argmax over plans of the objective, over the stored draws

Plans hold the learning rate that the run has now and then decay, over a grid of starts, final rates and shapes. All are paired,
draw by draw, so a difference between two plans has the spread of that difference alone. Nothing is refitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayes_tsl._common.display import Facts, doubted, shown, warned
from bayes_tsl._common.intervals import draws_last, interval_along, require_prob
from bayes_tsl._common.validation import percent, require, require_number, require_seed, require_type, show
from bayes_tsl.data.schedules import Schedule, constant, decayed
from bayes_tsl.decisions.budgets import cvar
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.forecasting.predict import losses_at_ends, schedule_ahead
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.model.priors import LearnedPriors

Array = NDArray[np.float64]

STARTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)  # of the way to the end, at which the decay begins
FINALS = (0.0, 0.01, 0.05, 0.1)  # final learning rate, as a share of that which the run has now
DECAYS = ("linear", "cosine", "1-sqrt")
ENDS = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the way to the last step, where steps cost money
AS_PLANNED = "as planned"
NEAR = 0.002  # nats within which plans are equally good: a little more than two seeds of one plan differ by


@shown
@dataclass(frozen=True, eq=False)
class BestPlan:
    """Plans for the rest of a run, and which of them is best; ``best_plan`` makes it.

    Attributes:
        losses: draws of the expected loss at the end of each plan (chain, draw, plan).
        candidates: a row for each plan, indexed by its name: end, start, final, shape, score (larger is better).
        schedules: of all plans, by name.
        objective: what the score is, in words.
        standard: names of plans that people would use without asking.
        origin: step from which on the plans are.
        notices: what the user should know, in words.
        converged: False where the chains of the fit did not agree.
        target: loss to reach, where the objective is the probability of that.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> best = bt.best_plan(example_fit(), end=2500)
    >>> best.name
    'cosine from 1980 to 6.09e-05'
    """

    losses: xr.DataArray = field(repr=False)
    candidates: pd.DataFrame = field(repr=False)
    schedules: Mapping[str, Schedule] = field(repr=False)
    objective: str
    standard: tuple[str, ...]
    origin: float
    notices: tuple[str, ...] = ()
    converged: bool = True
    target: float | None = None

    def _facts(self) -> Facts:
        return {"": str(self), "plan": self.name, **warned(self.notices, converged=self.converged)}

    @property
    def name(self) -> str:
        """Name of the best plan; of those with the same score, the one with the lowest expected loss."""
        return _best(self.losses, self.candidates)

    @property
    def schedule(self) -> Schedule:
        """The best plan: the learning rate of the whole run."""
        return self.schedules[self.name]

    def near(self, within: float = NEAR) -> pd.Series:
        """Probability that a plan ends within so many nats of the best one, or below it (plan).

        Raises:
            DataError: ``within`` is not above 0.
        """
        require_number(within, "within", low=0.0, cure=f"{NEAR} is usual.")
        behind = self._behind()
        return pd.Series((behind < within).mean(axis=1), self.candidates.index, name="near")

    def to_frame(self, *, prob: float = 0.9, tail: float = 0.1, target: float | None = None) -> pd.DataFrame:
        """One row per plan, the best first.

        Columns: end, start, final, shape; mean, lower, upper of the expected loss at its end, and worst, its mean in the
        worst ``tail`` of draws; prob_below (the target, if there is one); behind, behind_lower, behind_upper (how much higher
        it ends than the best plan); near (probability to end within .002 nats of it); prob_lowest (of all plans), regret
        (expected, against the plan that ends lowest in each draw); score.

        Raises:
            DataError: ``prob`` or ``tail`` does not lie between 0 and 1, or ``target`` is no loss.
        """
        require_prob(prob)
        require_tail(tail)
        draws, behind = draws_last(self.losses), self._behind()
        lower, upper = interval_along(draws, prob, axis=1)
        behind_lower, behind_upper = interval_along(behind, prob, axis=1)
        table = {
            **{name: self.candidates[name] for name in ("end", "start", "final", "shape")},
            "mean": draws.mean(axis=1),
            "lower": lower,
            "upper": upper,
            "worst": np.array([cvar(one, tail=tail) for one in draws]),
            "behind": behind.mean(axis=1),
            "behind_lower": behind_lower,
            "behind_upper": behind_upper,
            "near": self.near(),
            "prob_lowest": np.bincount(draws.argmin(axis=0), minlength=len(draws)) / draws.shape[1],
            "regret": (draws - draws.min(axis=0)).mean(axis=1),
            "score": self.candidates["score"],
        }
        if target is not None:
            require_number(target, "target", low=0.0, cure="It is a loss in nats per token.")
            table["prob_below"] = (draws < target).mean(axis=1)
        return pd.DataFrame(table, self.candidates.index).sort_values(["score", "mean"], ascending=[False, True], kind="stable")

    def against(self, *, prob: float = 0.9) -> pd.DataFrame:
        """How much lower the best plan ends than each standard one: gain, gain_lower, gain_upper [nats], prob_lower.

        Raises:
            DataError: ``prob`` does not lie between 0 and 1.
        """
        require_prob(prob)
        gain = pd.DataFrame(self._behind(), self.candidates.index).loc[list(self.standard)].to_numpy(float)
        lower, upper = interval_along(gain, prob, axis=1)
        table = {"gain": gain.mean(axis=1), "gain_lower": lower, "gain_upper": upper, "prob_lower": (gain > 0).mean(axis=1)}
        return pd.DataFrame(table, pd.Index(self.standard, name="plan"))

    @property
    def reason(self) -> str:
        """What to do and how sure that is, in two sentences."""
        table = self.to_frame()
        best, others = table.loc[self.name], table.drop(index=self.name)
        if best["shape"] == AS_PLANNED:
            what = "Keep the schedule as planned"
        else:
            how = "" if best["shape"] == "linear" else f" by {best['shape']}"
            later = f"Hold the learning rate until step {best['start']:.6g}, then decay"
            what = f"{'Decay now' if best['start'] == self.origin else later}{how} to {best['final']:.3g}"
        end = f"{what} and end at step {show(best['end'])}, at {best['mean']:.4f} ({best['lower']:.4f} to {best['upper']:.4f})"
        expected, sure = (int(np.sum(chosen)) for chosen in (others["behind"] < NEAR, others["near"] >= 0.9))
        flat = f"Of {len(others)} other plans {expected} are expected within {NEAR} nats of it, {sure} with 90 %"
        chance = "" if self.target is None else f", {self.objective} {percent(float(best['score']))}"
        return f"{end}. {flat}; expected regret {best['regret']:.4f} nats{chance}."

    def _behind(self) -> Array:
        """How much higher each plan ends than the best one (plan, draw)."""
        draws = draws_last(self.losses)
        return draws - draws[self.candidates.index.get_loc(self.name)]

    def __str__(self) -> str:
        return doubted(self.reason, converged=self.converged)


def best_plan(
    fit: Fit,
    *,
    end: float,
    target: float | None = None,
    tail: float | None = None,
    cost: Cost | None = None,
    value: float | None = None,
    starts: Sequence[float] = STARTS,
    finals: Sequence[float] = FINALS,
    shapes: Sequence[str] = DECAYS,
    seed: int = 0,
) -> BestPlan:
    """The best of many plans for the rest of a run; by default the one with the lowest expected loss at ``end``.

    Plans hold the present learning rate until a start, and decay from there; that of the fit is among them if it gets there.

    Args:
        fit: what the past of one run says.
        end: last step of the run, as the budget has it; with ``cost`` and ``value``, the last that is considered.
        target: loss to reach: the plan that is likeliest to end below it.
        tail: share of draws: the plan whose mean in the worst of them is lowest.
        cost: what further steps cost; plans end within its deadline. A sum of money ends the run at ``fit.origin +
            cost.steps(money)``.
        value: money that a loss lower by one nat is worth, with ``cost``: the plan worth most above what it costs, which may
            end earlier.
        starts: of the decay, as shares of the way from the origin to the end (from 0 to below 1).
        finals: final learning rates, as shares of the present one (from 0 to 1).
        shapes: of ``schedules.SHAPES``.
        seed: of the drift ahead.

    Raises:
        DataError: several runs, an unknown schedule, an end that is not later than the origin or beyond the deadline, more than
            one objective, a target or value that is none, or no candidate.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> best = best_plan(example_fit(), end=2500)
    >>> len(best.candidates), best.schedule.end
    (145, 2500.0)
    """
    require_plannable(fit)
    require_seed(seed)
    require_end(end, fit.origin, cost)
    _require_objective(target, tail, cost, value)
    ends = [float(end)] if value is None else [fit.origin + share * (end - fit.origin) for share in ENDS]
    schedules, rows = candidates(fit, ends, starts, finals, shapes)
    losses = losses_at_ends(fit, list(schedules.values()), rows["end"], seed=seed).assign_coords(plan=list(schedules))
    score, objective = _scores(fit, losses, rows["end"].to_numpy(float), target, tail, cost, value)
    rows["score"] = score
    chosen = schedules[_best(losses, rows)]
    beyond = () if fit.pooled else LearnedPriors().notices(chosen, origin=fit.origin, recipe=fit.recipe)
    if target is not None and not score.any():
        beyond += (f"No plan ends below {show(target)} in any draw: the one with the lowest expected loss is given.",)
    return BestPlan(
        losses=losses,
        candidates=rows,
        schedules=schedules,
        objective=objective,
        standard=tuple(n for n, at in zip(schedules, rows["end"]) if at == end and n.partition(_WHEN)[0] in _STANDARD),
        origin=fit.origin,
        notices=tuple(dict.fromkeys((*fit.notices, *fit.diagnostics.problems, *beyond))),
        converged=fit.converged,
        target=target,
    )


def require_plannable(fit: Fit) -> None:
    """Raise ``DataError`` unless ``fit`` is of one run whose learning rate is known."""
    require_type(fit, "fit", Fit, cure="Make one with fit(...) or load_fit(path).")
    require(len(fit.runs) == 1, "fit", "be of a single run", fit.runs, cure="Choose one with fit.select(run=...).")
    require(fit.schedule.known, "schedule", "be known", "unknown", cure="Give the learning rate of the run to fit.")


def _require_objective(target: float | None, tail: float | None, cost: Cost | None, value: float | None) -> None:
    """Raise ``DataError`` unless at most one objective is given, and can be used."""
    given = [name for name, one in {"target": target, "tail": tail, "value": value}.items() if one is not None]
    require(len(given) < 2, "objective", "be one of target, tail and value", given, cure="Leave the others out.")
    if target is not None:
        require_number(target, "target", low=0.0, cure="It is a loss in nats per token.")
    if tail is not None:
        require_tail(tail)
    if value is not None:
        require_number(value, "value", low=0.0, cure="It is money per nat per token.")
        require(cost is not None, "cost", "be given with value", None, cure="Give bt.Cost(...).")


def require_tail(tail: float, name: str = "tail") -> None:
    """Raise ``DataError`` unless ``tail`` is a share of draws."""
    require_number(tail, name, low=0.0, high=1.0, cure="0.1 is the worst tenth.")


def require_end(end: float, origin: float, cost: Cost | None) -> None:
    """Raise ``DataError`` unless a run can end at this step, after the origin and before the deadline."""
    require_number(end, "end", low=origin, cure="It is the last step that the budget allows.")
    last = origin + (np.inf if cost is None else cost.most_steps)
    rule = f"come before the deadline, at step {show(last)}"
    require(end <= last, "end", rule, end, cure="End earlier, or raise the deadline.")


def _best(losses: xr.DataArray, rows: pd.DataFrame) -> str:
    """Name of the plan with the highest score and, of several, the lowest expected loss."""
    score = rows["score"].to_numpy(float)
    top = np.flatnonzero(score == score.max())
    return str(rows.index[top[draws_last(losses)[top].mean(axis=1).argmin()]])


_WHEN = ", end at "  # in names of plans that end at different steps


def candidates(
    fit: Fit, ends: Sequence[float], starts: Sequence[float], finals: Sequence[float], shapes: Sequence[str]
) -> tuple[dict[str, Schedule], pd.DataFrame]:
    """Plans by name, and a row for each: end, start, final, shape."""
    for name, shares, most in (("starts", starts, np.nextafter(1.0, 0.0)), ("finals", finals, 1.0)):
        values = np.asarray(shares, float)
        good = values.size > 0 and bool(np.all((values >= 0.0) & (values <= most)))
        require(good, name, "be shares from 0 to 1", list(shares), cure="0.8 is four fifths; a start lies below 1.")
    require(len(shapes) > 0, "shapes", "name at least one", "none", cure="linear is usual.")
    now = float(fit.schedule.lr(fit.origin))
    cure = "The run has decayed already: nothing is left to plan."
    require(now > 0, "learning rate", "be above 0 at the origin", now, cure=cure)
    held = schedule_ahead(fit, constant(peak=now, total=max(ends)))
    made: dict[str, Schedule] = {}
    rows: list[dict[str, Any]] = []

    def add(name: str, schedule: Schedule, stop: float, start: float, final: float, shape: str) -> None:
        if name in made:
            return
        made[name] = schedule
        rows.append({"plan": name, "end": stop, "start": start, "final": final, "shape": shape})

    for stop in ends:
        when = "" if len(ends) == 1 else f"{_WHEN}{show(stop)}"
        if fit.schedule.end >= stop:
            add(f"{AS_PLANNED}{when}", fit.schedule, stop, np.nan, float(fit.schedule.lr(stop)), AS_PLANNED)
        for start in starts:
            for final in finals:
                for shape in shapes:
                    begin = fit.origin + start * (stop - fit.origin)
                    name = _NAMES.get((start, final, shape), f"{shape} from {begin:.6g} to {final * now:.3g}")
                    plan = decayed(held, start=begin, total=stop, final=final * now, shape=shape)
                    add(f"{name}{when}", plan, stop, begin, final * now, shape)
    return made, pd.DataFrame(rows).set_index("plan")


_NAMES = {
    (0.0, 0.0, "linear"): "decay now",
    (0.8, 0.0, "linear"): "decay over the last fifth",
    (0.0, 0.1, "cosine"): "cosine to a tenth",
}
_STANDARD = (AS_PLANNED, *_NAMES.values())


def _scores(
    fit: Fit,
    losses: xr.DataArray,
    ends: Array,
    target: float | None,
    tail: float | None,
    cost: Cost | None,
    value: float | None,
) -> tuple[Array, str]:
    """Score of each plan, larger is better (plan), and what it is in words."""
    draws = draws_last(losses)
    if target is not None:
        return (draws < target).mean(axis=1), f"probability to end below {show(target)}"
    if tail is not None:
        return -np.array([cvar(one, tail=tail) for one in draws]), f"mean loss in the worst {percent(tail)} of draws"
    if value is not None and cost is not None:
        return -value * draws.mean(axis=1) - cost.money(ends - fit.origin), "value of the loss less cost"
    return -draws.mean(axis=1), "expected loss"
