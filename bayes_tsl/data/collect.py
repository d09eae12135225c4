"""Losses per position from a model's own outputs: logits -> token losses -> losses per position -> rows of a loss table.

The loss of a token is ``log sum exp(logits) - its own logit``, in nats. Column ``i`` of token losses is position ``i`` of the
table; the token that a sequence starts with is predicted by nothing, and not counted as context. Over sequences the count, mean
and squared deviations of every position are added up in float64, a few sequences at a time, by the update of Chan, Golub &
LeVeque (1983, The American Statistician 37:242): what was read is forgotten, and memory stays flat.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_tsl._common.validation import require, require_number, show
from bayes_tsl.data.loss_table import LossTable
from bayes_tsl.errors import DataError

__all__ = [
    "checkpoint",
    "gradient_noise",
    "position_losses",
    "token_losses",
]


def __dir__() -> list[str]:
    return __all__


_CELLS = 2**17  # token losses worked on at a time: one MiB in float64, which a processor's cache holds


def position_losses(token_losses: Any) -> pd.DataFrame:
    """Mean loss, its standard error [nats/token] and the count of sequences by position: position, loss, loss_se, count.

    The standard error takes sequences as independent, ``sd / sqrt(count)``; pieces of few documents tell less. It is NaN for
    one sequence. Positions without any loss have no row.

    Args:
        token_losses: losses in nats (sequence, position), NaN where none was measured, as in padding: an array of NumPy,
            PyTorch or JAX, or an iterable of them, read once. Batches may differ in both sizes; one may be a single sequence
            (position).

    Raises:
        DataError: a loss is infinite or no number, a mean is negative, the axes are others, or there is no loss.

    >>> position_losses([np.array([[3.0, 2.0], [5.0, np.nan]]), np.array([[4.0]])])["loss"].tolist()
    [4.0, 2.0]
    """
    found = _Moments(*np.zeros((3, 0)))
    for losses, place in _batches(token_losses):
        for block in _blocks(losses, place):
            found = _together(found, _moments(block))
    cure = "Check the batches; a generator gives them only once."
    require(found.measured.any(), "token losses", "hold at least one loss", [], cure=cure)
    return _table(found)


def checkpoint(
    token_losses: Any,
    *,
    step: float,
    run: str = "run",
    test_set: str = "test",
    tokens: float | None = None,
    lr: float | None = None,
    averaged: float | None = None,
    gradient_noise: float | None = None,
) -> pd.DataFrame:
    """Rows of one checkpoint; those of several are a table by ``LossTable.from_frame(pd.concat(rows))``.

    Args:
        token_losses: as for ``position_losses``.
        step: of the checkpoint.
        run: name of the run.
        test_set: name of what was evaluated.
        tokens: trained on until then, if known.
        lr: learning rate of the step, if known.
        averaged: number of steps that the evaluated weights are an average over; that of an exponential average with decay b is
            ``2 / (1 - b) - 1``.
        gradient_noise: of ``gradient_noise``, if known.

    Raises:
        DataError: what ``position_losses`` or ``LossTable.from_frame`` refuse.

    >>> checkpoint([[3.0, 2.0], [5.0, 2.5]], step=1000)[["step", "position", "loss"]].to_numpy().tolist()
    [[1000.0, 0.0, 4.0], [1000.0, 1.0, 2.25]]
    """
    rows = position_losses(token_losses).assign(step=step, run=run, test_set=test_set, tokens=tokens, lr=lr)
    frame = LossTable.from_frame(rows, source="checkpoint").frame
    return frame.assign(averaged=averaged, gradient_noise=gradient_noise).dropna(axis="columns", how="all")


def token_losses(logits: Any, tokens: Any, *, mask: Any = None) -> Any:
    """Loss of every token but the first, given those before it [nats] (sequence, position), in the library of ``logits``.

    In float32, or as finely as the logits are, one sequence at a time, so that no second array of their size is made; in
    PyTorch without gradient. Where the model gave NaN the loss is infinite, which ``position_losses`` refuses and does not take
    for padding. While JAX traces them, the values of ``tokens`` and ``mask`` go unchecked.

    Args:
        logits: of PyTorch, JAX or NumPy, at each position for the token that follows (sequence, position, vocabulary).
        tokens: ids that the model was given, not shifted (sequence, position).
        mask: 1 for tokens, 0 for padding, which belongs on the right and gets NaN (sequence, position).

    Raises:
        DataError: shapes do not fit, an id is not in the vocabulary, or padding is on the left.

    >>> token_losses(np.zeros((1, 3, 8)), np.array([[5, 0, 7]])).round(4).tolist()
    [[2.0794, 2.0794]]
    """
    _require_shapes(logits, tokens, mask)
    if not _traced(tokens):
        _require_ids(_on_host(tokens, "tokens"), np.shape(logits)[2])
    if mask is not None and not _traced(mask):
        _require_right_padding(_on_host(mask, "mask").astype(bool))
    return {"torch": _torch_losses, "jax": _jax_losses, "numpy": _numpy_losses}[_library(logits)](logits, tokens, mask)


def gradient_noise(optimizer: Any, *, b2: float | None = None) -> float:
    """Noise of the gradient that Adam has seen: the sum over parameters of ``sqrt(v)``, v its unbiased second moment.

    Where noise dominates the gradient, as it does past the first steps, this is the trace of the covariance of the gradient
    preconditioned by Adam [nats/token]; times the learning rate, it sets how far above the floor the loss hovers (Qiu et al.,
    arXiv 2507.02119). Sums count each parameter once: of sharded optimizers, add those of all shards.

    Args:
        optimizer: of PyTorch (Adam, AdamW), or the state of one of optax.
        b2: decay of the second moment, which a state of optax does not have; PyTorch's own by default.

    Raises:
        DataError: there is no second moment, or its decay is unknown.

    >>> import optax
    >>> optimizer = optax.adam(1e-3, b2=0.95)
    >>> _, state = optimizer.update(np.array([3.0, -4.0]), optimizer.init(np.zeros(2)))
    >>> round(gradient_noise(state, b2=0.95), 4)
    7.0
    """
    moments = list(_second_moments(optimizer, b2))
    cure = "Give an optimizer of Adam's kind after its first step."
    require(len(moments) > 0, "optimizer", "hold second moments", type(optimizer).__name__, cure=cure)
    total = 0.0
    for values, decay, count in moments:
        require_number(decay, "b2", low=0.0, high=1.0, cure="Give the decay of Adam's second moment, e.g. b2=0.95.")
        total += float((values**0.5).sum()) / float(np.sqrt(1.0 - float(decay) ** count))
    return total


class _Moments(NamedTuple):
    """How many losses there are, their mean and the sum of squared deviations from it (position)."""

    measured: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]


def _second_moments(optimizer: Any, b2: float | None) -> Iterator[tuple[Any, Any, float]]:
    """Second moments of each parameter, their decay, and the updates they have seen."""
    if hasattr(optimizer, "param_groups"):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                seen = optimizer.state.get(parameter, {})
                if "exp_avg_sq" in seen:
                    yield seen["exp_avg_sq"].float(), group["betas"][1] if b2 is None else b2, float(seen["step"])
    elif hasattr(optimizer, "nu"):
        import jax

        for leaf in jax.tree.leaves(optimizer.nu):
            yield leaf, b2, float(optimizer.count)
    elif isinstance(optimizer, Mapping | tuple | list):
        for part in optimizer.values() if isinstance(optimizer, Mapping) else optimizer:
            yield from _second_moments(part, b2)


def _batches(token_losses: Any) -> Iterator[tuple[NDArray[Any], str]]:
    """Batches on the host (sequence, position), and where they are."""
    cure = "Give an array (sequence, position), or batches of such."
    whole = hasattr(token_losses, "ndim")
    readable = whole or (isinstance(token_losses, Iterable) and not isinstance(token_losses, str | bytes | Mapping))
    require(readable, "token losses", "be an array or batches", type(token_losses).__name__, cure=cure)
    for number, batch in enumerate([token_losses] if whole else token_losses):
        place = "" if whole else f"batch={number}"
        losses = _on_host(batch, "token losses", place)
        losses = losses[None] if losses.ndim == 1 and not whole else losses
        where = f"at {place}" if place else ""
        require(losses.ndim == 2, "token losses", "have axes (sequence, position)", losses.shape, where=where, cure=cure)
        numeric = losses.dtype.kind in "fiu" or losses.dtype.name == "bfloat16"
        require(numeric, "token losses", "be numbers", losses.dtype.name, where=where, cure="Give losses in nats.")
        yield losses, place


def _blocks(losses: NDArray[Any], place: str) -> Iterator[NDArray[np.float64]]:
    """A few sequences at a time, checked (sequence, position)."""
    size = max(1, _CELLS // max(1, losses.shape[1]))
    for first in range(0, len(losses), size):
        block = losses[first : first + size].astype(np.float64)
        if np.isinf(block).any():
            row, position = np.argwhere(np.isinf(block))[0]
            where = f"at {place}{', ' if place else ''}sequence={first + row}, position={position}"
            cure = "Look what the model does there; NaN stands for padding."
            require(False, "token loss", "be finite or NaN", block[row, position], where=where, cure=cure)
        yield block


def _moments(block: NDArray[np.float64]) -> _Moments:
    there = ~np.isnan(block)
    count = there.sum(axis=0, dtype=np.float64)
    mean = np.where(there, block, 0.0).sum(axis=0) / np.maximum(count, 1.0)
    return _Moments(count, mean, np.square(np.where(there, block - mean, 0.0)).sum(axis=0))


def _together(one: _Moments, other: _Moments) -> _Moments:
    """Moments of both, where either may have more positions."""
    width = max(len(one.measured), len(other.measured))
    one, other = _wider(one, width), _wider(other, width)
    count, shift = one.measured + other.measured, other.mean - one.mean
    share = other.measured / np.maximum(count, 1.0)
    return _Moments(count, one.mean + share * shift, one.squares + other.squares + share * one.measured * shift**2)


def _wider(moments: _Moments, width: int) -> _Moments:
    missing = width - len(moments.measured)
    return _Moments(*(np.pad(part, (0, missing)) for part in moments)) if missing else moments


def _table(found: _Moments) -> pd.DataFrame:
    position = np.flatnonzero(found.measured)
    count, mean, squares = (part[position] for part in found)
    low = int(mean.argmin())
    cure = "Give losses, not log probabilities."
    require(mean[low] >= 0, "mean loss", "not be negative", mean[low], where=f"at position={position[low]}", cure=cure)
    variance = np.divide(squares, count - 1, out=np.full(len(count), np.nan), where=count > 1)
    return pd.DataFrame({"position": position, "loss": mean, "loss_se": np.sqrt(variance / count), "count": count.astype(int)})


def _on_host(values: Any, name: str, place: str = "") -> NDArray[Any]:
    """Values as an array of NumPy, which copies nothing that lies there already."""
    if _library(values) == "torch":
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() and values.element_size() < 4 else values
    try:
        return np.asarray(values)
    except ValueError:
        where = f" at {place}" if place else ""
        cure = "Fill up with NaN, or give each sequence by itself."
        raise DataError(f"{name} must be an array; got lists of unequal lengths{where}. {cure}") from None


def _library(values: Any) -> str:
    """Whose array it is: what nobody has imported has made none."""
    for name, kind in (("torch", "Tensor"), ("jax", "Array")):
        library = sys.modules.get(name)
        if library is not None and isinstance(values, getattr(library, kind)):
            return name
    return "numpy"


def _traced(values: Any) -> bool:
    return _library(values) == "jax" and isinstance(values, sys.modules["jax"].core.Tracer)


def _require_shapes(logits: Any, tokens: Any, mask: Any) -> None:
    shape = tuple(np.shape(logits))
    good = len(shape) == 3 and shape[0] >= 1 and shape[1] >= 2
    cure = "Give whole sequences, of two tokens or more."
    require(good, "logits", "have axes (sequence, position, vocabulary)", shape, where="as their lengths", cure=cure)
    for name, values in {"tokens": tokens, "mask": mask}.items():
        if values is not None:
            lengths = tuple(np.shape(values))
            rule = f"have axes (sequence, position) of lengths {show(shape[:2])}"
            require(lengths == shape[:2], name, rule, lengths, cure="Give those that belong to the logits.")


def _require_ids(tokens: NDArray[Any], vocabulary: int) -> None:
    cure = "Give ids as the model was given them, padding too, and tell padding by mask."
    require(tokens.dtype.kind in "iu", "tokens", "be whole numbers", tokens.dtype.name, cure=cure)
    wrong = np.argwhere((tokens < 0) | (tokens >= vocabulary))
    if len(wrong):
        row, position = wrong[0]
        where = f"at sequence={row}, position={position}"
        require(False, "token", f"lie between 0 and {vocabulary - 1}", tokens[row, position], where=where, cure=cure)


def _require_right_padding(mask: NDArray[np.bool_]) -> None:
    wrong = np.flatnonzero(~mask[:, 0] & mask.any(axis=1))
    cure = "Pad on the right, so that every sequence starts at its first position."
    require(not len(wrong), "mask", "start with a token", wrong, where="as sequences that start with padding", cure=cure)


def _torch_losses(logits: Any, tokens: Any, mask: Any) -> Any:
    torch = sys.modules["torch"]
    with torch.no_grad():
        targets = torch.as_tensor(tokens, device=logits.device)[:, 1:].long()
        rows = (row if row.dtype == torch.float64 else row.float() for row in logits[:, :-1])
        losses = torch.stack([torch.nn.functional.cross_entropy(*pair, reduction="none") for pair in zip(rows, targets)])
        losses = losses.masked_fill(losses.isnan(), torch.inf)
        if mask is not None:
            losses = losses.masked_fill(~torch.as_tensor(mask, device=losses.device)[:, 1:].bool(), torch.nan)
    return losses


def _jax_losses(logits: Any, tokens: Any, mask: Any) -> Any:
    import jax.numpy as jnp

    tokens = jnp.asarray(tokens)
    losses = jnp.stack([_compiled()(logits[row], tokens[row]) for row in range(len(logits))])
    return losses if mask is None else jnp.where(jnp.asarray(mask)[:, 1:].astype(bool), losses, jnp.nan)


@cache
def _compiled() -> Any:
    """For JAX, one sequence; the last position goes last of all, since XLA would copy the logits without it."""
    import jax
    import jax.numpy as jnp

    return jax.jit(lambda logits, tokens: _sequence_losses(logits, jnp.roll(tokens, -1), xp=jnp)[:-1])


def _numpy_losses(logits: Any, tokens: Any, mask: Any) -> NDArray[Any]:
    pairs = zip(np.asarray(logits)[:, :-1], _on_host(tokens, "tokens")[:, 1:])
    with np.errstate(invalid="ignore"):
        losses = np.stack([_sequence_losses(row, ids, xp=np) for row, ids in pairs])
    return losses if mask is None else np.where(_on_host(mask, "mask")[:, 1:].astype(bool), losses, np.nan)


def _sequence_losses(logits: Any, tokens: Any, *, xp: Any) -> Any:
    """Of logits (position, vocabulary) for tokens (position); from the largest logit down, no loss overflows or is negative."""
    exact = xp.result_type(logits.dtype, xp.float32)
    chosen = xp.take_along_axis(logits, tokens[:, None], axis=-1).astype(exact)
    logits = logits.astype(exact)
    top = logits.max(axis=-1, keepdims=True)
    losses = (xp.log(xp.exp(logits - top).sum(axis=-1, keepdims=True)) + (top - chosen))[:, 0]
    return xp.where(xp.isnan(losses), xp.inf, losses)
