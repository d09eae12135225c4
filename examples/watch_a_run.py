"""Is the run still on its curve? The forecast is updated at each checkpoint, and refitted when that is needed.

python examples/watch_a_run.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

import bayes_tsl as bt

START, END, EVERY = 1000, 2500, 150
ALARM = 0.01


def watch(losses: bt.LossTable, plan: bt.Schedule, picture: Path, **settings: object) -> pd.DataFrame:
    """Follow a run from ``START`` to its end, and draw how the forecast of the end moved; ``settings`` are those of ``bt.fit``.

    One row per look: what was forecast then, whether from a new fit, and the p-value of the checkpoints until the next look.
    """
    seen = losses.until(START)
    fit = bt.fit(seen, schedule=plan, **settings)
    ahead = bt.forecast(fit, steps=steps_after(losses, START))
    rows = [row(ahead, losses, fitted=True)]
    for now in range(START + EVERY, END, EVERY):
        seen = losses.until(now)
        rows[-1]["p_value"] = bt.predictive_p_value(ahead, seen)
        rows[-1]["alarm"] = rows[-1]["p_value"] < ALARM
        updated = bt.update(fit, seen.after(fit.origin))
        if updated.needs_refit:
            fit = bt.fit(seen, schedule=plan, **settings)
            ahead = bt.forecast(fit, steps=steps_after(losses, now))
        else:
            ahead = updated.forecast(steps=steps_after(losses, now))
        rows.append(row(ahead, losses, fitted=updated.needs_refit))
    table = pd.DataFrame(rows)
    print(table[["origin", "median", "lower", "upper", "fitted", "p_value"]].round(3).to_string(index=False))
    bt.plot_forecast_revisions(table).figure.savefig(picture, dpi=150)
    return table


def steps_after(losses: bt.LossTable, now: int) -> list[float]:
    """Checkpoints until the next look, and the end."""
    return [*losses.after(now).until(min(now + EVERY, END)).steps, END]


def row(ahead: bt.Forecast, losses: bt.LossTable, *, fitted: bool) -> dict[str, object]:
    """The forecast of the end, beside what was measured there."""
    measured = {"observed": losses.mean_losses().iloc[-1], "converged": ahead.converged, "fitted": fitted}
    return {"origin": ahead.origin, **ahead.to_frame().iloc[-1], **measured, "p_value": np.nan, "alarm": False}


if __name__ == "__main__":
    mpl.use("agg")
    run = bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose")
    cosine = bt.schedules.cosine(peak=2e-3, warmup=100, total=END, final=2e-4)
    watch(run, cosine, Path("watch.png"), num_draws=500)
