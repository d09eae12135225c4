"""Seconds of every phase of ``make forecast``, without compiled programs from before (cold) and with them (warm).

    python -m benchmarks.cost.phases [--before CHECKOUT] [--quick]

Each time is a process of its own, REPEATS a kind and checkout, in turn; the table has medians. *compiling* is what JAX takes to
lower and compile; *fit*, *prior* (what the prior decides) and *forecast* are without it, tracing included; *rest* is reading,
imports, picture and files; *process* is the whole, with the start of Python. --before adds an older checkout. --quick: once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from benchmarks.common import RESULTS, ROOT, keep

REPEATS = 5
PHASES = ["compiling", "fit", "prior", "forecast", "rest", "process"]
COMMAND = [
    *("forecast", "bayes_tsl/data/datasets/small_lm/position_losses.csv.gz", "--run", "mix50_cosine", "--test-set", "prose"),
    *("--schedule", "cosine:peak=2e-3,warmup=100,total=2500,final=2e-4", "--parameters", "1.1e6"),
    *("--until", "1250", "--to", "2500"),
]


def measured(checkout: Path, cache: Path) -> dict[str, float]:
    """Seconds of the phases of one command of a checkout, and of the whole process."""
    driver = str(ROOT / "benchmarks" / "cost" / "timed_command.py")
    environment = os.environ | {"PYTHONPATH": str(checkout), "XDG_CACHE_HOME": str(cache)}
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        command = [sys.executable, driver, *COMMAND, "--out", out]
        done = subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    return json.loads(done.stdout.splitlines()[-1]) | {"process": seconds}


def cold_and_warm(name: str, checkout: Path) -> list[dict[str, object]]:
    """One command with an empty cache, and one with what it kept."""
    with tempfile.TemporaryDirectory() as cache:
        return [{"checkout": name, "cache": kind, **measured(checkout, Path(cache))} for kind in ("cold", "warm")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="folder of an older checkout")
    parser.add_argument("--quick", action="store_true", help="once, and the table under out/quick")
    asked = parser.parse_args()
    checkouts = ({"before": asked.before.resolve()} if asked.before else {}) | {"now": ROOT}
    rows = [row for _ in range(1 if asked.quick else REPEATS) for each in checkouts.items() for row in cold_and_warm(*each)]
    medians = pd.DataFrame(rows).groupby(["checkout", "cache"])[PHASES].median().reset_index()
    keep(medians, (Path("out") / "quick" if asked.quick else RESULTS) / "phases.csv")


if __name__ == "__main__":
    main()
