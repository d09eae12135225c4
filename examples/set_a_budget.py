"""How much money until the loss is surely low enough? The smallest budget with 90 % assurance, and what half of it buys.

python examples/set_a_budget.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

import bayes_tsl as bt

ORIGIN, END, TARGET, ASSURANCE = 1250, 2500, 3.6, 0.9
COST = bt.Cost(per_hour=24.0, seconds_per_step=6.0, tokens_per_step=4096, fixed=2.0, currency="USD")


def draw(picture: Path, **settings: object) -> bt.Budget:
    """Draw the curve of budgets, and return the smallest that is enough; ``settings`` are those of ``bt.fit``."""
    losses = bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose")
    plan = bt.schedules.cosine(peak=2e-3, warmup=100, total=END, final=2e-4)
    fit = bt.fit(losses.until(ORIGIN), schedule=plan, **settings)
    ahead = bt.forecast(fit, steps=np.linspace(ORIGIN, END, 26)[1:])

    print(ahead.time_to(TARGET, prob=ASSURANCE))
    enough = bt.smallest_budget(ahead, COST, target=TARGET, prob=ASSURANCE)
    print(f"to be {ASSURANCE:.0%} sure of {TARGET}: {enough}")
    if np.isfinite(enough.cost):
        print(f"half of it: {bt.at_budget(ahead, COST, enough.cost / 2)}")
    print(bt.marginal_gain(ahead, COST, share=0.25).round(4).to_string(index=False))
    bt.plot_budget(ahead, COST, target=TARGET, prob=ASSURANCE).figure.savefig(picture, dpi=150)
    return enough


if __name__ == "__main__":
    mpl.use("agg")
    draw(Path("budget.png"), chains=2, num_warmup=500, num_draws=500)
