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

SCALES = {  # arguments of train.py, of all runs and by size; "gpu" has 30M, 10M and 91M parameters
    "cpu": {
        "base": "",
        "small": "--layers 3 --width 96 --heads 3",
        "large": "--layers 6 --width 192 --heads 6",
        "long": "--total 5000",
    },
    "gpu": {
        "base": "--layers 8 --width 512 --heads 8 --context 1024 --sequences 256 --peak 1e-3 --final 1e-4 --warmup 120 "
        "--total 2400 --save-every 1200",
        "small": "--layers 6 --width 320 --heads 5",
        "large": "--layers 12 --width 768 --heads 12",
        "long": "--total 9600",
    },
}
RUNS = {
    "mix50_cosine": "--mixture 0.5 --schedule cosine",
    "mix50_wsd": "--mixture 0.5 --schedule wsd",
    "mix20_cosine": "--mixture 0.2 --schedule cosine",
    "mix80_cosine": "--mixture 0.8 --schedule cosine",
    "mix50_constant": "--mixture 0.5 --schedule constant",
    "mix50_cosine_seed1": "--mixture 0.5 --schedule cosine --seed 1",
    "mix50_cosine_small": "--mixture 0.5 --schedule cosine",
    "mix50_cosine_large": "--mixture 0.5 --schedule cosine",
    "mix50_cosine_head": "--mixture 0.5 --schedule cosine --weighting head",
    "mix50_cosine_middle": "--mixture 0.5 --schedule cosine --weighting middle",
    "mix50_cosine_tail": "--mixture 0.5 --schedule cosine --weighting tail",
    "mix20_wsd": "--mixture 0.2 --schedule wsd",
    "mix80_wsd": "--mixture 0.8 --schedule wsd",
    "mix50_wsd_small": "--mixture 0.5 --schedule wsd",
    "mix50_cosine_long": "--mixture 0.5 --schedule cosine",
    "mix50_cosine_head_seed1": "--mixture 0.5 --schedule cosine --weighting head --seed 1",
    "mix50_cosine_middle_seed1": "--mixture 0.5 --schedule cosine --weighting middle --seed 1",
    "mix50_cosine_tail_seed1": "--mixture 0.5 --schedule cosine --weighting tail --seed 1",
    "mix50_wsd_large": "--mixture 0.5 --schedule wsd",
}
ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    """Make the runs that are not finished, and join all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of tokens, made by corpus.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs, each in a folder of its name")
    parser.add_argument(
        "--cores", nargs="+", default=["0"], help="cores to use, one run at a time on each; or ranges, as 0-7 8-15"
    )
    parser.add_argument("--scale", choices=SCALES, default="cpu", help="sizes of the models and how long they are trained")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), help="these runs", metavar="RUN")
    asked = parser.parse_args()
    commands = {name: command(name, asked.scale) for name in asked.only}
    failed = make(commands, data=asked.data, out=asked.out, cores=asked.cores)
    join(asked.out)
    if failed:
        raise SystemExit(f"runs must end; got no end of {failed}. See RUN.log in {asked.out}, and give the command again.")


def command(name: str, scale: str) -> list[str]:
    """Arguments of a run; what comes later counts."""
    sizes = SCALES[scale]
    return f"{sizes['base']} {RUNS[name]} {sizes.get(name.split('_')[-1], '')}".split()


def make(commands: dict[str, list[str]], *, data: Path, out: Path, cores: list[str]) -> list[str]:
    """Make runs, one to each of the cores; returns those that failed."""
    out.mkdir(parents=True, exist_ok=True)
    free = SimpleQueue()
    for core in cores:
        free.put(core)

    def make_one(name: str) -> bool:
        core = free.get()
        pinned = ["taskset", "-c", core] if shutil.which("taskset") else []
        script = Path(__file__).with_name("train.py")
        words = [*pinned, sys.executable, script, "--data", data, "--out", out / name, *commands[name]]
        with (out / f"{name}.log").open("a") as log:
            done = subprocess.run(words, env=os.environ | ONE_THREAD, stdout=log, stderr=log, check=False)
        print(f"{name} {'done' if done.returncode == 0 else 'failed'}", flush=True)
        free.put(core)
        return done.returncode == 0

    todo = [name for name in commands if not finished(out / name)]
    with ThreadPoolExecutor(len(cores)) as pool:
        return [name for name, good in zip(todo, pool.map(make_one, todo)) if not good]


def finished(run: Path) -> bool:
    """Whether a run has ended."""
    settings = run / "settings.json"
    return settings.is_file() and json.loads(settings.read_text())["finished"]


def all_finished(out: Path) -> list[Path]:
    """Folders of the runs that have ended, by name."""
    return sorted(path for path in out.iterdir() if path.is_dir() and finished(path))


def join(out: Path) -> None:
    """One table of the losses of all finished runs, and one of their schedules."""
    if runs := all_finished(out):
        losses = pd.concat(pd.read_csv(run / "losses.csv.gz") for run in runs)
        losses.to_csv(out / "losses.csv.gz", index=False)
        schedules = pd.concat(pd.read_csv(run / "schedule.csv").assign(run=run.name) for run in runs)
        schedules.to_csv(out / "schedules.csv", index=False)


if __name__ == "__main__":
    main()
