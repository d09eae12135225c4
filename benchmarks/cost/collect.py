"""Time and memory of losses per position from a stream of token losses, beside NumPy on all of them at once.

    python -m benchmarks.cost.collect [--quick]

Token losses are drawn in float32, 32 sequences of 1,024 at a time; seconds are without the drawing, the median of three.
*numpy* has all in one array and takes mean and standard deviation in float64. Growth is that of the process's peak memory,
each way and size in a process of its own. --quick: up to 10^7.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd

from bayes_tsl.data.collect import position_losses
from benchmarks.common import keep, options

SIZES = (10**6, 10**7, 10**8)
SHAPE = (32, 1024)  # of a batch (sequence, position)


class Stream:
    """Batches of as many token losses, rounded up, and the seconds that drawing them has taken."""

    def __init__(self, tokens: int) -> None:
        self.count, self.seconds = -(-tokens // np.prod(SHAPE)), 0.0

    def __iter__(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        for _ in range(self.count):
            start = time.perf_counter()
            batch = 3 * rng.standard_exponential(SHAPE, dtype=np.float32)
            self.seconds += time.perf_counter() - start
            yield batch


def at_once(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    spread = losses.std(axis=0, ddof=1, dtype=np.float64)
    return losses.mean(axis=0, dtype=np.float64), spread / np.sqrt(len(losses))


def measured(way: str, tokens: int) -> dict[str, object]:
    before, times = peak_memory(), []
    stream = Stream(tokens)
    losses = np.concatenate(list(stream)) if way == "numpy" else stream
    for _ in range(3):
        stream.seconds, start = 0.0, time.perf_counter()
        at_once(losses) if way == "numpy" else position_losses(losses)
        times.append(time.perf_counter() - start - stream.seconds)
    size, seconds = stream.count * np.prod(SHAPE), np.median(times)
    growth = peak_memory() - before
    return {"way": way, "token_losses": size, "seconds": seconds, "million_per_s": size / seconds / 1e6, "growth_mib": growth}


def peak_memory() -> float:
    """Of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    asked = options(__doc__, "collect")
    rows = []
    for tokens in SIZES[:2] if asked.quick else SIZES:
        for way in ("streamed", "numpy"):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
                rows.append(alone.submit(measured, way, tokens).result())
            print(rows[-1], flush=True)
    keep(pd.DataFrame(rows), asked.table)


if __name__ == "__main__":
    main()
