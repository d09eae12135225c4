"""Damaged logs of every kind for an hour: how many files were read or refused in words, and what else happened.

    python -m benchmarks.cost.fuzz [--quick]

Files are those of tests/data/test_log_fuzz.py: logs of every format with pieces cut, doubled and swapped, under any name and
options, from other seeds in every process. A *find* is a file that ends in a traceback, or takes longer than SLOW seconds; the
first of each batch is printed. MINUTES are of all processes together (--quick: one).
"""

from __future__ import annotations

import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from hypothesis import given, seed, settings

from benchmarks.common import keep, options
from tests.data.test_log_fuzz import CASES, EVERY, edited, read_or_refused

MINUTES, BATCH, SLOW = 60, 500, 10.0


def fuzzed(process: int, minutes: float) -> dict[str, Any]:
    """What one process found in its time."""
    until, counts, number = time.monotonic() + 60.0 * minutes, {"files": 0, "finds": 0, "slowest_s": 0.0}, 0
    with TemporaryDirectory() as folder:
        while time.monotonic() < until:
            number += 1
            try:
                batch(1000 * process + number, Path(folder), counts)
            except Exception as error:
                counts["finds"] += 1
                print("".join(traceback.format_exception(error))[-2000:], flush=True)
    return {"process": process, "minutes": minutes, **counts}


def batch(number: int, folder: Path, counts: dict[str, Any]) -> None:
    """Files of one seed."""

    @seed(number)
    @settings(max_examples=BATCH, database=None, **EVERY)
    @given(*CASES)
    def each(seed: bytes, edits: Any, name: str, options: Any) -> None:
        begun = time.monotonic()
        content = edited(seed, edits)
        read_or_refused(folder / name, content, options)
        seconds = time.monotonic() - begun
        counts["files"] += 1
        counts["slowest_s"] = max(counts["slowest_s"], seconds)
        assert seconds < SLOW, f"{seconds:.0f} s for {len(content)} bytes named {name}: {content[:200]!r}"

    each()


def main() -> None:
    asked = options(__doc__, "fuzz")
    minutes = (1 if asked.quick else MINUTES) / asked.workers
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(fuzzed, range(1, asked.workers + 1), [minutes] * asked.workers))
    keep(pd.DataFrame(rows), asked.table)


if __name__ == "__main__":
    main()
