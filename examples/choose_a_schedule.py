"""What would another plan for the rest of the run give? One fit, three futures.

python examples/choose_a_schedule.py
"""

import bayes_tsl as bt

ORIGIN, END = 1250, 2500

losses = bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose")
planned = bt.schedules.cosine(peak=2e-3, warmup=100, total=END, final=2e-4)
fit = bt.fit(losses.until(ORIGIN), schedule=planned)

now = float(planned.lr(ORIGIN))
futures = {
    "as planned": planned,
    "hold the learning rate": bt.schedules.constant(peak=now),
    "hold, then decay over the last fifth": bt.schedules.wsd(peak=now, total=END, decay=0.2, final=2e-4),
}
for name, schedule in futures.items():
    end = bt.forecast(fit, steps=[END], schedule=schedule).to_frame(prob=0.9).iloc[0]
    print(f"{name:38s} {end['mean']:.3f}  90 % interval {end['lower']:.3f} to {end['upper']:.3f}")
