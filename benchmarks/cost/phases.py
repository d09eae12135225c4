"""Seconds of every phase of ``make forecast``, and fits an hour of many runs, beside those of an older checkout.

    python -m benchmarks.cost.phases [--before CHECKOUT] [--quick]

Each measurement is a process of its own, in turn: REPEATS commands and FLEETS of many runs of every kind and checkout, of which
tables have medians. *cold* is without compiled programs from before, *warm* with them. *compiling* is what JAX takes to lower
and compile; *fit*, *prior* (what the prior decides) and *forecast* are without it, tracing included; *rest* is reading,
imports, picture and files; *process* is the whole command. Fits an hour are of ``timed_fleet``, compiling included.
--before adds an older checkout. --quick: once.
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

REPEATS, FLEETS = 5, 3
PHASES = ["compiling", "fit", "prior", "forecast", "rest", "process"]
COMMAND = [
    *("forecast", "bayes_tsl/data/datasets/small_lm/position_losses.csv.gz", "--run", "mix50_cosine", "--test-set", "prose"),
    *("--schedule", "cosine:peak=2e-3,warmup=100,total=2500,final=2e-4", "--parameters", "1.1e6"),
    *("--until", "1250", "--to", "2500", "--out"),
]


def printed(script: str, *arguments: str, checkout: Path, cache: str) -> dict[str, float]:
    """What a script of this folder prints last, run with the package of a checkout; and the seconds of its process."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "XDG_CACHE_HOME": cache}
    command, start = [sys.executable, str(ROOT / "benchmarks" / "cost" / script), *arguments], time.perf_counter()
    done = subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1]) | {"process": time.perf_counter() - start}


def commands(name: str, checkout: Path) -> list[dict[str, object]]:
    """One command with an empty cache, and one with what it kept."""
    with tempfile.TemporaryDirectory() as out:
        kinds = {
            kind: printed("timed_command.py", *COMMAND, out, checkout=checkout, cache=f"{out}/cache")
            for kind in ("cold", "warm")
        }
    return [{"checkout": name, "cache": kind, **seconds} for kind, seconds in kinds.items()]


def fleet(name: str, checkout: Path) -> dict[str, object]:
    """Many fits at once."""
    with tempfile.TemporaryDirectory() as cache:
        found = printed("timed_fleet.py", checkout=checkout, cache=cache)
    return {"checkout": name, **found, "fits_per_hour": 3600.0 * found["fits"] / found["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="folder of an older checkout")
    parser.add_argument("--quick", action="store_true", help="once, and tables under out/quick")
    asked = parser.parse_args()
    folder = Path("out/quick") if asked.quick else RESULTS
    checkouts = ({"before": asked.before.resolve()} if asked.before else {}) | {"now": ROOT}
    repeats, fleets = (1, 1) if asked.quick else (REPEATS, FLEETS)
    phases = pd.DataFrame([row for _ in range(repeats) for each in checkouts.items() for row in commands(*each)])
    keep(phases.groupby(["checkout", "cache"], as_index=False)[PHASES].median(), folder / "phases.csv")
    fleet_rows = pd.DataFrame([fleet(*each) for _ in range(fleets) for each in checkouts.items()])
    keep(fleet_rows.groupby("checkout", as_index=False)[["fits", "converged", "fits_per_hour"]].median(), folder / "fleet.csv")


if __name__ == "__main__":
    main()
