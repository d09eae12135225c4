"""Train a small GPT and measure its loss at every token position, on three test sets, as training goes on.

Writes to a folder: ``losses.csv.gz`` (a table for ``bt.read_losses``), ``schedule.csv`` (step, lr), ``settings.json`` (what was
asked for, and what it ran on) and ``state.npz``. The same command goes on from there, and on a CPU gives bit for bit what it
would have given in one go: what is trained on at a step depends on the seed and the step alone.

python examples/train_small_lm/corpus.py --out DATA
python examples/train_small_lm/train.py --data DATA --out RUN
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from functools import lru_cache, partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from corpus import Corpus, load
from gpt import Params, Shape, count, initial, token_losses
from jax import Array

import bayes_tsl as bt

SCHEDULES = ("constant", "cosine", "wsd")
PARTS = {"head": (0.0, 0.1), "middle": (0.1, 0.9), "tail": (0.9, 1.0)}  # shares of the context
PART_WEIGHT = 0.5  # of the positions in a part, where others have 1 (Xiong et al., arXiv 2404.17785)
TOGETHER = {"cpu": 4}  # sequences worked on at once, else 64
BRANCH = 8  # checkpoints of a branch
EARLY = 8  # checkpoints before the first of the even ones, log-spaced
B2 = 0.95  # decay of the second moment
Arguments = argparse.Namespace


class State(NamedTuple):
    """What a step changes: parameters, moments of the optimizer, and averages of the parameters over the last steps."""

    params: Params
    moments: optax.OptState
    averages: list[Params]


def main(words: list[str] | None = None) -> None:
    """Train as the command line says."""
    train(parser().parse_args(words))


def parser() -> argparse.ArgumentParser:
    """Command line; the defaults are 10M tokens of a model of a million parameters, for one core of a CPU."""
    say = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say.add_argument("--data", type=Path, required=True, help="folder of tokens, made by corpus.py")
    say.add_argument("--out", type=Path, required=True, help="folder of the run; its name is the name of the run")
    say.add_argument("--mixture", type=float, default=0.5, help="share of code among the training sequences; the rest is prose")
    say.add_argument("--schedule", choices=SCHEDULES, default="cosine", help="wsd decays over the last fifth")
    say.add_argument("--peak", type=float, default=2e-3, help="highest learning rate")
    say.add_argument("--warmup", type=int, default=60, help="steps of linear warm-up")
    say.add_argument("--total", type=int, default=1250, help="steps")
    say.add_argument("--final", type=float, default=2e-4, help="learning rate at the end, of cosine and wsd")
    say.add_argument("--weighting", choices=("uniform", *PARTS), default="uniform", help="part that counts half")
    say.add_argument("--layers", type=int, default=4)
    say.add_argument("--width", type=int, default=128)
    say.add_argument("--heads", type=int, default=4)
    say.add_argument("--context", type=int, default=256, help="token positions")
    say.add_argument("--batch", type=int, default=32, help="sequences a step")
    say.add_argument(
        "--average", type=int, nargs="*", default=[], metavar="STEPS", help="also measure weights averaged over so many steps"
    )
    say.add_argument(
        "--branch", nargs=3, metavar=("RUN", "STEP", "STEPS"), help="leave RUN at STEP, decay to --final in STEPS, and end"
    )
    say.add_argument("--seed", type=int, default=0, help="of the parameters and of the order of the texts")
    say.add_argument("--checkpoints", type=int, default=40, help="evenly spaced; some more come before the first")
    say.add_argument("--sequences", type=int, default=160, help="of each test set, evaluated at every checkpoint")
    say.add_argument("--save-every", type=int, default=250, help="steps between states to go on from")
    return say


def train(asked: Arguments) -> None:
    """Train to the end, from the last state there is, and write everything to ``asked.out``."""
    corpus, plan = load(asked.data), planned(asked)
    total = round(plan.end)
    asked.out.mkdir(parents=True, exist_ok=True)
    settings = settled(asked, corpus)
    steps = np.arange(total + 1)
    pd.DataFrame({"step": steps, "lr": plan.lr(steps)}).to_csv(asked.out / "schedule.csv", index=False)
    optimizer = optimizer_of()
    params = initial(jax.random.key(asked.seed), Shape(asked.layers, asked.width, asked.heads, corpus.vocab))
    settings["parameters"] = count(params)
    done, state = restored(asked.out / "state.npz", State(params, optimizer.init(params), [params] * len(asked.average)))
    tables = measured(asked.out / "losses.csv.gz", until=done)
    per_token = partial(
        token_losses, heads=asked.heads, end=corpus.end, dtype=precision(), together=TOGETHER.get(jax.default_backend(), 64)
    )
    advance, weights = advancing(per_token, optimizer), position_weights(asked.weighting, asked.context)
    evaluate = evaluating(per_token, test_sets(corpus, asked), asked)
    checkpoints, started, evaluating_for = set(checkpoint_steps(asked)), perf_counter(), 0.0
    for step in range(done + 1, total + 1):
        news = np.array([max(2 / (span + 1), 1 / step) for span in asked.average], np.float32)  # mean age of a flat mean
        state = advance(state, batch_at(corpus, step, asked), weights, np.float32(plan.lr(step)), news)
        if step in checkpoints:
            jax.block_until_ready(state)
            before = perf_counter()
            tables.append(evaluate(state, step, float(plan.lr(step))))
            write_table(pd.concat(tables), asked.out / "losses.csv.gz")
            evaluating_for += perf_counter() - before
            settings["seconds_per_step"] = (perf_counter() - started - evaluating_for) / (step - done)
            settings["evaluation_share"] = evaluating_for / (perf_counter() - started)
            report(tables[-1], settings)
        if step % asked.save_every == 0 or step == total:
            save(asked.out / "state.npz", step, state)
    settings["finished"] = True
    write_json(settings, asked.out / "settings.json")


def planned(asked: Arguments) -> bt.Schedule:
    """Learning rate of every step; update number ``step`` is made with ``lr(step)``, the first above zero."""
    final = "" if asked.schedule == "constant" else f",final={asked.final}"
    plan = bt.schedules.parse(f"{asked.schedule}:peak={asked.peak},warmup={asked.warmup},total={asked.total}{final}")
    if not asked.branch:
        return plan
    start, length = (int(number) for number in asked.branch[1:])
    return bt.schedules.decayed(plan, start=start, total=start + length, final=asked.final)


def settled(asked: Arguments, corpus: Corpus) -> dict:
    """Settings of the run as written at its first start; a folder that holds another run is refused."""
    arguments = {name: value for name, value in vars(asked).items() if name not in ("data", "out")}
    packages = {"jax": jax.__version__, "optax": optax.__version__, "bayes_tsl": bt.__version__}
    settings = {
        "arguments": arguments,
        "corpus": corpus.fingerprint,
        "vocab": corpus.vocab,
        "tokens_per_step": asked.batch * asked.context,
        "device": jax.devices()[0].device_kind,
        "precision": jnp.dtype(precision()).name,
        "versions": {"python": platform.python_version(), **packages},
        "finished": False,
    }
    path = asked.out / "settings.json"
    kept = json.loads(path.read_text()) if path.is_file() else settings
    if changed := [name for name in ("arguments", "corpus") if kept[name] != settings[name]]:
        was = {name: kept[name] for name in changed}
        raise SystemExit(f"settings must be those that {path} began with; got others than {was}. Choose another --out.")
    write_json(kept, path)
    return kept


def precision() -> type:
    """bfloat16 on a GPU, float32 on a CPU, which gains nothing by less."""
    return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16


def optimizer_of() -> optax.GradientTransformation:
    """AdamW with clipped gradients, at a learning rate of one; weight decay spares norms."""

    def matrices(params: Params) -> Params:
        return jax.tree.map_with_path(lambda path, _: "norm" not in jax.tree_util.keystr(path), params)

    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1.0, b1=0.9, b2=B2, weight_decay=0.1, mask=matrices))


def position_weights(weighting: str, context: int) -> np.ndarray:
    """Weight of the training loss at each position, of mean 1: the positions of one part count half, or none (position)."""
    weights = np.ones(context)
    if weighting in PARTS:
        first, last = (round(share * context) for share in PARTS[weighting])
        weights[first:last] = PART_WEIGHT
    return (weights / weights.mean()).astype(np.float32)


def advancing(per_token, optimizer: optax.GradientTransformation):
    """One compiled update, alike for all runs of a size: (state, tokens, weights, lr, shares of the new weights) -> state."""

    def objective(params: Params, tokens: Array, weights: Array) -> Array:
        return jnp.mean(per_token(params, tokens) * weights)

    @partial(jax.jit, donate_argnums=0)
    def advance(state: State, tokens: Array, weights: Array, lr: Array, news: Array) -> State:
        params = state.params
        updates, moments = optimizer.update(jax.grad(objective)(params, tokens, weights), state.moments, params)
        params = optax.apply_updates(params, optax.tree.scale(lr, updates))
        averages = [optax.incremental_update(params, old, new) for old, new in zip(state.averages, news)]
        return State(params, moments, averages)

    return advance


def batch_at(corpus: Corpus, step: int, asked: Arguments) -> np.ndarray:
    """Training sequences of a step, a function of seed and step alone (sequence, position)."""
    code = [int(asked.mixture * asked.batch * done + 0.5) for done in (step - 1, step)]
    prose = [asked.batch * done - taken for done, taken in zip((step - 1, step), code)]
    numbers = [("code", number) for number in range(*code)] + [("prose", number) for number in range(*prose)]
    return np.stack([sequence(corpus.train[kind], number, asked, kind) for kind, number in numbers])


def sequence(tokens: np.ndarray, number: int, asked: Arguments, kind: str) -> np.ndarray:
    """Training sequence of a number: all of a kind are seen before any comes again, cut elsewhere then (position)."""
    many = len(tokens) // asked.context - 1
    if many < 1:
        raise SystemExit(f"{kind} must have two sequences of {asked.context} tokens; got {len(tokens)} tokens. Add texts.")
    order, shift = ordering(many, asked.context, (asked.seed, number // many, len(kind)))
    start = shift + int(order[number % many]) * asked.context
    return np.asarray(tokens[start : start + asked.context], np.int32)


@lru_cache(maxsize=8)
def ordering(many: int, context: int, seed: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Order of the sequences in one pass over them, and the tokens left out before the first."""
    chance = np.random.default_rng(seed)
    return chance.permutation(many), int(chance.integers(context))


