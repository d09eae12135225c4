"""Pictures of the README: a forecast of a bundled run beside what came, its coefficients, other plans, two runs, the priors.

python -m benchmarks.pictures
"""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt

import bayes_tsl as bt
from benchmarks.common import IMAGES


def main() -> None:
    mpl.use("agg")
    losses = bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose")
    schedule = bt.schedules.cosine(peak=2e-3, warmup=100, total=2500, final=2e-4)
    fit = bt.fit(losses.until(1250), schedule=schedule, seed=0)
    later = losses.after(1250).mean_losses()
    ahead = bt.forecast(fit, steps=later.index)
    IMAGES.mkdir(parents=True, exist_ok=True)
    bt.plot_forecast(ahead, observed=later).figure.savefig(IMAGES / "forecast.png", dpi=120)
    bt.plot_coefficients(fit, ahead)[0].figure.savefig(IMAGES / "coefficients.png", dpi=110)
    plans = {
        "as planned": None,
        "decay now": bt.schedules.decayed(schedule, start=1250, total=1750),
        "decay at 2000": bt.schedules.decayed(schedule, start=2000, total=2500),
    }
    bt.plot_what_if(bt.what_if(fit, plans, steps=range(1300, 2501, 50)))[0].figure.savefig(IMAGES / "what_if.png", dpi=110)
    both = bt.datasets.load("small_lm").select(test_set="prose").until(1250)
    together = bt.forecast(bt.fit(both, schedules=dict.fromkeys(both.runs, schedule)), steps=[2500])
    bt.plot_comparison(bt.compare_runs(together))[0].figure.savefig(IMAGES / "comparison.png", dpi=110)
    steps = losses.after(200).steps
    drawn = bt.prior_predictive(schedule=schedule, steps=steps, origin=1250, loss=float(losses.mean_losses().loc[1250]))
    observed = losses.after(200).mean_losses()
    bt.plot_prior_predictive(drawn, observed=observed).figure.savefig(IMAGES / "prior_predictive.png", dpi=110)
    plt.close("all")


if __name__ == "__main__":
    main()
