"""From the loss that is forecast to a task: each draw of the loss through one of the link, plus how far the run lies from it.

expected = link(expected loss) + distance of the run        observed = link(observed loss) + distance + noise of a checkpoint
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayes_tsl._common.dims import DRAWS, STEP
from bayes_tsl._common.intervals import draws_first, evenly
from bayes_tsl._common.validation import require, require_seed, require_type, show
from bayes_tsl.forecasting.distribution import Forecast
from bayes_tsl.inference.task_link import TaskFit, require_task
from bayes_tsl.model.task_link import distances_at, links_at, noise

Array = NDArray[np.float64]

UNNAMED = "test"  # test set of a loss table that names none


def forecast_task(task: TaskFit, ahead: Forecast, *, seed: int = 0) -> Forecast:
    """Forecast of a task at the steps of a forecast of the loss, in units of its metric.

    A run that the link was fitted on starts at its last distance from the link; any other is a new one of its kind.

    Args:
        task: link from test loss to the task.
        ahead: forecast of the loss of one run on the test set of the link; that of ``forecast_new`` too.
        seed: of the pairs of draws, of the distance and of the noise.

    Returns:
        A forecast whose test set is the metric and whose history is what was measured of the run.

    Raises:
        DataError: the forecast is of several runs or test sets, or of another test set than the link.

    Example::

        import bayes_tsl as bt

        task = bt.fit_task(losses, values, metric="hellaswag_bpb")  # columns run, step, hellaswag_bpb
        ahead = bt.forecast_task(task, fit.forecast([100_000]))
        print(ahead.prob_below(0.8))
    """
    require_task(task)
    require_type(ahead, "ahead", Forecast, cure="Make one with fit.forecast(steps).")
    require_seed(seed)
    ahead.require_one_curve()
    same = UNNAMED in (ahead.test_set, task.test_set) or ahead.test_set == task.test_set
    cure = "Forecast the loss on that test set, or fit the link to the losses on this one."
    require(same, "ahead", f"be of the test set {show(task.test_set)}", ahead.test_set, cure=cure)
    rng = np.random.default_rng(seed)
    expected, observed = draws_first(ahead.expected), draws_first(ahead.observed)
    paired = rng.permutation(evenly(task.draws["level"].size, len(expected)))
    draws = {str(name): draws_first(values)[paired] for name, values in task.draws.items()}
    linked = links_at(draws, task.design.knots, np.hstack([expected, observed]), rng)
    curve, reading = np.split(linked, 2, axis=1)
    since, start = task.last_distance(ahead.run)
    apart = distances_at(draws, _gaps(ahead.steps, since), None if start is None else start.picked(paired), rng)
    of_draw = {name: draws[name][:, None] for name in ("noise", "rise")}
    scatter = np.asarray(noise(of_draw, task.design.knots, observed)) * rng.standard_normal(observed.shape)
    lowest, rise = task.line

    def in_units(values: Array, like: xr.DataArray) -> xr.DataArray:
        sizes = [ahead.expected.sizes[name] for name in (*DRAWS, STEP)]
        return like.transpose(*DRAWS, STEP).copy(data=(lowest + rise * values).reshape(sizes))

    measured = task.of_run(ahead.run)
    return Forecast(
        run=ahead.run,
        test_set=task.metric,
        origin=ahead.origin,
        expected=in_units(curve + apart, ahead.expected),
        observed=in_units(reading + apart + scatter, ahead.observed),
        history=xr.DataArray(measured["value"].to_numpy(float), {STEP: measured["step"].to_numpy(float)}, (STEP,)),
        notices=(*ahead.notices, *task.notices, *_beyond(task, ahead), *task.diagnostics.problems),
        converged=ahead.converged and task.converged,
        quantity=task.metric,
    )


def _gaps(steps: Array, since: float) -> Array:
    """Log step from each step to the one before it, for the first to ``since`` (step)."""
    return np.maximum(np.diff(np.log(steps), prepend=np.log(since)), 0.0)


def _beyond(task: TaskFit, ahead: Forecast) -> tuple[str, ...]:
    """A notice where losses are forecast that lie below all to which the link was fitted."""
    lowest, end = task.measured["loss"].to_numpy(float).min(), float(ahead.expected[..., -1].median())
    if end >= lowest:
        return ()
    return (f"The loss at step {show(ahead.steps[-1])} lies {lowest - end:.2f} nats below all to which the link was fitted.",)
