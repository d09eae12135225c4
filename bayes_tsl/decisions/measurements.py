r"""What a measurement would be worth, before it is made: preposterior analysis on the draws of a fit.

A measurement is losses at some steps: of the run itself, of a branch that leaves it here under another schedule, of averaged
weights, or of the same run from another seed. Every draw of the posterior says what it would read, and where the run then ends.
The end regressed on the reading is what one would believe after it (``preposterior``), so nothing is refitted:

    spread that is left        of  end - E[end | reading]
    value of the measurement   E[max_a E[value(end_a) | reading]] - max_a E[value(end_a)]    over plans a

A rule that loses by this is worth nothing, since one need not follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bayes_tsl._common.display import Facts, cut, shown, warned
from bayes_tsl._common.intervals import draws_last, interval_along, require_prob
from bayes_tsl._common.jax_settings import float64
from bayes_tsl._common.validation import floats, require, require_number, require_seed, require_type, show
from bayes_tsl.data.schedules import Schedule, optional_schedule
from bayes_tsl.decisions.costs import Cost
from bayes_tsl.decisions.preposterior import believed, lowest_believed
from bayes_tsl.forecasting.predict import forecast_paths, schedule_ahead
from bayes_tsl.inference.nuts import over_draws
from bayes_tsl.inference.posterior import Fit
from bayes_tsl.model.design import later_steps
from bayes_tsl.model.lr_response import excess_loss, make_time_axis
from bayes_tsl.model.priors import AVERAGING
from bayes_tsl.model.single_run import TAIL

Array = NDArray[np.float64]

PLANNED = "as planned"
SEED_SPREAD = 0.0013  # of the end of a run over seeds: .0011 to .0014 in published runs of 124M  [nats]


@dataclass(frozen=True)
class Measurement:
    """Losses that could be measured.

    Attributes:
        steps: where (step).
        branch: schedule, or its text, of a branch that leaves the run at the origin of the fit; None for checkpoints of the
            run itself.
        averaged: steps up to each of ``steps``, none later than the origin, whose weights are averaged; 0 for none.
        second_seed: whether they are of a run of its own, from another seed: its departures from the laws are those of this run
            but for the spread of seeds.

    >>> tried = Measurement([1500, 1700], branch="linear:peak=2e-3,total=1700")
    >>> tried.second_seed
    False
    """

    steps: ArrayLike
    branch: Schedule | str | None = None
    averaged: float = 0.0
    second_seed: bool = False


@shown
@dataclass(frozen=True, eq=False)
class Worth:
    """What measurements would be worth; ``worth_measuring`` makes it.

    Attributes:
        end: step at which the run ends.
        now: draws of the expected loss there under each plan (plan, draw).  [nats]
        left: the same less what one would believe after each measurement, by its name (plan, draw).  [nats]
        gained: how much lower the run would end on average, since the plan is chosen after each, by its name.  [nats]
        taken: steps beyond those of the run that each takes, by its name.
        cost: what they cost.
        value: of a nat.  [money]
        converged: False where the chains of the fit did not agree.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> worth = bt.worth_measuring(example_fit(), {"wait": bt.Measurement([1300, 1400, 1500])}, end=2500)
    >>> list(worth.to_frame())
    ['steps', 'cost', 'width_now', 'width_left', 'narrower', 'gain', 'worth', 'net']
    """

    end: float
    now: Array = field(repr=False)
    left: Mapping[str, Array] = field(repr=False)
    gained: Mapping[str, float]
    taken: Mapping[str, float]
    cost: Cost | None = None
    value: float | None = None
    converged: bool = True

    def _facts(self) -> Facts:
        table = self.to_frame()
        gains = {str(name): f"gain {gain:.4f} nats" for name, gain in table["gain"].items()}
        widths = dict(zip(gains, zip(table["width_left"], table["narrower"])))
        rows = {
            name: f"90% interval {width:.4f} nats wide, {narrower:.0%} narrower; {gains[name]}"
            for name, (width, narrower) in widths.items()
        }
        now = f"90% interval {float(table['width_now'].iloc[0]):.4f} nats wide now"
        return {"": f"end at step {show(self.end)}, {now}", **cut(rows), **warned((), converged=self.converged)}

    @property
    def perfect(self) -> float:
        """How much lower the run would end if one knew the end of every plan: no measurement gains more, in nats."""
        return float(self.now.mean(axis=1).min() - self.now.min(axis=0).mean())

    def to_frame(self, *, prob: float = 0.9) -> pd.DataFrame:
        """One row per measurement, in the order in which they were given.

        Columns: steps (beyond those of the run), cost [money]; width_now and width_left, of the interval of the end under the
        first plan [nats], and narrower, the share of it that goes; gain of the choice between plans [nats], worth [money], net
        (worth less cost). Money is NaN without a cost, or without a value.

        Raises:
            DataError: ``prob`` does not lie between 0 and 1.
        """
        require_prob(prob)
        rows = []
        for name, left in self.left.items():
            before, after = (float(np.diff(interval_along(draws[0], prob, axis=0))[0]) for draws in (self.now, left))
            money = np.nan if self.cost is None else float(self.cost.money(self.taken[name]))
            worth = np.nan if self.value is None else self.value * self.gained[name]
            row = {"steps": self.taken[name], "cost": money, "width_now": before, "width_left": after}
            rows.append(
                row | {"narrower": 1.0 - after / before, "gain": self.gained[name], "worth": worth, "net": worth - money}
            )
        return pd.DataFrame(rows, pd.Index(self.left, name="measurement"))


def worth_measuring(
    fit: Fit,
    options: Mapping[str, Measurement],
    *,
    end: float,
    plans: Mapping[str, Schedule | str | None] | None = None,
    cost: Cost | None = None,
    value: float | None = None,
    seed: int = 0,
) -> Worth:
    """By how much measurements would narrow the forecast of a run's end, and better the choice between plans for it.

    Args:
        fit: of one run.
        options: measurements by name.
        end: step at which the run ends.
        plans: schedules from the origin on that one could choose between, by name; None is the one that was fitted.
        cost: what the steps of a branch, or of a run from another seed, cost.
        value: money that a loss lower by one nat is worth.
        seed: of the drift and noise ahead.

    Raises:
        DataError: several runs, no measurement, one at steps that are not later than the origin, or a schedule that ends too
            early.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> tried = Measurement([1700], branch=bt.schedules.linear(peak=2e-3, total=1700))
    >>> worth = worth_measuring(example_fit(), {"cooldown": tried, "wait": Measurement([1300, 1400, 1500])}, end=2500)
    >>> worth.to_frame()["steps"].to_dict()
    {'cooldown': 500.0, 'wait': 0.0}
    """
    require_type(fit, "fit", Fit, cure="Make one with fit(...) or load_fit(path).")
    require(len(fit.runs) == 1, "fit", "be of a single run", fit.runs, cure="Choose one with fit.select(run=...).")
    require_seed(seed)
    for name in options if isinstance(options, Mapping) else ():
        one, cure = options[name], "Leave one of them out."
        alone = not (isinstance(one, Measurement) and one.second_seed and (one.branch is not None or one.averaged))
        require(alone, "second_seed", "be False", True, where=f"of a branch or of averaged weights ({name!r})", cure=cure)
    given = isinstance(options, Mapping) and len(options) > 0 and all(isinstance(one, Measurement) for one in options.values())
    require(given, "options", "be measurements by name", options, cure="Give {name: bt.Measurement(steps=[...])}.")
    if value is not None:
        require_number(value, "value", low=0.0, cure="It is money per nat per token.")
    require_number(end, "end", low=fit.origin, cure="It is the last step of the run.")
    chosen = {PLANNED: None} if plans is None else plans
    schedules = {name: schedule_ahead(fit, optional_schedule(plan)) for name, plan in chosen.items()}
    for schedule in schedules.values():
        schedule.require_reaches(end)
    now, readings = _drawn(fit, options, schedules, end, seed)
    after = {name: believed(now, reading) for name, reading in readings.items()}
    chosen_now = now.mean(axis=1).min()
    return Worth(
        end=end,
        now=now,
        left={name: now - ends for name, ends in after.items()},
        gained={name: max(float(chosen_now - lowest_believed(now, ends).mean()), 0.0) for name, ends in after.items()},
        taken={name: _steps_of_branch(fit, option) for name, option in options.items()},
        cost=cost,
        value=value,
        converged=fit.converged,
    )


def _drawn(
    fit: Fit, options: Mapping[str, Measurement], schedules: Mapping[str, Schedule], end: float, seed: int
) -> tuple[Array, dict[str, Array]]:
    """Draws of the end under every plan (plan, draw), and of what each measurement reads (draw, step), by its name.

    The run's own checkpoints lie on the way to its end; the drift of a branch is its own.
    """
    first = next(iter(schedules.values()))
    paths = {f"end {name}": (np.array([end], float), schedule) for name, schedule in schedules.items()}
    of_run = [name for name, option in options.items() if option.branch is None and not option.averaged]
    paths |= {name: (later_steps(options[name].steps, fit.origin), first) for name in of_run}
    ahead = forecast_paths(fit, {n: at for n, (at, _) in paths.items()}, {n: plan for n, (_, plan) in paths.items()}, seed=seed)
    readings = {
        name: draws_last(ahead[name].observed).T if name in of_run else _reading(fit, option, seed + number)
        for number, (name, option) in enumerate(options.items(), start=1)
    }
    for number, name in enumerate(name for name in of_run if options[name].second_seed):
        apart = np.sqrt(2.0) * SEED_SPREAD * np.random.default_rng([seed, number]).standard_normal((len(readings[name]), 1))
        readings[name] = readings[name] + apart
    return np.stack([draws_last(ahead[f"end {name}"].expected)[0] for name in schedules]), readings


def _reading(fit: Fit, option: Measurement, seed: int) -> Array:
    """Draws of what is measured of a branch or of averaged weights (draw, step)."""
    if option.branch is None or option.averaged:
        return _averaged_reading(fit, option, seed)
    steps, branch = later_steps(option.steps, fit.origin), schedule_ahead(fit, optional_schedule(option.branch))
    branch.require_reaches(float(steps[-1]))
    return draws_last(forecast_paths(fit, {"": steps}, {"": branch}, seed=seed)[""].observed).T


def _averaged_reading(fit: Fit, option: Measurement, seed: int) -> Array:
    """Draws of the loss of averaged weights, less that of the run, which is known in the middle of them (draw, step)."""
    steps, cure = floats(option.steps, "steps", cure="Give e.g. steps=[2000]."), "Average over steps that the run has made."
    require(option.branch is None, "averaged", "be 0", option.averaged, where="of a branch", cure="Leave one of them out.")
    good = bool(np.all((steps > option.averaged) & (steps <= fit.origin)))
    rule = f"lie between averaged {show(option.averaged)} and the origin {show(fit.origin)}"
    require(option.averaged > 0 and good, "steps", rule, steps, cure=cure)
    effective = fit.recipe.effective(fit.schedule)
    axis = make_time_axis(steps, effective, fit.anchor, averaged=option.averaged)
    sites, rng = fit.parameters(), np.random.default_rng([seed, len(steps)])
    shape = sites["heat"].shape
    if fit.priors.averaging.family == "fixed":
        sites["averaging"] = AVERAGING.draws(rng, int(np.prod(shape))).reshape(shape)
    with float64():
        gone = over_draws(excess_loss, (axis._replace(lag=axis.gone, gone=np.zeros_like(axis.gone)),), sites)
    noise = sites["noise_scale"][..., None] * rng.standard_t(TAIL, (*shape, len(steps)))
    return (noise - sites["averaging"][..., None] * np.asarray(gone)).reshape(-1, len(steps))


def _steps_of_branch(fit: Fit, option: Measurement) -> float:
    """Steps that a measurement takes beyond those of the run."""
    if option.second_seed:
        return float(np.max(option.steps))
    return 0.0 if option.branch is None else float(np.max(option.steps)) - fit.origin
