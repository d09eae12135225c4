"""Families of public runs: one laboratory, one recipe each, with what is known of every run.

Judged one family at a time: a forecast of its runs may have learned from all others (``unseen``). Of a family with many curves
a few are taken in the order of a hash of their names, which nobody chose.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import pandas as pd

import bayes_tsl as bt
from benchmarks.public import curves
from benchmarks.public.curves import DIVERGED, by_hash, plan, public_runs, read_public

TEST_SETS = 3  # of a run that was evaluated on many


class Family(NamedTuple):
    """Finished runs of one kind.

    Attributes:
        losses: every run to its end.
        schedules: by run.
        known: batch_tokens, parameters and unique_tokens (NaN where no token is repeated), by run.
    """

    losses: bt.LossTable
    schedules: dict[str, bt.Schedule]
    known: pd.DataFrame


def families(most: int | None = None) -> dict[str, Family]:
    """Every family by name, with ``most`` runs of each at most."""
    makers = (lr_scheduling, multipowerlaw, olmo_ladder, olmo_1b, datablations, repeated, small_lm, gpt_positions)
    return {maker.__name__: few(maker(), most) for maker in makers}


def few(family: Family, most: int | None) -> Family:
    kept = by_hash(family.schedules)[:most]
    frame = family.losses.frame
    return Family(
        bt.LossTable.from_frame(frame[frame["run"].isin(kept)]),
        {run: family.schedules[run] for run in kept},
        family.known.loc[kept],
    )


def known(runs: list[str], batch_tokens: object, parameters: object, unique_tokens: object = float("nan")) -> pd.DataFrame:
    columns = {"batch_tokens": batch_tokens, "parameters": parameters, "unique_tokens": unique_tokens}
    return pd.DataFrame(columns, index=pd.Index(runs, name="run"), dtype=float)


_read_once = cache(public_runs)


def _public(source: str) -> tuple[pd.DataFrame, dict[str, bt.Schedule]]:
    """Runs of one source that end, in the order of their names."""
    losses, plans, kinds = _read_once()
    ends = losses.frame.groupby("run")["loss"].last()
    chosen = sorted(run for run in plans if kinds[run].startswith(source) and ends[run] < DIVERGED)
    return losses.frame[losses.frame["run"].isin(chosen)], {run: plans[run] for run in chosen}


def _known_of_public(plans: dict[str, bt.Schedule]) -> pd.DataFrame:
    table = curves.known(plans)
    return known(list(plans), table["batch_tokens"].to_numpy(), table["parameters"].to_numpy())


def lr_scheduling() -> Family:
    frame, plans = _public("lr_scheduling")
    return Family(bt.LossTable.from_frame(frame), plans, _known_of_public(plans))


def multipowerlaw() -> Family:
    frame, plans = _public("multipowerlaw")
    return Family(bt.LossTable.from_frame(frame), plans, _known_of_public(plans))


def olmo_ladder() -> Family:
    frame = read_public("olmo_ladder", "val_losses.csv.gz")
    first = frame.drop_duplicates("run").set_index("run")
    sets = by_hash(frame["test_set"].unique())[:TEST_SETS]
    plans = {str(run): plan(rows.drop_duplicates("step")) for run, rows in frame.groupby("run")}
    losses = frame.loc[frame["test_set"].isin(sets), ["run", "test_set", "step", "loss"]]
    table = first.loc[list(plans)]
    return Family(
        bt.LossTable.from_frame(losses),
        plans,
        known(list(plans), table["batch_tokens"].to_numpy(), table["parameters"].to_numpy()),
    )


def olmo_1b() -> Family:
    frame = read_public("olmo", "olmo_1b_val.csv.gz")
    sets = by_hash(frame["test_set"].unique())[: 2 * TEST_SETS]
    schedule = bt.schedules.cosine(peak=4e-4, warmup=2000, total=738_000, final=4e-5)
    losses = bt.LossTable.from_frame(frame[frame["test_set"].isin(sets)])
    return Family(losses, {"OLMo-1B": schedule}, known(["OLMo-1B"], 4_194_304, 1.18e9))


def _datablations(*, above_four: bool) -> Family:
    """Runs whose data are repeated more than four times, or not."""
    frame = read_public("datablations", "train_curves.csv.gz")
    frame = frame[(frame["epochs"] > 4) == above_four]
    ends = frame.groupby("run")["step"].max()
    plans = {
        str(run): bt.schedules.cosine(peak=2e-4, warmup=0.01 * end, total=float(end), final=2e-5) for run, end in ends.items()
    }
    runs = list(plans)
    repeats = frame.groupby("run")["epochs"].first().loc[runs].to_numpy(float)
    tokens = 1_048_576.0 * ends.loc[runs].to_numpy(float)
    size = [float(run.split("B_")[0]) * 1e9 for run in runs]
    unique = pd.Series(tokens / repeats).where(repeats > 1).to_numpy()
    return Family(bt.LossTable.from_frame(frame[["run", "step", "loss"]]), plans, known(runs, 1_048_576, size, unique))


def datablations() -> Family:
    return _datablations(above_four=False)


def repeated() -> Family:
    return _datablations(above_four=True)


def _bundled(name: str, batch_tokens: float, parameters: float) -> Family:
    table = bt.datasets.load(name)
    means = [
        table.select(run=run, test_set=test_set).mean_losses().rename("loss").reset_index().assign(run=run, test_set=test_set)
        for run, test_set in table.frame[["run", "test_set"]].drop_duplicates().itertuples(index=False)
    ]
    plans = {run: bt.datasets.schedules(name)[run] for run in table.runs}
    return Family(bt.LossTable.from_frame(pd.concat(means)), plans, known(list(plans), batch_tokens, parameters))


def small_lm() -> Family:
    return _bundled("small_lm", 4096, 1.1e6)


def gpt_positions() -> Family:
    family = _bundled("gpt_positions", 32_768, 30e6)
    sizes = [10e6 if run.endswith("_small") else 91e6 if run.endswith("_large") else 30e6 for run in family.known.index]
    return family._replace(known=family.known.assign(parameters=sizes))
