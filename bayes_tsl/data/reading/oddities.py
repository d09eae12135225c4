"""What is worth saying of losses that were read rightly: too few, of no language model, turned, cut short."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bayes_tsl._common.validation import show

FEW = 10  # checkpoints below which a forecast is little more than its priors
HIGH = 20.0  # nats per token that no vocabulary allows: its logarithm is about 12
LOW = 2.5  # nats per token below which no pre-training on words begins
_JUMP = 3.0  # factor between neighbours
_SINCE = 5  # checkpoints since the lowest, all above it, before a loss has turned


def oddities(
    frame: pd.DataFrame, source: str, *, split: str, unit: str, chosen: bool, others: dict[str, int]
) -> tuple[str, ...]:
    """What is to be said of losses, a sentence each.

    Args:
        frame: of a loss table.
        source: name of the log.
        split: eval or train.
        unit: that the log had.
        chosen: whether the user asked for this split or metric.
        others: losses of training that were not read, by metric, with their number.
    """
    curves = [(_name(frame, key), curve) for key, curve in frame.groupby(["run", "test_set"], sort=False)]
    said = [*_training(source, split, chosen), *_few(curves, source, others)]
    for name, curve in curves:
        losses = pd.Series(curve.groupby("step")["loss"].mean())
        said += [f"{source}{name}{text}" for text in (*_high(losses), *_tuned(losses, unit), *_turned(losses, split))]
    return tuple(said)


def _name(frame: pd.DataFrame, key: object) -> str:
    several = len(frame[["run", "test_set"]].drop_duplicates()) > 1
    return f" ({', '.join(map(str, key))})" if several else ""  # pyright: ignore[reportArgumentType]


def _training(source: str, split: str, chosen: bool) -> Iterator[str]:
    if split == "train" and not chosen:
        what = "these are of training, and so is a forecast of them (--split train says that they are meant)."
        yield f"{source} has no evaluation losses; {what}"


def _few(curves: list[tuple[str, pd.DataFrame]], source: str, others: dict[str, int]) -> Iterator[str]:
    count = min(len(np.unique(curve["step"].to_numpy(float))) for _, curve in curves)
    if count >= FEW:
        return
    more = max(others.items(), key=lambda one: one[1], default=("", 0))
    cure = f" It has {more[1]} losses {more[0]!r}: read these with --split train." if more[1] > count else ""
    only = f"{count} checkpoint{'s' if count > 1 else ''}"
    yield f"{source} has only {only}: a forecast from fewer than {FEW} says little more than its priors.{cure}"


def _high(losses: pd.Series) -> Iterator[str]:
    values, steps = losses.to_numpy(float), losses.index.to_numpy(float)
    top = int(values.argmax())
    if values[top] > HIGH:
        yield (
            f": the loss is {show(round(values[top], 4))} at step {show(steps[top])}, above {HIGH:g} nats, which no vocabulary "
            "allows: a sum over batches, a perplexity (--unit perplexity) or a divergence."
        )
    ratio = values[1:] / np.maximum(values[:-1], 1e-12)
    jumps = np.flatnonzero(
        (np.maximum(ratio, 1.0 / np.maximum(ratio, 1e-12)) > _JUMP) & (values[1:] > 0) & (np.arange(1, len(values)) > 1)
    )
    if jumps.size:
        at = int(jumps[0])
        yield (
            f": the loss jumps from {show(round(values[at], 4))} to {show(round(values[at + 1], 4))} between steps "
            f"{show(steps[at])} and {show(steps[at + 1])}; forecast from one side of it, or correct the losses."
        )


def _tuned(losses: pd.Series, unit: str) -> Iterator[str]:
    first = float(losses.iloc[0])
    if unit != "bits/byte" and first < LOW:
        yield (
            f": the loss begins at {show(round(first, 4))} nats, at step {show(losses.index[0])}, as in fine-tuning or with a "
            "token per character; the priors are of pre-training."
        )


def _turned(losses: pd.Series, split: str) -> Iterator[str]:
    values, steps = losses.to_numpy(float), losses.index.to_numpy(float)
    low = int(values.argmin())
    since = values[low + 1 :]
    rising = len(since) >= _SINCE and (np.diff(values[low:]) > 0).mean() >= 0.8
    if split == "eval" and rising and since[-1] - values[low] > 0.01 * values[low]:
        yield (
            f": the loss has risen since step {show(steps[low])}, from {show(round(values[low], 4))} to "
            f"{show(round(values[-1], 4))}, as in overfitting; the law foresees no such rise."
        )