def test_sets(corpus: Corpus, asked: Arguments) -> dict[str, np.ndarray]:
    """Sequences evenly spread over each test set (sequence, position)."""
    cut = {}
    for name, tokens in corpus.test.items():
        if len(tokens) < asked.sequences * asked.context:
            need = f"{asked.sequences} sequences of {asked.context} tokens"
            raise SystemExit(f"test set {name} must have {need}; got {len(tokens)} tokens. Lower --sequences or add texts.")
        starts = np.linspace(0, len(tokens) - asked.context, asked.sequences).astype(int)
        cut[name] = np.stack([tokens[start : start + asked.context] for start in starts]).astype(np.int32)
    return cut


def checkpoint_steps(asked: Arguments) -> list[int]:
    """Steps at which losses are measured: even ones, and log-spaced ones before the first of them; of a branch, its own."""
    if asked.branch:
        start, length = (int(number) for number in asked.branch[1:])
        return [start + round(share * length) for share in np.linspace(0, 1, BRANCH + 1)[1:]]
    even = np.linspace(0, asked.total, asked.checkpoints + 1)[1:]
    early = even[0] * np.geomspace(0.1, 1.0, EARLY, endpoint=False)
    return sorted({max(round(step), 1) for step in (*early, *even)})


def evaluating(per_token, test_sets: dict[str, np.ndarray], asked: Arguments):
    """Measures a checkpoint, and the averages that are old enough: (state, step, lr) -> rows of the table."""
    losses_of = jax.jit(per_token)
    parent = dict(zip(("parent", "branch_step"), asked.branch or ()))

    def evaluate(state: State, step: int, lr: float) -> pd.DataFrame:
        known = {"run": asked.out.name, "step": step, "lr": lr, "tokens": step * asked.batch * asked.context}
        known["gradient_noise"] = bt.collect.gradient_noise(state.moments, b2=B2)
        averages = {span: params for span, params in zip(asked.average, state.averages) if span <= step}
        measured = [
            bt.collect.checkpoint(losses_of(params, tokens), test_set=name, averaged=span, **known)
            for span, params in ({0: state.params} | averages).items()
            for name, tokens in test_sets.items()
        ]
        return pd.concat(measured).assign(**parent)

    return evaluate


