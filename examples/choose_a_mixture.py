"""Which data mixture ends lower, judged at half of the training, on texts of several kinds?

python examples/choose_a_mixture.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pandas as pd

import bayes_tsl as bt

NOW, END = 1250, 2500


def choose(test_sets: list[str], picture: Path, **settings: object) -> pd.DataFrame:
    """Compare the two bundled mixtures on each test set, draw the last; ``settings`` are those of ``bt.fit``.

    One row per test set and run: where it is expected to end, how likely it ends lowest, and the regret of choosing it.
    """
    losses = bt.datasets.load("small_lm")
    plan = bt.schedules.cosine(peak=2e-3, warmup=100, total=END, final=2e-4)
    tables = []
    for test_set in test_sets:
        early = losses.select(test_set=test_set).until(NOW)
        together = bt.fit(early, schedules=dict.fromkeys(early.runs, plan), **settings)
        comparison = bt.compare_runs(bt.forecast(together, steps=[END]))
        tables.append(comparison.to_frame().assign(test_set=test_set))
        bt.plot_comparison(comparison)[0].figure.savefig(picture, dpi=150)
    table = pd.concat(tables, ignore_index=True)
    ended = losses.frame.query("step == @END").groupby(["test_set", "run"])["loss"].mean().rename("ended")
    table = table.join(ended, on=["test_set", "run"])
    print(
        table[["test_set", "run", "mean", "lower", "upper", "prob_lowest", "regret", "ended"]].round(3).to_string(index=False)
    )
    return table


if __name__ == "__main__":
    mpl.use("agg")
    choose(["code", "ood", "prose"], Path("mixtures.png"))
