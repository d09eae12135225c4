"""The experiments of the paper (Xiong et al., arXiv 2404.17785) on runs of our own: tables and pictures of docs/paper.md.

    python -m benchmarks.paper.paper [--quick] [--workers N] [--out FOLDER]

gpt_positions, every run on every test set fitted to its end: the law by size, when its shape settles, what the
learning rate takes off the floor, how evenly positions learn, what a weighting of positions gains, and which mixture to choose
early. Forecasts are in paper_forecast.py, the exponent of the law in position_law.py. --quick takes three runs on prose.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import bayes_tsl as bt
from benchmarks.common import RESULTS, SHORT, keep, options

DATA = "gpt_positions"
SIZES = {"10M": "mix50_cosine_small", "30M": "mix50_cosine", "91M": "mix50_cosine_large"}
WARM = 240  # steps, twice the warm-up: before it there is no curve over positions
HALF, DECAY = 1200, 1920  # half of the run; where the decay of wsd begins
PAIRS = {f"mix50_cosine_{name}": "mix50_cosine" for name in ("head", "middle", "tail", "seed1")}
MIXTURES = {kind: [f"mix{share}_{kind}" for share in (20, 50, 80)] for kind in ("cosine", "wsd")}
QUICK = ["mix50_cosine", "mix50_cosine_large", "mix50_wsd"]
TAILS = [0.05, 0.95]
PARTS = {"0": (0, 1), "1 to 15": (1, 16), "16 to 63": (16, 64), "64 to 255": (64, 256), "256 on": (256, 1024)}  # of positions


def by_size(laws: pd.DataFrame) -> pd.DataFrame:
    """The law at the last checkpoint, and how well it fits the median checkpoint, by size and test set."""
    rows = []
    for size, run in SIZES.items():
        for test_set, own in laws[laws["run"] == run].groupby("test_set"):
            last = own.iloc[-1][["gap", "gap_se", "rate", "rate_se", "floor"]]
            rows.append(
                {"test_set": test_set, "size": size} | last.to_dict() | own[["r2", "mse", "r2_effect"]].median().to_dict()
            )
    return pd.DataFrame(rows).sort_values(["test_set", "size"])


def misfits(losses: bt.LossTable, laws: pd.DataFrame) -> pd.DataFrame:
    """Mean of the last measured losses less the law, by part of the positions, size and test set."""
    laws = laws.set_index(["run", "test_set", "step"])
    rows = []
    for test_set in losses.test_sets:
        for size, run in SIZES.items():
            last = losses.select(run=run, test_set=test_set).curve().iloc[-1]
            gap, rate, floor = laws.loc[(run, test_set, last.name), ["gap", "rate", "floor"]]
            left = last - bt.laws.reciprocal_loss(last.index.to_numpy(), gap=gap, rate=rate, floor=floor)
            rows.append({"test_set": test_set, "size": size} | {name: left[a:b].mean() for name, (a, b) in PARTS.items()})
    return pd.DataFrame(rows)


def seen_speed(losses: bt.LossTable) -> pd.Series:
    """Slope of the measured losses from half of the run on, over its mean, by part of the positions."""
    late = losses.after(HALF - 1).curve()
    slopes = np.polyfit(late.index, late.to_numpy(), 1)[0]
    return pd.Series({name: slopes[a:b].mean() for name, (a, b) in PARTS.items()}) / slopes.mean()


def law_speed(speed: xr.Dataset) -> pd.Series:
    """Median speed by the law over its mean, by part of the positions."""
    share = (speed["speed"] / speed["mean"]).median(["chain", "draw"])
    everywhere = np.interp(np.arange(1024), share["position"], share)
    return pd.Series({name: everywhere[a:b].mean() for name, (a, b) in PARTS.items()})


def fitted(losses: bt.LossTable, folder: Path, workers: int) -> pd.DataFrame:
    """A fit of every run on every test set, by file."""
    schedules = {run: plan for run, plan in bt.datasets.schedules(DATA).items() if run in losses.runs}
    fits = bt.fit_each(losses, schedules, folder=folder, workers=workers)
    print(f"{len(fits)} fits, {int(fits['converged'].sum())} pass every check")
    return fits


def traits_of(run: str, test_set: str, fit: bt.Fit, losses: bt.LossTable) -> dict[str, object]:
    """What a finished run says of settling, annealing and learning by position."""
    settled, cooled = bt.convergence_step(fit), bt.annealing_gain(fit, since=DECAY).quantile([0.5, *TAILS])
    late = bt.learning_speed(fit, since=HALF)
    row: dict[str, object] = {"test_set": test_set, "run": run}
    for name in ("gap", "rate"):
        steps = settled[name].to_numpy()
        row |= {f"{name}_settled": np.mean(steps <= fit.origin), f"{name}_step": np.quantile(steps, 0.5, method="inverted_cdf")}
    row |= dict(zip(("annealed", "annealed_lower", "annealed_upper"), cooled.to_numpy()))
    row |= dict(zip(("spread", "spread_lower", "spread_upper"), late["spread"].quantile([0.5, *TAILS]).to_numpy()))
    return row | law_speed(late).add_prefix("law ").to_dict() | seen_speed(losses).add_prefix("seen ").to_dict()


def choices(losses: bt.LossTable, quick: bool) -> pd.DataFrame:
    """Which mixture is lowest at the end, asked early: all three in one fit, beside the lowest now and the power law."""
    aims, kinds = (("both",), ("cosine",)) if quick else (("prose", "code", "both"), tuple(MIXTURES))
    cells = [(kind, aim, prefix) for kind in kinds for aim in aims for prefix in (0.2, 0.5)]
    return pd.DataFrame([choice(losses, *cell) for cell in cells])


def choice(losses: bt.LossTable, kind: str, aim: str, prefix: float) -> dict[str, object]:
    """Who was chosen among the mixtures of a schedule, for one aim, and what it cost."""
    runs, schedules = MIXTURES[kind], bt.datasets.schedules(DATA)
    table = aimed(losses, runs, aim)
    end, past = table.steps[-1], table.until(prefix * table.steps[-1])
    truth, now = ends_of(table, runs), ends_of(past, runs)
    fit = bt.fit(past, schedules={run: schedules[run] for run in runs}, seed=0, **SHORT)
    best = bt.compare_runs(bt.forecast(fit, steps=[end])).to_frame().iloc[0]
    power = pd.Series({run: alone(past.select(run=run), end) for run in runs})
    ways = {"": best["run"], "_now": now.idxmin(), "_power_law": power.idxmin()}
    known = {
        "schedule": kind,
        "aim": aim,
        "prefix": prefix,
        "best": truth.idxmin(),
        "ahead_by": truth.nsmallest(2).diff().iloc[1],
    }
    said = {"chosen": ways[""], "prob_of_chosen": best["prob_lowest"], "now": ways["_now"], "power_law": ways["_power_law"]}
    return known | said | {f"regret{way}": truth[run] - truth.min() for way, run in ways.items()}


def ends_of(losses: bt.LossTable, runs: list[str]) -> pd.Series:
    """Last mean loss of each run."""
    return pd.Series({run: losses.select(run=run).mean_losses().iloc[-1] for run in runs})


def aimed(losses: bt.LossTable, runs: list[str], aim: str) -> bt.LossTable:
    """Losses of some runs on one test set, or on prose and code in equal parts."""
    rows = losses.frame[losses.frame["run"].isin(runs)]
    rows = rows[rows["test_set"].isin(["prose", "code"] if aim == "both" else [aim])]
    means = rows.groupby(["run", "step", "position"], as_index=False)[["loss"]].mean()
    return bt.LossTable.from_frame(means.assign(test_set=aim))


def alone(past: bt.LossTable, end: float) -> float:
    return float(bt.baselines.power_law(past, steps=[end], seed=0).expected.mean())


def main() -> None:
    asked = options(__doc__, "paper")
    warnings.simplefilter("ignore", bt.Notice)
    losses = bt.datasets.load(DATA)
    places = asked.out if asked.quick else RESULTS
    laws = bt.position_laws(losses.after(WARM))
    keep(by_size(laws), places / "paper_laws.csv")
    keep(misfits(losses, laws), places / "paper_misfits.csv")
    keep(bt.paired_differences(losses, pairs=PAIRS).sort_values(["test_set", "run"]), places / "paper_weighting.csv")
    some = losses.frame[losses.frame["run"].isin(QUICK) & (losses.frame["test_set"] == "prose")]
    table = bt.LossTable.from_frame(some) if asked.quick else losses
    fits = fitted(table, asked.out / "fits", asked.workers)
    loaded = {(row.run, row.test_set): bt.load_fit(row.file) for row in fits.itertuples()}
    rows = [traits_of(*names, fit, losses.select(run=names[0], test_set=names[1])) for names, fit in loaded.items()]
    keep(pd.DataFrame(rows), places / "paper_traits.csv")
    keep(choices(losses, asked.quick), places / "paper_mixture.csv")


if __name__ == "__main__":
    main()
