"""Cost against context length: the same simulated run with 256 and with 4,096 positions, fitted in turn.

    python benchmarks/context_length.py

Prints the median wall time of three fits each, their ratio, and the peak memory of the process.
"""

from __future__ import annotations

import resource
import time
import warnings

import numpy as np

import bayes_tsl as bt

REPEATS = 3
PARAMETERS = {"gap_level": 0.4, "rate_level": -1.0, "floor_level": 3.5, "drift_scale": 0.03, "heat": 0.3, "noise_scale": 0.003}


def main() -> None:
    warnings.simplefilter("ignore", bt.Notice)
    schedule = bt.schedules.cosine(peak=2e-3, warmup=100, total=2500, final=2e-4)
    steps = np.arange(200, 1451, 50)
    times: dict[int, list[float]] = {256: [], 4096: []}
    runs = {
        count: bt.simulate(steps=steps, schedule=schedule, origin=1450, positions=range(count), parameters=PARAMETERS).losses
        for count in times
    }
    for _ in range(REPEATS):
        for count, losses in runs.items():
            start = time.perf_counter()
            fit = bt.fit(losses, schedule=schedule, progress=False, throw=False)
            bt.forecast(fit, steps=[2000, 2500])
            times[count].append(time.perf_counter() - start)
    medians = {count: float(np.median(values)) for count, values in times.items()}
    for count, seconds in medians.items():
        print(f"{count:5d} positions, {len(steps)} checkpoints: median {seconds:.1f} s of {REPEATS} fits with a forecast")
    print(f"ratio {medians[4096] / medians[256]:.2f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
