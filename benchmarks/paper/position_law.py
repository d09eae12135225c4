"""The exponent of the position law, its index origin, binning and effects, judged on losses that were not used.

    python -m benchmarks.paper.position_law [--quick] [--workers N] [--out FOLDER]

gpt_positions (10M, 30M and 91M parameters, cosine) and small_lm (1M), on every test set. *Across positions*: exponent, effects
and noise come from the first half of the checkpoints after twice the warm-up; at each later one gap, rate and floor are fitted
to every second position, and the others are scored: negative log density per position, and the root of the mean squared error
in nats. *Ahead*: the first half is fitted by NUTS, with the exponent at 1 and free, and later losses are scored at 32
positions, and over their mean. --quick takes one run on prose.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.stats import norm

import bayes_tsl as bt
from bayes_tsl.evaluation import scoring
from benchmarks.common import RESULTS, SHORT, keep, options

RUNS = {
    "1M": ("small_lm", "mix50_cosine", 200),
    "10M": ("gpt_positions", "mix50_cosine_small", 240),
    "30M": ("gpt_positions", "mix50_cosine", 240),
    "91M": ("gpt_positions", "mix50_cosine_large", 240),
}
EXPONENTS = np.geomspace(0.05, 2.0, 16)
BINS = 32


class Law(NamedTuple):
    """A law over positions, and how it is fitted.

    Attributes:
        exponent: of ``1 + rate (i + shift)``; None for the best of ``EXPONENTS``.
        shift: of the position index.
        bins: fitted to means of so many bins, even in log position, each counted as often as it has positions.
        effects: whether each position has one.
        power: gap ``(1 + i)^-exponent``, in place of the reciprocal law.
        first: first position that is used; no law sees those before.
    """

    exponent: float | None = 1.0
    shift: float = 0.0
    bins: int = 0
    effects: bool = True
    power: bool = False
    first: int = 0


LAWS = {
    "exponent 1": Law(),
    "exponent free": Law(exponent=None),
    "power law": Law(power=True),
    "exponent 1, index from 1": Law(shift=1.0),
    "exponent 1, 32 bins": Law(bins=BINS),
    "exponent 1, without position 0": Law(first=1),
    "exponent free, without position 0": Law(exponent=None, first=1),
    "exponent 1, no effects": Law(effects=False),
    "exponent free, no effects": Law(exponent=None, effects=False),
}


def curve_of(law: Law, exponent: float, at: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The law at positions, from log gap, log rate (of a power law the log exponent) and floor."""
    speed = np.exp(np.clip(x[1], -12.0, 12.0))
    falling = (1.0 + at) ** -speed if law.power else (1.0 + speed * (at + law.shift)) ** -exponent
    return x[2] + np.exp(np.clip(x[0], -5.0, 5.0)) * falling


