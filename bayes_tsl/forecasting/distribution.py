"""A forecast: draws of the future test loss, and what follows from them.

*Expected* draws are where the loss curve goes; *observed* draws add the noise of measuring one checkpoint. The interval of the
next measurement is about the observed, the time at which a target is reached about the expected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pandas as pd
import xarray as xr

from bayes_tsl._common.dims import DRAWS, POSITION, RUN, STEP, TEST_SET
from bayes_tsl._common.display import Facts, counted, cut, doubted, estimate, extent, shown, warned
from bayes_tsl._common.files import whole_file
from bayes_tsl._common.intervals import draws_last, interval_over_draws, require_prob
from bayes_tsl._common.netcdf import written
from bayes_tsl._common.packages import function_above
from bayes_tsl._common.validation import percent, require, require_choice, require_number, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["observed", "expected"]
FORECAST_SCHEMA = "bayes_tsl forecast 1"
TEST_LOSS = "mean test loss [nats/token]"


@shown
@dataclass(frozen=True, eq=False)
class Arrival:
    """When the expected loss of a run first falls to a target; ``Forecast.time_to(target, prob=...)`` makes it.

    A step that lies beyond the forecast is infinite as a number, and ``beyond STEP`` in words. Lower targets come later:
    nothing here falls, and ``prob_within`` does not rise, when the target is lowered.

    Attributes:
        target: loss to reach, in nats per token.
        draws: step at which a draw gets there, infinite where it does not within the forecast (chain, draw).
        horizon: last step of the forecast.
        prob: mass of the interval from ``lower`` to ``upper``.
        converged: False where the chains of the fit did not agree.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> arrival = bt.forecast(example_fit(), steps=[1500, 2000, 2500]).time_to(3.6, prob=0.9)
    >>> round(float(arrival.median), -2)
    1800.0
    """

    target: float
    draws: xr.DataArray = field(repr=False)
    horizon: float
    prob: float
    converged: bool = True

    def _facts(self) -> Facts:
        return {"": str(self)}

    @property
    def prob_within(self) -> float:
        """Probability to get there within the forecast; the rest is mass beyond it."""
        return float(np.isfinite(self.draws).mean())

    @property
    def median(self) -> float:
        """Step by which it is as likely as not to be there."""
        return self.by(0.5)

    @property
    def lower(self) -> float:
        """Where the central interval begins."""
        return self.by(0.5 * (1.0 - self.prob))

    @property
    def upper(self) -> float:
        """Where the central interval ends."""
        return self.by(0.5 * (1.0 + self.prob))

    def by(self, chance: float) -> float:
        """First step by which the target is reached with a probability of ``chance`` or more; infinite if beyond.

        No interpolation between draws, which could not be had with infinite ones (definition 1 of Hyndman & Fan 1996).

        Raises:
            DataError: ``chance`` does not lie between 0 and 1.
        """
        require_number(chance, "chance", low=0.0, high=1.0, cure="0.9 is to be 90 % sure.")
        steps = np.sort(self.draws.to_numpy(), axis=None)
        return float(steps[max(int(np.ceil(round(chance * steps.size, 6))), 1) - 1])

    def to_frame(self) -> pd.DataFrame:
        """One row: target, prob_within, median, lower, upper, prob; a step is a number or ``beyond STEP``."""
        values = {name: getattr(self, name) for name in ("median", "lower", "upper")}
        steps = {name: step if np.isfinite(step) else step_text(step, last=self.horizon) for name, step in values.items()}
        return pd.DataFrame([{"target": self.target, "prob_within": self.prob_within, **steps, "prob": self.prob}])

    @property
    def reason(self) -> str:
        """How likely the target is reached, and when, in a sentence."""
        median, lower, upper = (step_text(step, last=self.horizon) for step in (self.median, self.lower, self.upper))
        chance = f"target {show(self.target)}: {percent(self.prob_within)} likely to be reached by step {show(self.horizon)}"
        when = f"{median} (median), {lower} to {upper} ({self.prob:.0%} interval)"
        return f"{chance}; first step there: {when}"

    def __str__(self) -> str:
        return doubted(self.reason, converged=self.converged)


@shown
@dataclass(frozen=True, eq=False)
class Forecast:
    """Draws of the mean test loss at steps after an origin, in nats per token.

    That of several runs has the axis ``run`` after chain and draw, that of several test sets the axis ``test_set``; ``select``
    chooses one, and ``weighted`` is a mean over test sets.

    Attributes:
        run: name of the run; of several, all names with commas between.
        test_set: name of the test set; of several, all names with commas between.
        origin: last step that the forecaster used; of several runs, the last of any (each has its own in ``select``).
        expected: draws of the loss curve (chain, draw, step).
        observed: draws of what a checkpoint's evaluation will read (chain, draw, step).
        history: mean losses until then (step).
        notices: what the user should know, in words.
        converged: False where the chains of its fit did not agree.
        coefficients: draws of gap, rate and floor (chain, draw, step); empty for a forecaster that has none.
        positions: draws of the observed loss at some token positions (chain, draw, step, position); else None.
        quantity: what is forecast, in words and units: the loss, but for ``forecast_task``.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> ahead = bt.forecast(example_fit(), steps=[2000, 2500])
    >>> float(ahead.prob_below(3.6, at=2500)) > 0.9
    True
    """

    run: str
    test_set: str
    origin: float
    expected: xr.DataArray = field(repr=False)
    observed: xr.DataArray = field(repr=False)
    history: xr.DataArray = field(repr=False)
    notices: tuple[str, ...] = ()
    coefficients: xr.Dataset = field(default_factory=xr.Dataset, repr=False)
    positions: xr.DataArray | None = field(default=None, repr=False)
    converged: bool = True
    quantity: str = TEST_LOSS

    def _facts(self) -> Facts:
        of = {f"run {run}": self.select(run=run) for run in self.runs} if len(self.runs) > 1 else {"": self}
        each = {
            f"{name}, {test_set}".strip(", ") if len(one.test_sets) > 1 else name: one.select(test_set=test_set)
            for name, one in of.items()
            for test_set in one.test_sets
        }
        last = f"step {show(self.steps[-1])}"
        ends = {f"{last} {name}".strip(): estimate(draws_last(one.observed)[-1]) for name, one in each.items()}
        return {
            "": f"{self.run} on {self.test_set}, after step {show(self.origin)}",
            "steps": extent(self.steps),
            **({} if self.positions is None else {"positions": counted(map(show, self.positions[POSITION].to_numpy()))}),
            **cut(ends),
            **warned(self.notices, converged=self.converged),
        }

    @property
    def steps(self) -> np.ndarray:
        """Steps forecast, increasing (step)."""
        return self.observed[STEP].to_numpy()

    @property
    def runs(self) -> list[str]:
        """Names of the runs."""
        return [str(run) for run in self.observed[RUN].to_numpy()] if RUN in self.observed.dims else [self.run]

    @property
    def test_sets(self) -> list[str]:
        """Names of the test sets."""
        return [str(name) for name in self.observed[TEST_SET].to_numpy()] if TEST_SET in self.observed.dims else [self.test_set]

    def select(self, *, run: str | None = None, test_set: str | None = None) -> Forecast:
        """The forecast of one of the runs, or on one of the test sets.

        Raises:
            DataError: there is no such run or test set.
        """
        if run is not None:
            require_choice(run, "run", self.runs, cure="Choose one of these.")
        if test_set is not None:
            require_choice(test_set, "test_set", self.test_sets, cure="Choose one of these.")
            return self._only(TEST_SET, self.test_sets.index(test_set), test_set=test_set)
        if run is None or RUN not in self.observed.dims:
            return self
        number = self.runs.index(run)
        return self._only(RUN, number, run=run, origin=float(self.observed["origin"][{RUN: number}]))

    def _only(self, axis: str, number: int, **names: Any) -> Forecast:
        """The forecast at one place of an axis; the whole if it has no such axis."""
        if axis not in self.observed.dims:
            return self
        one = {axis: number}
        return replace(
            self,
            expected=self.expected.isel(one, drop=True).drop_vars("origin", errors="ignore"),
            observed=self.observed.isel(one, drop=True).drop_vars("origin", errors="ignore"),
            history=self.history.isel(one, drop=True).dropna(STEP),
            coefficients=self.coefficients.isel(one, drop=True),
            positions=None if self.positions is None else self.positions.isel(one, drop=True),
            **names,
        )

    def weighted(self, weights: Mapping[str, float] | None = None) -> Forecast:
        """The forecast of a weighted mean over test sets, draw for draw; by default all count the same.

        Args:
            weights: of test sets, up to a factor; those left out count nothing.

        Raises:
            DataError: a test set that is not there, or a weight that is none.
        """
        given = dict.fromkeys(self.test_sets, 1.0) if weights is None else weights
        cure = "Give {test set: weight}."
        require(isinstance(given, Mapping), "weights", "be a mapping", type(given).__name__, cure=cure)
        for name in given:
            require_choice(name, "test_set", self.test_sets, cure="Choose from these.")
        values = np.array(list(given.values()), float)
        good = values.size > 0 and np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0
        require(good, "weights", "be numbers, none negative and one above 0", list(given.values()), cure=cure)
        if TEST_SET not in self.observed.dims:
            return self
        share = xr.DataArray([given.get(name, 0.0) / values.sum() for name in self.test_sets], dims=TEST_SET)
        parts = (self.expected, self.observed, self.history)
        expected, observed, history = ((part * share).sum(TEST_SET, skipna=False).rename(part.name) for part in parts)
        return replace(
            self,
            test_set=f"mean of {', '.join(name for name in given if given[name] > 0)}",
            expected=expected,
            observed=observed,
            history=history,
            coefficients=xr.Dataset(),
            positions=None,
        )

    def require_one_curve(self) -> None:
        """Raise ``DataError`` if the forecast is of several runs or test sets."""
        for name, names in (("run", self.runs), ("test_set", self.test_sets)):
            cure = f"Choose one with forecast.select({name}=...)."
            require(len(names) == 1, "forecast", f"be of a single {name}", names, cure=cure)

    def require_step(self, at: float) -> None:
        """Raise ``DataError`` unless ``at`` is one of the steps forecast."""
        require(at in self.steps, "at", f"be a step of the forecast ({show(self.steps)})", at, cure="Forecast that step.")

    def draws(self, kind: Kind = "observed", *, at: float | None = None) -> xr.DataArray:
        """Draws of one kind (chain, draw, step), in nats per token; those at the step ``at`` have no step axis (chain, draw).

        Between two steps of the forecast each draw of the curve is a straight line in log step. The noise of a checkpoint
        there is that of the nearer of the two.

        Raises:
            DataError: ``kind`` is neither observed nor expected, or ``at`` lies outside the forecast.
        """
        cure = "Ask for the next measurements, or for the curve that they scatter around."
        require_choice(kind, "kind", ("observed", "expected"), cure=cure)
        draws = self.observed if kind == "observed" else self.expected
        if at is None:
            return draws
        require_number(at, "at", cure="It is a step.")
        first, last = float(self.steps[0]), float(self.steps[-1])
        rule = f"lie within the steps of the forecast, {show(first)} to {show(last)}"
        require(first <= at <= last, "at", rule, at, cure="Forecast that step.")
        if at in self.steps:
            return draws.sel({STEP: at})
        return self._between(kind, at)

    def _between(self, kind: Kind, at: float) -> xr.DataArray:
        """Draws between two steps of the forecast (chain, draw)."""
        after = int(np.searchsorted(self.steps, at))
        start, stop = np.log(self.steps[[after - 1, after]])
        share = float((np.log(at) - start) / (stop - start))
        before, behind = (self.expected.isel({STEP: i}, drop=True) for i in (after - 1, after))
        curve = (before * (1.0 - share) + behind * share).assign_coords({STEP: at})
        if kind == "expected":
            return curve.rename(self.expected.name)
        nearer = {STEP: after if share > 0.5 else after - 1}
        noise = self.observed.isel(nearer, drop=True) - self.expected.isel(nearer, drop=True)
        return (curve + noise).rename(self.observed.name)

    def quantile(self, q: float | Sequence[float], *, kind: Kind = "observed") -> xr.DataArray:
        """Quantiles of the loss ([quantile,] step), in nats per token."""
        for level in np.atleast_1d(q):
            require_number(level, "quantile", low=0.0, high=1.0, cure="0.5 is the median.")
        return self.draws(kind).quantile(q, dim=DRAWS)

    def interval(self, *, prob: float = 0.9, kind: Kind = "observed", at: float | None = None) -> xr.Dataset:
        """Central credible interval that covers ``prob`` of the draws: variables ``lower`` and ``upper`` (step).

        Args:
            prob: mass of the interval.
            kind: of draws.
            at: a single step, between those of the forecast too (see ``draws``).

        Raises:
            DataError: ``prob`` does not lie between 0 and 1, or ``at`` lies outside the forecast.
        """
        require_prob(prob)
        lower, upper = interval_over_draws(self.draws(kind, at=at), prob)
        return xr.Dataset({"lower": lower, "upper": upper}, attrs={"prob": prob})

    def prob_below(self, target: float, *, kind: Kind = "observed", at: float | None = None) -> xr.DataArray:
        """Probability that the loss lies below ``target`` (step).

        Args:
            target: loss in nats per token.
            kind: of draws.
            at: a single step, between those of the forecast too (see ``draws``).

        Raises:
            DataError: ``target`` is no loss, or ``at`` lies outside the forecast.

        >>> import bayes_tsl as bt
        >>> from bayes_tsl.inference.posterior import example_fit
        >>> ahead = bt.forecast(example_fit(), [1500, 2000, 2500])
        >>> round(float(ahead.prob_below(3.55, at=2310)), 2)
        0.77
        """
        return (self.draws(kind, at=at) < _loss(target)).mean(DRAWS).rename("prob_below")

    @overload
    def time_to(self, target: float) -> xr.DataArray: ...

    @overload
    def time_to(self, target: float, *, prob: float) -> Arrival: ...

    def time_to(self, target: float, *, prob: float | None = None) -> xr.DataArray | Arrival:
        """Draws of the step at which the expected loss first falls to ``target`` (chain, draw); with ``prob``, their summary.

        Straight lines join the forecast steps; a draw that starts below is given the first of them. Where a draw does not
        get there within the forecast its step is infinite, so ``np.isinf(...).mean()`` is the probability of that.

        Raises:
            DataError: ``target`` is no loss, ``prob`` does not lie between 0 and 1, or it is given for several runs.
        """
        target = _loss(target)
        reached = first_below(self.expected.to_numpy(), self.steps, target)
        draws = self.expected.isel({STEP: 0}, drop=True).copy(data=reached).rename("time_to")
        if prob is None:
            return draws
        self.require_one_curve()
        require_prob(prob)
        return Arrival(target, draws, float(self.steps[-1]), float(prob), self.converged)

    def to_frame(self, *, prob: float = 0.9, kind: Kind = "observed") -> pd.DataFrame:
        """One row per run and step: run, step, mean, median, lower, upper, prob, sd; and test_set, where there are several.

        With losses at token positions there is a column position too, after step. Rows of single positions, of observed draws
        alone, come before those of the mean, whose position is NaN, as in a ``LossTable``.
        """
        if len(self.runs) > 1:
            each = [self.select(run=run).to_frame(prob=prob, kind=kind) for run in self.runs]
            return pd.concat(each, ignore_index=True)
        if len(self.test_sets) > 1:
            of_sets = {name: self.select(test_set=name).to_frame(prob=prob, kind=kind) for name in self.test_sets}
            return pd.concat([frame.assign(test_set=name) for name, frame in of_sets.items()], ignore_index=True)
        require_prob(prob)
        mean = self._rows(self.draws(kind), prob)
        if self.positions is None or kind == "expected":
            return mean
        chosen = [float(position) for position in self.positions[POSITION].to_numpy()]
        parts = {position: self._rows(self.positions.sel({POSITION: position}), prob) for position in chosen} | {np.nan: mean}
        for position, rows in parts.items():
            rows.insert(2, "position", position)
        return pd.concat(parts.values(), ignore_index=True)

    def _rows(self, draws: xr.DataArray, prob: float) -> pd.DataFrame:
        """One row per step of draws (chain, draw, step)."""
        lower, upper = interval_over_draws(draws, prob)
        return pd.DataFrame(
            {
                "run": self.run,
                "step": self.steps,
                "mean": draws.mean(DRAWS).to_numpy(),
                "median": draws.median(DRAWS).to_numpy(),
                "lower": lower.to_numpy(),
                "upper": upper.to_numpy(),
                "prob": prob,
                "sd": draws.std(DRAWS, ddof=1).to_numpy(),
            }
        )

    def plot(self, **options: Any) -> Axes:
        """The picture of ``plot_forecast``, which takes the same options: observed, target, kind, ax."""
        return function_above("plot_forecast")(self, **options)

    def save(self, path: str | Path) -> None:
        """Write the forecast to a NetCDF file that ends in a checksum, whole or not at all; ``load_forecast`` reads it."""
        parts = {
            "draws": xr.Dataset({"expected": self.expected, "observed": self.observed}),
            "history": xr.Dataset({"mean_loss": self.history}),
            **({"coefficients": self.coefficients} if self.coefficients else {}),
            **({} if self.positions is None else {"positions": xr.Dataset({"observed": self.positions})}),
        }
        data = xr.DataTree.from_dict(parts)
        data.attrs = {
            "schema": FORECAST_SCHEMA,
            "run": self.run,
            "test_set": self.test_set,
            "origin": self.origin,
            "notices": json.dumps(self.notices),
            "converged": int(self.converged),
            "quantity": self.quantity,
        }
        with whole_file(path) as beside:
            beside.write_bytes(written(data))


def _loss(target: float) -> float:
    require_number(target, "target", low=0.0, cure="It is a loss in nats per token.")
    return float(target)


def step_text(step: float, *, last: float) -> str:
    """A step in words, to a tenth; ``beyond`` the last step forecast where it is infinite.

    >>> step_text(1234.56, last=2500.0), step_text(np.inf, last=2500.0)
    ('1234.6', 'beyond 2500')
    """
    return show(round(step, 1)) if np.isfinite(step) else f"beyond {show(last)}"


def first_below(losses: np.ndarray, steps: np.ndarray, target: float) -> np.ndarray:
    """Step at which straight lines through losses (..., step) first fall to ``target``; infinite where they do not (...).

    >>> first_below(np.array([[4.0, 3.0], [4.0, 3.8]]), np.array([100.0, 200.0]), 3.5).tolist()
    [150.0, inf]
    """
    steps, below = np.asarray(steps, float), losses <= target
    at = below.argmax(axis=-1)
    later, earlier = (np.take_along_axis(losses, i[..., None], -1)[..., 0] for i in (at, np.maximum(at - 1, 0)))
    share = np.divide(earlier - target, earlier - later, out=np.ones_like(later), where=earlier > later)
    crossing = steps[np.maximum(at - 1, 0)] * (1.0 - share) + steps[at] * share
    return np.where(below.any(axis=-1), crossing, np.inf)


def side_by_side(forecasts: Sequence[Forecast], *, along: Literal["run", "test_set"] = RUN) -> Forecast:
    """Forecasts of several runs on one test set, or of one run on several, at the same steps and draw for draw, as one.

    >>> import bayes_tsl as bt
    >>> from bayes_tsl.inference.posterior import example_fit
    >>> from dataclasses import replace
    >>> runs = [replace(bt.forecast(example_fit(), steps=[2000], seed=seed), run=f"run {seed}") for seed in (0, 1)]
    >>> side_by_side(runs).expected.sizes["run"]
    2
    """
    names = pd.Index([getattr(ahead, along) for ahead in forecasts], name=along)

    def joined(values: Sequence[Any]) -> Any:
        return xr.concat(values, names, join="outer").transpose(*DRAWS, along, ..., missing_dims="ignore")

    origins = {"origin": (RUN, [ahead.origin for ahead in forecasts])} if along == RUN else {}
    positions = [ahead.positions for ahead in forecasts if ahead.positions is not None]
    return replace(
        forecasts[0],
        origin=max(ahead.origin for ahead in forecasts),
        expected=joined([ahead.expected for ahead in forecasts]).assign_coords(origins),
        observed=joined([ahead.observed for ahead in forecasts]).assign_coords(origins),
        history=xr.concat([ahead.history for ahead in forecasts], names, join="outer"),
        notices=tuple(dict.fromkeys(notice for ahead in forecasts for notice in ahead.notices)),
        converged=all(ahead.converged for ahead in forecasts),
        coefficients=joined([ahead.coefficients for ahead in forecasts]),
        positions=joined(positions) if positions else None,
        **{along: ", ".join(names)},
    )