def report(table: pd.DataFrame, settings: dict) -> None:
    """Say where the run is: mean losses, and seconds a step."""
    plain = table[table["averaged"] == 0]
    means = ", ".join(f"{name} {loss:.3f}" for name, loss in plain.groupby("test_set")["loss"].mean().items())
    print(f"{table['run'].iloc[0]} {table['step'].iloc[0]}: {means}; {settings['seconds_per_step']:.2f} s a step", flush=True)


def save(path: Path, step: int, state: State) -> None:
    """Write the state beside its place, then put it there, so that one stopped halfway leaves the last."""
    beside = path.with_name("state.writing.npz")
    np.savez(beside, *jax.tree.leaves(state), step=step)
    os.replace(beside, path)


def restored(path: Path, first: State) -> tuple[int, State]:
    """Steps done and the state as saved; a copy of the ``first``, and no step, where nothing was."""
    if not path.is_file():
        return 0, jax.tree.map(jnp.copy, first)
    leaves, tree = jax.tree.flatten(first)
    with np.load(path) as state:
        return int(state["step"]), tree.unflatten([jnp.asarray(state[f"arr_{at}"]) for at in range(len(leaves))])


def measured(path: Path, *, until: int) -> list[pd.DataFrame]:
    """Rows written up to the saved state; later ones are measured again."""
    if until == 0:
        return []
    table = pd.read_csv(path, dtype={"run": str})
    return [table[table["step"] <= until]]


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write losses beside their place, then put them there; equal tables are equal files, read and written again too."""
    beside = path.with_name("losses.writing.csv.gz")
    table.to_csv(beside, index=False, float_format="%.8g", compression={"method": "gzip", "mtime": 1})
    os.replace(beside, path)


def write_json(settings: dict, path: Path) -> None:
    """Write settings."""
    path.write_text(json.dumps(settings, indent=1) + "\n")


if __name__ == "__main__":
    main()
