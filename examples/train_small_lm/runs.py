"""Many runs, one to a core: mixtures, schedules, sizes, weightings and seeds, the most telling first.

What is finished is skipped, what was stopped goes on, so the same command may be given any number of times. At the end all
tables are joined in ``losses.csv.gz`` and ``schedules.csv``.

python examples/train_small_lm/runs.py --data DATA --out RUNS --cores 0 1
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pandas as pd

SMALL = "--layers 3 --width 96 --heads 3"
LARGE = "--layers 6 --width 192 --heads 6"
RUNS = {
    "mix50_cosine": "--mixture 0.5 --schedule cosine",
    "mix50_wsd": "--mixture 0.5 --schedule wsd",
    "mix20_cosine": "--mixture 0.2 --schedule cosine",
    "mix80_cosine": "--mixture 0.8 --schedule cosine",
    "mix50_constant": "--mixture 0.5 --schedule constant",
    "mix50_cosine_seed1": "--mixture 0.5 --schedule cosine --seed 1",
    "mix50_cosine_large": f"--mixture 0.5 --schedule cosine {LARGE}",
    "mix50_cosine_small": f"--mixture 0.5 --schedule cosine {SMALL}",
    "mix50_cosine_head": "--mixture 0.5 --schedule cosine --weighting head",
    "mix50_cosine_middle": "--mixture 0.5 --schedule cosine --weighting middle",
    "mix50_cosine_tail": "--mixture 0.5 --schedule cosine --weighting tail",
    "mix20_wsd": "--mixture 0.2 --schedule wsd",
    "mix80_wsd": "--mixture 0.8 --schedule wsd",
    "mix50_wsd_small": f"--mixture 0.5 --schedule wsd {SMALL}",
    "mix20_constant": "--mixture 0.2 --schedule constant",
    "mix80_constant": "--mixture 0.8 --schedule constant",
    "mix50_wsd_large": f"--mixture 0.5 --schedule wsd {LARGE}",
}
ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    """Make the runs that are not finished, and join all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of tokens, made by corpus.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs, each in a folder of its name")
    parser.add_argument("--cores", type=int, nargs="+", default=[0], help="cores to use, one run on each")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), help="these runs", metavar="RUN")
    asked = parser.parse_args()
    failed = make(asked.only, data=asked.data, out=asked.out, cores=asked.cores)
    join(asked.out)
    if failed:
        raise SystemExit(f"runs must end; got no end of {failed}. See RUN.log in {asked.out}, and give the command again.")


def make(names: list[str], *, data: Path, out: Path, cores: list[int]) -> list[str]:
    """Make runs, one to a core; returns those that failed."""
    out.mkdir(parents=True, exist_ok=True)
    free = SimpleQueue()
    for core in cores:
        free.put(core)

    def make_one(name: str) -> bool:
        core = free.get()
        pinned = ["taskset", "-c", str(core)] if shutil.which("taskset") else []
        script = Path(__file__).with_name("train.py")
        command = [*pinned, sys.executable, script, "--data", data, "--out", out / name, *RUNS[name].split()]
        with (out / f"{name}.log").open("a") as log:
            done = subprocess.run(command, env=os.environ | ONE_THREAD, stdout=log, stderr=log, check=False)
        print(f"{name} {'done' if done.returncode == 0 else 'failed'}", flush=True)
        free.put(core)
        return done.returncode == 0

    todo = [name for name in names if not finished(out / name)]
    with ThreadPoolExecutor(len(cores)) as pool:
        return [name for name, good in zip(todo, pool.map(make_one, todo)) if not good]


def finished(run: Path) -> bool:
    """Whether a run has ended."""
    settings = run / "settings.json"
    return settings.is_file() and json.loads(settings.read_text())["finished"]


def join(out: Path) -> None:
    """One table of the losses of all finished runs, and one of their schedules."""
    runs = sorted(path for path in out.iterdir() if path.is_dir() and finished(path))
    if runs:
        losses = pd.concat(pd.read_csv(run / "losses.csv.gz") for run in runs)
        losses.to_csv(out / "losses.csv.gz", index=False)
        schedules = pd.concat(pd.read_csv(run / "schedule.csv").assign(run=run.name) for run in runs)
        schedules.to_csv(out / "schedules.csv", index=False)


if __name__ == "__main__":
    main()
