"""Pictures of docs/images, but for those that pages draw themselves (``benchmarks.pages``) and that of a report in a browser.

    python -m benchmarks.pictures

Fits are kept in out/pictures, and made where they are missing (ten minutes on two cores). Every picture is a PNG with an SVG
beside it. The PNG carries a digest of the code that draws and of the tables that it reads; ``tests/plots/test_pictures.py``
compares it with that of today.
"""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

import bayes_tsl as bt
from bayes_tsl.plots import style
from benchmarks.common import IMAGES, RESULTS, SMALL_LM

KEPT = Path("out") / "pictures"
TABLES = {"prefix_errors": "prefix.csv", "coverage": "prefix_reported.csv"}  # that pictures read
DIGEST, DPI = "bayes_tsl digest", 150
COST = bt.Cost(per_hour=24.0, seconds_per_step=6.0, currency="USD")
HALF, END, FINAL, TARGET = 1250, 2500, 2e-4, 3.6
PAPER = "mix50_wsd"  # run of gpt_positions whose coefficients are drawn


def kept(name: str, make: Callable[[], bt.Fit]) -> bt.Fit:
    """A fit from the folder of those that are kept, or made and kept."""
    path = KEPT / f"{name}.nc"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        make().save(path)
    return bt.load_fit(path)


def prose() -> bt.LossTable:
    return bt.datasets.load("small_lm").select(run="mix50_cosine", test_set="prose")


@cache
def half() -> bt.Fit:
    """The first half of a bundled run."""
    return kept("half", lambda: bt.fit(prose().until(HALF), schedule=SMALL_LM, seed=0))


@cache
def paper() -> bt.Fit:
    """A whole bundled run of another model, by 1024 positions."""
    losses = bt.datasets.load("gpt_positions").select(run=PAPER, test_set="prose")
    plan = bt.datasets.schedules("gpt_positions")[PAPER]
    return kept("paper", lambda: bt.fit(losses, schedule=plan, seed=0, throw=False))


def plans() -> Any:
    now = float(SMALL_LM.lr(HALF))
    futures = {
        "as planned": None,
        "hold the learning rate": bt.schedules.constant(peak=now),
        "hold, then decay over the last fifth": bt.schedules.wsd(peak=now, total=END, decay=0.2, final=FINAL),
    }
    return bt.plot_what_if(bt.what_if(half(), futures, steps=range(1300, END + 1, 50)))


def budget() -> Any:
    ahead = bt.forecast(half(), steps=np.linspace(HALF, END, 26)[1:])
    return bt.plot_budget(ahead, COST, target=TARGET)


def frontier() -> Any:
    return bt.plot_frontier(bt.budget_frontier(half(), COST, ends=range(1375, END + 1, 125), target=TARGET))


def best_plan() -> Any:
    return bt.plot_best_plan(bt.best_plan(half(), end=END))


def stopping() -> Any:
    steps = range(HALF + 125, END + 1, 125)
    return bt.plot_stopping(bt.stop_or_continue(half(), COST, value=200.0, steps=steps, final=FINAL))


def worth() -> Any:
    from examples import which_experiment_next as example

    plan, origin = SMALL_LM, example.ORIGIN
    fit = kept("early", lambda: bt.fit(prose().until(origin), schedule=plan, seed=0))
    return bt.plot_worth(example.judge(fit, plan))


def watch() -> Any:
    from examples import watch_a_run as example

    path = KEPT / "watch.csv"
    means = bt.LossTable.from_frame(prose().mean_losses().reset_index())
    if not path.exists():
        example.watch(means, SMALL_LM, KEPT / "watch.png").to_csv(path, index=False)
    return bt.plot_forecast_revisions(pd.read_csv(path))


def prefix_errors() -> Any:
    table = pd.read_csv(RESULTS / "prefix.csv", comment="#").query("half == 'held out' and runs == 'all'")
    shown = table[~table["model"].str.contains("family")]
    means = shown.assign(mean=shown["endpoint_mae"], observed=0.0, run="all", test_set="all", reason="")
    return bt.plot_errors(means)


