"""Stop or go on, and how should the learning rate fall? One fit: three futures to the end, and the step at which to stop.

python examples/choose_a_schedule.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

import bayes_tsl as bt

ORIGIN, END, FINAL = 1250, 2500, 2e-4
COST = bt.Cost(per_hour=24.0, seconds_per_step=6.0, currency="USD")
VALUE = 200.0  # what a loss lower by one nat per token is worth, in the currency of the cost


def choose(folder: Path, **settings: object) -> bt.Stopping:
    """Compare plans and stops, with a picture of each in ``folder``; ``settings`` are those of ``bt.fit``."""
    losses = bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose")
    planned = bt.schedules.cosine(peak=2e-3, warmup=100, total=END, final=FINAL)
    fit = bt.fit(losses.until(ORIGIN), schedule=planned, **settings)

    now = float(planned.lr(ORIGIN))
    futures = {
        "as planned": planned,
        "hold the learning rate": bt.schedules.constant(peak=now),
        "hold, then decay over the last fifth": bt.schedules.wsd(peak=now, total=END, decay=0.2, final=FINAL),
    }
    plans = bt.what_if(fit, futures, steps=range(ORIGIN + 50, END + 1, 50))
    print(plans.ends()[["mean", "lower", "upper", "gain", "prob_lowest"]].round(3).to_string())
    bt.plot_what_if(plans)[0].figure.savefig(folder / "plans.png", dpi=150)

    stopping = bt.stop_or_continue(fit, COST, value=VALUE, steps=range(ORIGIN + 125, END + 1, 125), final=FINAL)
    print(stopping.to_frame().round(3).to_string(index=False))
    print(stopping)
    print(f"perfect information would be worth {stopping.evpi:.2f}; another checkpoint cannot be worth more")
    bt.plot_stopping(stopping)[0].figure.savefig(folder / "stopping.png", dpi=150)
    return stopping


if __name__ == "__main__":
    mpl.use("agg")
    choose(Path(), chains=2, num_warmup=500, num_draws=500)
