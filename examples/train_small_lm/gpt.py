"""A small GPT as pure functions of a dict of arrays: RMSNorm before each part, rotary positions, SwiGLU, tied embeddings.

Positions are rotary rather than learned: no parameter belongs to a position, so what the loss gains with position is
what the model makes of context. Layers are stacked and scanned. Parameters are float32 throughout; the arithmetic is
bfloat16 where asked, with norms, softmax and loss in float32.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

TURNS = 10_000.0  # longest wave of the rotary positions, in tokens over 2 pi
Params = dict


class Shape(NamedTuple):
    """Size of a model; the MLP is 8/3 as wide, rounded up to a multiple of 32."""

    layers: int
    width: int
    heads: int
    vocab: int

    @property
    def hidden(self) -> int:
        """Width of the MLP."""
        return -(-8 * self.width // 96) * 32


def initial(key: Array, shape: Shape) -> Params:
    """Random parameters; what writes to the residual stream is smaller, the more layers write to it."""
    layers, width, hidden = shape.layers, shape.width, shape.hidden
    sizes = {"qkv": (width, 3 * width), "out": (width, width), "up": (width, 2 * hidden), "down": (hidden, width)}
    keys = dict(zip(["embedding", *sizes], jax.random.split(key, 5)))
    scales = dict.fromkeys(sizes, 0.02) | dict.fromkeys(["out", "down"], 0.02 / (2 * layers) ** 0.5)
    weights = {name: scales[name] * jax.random.normal(keys[name], (layers, *size)) for name, size in sizes.items()}
    norms = {name: jnp.ones((layers, width)) for name in ("attention_norm", "mlp_norm")}
    embedding = 0.02 * jax.random.normal(keys["embedding"], (shape.vocab, width))
    return {"embedding": embedding, "layers": weights | norms, "norm": jnp.ones(width)}


def count(params: Params) -> int:
    """Number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def token_losses(
    params: Params, tokens: Array, *, heads: int, end: int, dtype: DTypeLike = jnp.float32, together: int = 4
) -> Array:
    """Loss of every token given those before it in its sequence (sequence, position).  [nats/token]

    The first is predicted from an ``end`` token alone, so a token at ``position`` has that many tokens of context.
    At most ``together`` sequences are worked on at once; if there are more, all are gone through again for the gradient: what
    four of them need stays in the cache of a CPU core, which more than pays for the second pass.
    """
    losses = partial(_token_losses, params, heads=heads, end=end, dtype=dtype)
    if len(tokens) <= together:
        return losses(tokens)
    groups = tokens.reshape(-1, math.gcd(len(tokens), together), tokens.shape[1])
    return jax.lax.map(jax.checkpoint(losses), groups).reshape(tokens.shape)


def _token_losses(params: Params, tokens: Array, *, heads: int, end: int, dtype: DTypeLike) -> Array:
    before = jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=end)
    embedding = params["embedding"].astype(dtype)
    logits = jnp.matmul(hidden(params, embedding[before], heads=heads), embedding.T, preferred_element_type=jnp.float32)
    chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def hidden(params: Params, x: Array, *, heads: int) -> Array:
    """Residual stream after all layers, normed (sequence, position, width), in the dtype of ``x``."""
    turns = rotations(x.shape[1], x.shape[2] // heads, x.dtype)

    def layer(x: Array, weights: Params) -> tuple[Array, None]:
        weights = jax.tree.map(lambda leaf: leaf.astype(x.dtype), weights)
        x = x + attention(weights, normed(x, weights["attention_norm"]), heads=heads, turns=turns)
        return x + mlp(weights, normed(x, weights["mlp_norm"])), None

    x, _ = jax.lax.scan(layer, x, params["layers"], unroll=jax.default_backend() == "gpu")  # 1.5 times as fast there
    return normed(x, params["norm"].astype(x.dtype))


def attention(weights: Params, x: Array, *, heads: int, turns: tuple[Array, Array]) -> Array:
    """Causal attention (sequence, position, width)."""
    q, k, v = jnp.moveaxis((x @ weights["qkv"]).reshape(*x.shape[:2], 3, heads, -1), 2, 0)
    fused = "cudnn" if x.dtype == jnp.bfloat16 and jax.default_backend() == "gpu" else None
    mixed = jax.nn.dot_product_attention(rotated(q, turns), rotated(k, turns), v, is_causal=True, implementation=fused)
    return mixed.reshape(x.shape) @ weights["out"]


def mlp(weights: Params, x: Array) -> Array:
    """Gated MLP (sequence, position, width); Shazeer, arXiv 2002.05202."""
    gate, value = jnp.split(x @ weights["up"], 2, axis=-1)
    return (jax.nn.silu(gate) * value) @ weights["down"]


def normed(x: Array, scale: Array) -> Array:
    """Each vector over its root mean square, times ``scale`` (same shape)."""
    wide = x.astype(jnp.float32)
    return (wide * jax.lax.rsqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + 1e-6)).astype(x.dtype) * scale


def rotations(positions: int, width: int, dtype: DTypeLike) -> tuple[Array, Array]:
    """Cosine and sine of the rotary angles, each (position, 1, width / 2); Su et al., arXiv 2104.09864."""
    waves = TURNS ** (-jnp.arange(0, width, 2) / width)
    angles = jnp.arange(positions)[:, None, None] * waves
    return jnp.cos(angles).astype(dtype), jnp.sin(angles).astype(dtype)


def rotated(x: Array, turns: tuple[Array, Array]) -> Array:
    """Queries or keys (sequence, position, head, width), turned by their position."""
    cosine, sine = turns
    left, right = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([left * cosine - right * sine, right * cosine + left * sine], axis=-1)