def fitted(law: Law, exponent: float, at: np.ndarray, losses: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The law at all positions of each checkpoint, fitted to those ``used`` (step, position)."""
    gather = binning(at[used], law.bins) if law.bins else None

    def off(x: np.ndarray, row: np.ndarray) -> np.ndarray:
        missed = curve_of(law, exponent, at[used], x) - row[used]
        return missed if gather is None else gather @ missed

    curves, x = [], np.array([0.0, -1.0, losses[0, -8:].mean()])
    for row in losses:
        x = least_squares(off, x, args=(row,), method="trf", x_scale=[0.3, 0.5, 0.3], max_nfev=200).x
        curves.append(curve_of(law, exponent, at, x))
    return np.array(curves)


def binning(at: np.ndarray, bins: int) -> np.ndarray:
    """Means over bins, times the root of how many positions each has (bin, position)."""
    place = np.digitize(at + 1.0, np.unique(np.geomspace(1.0, at[-1] + 2.0, bins + 1).round()))
    members = (place[None] == np.unique(place)[:, None]).astype(float)
    return members / np.sqrt(members.sum(axis=1, keepdims=True))


def across(law: Law, curve: pd.DataFrame) -> dict[str, float]:
    """Scores of positions from 1 on that were left out, at later checkpoints."""
    curve = curve.iloc[:, law.first :]
    at, half = curve.columns.to_numpy(float), len(curve) // 2
    past, later = curve.iloc[:half].to_numpy(float), curve.iloc[half:].to_numpy(float)
    even = at % 2 == 0
    tried = [law.exponent] if law.exponent or law.power else list(EXPONENTS)
    misses = [past - fitted(law, float(exponent or 1.0), at, past, np.full(len(at), True)) for exponent in tried]
    best = int(np.argmin([np.sum(miss**2) for miss in misses]))
    exponent, effect = float(tried[best] or 1.0), misses[best].mean(axis=0) if law.effects else np.zeros(len(at))
    noise = float((misses[best] - effect).std()) * (np.sqrt(half / (half - 1.0)) if law.effects else 1.0)
    left = (later - effect - fitted(law, exponent, at, later - effect, even))[:, ~even]
    spread = np.hypot(noise, noise / np.sqrt(half)) if law.effects else noise
    score = float(-norm.logpdf(left, 0.0, spread).mean())
    return {"exponent": np.nan if law.power else exponent, "log_score": score, "rmse": float(np.sqrt(np.mean(left**2)))}


def ahead(name: str, losses: bt.LossTable, plan: bt.Schedule) -> dict[str, float]:
    """Scores of a forecast from the first half, at single positions and over their mean."""
    warnings.simplefilter("ignore", bt.Notice)
    past, later = losses.until(0.5 * losses.steps[-1]), losses.after(0.5 * losses.steps[-1])
    fit = bt.fit(past, schedule=plan, seed=0, law=name, **SHORT)
    curve = later.curve()
    even = np.geomspace(1.0, 1.0 + curve.columns[-1], BINS) - 1.0
    at = [float(position) for position in np.unique(even.round())]
    made = bt.forecast(fit, steps=curve.index, positions=at, seed=0)
    draws = made.positions.stack(all=("chain", "draw")).to_numpy()
    mean = scoring.score(made, later.mean_losses())
    return {
        "exponent": fit.positions.exponent,
        "log_score": float(scoring.log_score(curve[at].to_numpy(), draws).mean()),
        "crps": float(scoring.crps(curve[at].to_numpy(), draws).mean()),
        "log_score_mean": float(mean["log_score"].mean()),
        "crps_mean": float(mean["crps"].mean()),
    }


def judged(size: str, test_set: str, sampled: bool) -> list[dict[str, object]]:
    """All rows of one run on one test set; those by NUTS where ``sampled``."""
    data, run, warm = RUNS[size]
    losses = bt.datasets.load(data).select(run=run, test_set=test_set)
    label = {"test_set": test_set, "size": size}
    curve = losses.after(warm).curve()
    rows = [label | {"scored": "across", "law": name} | across(law, curve) for name, law in LAWS.items()]
    for law, name in {"exponent 1": "general", "exponent free": "free-exponent"}.items() if sampled else []:
        rows.append(label | {"scored": "ahead", "law": law} | ahead(name, losses, bt.datasets.schedules(data)[run]))
    return rows


def main() -> None:
    asked = options(__doc__, "position_law", across="the first of the two tables, without NUTS")
    cells = [("30M", "prose")] if asked.quick else [(size, name) for name in ("code", "ood", "prose") for size in RUNS]
    with ProcessPoolExecutor(asked.workers, max_tasks_per_child=1) as pool:
        done = [pool.submit(judged, *cell, sampled=not asked.across) for cell in cells]
        table = pd.DataFrame([row for cell in done for row in cell.result()])
    places = asked.out if asked.quick else RESULTS
    for scored in table["scored"].unique():
        own = table[table["scored"] == scored].drop(columns="scored").dropna(axis="columns", how="all")
        keep(own, places / f"position_law_{scored}.csv")


if __name__ == "__main__":
    main()
