"""Kill -9 at random moments: what a forecast, a backtest and a batch of fits leave, and what the next start makes of it.

    python -m benchmarks.cost.kills [--quick]

Each command is started again in the same folder, killed after a random part of the time that it takes by itself, 50 times in
all, and then let finish. After each kill every visible file is read. *half-written*: files that cannot be read, or results of
two runs side by side; *lost*: results that were there before a kill, or that the last run should have left, and are not;
*doubled*: rows or files beyond those of an undisturbed run; *left over*: hidden files after the last run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import bayes_tsl as bt
from benchmarks.common import keep, options

PLAN = "cosine:peak=2e-3,warmup=100,total=2000,final=2e-4"
RESULTS = {"fit.nc", "forecast.csv", "forecast.png", "summary.json"}
FORECAST = [*("-m", "bayes_tsl", "forecast", "LOSSES", "--run", "a", "--until", "1000", "--to", "2000"), "--schedule", PLAN]
BACKTEST = ["-m", "bayes_tsl", "backtest", "LOSSES", "--schedule", PLAN, "--prefixes", "0.4,0.6,0.8"]
MODELS = ["--models", "last-value,power-law,reciprocal,logarithmic"]
FIT_EACH = """
import sys
import bayes_tsl as bt
losses = bt.read_losses(sys.argv[1]).until(1000)
few = {"chains": 2, "num_warmup": 100, "num_draws": 50, "progress": False}
bt.fit_each(losses, bt.schedules.parse(sys.argv[2]), folder=sys.argv[4], **few)
"""


class Job(NamedTuple):
    """A command to kill, and what to look at afterwards.

    Attributes:
        command: of a Python that writes to a folder; SEED is replaced by the number of the start.
        broken: how many visible results of a folder cannot be read, or do not belong together.
    """

    command: list[str]
    broken: Callable[[Path], int]


def losses(path: Path) -> Path:
    steps = np.arange(100.0, 2001.0, 100.0)
    rng = np.random.default_rng(0)
    curves = {run: 3.0 + 3.0 * (steps / 100.0) ** -0.5 + 0.004 * rng.standard_normal(len(steps)) for run in "abcd"}
    pd.concat(pd.DataFrame({"run": run, "step": steps, "loss": loss}) for run, loss in curves.items()).to_csv(path, index=False)
    return path


def visible(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not hidden(path, folder)}


def hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def broken_forecast(folder: Path) -> int:
    found = visible(folder)
    if not found:
        return 0
    if found != RESULTS:
        return 1
    fit, table = bt.load_fit(folder / "fit.nc"), pd.read_csv(folder / "forecast.csv")
    summary = json.loads((folder / "summary.json").read_text())
    same = fit.seed == summary["seed"] and np.isclose(table["mean"].iloc[-1], summary["last"]["mean"], atol=1e-9)
    return int(not same or not (folder / "forecast.png").read_bytes().endswith(b"IEND\xaeB`\x82"))


def broken_files(read: Callable[[Path], object], pattern: str) -> Callable[[Path], int]:
    def count(folder: Path) -> int:
        failures = 0
        for path in folder.rglob(pattern):
            if not hidden(path, folder):
                try:
                    read(path)
                except Exception:
                    failures += 1
        return failures

    return count


def start(job: Job, data: Path, out: Path, *, seed: int, after: float | None = None) -> float:
    """Run a command to its end, or kill it after some seconds; how long it took."""
    command = [{"LOSSES": str(data), "SEED": str(seed), "OUT": str(out)}.get(word, word) for word in job.command]
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return time.monotonic() - begun


def row(name: str, job: Job, folder: Path, data: Path, kills: int) -> dict[str, object]:
    """What many kills of one command leave."""
    whole, out = folder / f"{name}-whole", folder / name
    start(job, data, whole, seed=0)  # once for what is compiled
    shutil.rmtree(whole)
    seconds = start(job, data, whole, seed=0)
    rng, counts, killed = np.random.default_rng(0), {"half_written": 0, "lost": 0}, 0
    before: set[str] = set()
    for number in range(10 * kills):
        if killed == kills:
            break
        if before == visible(whole) and name != "forecast":
            shutil.rmtree(out)  # finished between two kills: the next one has something to do again
            before = set()
        after = float(rng.uniform(0.0, seconds))
        killed += start(job, data, out, seed=number, after=after) >= after
        out.mkdir(exist_ok=True)
        counts["half_written"] += job.broken(out)
        counts["lost"] += len(before - visible(out))
        before = visible(out)
    start(job, data, out, seed=0)
    counts["lost"] += len(visible(whole) - visible(out))
    counts["doubled"] = len(visible(out) - visible(whole)) + different(whole, out)
    counts["left_over"] = sum(hidden(path, out) for path in out.rglob("*"))
    return {"command": name, "seconds": round(seconds, 1), "kills": killed, **counts}


def different(whole: Path, out: Path) -> int:
    """Tables whose rows are not those of an undisturbed run."""
    tables = [name for name in visible(whole) & visible(out) if name.endswith(".csv")]
    return sum((whole / name).read_text() != (out / name).read_text() for name in tables)


def main() -> None:
    asked = options(__doc__, "kills")
    warnings.simplefilter("ignore", bt.Notice)
    asked.out.mkdir(parents=True, exist_ok=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str((asked.out / "programs").absolute())
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    data, end = losses(asked.out / "losses.csv"), ["--seed", "SEED", "--out", "OUT"]
    jobs = {
        "forecast": Job([*FORECAST, *end], broken_forecast),
        "backtest": Job([*BACKTEST, *MODELS, "--out", "OUT"], broken_files(pd.read_parquet, "*.parquet")),
        "fit_each": Job(["-c", FIT_EACH, "LOSSES", PLAN, "to", "OUT"], broken_files(bt.load_fit, "*.nc")),
    }
    for name in jobs:
        shutil.rmtree(asked.out / name, ignore_errors=True)
        shutil.rmtree(asked.out / f"{name}-whole", ignore_errors=True)
    kills = 5 if asked.quick else 50
    with ThreadPoolExecutor(asked.workers) as pool:
        rows = pool.map(lambda name: row(name, jobs[name], asked.out, data, kills), jobs)
        keep(pd.DataFrame(rows), asked.table)


if __name__ == "__main__":
    main()