def coverage() -> Any:
    """Coverage by share of the run seen and kind of run, the worst kinds too: no picture of the library."""
    import matplotlib.pyplot as plt

    blue, grey, ink = style.AHEAD, style.NOTE, style.PAST
    table = pd.read_csv(RESULTS / "prefix_reported.csv", comment="#").query("half == 'held out' and model == 'tsl'")
    ax = plt.subplots(figsize=(7.0, 4.2), layout="constrained")[1]
    labels = []
    for kind, rows in table.groupby("runs"):
        every = kind == "all"
        ax.plot(rows["prefix"], rows["coverage_90"], "o-", ms=4, color=blue if every else grey, lw=2.6 if every else 1.2)
        end, runs = rows.iloc[-1], int(rows["cells"].max())
        labels.append((end["prefix"], end["coverage_90"], f"{kind} ({runs} runs)", blue if every else ink))
    ax.axhline(0.9, lw=1.0, ls="--", color=ink)
    ax.set(xlabel="share of the run seen", ylabel="share of later losses in the 90% interval", ylim=(0.65, 1.02))
    ax.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    ax.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    style.label_right(ax, labels)
    style.bare(ax)
    return ax


def paper_laws() -> Any:
    import matplotlib.pyplot as plt

    losses = bt.datasets.load("gpt_positions")
    axes = plt.subplots(1, 2, figsize=(10.0, 3.8), layout="constrained", sharey=True)[1]
    for run, ax in zip(("mix50_cosine", "mix50_cosine_large"), axes):
        curve = losses.select(run=run, test_set="prose").after(240)  # twice the warm-up
        bt.plot_position_laws(curve, bt.position_laws(curve), ax=ax)
    return axes


def paper_coefficients() -> Any:
    return bt.plot_coefficients(paper())


def paper_effects() -> Any:
    return bt.plot_position_effects(paper())


def paper_speed() -> Any:
    return bt.plot_learning_speed(bt.learning_speed(paper(), since=1200))


PICTURES: tuple[Callable[[], Any], ...] = (
    *(plans, budget, frontier, best_plan, stopping, worth, watch),
    *(prefix_errors, coverage, paper_laws, paper_coefficients, paper_effects, paper_speed),
)


def digest(name: str) -> str:
    """Of the code that draws a picture, without docstrings, comments and layout, and of the table that it reads."""
    own = inspect.getsource(next(picture for picture in PICTURES if picture.__name__ == name))
    modules = sorted({getattr(bt, plot).__module__ for plot in re.findall(r"bt\.(plot_\w+)", own)})
    code = [own, *(inspect.getsource(import_module(module)) for module in (style.__name__, *modules))]
    read = [(RESULTS / TABLES[name]).read_bytes()] if name in TABLES else []
    return sha256(b"\n".join([*map(code_of, code), *read])).hexdigest()[:16]


def code_of(text: str) -> bytes:
    """Lines of code, bare of blanks, comments that have a line of their own, and docstrings."""
    docs = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = ("".join(line.split()) for at, line in enumerate(text.splitlines(), start=1) if at not in docs)
    return "\n".join(line for line in lines if line and not line.startswith("#")).encode()


def save(name: str, drawn: Any) -> None:
    """Write a picture as PNG and SVG."""
    figure = np.ravel(np.asarray(drawn, dtype=object))[0].figure
    figure.savefig(IMAGES / f"{name}.png", dpi=DPI, metadata={DIGEST: digest(name)})
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})


def main() -> None:
    import matplotlib.pyplot as plt

    mpl.use("agg")
    warnings.simplefilter("ignore", bt.Notice)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        save(picture.__name__, picture())
        plt.close("all")
        print(f"drew {picture.__name__}", flush=True)


if __name__ == "__main__":
    main()
