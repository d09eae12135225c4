"""Which experiment next? How much a cooldown, or waiting, would narrow the forecast of the end, before it is made.

python examples/which_experiment_next.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

import bayes_tsl as bt

ORIGIN, END = 1000, 2500
COST = bt.Cost(per_hour=24.0, seconds_per_step=6.0, currency="USD")
VALUE = 20_000.0  # money that a nat is worth


def draw(picture: Path, **settings: object) -> bt.Worth:
    """Draw what each measurement leaves of the interval, and return it; ``settings`` are those of ``bt.fit``."""
    losses = bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose")
    plan = bt.schedules.cosine(peak=2e-3, warmup=100, total=END, final=2e-4)
    worth = judge(bt.fit(losses.until(ORIGIN), schedule=plan, **settings), plan)
    print(worth.to_frame().round(4).to_string())
    print(f"knowing both ends exactly would gain {worth.perfect:.4f} nats")
    bt.plot_worth(worth).figure.savefig(picture, dpi=150)
    return worth


def judge(fit: bt.Fit, plan: bt.Schedule) -> bt.Worth:
    """What each of five measurements would be worth to a run that follows ``plan``."""

    def cooldown(steps: int) -> bt.Measurement:
        return bt.Measurement([ORIGIN + steps], branch=bt.schedules.decayed(plan, start=ORIGIN, total=ORIGIN + steps))

    options = {
        "a cooldown of 100 steps": cooldown(100),
        "a cooldown of 300 steps": cooldown(300),
        "three more checkpoints": bt.Measurement([1050, 1100, 1150]),
        "ten more checkpoints": bt.Measurement(range(1050, 1501, 50)),
        "a second seed": bt.Measurement(range(1050, 1501, 50), second_seed=True),
    }
    plans = {"as planned": None, "decay now": bt.schedules.decayed(plan, start=ORIGIN, total=END)}
    return bt.worth_measuring(fit, options, end=END, plans=plans, cost=COST, value=VALUE)


if __name__ == "__main__":
    mpl.use("agg")
    draw(Path("worth.png"), chains=2, num_warmup=500, num_draws=1000)
