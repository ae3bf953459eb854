"""Mixers of Hugging Face models with a memory of keys and values: Qwen3-Next, RWKV and xLSTM.

    Qwen3-Next   Gated DeltaNet: s' = s α (I - β k kᵀ) + β v kᵀ,    (d_v, d_k) per head
    xLSTM        mLSTM:          s' = f s + i v kᵀ,                 (d_v, d_k) per head
    RWKV-4       wkv:            s' = exp(w) s + exp(k) v,          a channel is a head, (1, 1)

mLSTM and wkv are divided by a normalizer n and held in the range of floats by a stabilizer m, which
is a gauge: see `cells/_xlstm.py`.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._model import Model
from lstmgrad._tag import tag
from lstmgrad._types import StepFn
from lstmgrad.cells._delta_net import delta_rule, unit_length
from lstmgrad.cells._xlstm import stabilized
from lstmgrad.interop._mixers import (
    ACTIVATIONS,
    MixerState,
    Weights,
    activation,
    check_head,
    chosen,
    convolve,
    empty_window,
    linear,
    root_mean_square,
)


class NormalizedState(NamedTuple):
    """The state of a memory with a normalizer.

    Attributes:
        h: the output, which no step reads: (d,) of all heads, (d_v,) of one.
        s: (heads, d_v, d_k), the memory; (d_v, d_k) of one head.
        n: (heads, 1, d_k), the normalizer; (1, d_k) of one head.
        m: (heads,), the stabilizer (held); () of one head.
    """

    h: Float[Array, " d"]
    s: Float[Array, "*heads v k"]
    n: Float[Array, "*heads 1 k"]
    m: Float[Array, "*heads"]


class ShiftedState(NamedTuple):
    """The state of an RWKV-4 layer.

    Attributes:
        h: the output, which no step reads: (d,) of all channels, (1,) of one.
        s: (channels, 1, 1), the numerator; (1, 1) of one channel.
        n: (channels, 1, 1), the denominator; (1, 1) of one channel.
        m: (channels,), the stabilizer (held); () of one channel.
        last: (d,), the token before.
    """

    h: Float[Array, " d"]
    s: Float[Array, "*heads 1 1"]
    n: Float[Array, "*heads 1 1"]
    m: Float[Array, "*heads"]
    last: Float[Array, " d"]


def qwen3_next(weights: Weights, config: Mapping[str, Any], head: int | None) -> Model:
    """The model of a Gated DeltaNet of Qwen3-Next.

    Args:
        weights: of the mixer.
        config: of the model.
        head: one of its value heads, or None.
    """
    names = "num_key_heads", "num_value_heads", "key_head_dim", "value_head_dim"
    sizes = tuple(int(config[f"linear_{name}"]) for name in names)
    _, heads, keys, values = sizes
    check_head(head, heads)
    activation(config, "hidden_act")
    kernel = weights["out_proj.weight"]
    shape = (heads, values, keys) if head is None else (values, keys)
    h = jnp.zeros(kernel.shape[0] if head is None else values, kernel.dtype)
    step = _qwen3_next_step(
        config.get("hidden_act", "silu"), head, sizes, float(config.get("rms_norm_eps", 1e-6))
    )
    state = MixerState(h, jnp.zeros(shape, kernel.dtype), empty_window(weights, "conv1d"))
    return Model(step, weights, state)


@functools.cache
def _qwen3_next_step(act: str, head: int | None, sizes: tuple[int, ...], eps: float) -> StepFn:
    key_heads, heads, keys, values = sizes
    each = heads // key_heads  # value heads that share a key

    def step(weights: Weights, state: MixerState, x: Float[Array, " d"]) -> MixerState:
        projected = linear(weights, "in_proj_qkvz", x).reshape(key_heads, -1)
        cuts = [keys, 2 * keys, 2 * keys + each * values]
        q, k, v, z = jnp.split(projected, cuts, axis=1)
        gates = linear(weights, "in_proj_ba", x).reshape(key_heads, -1)
        b, a = (gate.reshape(-1) for gate in jnp.split(gates, 2, axis=1))
        mixed = jnp.concatenate([q.reshape(-1), k.reshape(-1), v.reshape(-1)])
        mixed, window = convolve(weights, "conv1d", state.window, mixed)
        cuts = [key_heads * keys, 2 * key_heads * keys]
        q, k, v = jnp.split(ACTIVATIONS[act](mixed), cuts)
        q, k = (
            jnp.repeat(unit_length(vector.reshape(key_heads, keys)), each, axis=0)
            for vector in (q, k)
        )
        alpha = jnp.exp(-jnp.exp(weights["A_log"]) * jax.nn.softplus(a + weights["dt_bias"]))
        v, beta = v.reshape(heads, values), jax.nn.sigmoid(b)
        q, k, v, beta, alpha = chosen(head, q / math.sqrt(keys), k, v, beta, alpha)
        s = delta_rule(state.s, k, v, beta, alpha)
        y = jnp.einsum("...vk,...k->...v", s, q)
        if head is None:
            y = weights["norm.weight"][None] * root_mean_square(y, eps)
            y = y * jax.nn.silu(z.reshape(heads, values))
            y = linear(weights, "out_proj", y.reshape(-1))
        return MixerState(y, s, window)

    return step


def xlstm(weights: Weights, config: Mapping[str, Any], head: int | None) -> Model:
    """The model of an mLSTM layer of xLSTM.

    Args:
        weights: of the layer.
        config: of the model.
        head: one of its heads, or None.
    """
    heads, cap = int(config["num_heads"]), config.get("gate_soft_cap")
    check_head(head, heads)
    kernel = weights["out_proj.weight"]
    inner = kernel.shape[1]
    fused = weights.get("qkv_opreact.weight")
    inner_keys = len(weights["q.weight"]) if fused is None else len(fused) // 2 - inner
    values, keys = inner // heads, inner_keys // heads
    shapes = (heads, values, keys), (heads, 1, keys), (heads,)
    s, n, m = (jnp.zeros(shape if head is None else shape[1:], kernel.dtype) for shape in shapes)
    h = jnp.zeros(kernel.shape[0] if head is None else values, kernel.dtype)
    numbers = config.get("eps", 1e-6), config.get("norm_eps", 1e-6)
    step = _xlstm_step(None if cap is None else float(cap), head, heads, numbers)
    return Model(step, weights, NormalizedState(h, s, n, m))


@functools.cache
def _xlstm_step(
    cap: float | None, head: int | None, heads: int, numbers: tuple[float, float]
) -> StepFn:
    eps, norm_eps = numbers

    def project(weights: Weights, x: Array) -> list[Array]:
        if "q.weight" in weights:
            names = "q", "k", "v", "ogate_preact", "igate_preact", "fgate_preact"
            return [linear(weights, name, x) for name in names]
        inner = weights["out_proj.weight"].shape[1]
        mixed = linear(weights, "qkv_opreact", x)
        keys = mixed.size // 2 - inner
        q, k, v, o = jnp.split(mixed, [keys, 2 * keys, 2 * keys + inner])
        return [q, k, v, o, *jnp.split(linear(weights, "ifgate_preact", x), 2)]

    def step(weights: Weights, state: NormalizedState, x: Float[Array, " d"]) -> NormalizedState:
        q, k, v, o, i, f = project(weights, x)
        if cap is not None:
            i, f = (cap * jnp.tanh(gate / cap) for gate in (i, f))
        q, k, v = (vector.reshape(heads, -1) for vector in (q, k, v))
        q, k, v, i, f = chosen(head, q / math.sqrt(k.shape[1]), k, v, i, f)
        kept, written, m = stabilized(i, jax.nn.log_sigmoid(f), state.m)
        kept, written = kept[..., None, None], written[..., None, None]
        s = kept * tag(state.s, "carry") + written * v[..., :, None] * k[..., None, :]
        n = kept * tag(state.n, "normalizer") + written * k[..., None, :]
        size = jnp.maximum(jnp.abs(jnp.einsum("...ik,...k->...i", n, q)), jnp.exp(-m)[..., None])
        y = jnp.einsum("...vk,...k->...v", s, q) / (size + eps)
        if head is None:
            y = y - jnp.mean(y, axis=1, keepdims=True)
            y = weights["multihead_norm.weight"] * root_mean_square(y, norm_eps).reshape(-1)
            bias = weights.get("multihead_norm.bias")
            y = jax.nn.sigmoid(o) * (y if bias is None else y + bias)
            y = linear(weights, "out_proj", y)
        return NormalizedState(y, s, n, m)

    return step


def rwkv(weights: Weights, config: Mapping[str, Any], head: int | None) -> Model:
    """The model of a time-mixing layer of RWKV-4, whose heads are its channels.

    Args:
        weights: of the layer.
        config: of the model.
        head: a channel, or None.
    """
    kernel, channels = weights["output.weight"], len(weights["time_decay"])
    check_head(head, channels, "channels")
    zeros = jnp.zeros((channels, 1, 1) if head is None else (1, 1), kernel.dtype)
    # Nothing was read yet: the first key is the largest, whatever it is.
    m = jnp.full((channels,) if head is None else (), -1e38, kernel.dtype)
    h = jnp.zeros(kernel.shape[0] if head is None else 1, kernel.dtype)
    last = jnp.zeros(weights["key.weight"].shape[1], kernel.dtype)
    return Model(_rwkv_step(head), weights, ShiftedState(h, zeros, zeros, m, last))


@functools.cache
def _rwkv_step(head: int | None) -> StepFn:
    def step(weights: Weights, state: ShiftedState, x: Float[Array, " d"]) -> ShiftedState:
        last = tag(state.last, "shift")

        def project(name: str) -> Array:
            share = weights[f"time_mix_{name}"][0, 0]
            return linear(weights, name, share * x + (1 - share) * last)

        k, v, r = project("key"), project("value"), jax.nn.sigmoid(project("receptance"))
        decay, first = -jnp.exp(weights["time_decay"]), weights["time_first"]
        k, v, decay, now = chosen(head, k, v, decay, k + first)
        s, n = tag(state.s, "carry"), tag(state.n, "normalizer")

        def taken_in(log_kept: Array, log_written: Array) -> tuple[Array, Array, Array]:
            """Numerator and denominator with the token in them, and their gauge."""
            kept, written, m = stabilized(log_written, log_kept, state.m)
            kept, written = kept[..., None, None], written[..., None, None]
            return kept * s + written * v[..., None, None], kept * n + written, m

        above, below, _ = taken_in(jnp.zeros_like(decay), now)
        y = (above / below)[..., 0]
        if head is None:
            y = linear(weights, "output", r * y[:, 0])
        s, n, m = taken_in(decay, k)
        return ShiftedState(y, s, n, m, x)

    return step
