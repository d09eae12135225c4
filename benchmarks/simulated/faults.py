"""Runs outside the model: does the interval cover what comes, and if not, does the forecast name the fault?

    python -m benchmarks.simulated.faults [--quick] [--workers N] [--out FOLDER]

Losses are 2.7 + .9 (S / 1000)^-.45, S the progress in steps at peak, and a heat of .25 nats with two relaxation times;
evaluation noise is .004 nats, checkpoints lie 100 steps apart, and the plan is a cosine of 10,000 steps from 1e-3 to a tenth
unless the fault is in the plan. Every run is forecast from step 5,000; tokens a step (524,288) and parameters (1.2e8) are
known. SEEDS runs of each fault (--quick: one). Covered is the share of later losses in the 90 % interval; named is what the
fit warned of, checkpoints left out aside.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.signal import lfilter
from tqdm import tqdm

import bayes_tsl as bt
from bayes_tsl.data.recipe import make_recipe
from bayes_tsl.model.lr_response import lag
from benchmarks.common import SHORT, keep, options

ORIGIN, END, EVERY, NOISE, SEEDS = 5000.0, 10_000.0, 100.0, 0.004, 4
PEAK, WARMUP = 1e-3, 300.0
COSINE = bt.schedules.cosine(peak=PEAK, warmup=WARMUP, total=END, final=1e-4)
CONSTANT = bt.schedules.constant(peak=PEAK, warmup=WARMUP, total=END)
RELATIVE = bt.schedules.cosine(peak=1.0, warmup=WARMUP, total=END, final=0.1)
IN_TOKENS = bt.schedules.cosine(peak=PEAK, warmup=WARMUP * 524_288.0, total=END * 524_288.0, final=1e-4)
RAMP = {0.0: 131_072.0, 2500.0: 131_072.0, 2501.0: 524_288.0, END: 524_288.0}
RAMPED = make_recipe(batch_tokens=RAMP).effective(COSINE)
LONGER = bt.schedules.cosine(peak=PEAK, warmup=WARMUP, total=2 * END, final=1e-4)
Array = np.ndarray


class Fault(NamedTuple):
    """What is wrong with a run.

    Attributes:
        change: of the measured losses, given steps, losses and a random generator.
        run, planned: the schedule that it ran and the one that the fit is given.
        every: steps between checkpoints.
        batch_tokens: that the fit is given.
        unit: of the step column and of the planned schedule, in steps.
    """

    change: Callable[[Array, Array, np.random.Generator], Array] = lambda step, loss, rng: loss
    run: bt.Schedule = COSINE
    planned: bt.Schedule = COSINE
    every: float = EVERY
    batch_tokens: Any = 524_288
    unit: float = 1.0


def shifted(by: float, at: float) -> Callable[[Array, Array, np.random.Generator], Array]:
    return lambda step, loss, rng: loss + by * (step >= at)


def rising(step: Array, loss: Array, rng: np.random.Generator) -> Array:
    return loss + 0.09 * np.maximum(step - ORIGIN + 600.0, 0.0) / 600.0


def frozen(step: Array, loss: Array, rng: np.random.Generator) -> Array:
    return np.where((step >= 3500.0) & (step <= ORIGIN), loss[np.searchsorted(step, 3500.0)], loss)


def correlated(step: Array, loss: Array, rng: np.random.Generator) -> Array:
    noise = rng.standard_normal(len(loss)) * 0.01 * np.sqrt(1.0 - 0.95**2)
    return loss + np.asarray(lfilter([1.0], [1.0, -0.95], noise))


FAULTS = {
    "control": Fault(),
    "cosine planned, was constant": Fault(run=CONSTANT),
    "constant planned, was cosine": Fault(planned=CONSTANT),
    "twice the total planned": Fault(planned=LONGER),
    "schedule unknown": Fault(planned=bt.schedules.unknown()),
    "mixture +.15 at 3,000": Fault(shifted(0.15, 3000.0)),
    "mixture -.15 at 4,500": Fault(shifted(-0.15, 4500.0)),
    "change of slope at 3,500": Fault(lambda step, loss, rng: loss - 0.1 * np.log(np.maximum(step / 3500.0, 1.0))),
    "spike at 4,000 that stays": Fault(
        lambda step, loss, rng: loss + (step >= 4000.0) * (0.1 + 0.4 * np.exp((4000.0 - step) / 300.0))
    ),
    "plateau, drop at 3,500": Fault(
        lambda step, loss, rng: np.where(step < 3500.0, np.maximum(loss, loss[np.searchsorted(step, 1500.0)]), loss)
    ),
    "rising over the last six": Fault(rising),
    "evaluation frozen since 3,500": Fault(frozen),
    "noise .1": Fault(lambda step, loss, rng: loss + 0.1 * rng.standard_normal(len(loss)), every=1.0),
    "correlated noise": Fault(correlated),
    "losses in bits": Fault(lambda step, loss, rng: loss / np.log(2.0)),
    "rounded to .1": Fault(lambda step, loss, rng: loss.round(1)),
    "perplexity": Fault(lambda step, loss, rng: np.exp(loss)),
    "six evaluations": Fault(every=800.0),
    "batch x 4 at 2,500, known": Fault(run=RAMPED, batch_tokens=RAMP),
    "batch x 4 at 2,500, unknown": Fault(run=RAMPED, batch_tokens=None),
    "steps counted in tokens": Fault(planned=IN_TOKENS, unit=524_288.0),
    "learning rate relative to one": Fault(planned=RELATIVE),
}


def simulated(fault: Fault, seed: int) -> bt.LossTable:
    """Losses of a whole run."""
    rng, plan = np.random.default_rng(seed), fault.run
    step = np.arange(fault.every, END + 1.0, fault.every)
    made = plan.progress(step)
    lags = lag(plan, step, powers=[0.7], times=[30.0, 400.0])[..., 0]
    heat = 0.25 * lags @ np.array([0.7, 0.3]) * (made / made[-1]) ** -0.15
    loss = 2.7 + 0.9 * (made / 1000.0) ** -0.45 + heat + NOISE * rng.standard_normal(len(step))
    return bt.LossTable.from_frame(pd.DataFrame({"step": step * fault.unit, "loss": fault.change(step, loss, rng)}))


def outcome(task: tuple[str, int]) -> dict[str, Any]:
    """How one run is forecast."""
    name, seed = task
    fault, origin = FAULTS[name], ORIGIN * FAULTS[name].unit
    losses = simulated(fault, seed)
    warnings.simplefilter("ignore", bt.Notice)
    try:
        known = {"batch_tokens": fault.batch_tokens, "parameters": 1.2e8}
        fit = bt.fit(losses.until(origin), schedule=fault.planned, **known, **SHORT)
    except bt.DataError as error:
        return {"fault": name, "seed": seed, "covered": np.nan, "width": np.nan, "named": f"refused: {error}"}
    later = losses.after(origin).mean_losses()
    interval = bt.forecast(fit, steps=later.index).interval(prob=0.9)
    lower, upper, loss = interval["lower"].to_numpy(), interval["upper"].to_numpy(), later.to_numpy()
    covered = float(np.mean((lower <= loss) & (loss <= upper)))
    named = " ".join(notice for notice in fit.notices if "checkpoints are left out" not in notice)
    return {"fault": name, "seed": seed, "covered": covered, "width": upper[-1] - lower[-1], "named": named}


def main() -> None:
    asked = options(__doc__, "faults")
    tasks = [(name, seed) for name in FAULTS for seed in range(1 if asked.quick else SEEDS)]
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        found = pd.DataFrame(list(tqdm(pool.map(outcome, tasks), total=len(tasks), desc="fitting", unit="run")))
    groups = found.groupby("fault", sort=False)
    table = groups.agg(runs=("seed", "count"), covered=("covered", "mean"), width=("width", "mean"))
    table["named"] = groups["named"].agg(lambda notices: float((notices != "").mean()))
    table["notice"] = groups["named"].agg(lambda notices: max(notices, key=len))
    keep(table.reset_index(), asked.table)


if __name__ == "__main__":
    main()
