"""Mixers of Hugging Face models with a diagonal recurrence: Mamba, Mamba-2 and RecurrentGemma.

    Mamba            Δ, B, C from u;  s' = exp(Δ A) ⊙ s + Δ u Bᵀ,    a channel is a head, (1, N)
    Mamba-2          the same with one A per head,                   (P, N) per head
    RecurrentGemma   RG-LRU: s' = a ⊙ s + √(1 - a²) ⊙ i ⊙ u,         a channel is a head, (1, 1)

u is the projected token behind a short convolution. Mamba takes Δ in place of (exp(Δ A) - 1)/A.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lstmgrad._model import Model
from lstmgrad._tag import tag
from lstmgrad._types import StepFn
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


def mamba(weights: Weights, config: Mapping[str, Any], head: int | None) -> Model:
    """The model of a Mamba mixer, whose heads are its channels.

    Args:
        weights: of the mixer.
        config: of the model.
        head: a channel, or None.
    """
    channels, size = weights["A_log"].shape
    check_head(head, channels, "channels")
    activation(config, "hidden_act")
    s, h = _start(weights, "out_proj", (channels, 1, size), head)
    step = _mamba_step(config.get("hidden_act", "silu"), head)
    return Model(step, weights, MixerState(h, s, empty_window(weights, "conv1d")))


@functools.cache
def _mamba_step(act: str, head: int | None) -> StepFn:
    def step(weights: Weights, state: MixerState, x: Float[Array, " d"]) -> MixerState:
        u, gate = jnp.split(linear(weights, "in_proj", x), 2)
        u, window = convolve(weights, "conv1d", state.window, u)
        u = ACTIVATIONS[act](u)
        size, rank = weights["A_log"].shape[1], weights["dt_proj.weight"].shape[1]
        time, b, c = jnp.split(linear(weights, "x_proj", u), [rank, rank + size])
        delta = jax.nn.softplus(linear(weights, "dt_proj", time))
        kept = jnp.exp(-jnp.exp(weights["A_log"]) * delta[:, None])[:, None]
        written = (delta * u)[:, None, None] * b[None, None]
        kept, written, skip = chosen(head, kept, written, (weights["D"] * u)[:, None])
        s = kept * tag(state.s, "carry") + written
        y = s @ c + skip
        if head is None:
            y = linear(weights, "out_proj", y[:, 0] * ACTIVATIONS[act](gate))
        return MixerState(y, s, window)

    return step


def mamba_2(weights: Weights, config: Mapping[str, Any], head: int | None) -> Model:
    """The model of a Mamba-2 mixer.

    Args:
        weights: of the mixer.
        config: of the model.
        head: one of its heads, or None.
    """
    heads, inner = len(weights["A_log"]), weights["out_proj.weight"].shape[1]
    check_head(head, heads)
    activation(config, "hidden_act")
    groups, size = config["n_groups"], config["state_size"]
    s, h = _start(weights, "out_proj", (heads, inner // heads, size), head)
    limit = tuple(_bound(each) for each in config.get("time_step_limit", (0.0, math.inf)))
    eps = float(config.get("layer_norm_epsilon", 1e-5))
    step = _mamba_2_step(config.get("hidden_act", "silu"), head, (groups, size), (*limit, eps))
    return Model(step, weights, MixerState(h, s, empty_window(weights, "conv1d")))


def _bound(number: Any) -> float:
    """A number of a configuration, whose file has {"__float__": "Infinity"} for what is no JSON."""
    return float(number["__float__"] if isinstance(number, Mapping) else number)


@functools.cache
def _mamba_2_step(
    act: str, head: int | None, sizes: tuple[int, int], numbers: tuple[float, float, float]
) -> StepFn:
    groups, size = sizes
    least, most, eps = numbers

    def step(weights: Weights, state: MixerState, x: Float[Array, " d"]) -> MixerState:
        heads, inner = len(weights["A_log"]), weights["out_proj.weight"].shape[1]
        mixed = inner + 2 * groups * size
        gate, u, time = jnp.split(linear(weights, "in_proj", x), [inner, inner + mixed])
        u, window = convolve(weights, "conv1d", state.window, u)
        u, b, c = jnp.split(ACTIVATIONS[act](u), [inner, inner + groups * size])
        u = u.reshape(heads, -1)
        b, c = (jnp.repeat(each.reshape(groups, size), heads // groups, axis=0) for each in (b, c))
        delta = jnp.clip(jax.nn.softplus(time + weights["dt_bias"]), least, most)
        kept = jnp.exp(-jnp.exp(weights["A_log"]) * delta)[:, None, None]
        written = (delta[:, None] * u)[:, :, None] * b[:, None]
        skip = weights["D"][:, None] * u
        kept, written, c, skip = chosen(head, kept, written, c, skip)
        s = kept * tag(state.s, "carry") + written
        y = jnp.einsum("...pn,...n->...p", s, c) + skip
        if head is None:
            y = (y.reshape(-1) * jax.nn.silu(gate)).reshape(groups, -1)
            y = weights["norm.weight"] * root_mean_square(y, eps).reshape(-1)
            y = linear(weights, "out_proj", y)
        return MixerState(y, s, window)

    return step


class PositionedState(NamedTuple):
    """The state of an RG-LRU, whose first token is taken in without normalization.

    Attributes:
        h: the output, which no step reads: (d,) of all channels, (1,) of one.
        s: (channels, 1, 1), the memory; (1, 1) of one channel.
        window: (channels, K - 1), the last inputs of the convolution.
        position: how many tokens there were; it has no derivative.
    """

    h: Float[Array, " d"]
    s: Float[Array, "*heads 1 1"]
    window: Float[Array, "channels taps"]
    position: Int[Array, ""]


def recurrent_gemma(weights: Weights, config: Mapping[str, Any], head: int | None) -> Model:
    """The model of a recurrent block of RecurrentGemma, whose heads are its channels.

    Args:
        weights: of the block.
        config: of the model.
        head: a channel, or None.
    """
    width = len(weights["rg_lru.recurrent_param"])
    check_head(head, width, "channels")
    act = "hidden_activation" if "hidden_activation" in config else "hidden_act"
    activation(config, act)
    s, h = _start(weights, "linear_out", (width, 1, 1), head)
    window = empty_window(weights, "conv_1d")
    state = PositionedState(h, s, window, jnp.zeros((), jnp.int32))
    return Model(_rg_lru_step(config.get(act, "gelu_pytorch_tanh"), head), weights, state)


@functools.cache
def _rg_lru_step(act: str, head: int | None) -> StepFn:
    def gate(weights: Weights, name: str, u: Array) -> Array:
        weight, bias = (weights[f"rg_lru.{name}_{kind}"] for kind in ("weight", "bias"))
        blocks = jnp.einsum("hi,hij->hj", u.reshape(bias.shape), weight) + bias
        return jax.nn.sigmoid(blocks.reshape(-1))

    def step(weights: Weights, state: PositionedState, x: Float[Array, " d"]) -> PositionedState:
        out = ACTIVATIONS[act](linear(weights, "linear_y", x))
        u, window = convolve(weights, "conv_1d", state.window, linear(weights, "linear_x", x))
        rate = jax.nn.softplus(weights["rg_lru.recurrent_param"])
        log_a = -8.0 * gate(weights, "recurrent_gate", u) * rate
        first = state.position == 0
        scale = jnp.where(first, 1.0, jnp.sqrt(-jnp.expm1(2 * log_a)))
        kept, written = jnp.exp(log_a), u * gate(weights, "input_gate", u) * scale
        kept, written = chosen(head, kept[:, None, None], written[:, None, None])
        s = jnp.where(first, 0.0, kept) * tag(state.s, "carry") + written
        y = s[..., 0, 0] * out if head is None else s[0]
        y = linear(weights, "linear_out", y) if head is None else y
        return PositionedState(y, s, window, state.position + 1)

    return step


def _start(
    weights: Weights, out: str, shape: tuple[int, int, int], head: int | None
) -> tuple[Array, Array]:
    """The empty memory and the output before the first token.

    Args:
        weights: of the mixer.
        out: the name of its last projection.
        shape: of the memory, heads first.
        head: one of them, or None.
    """
    kernel = weights[f"{out}.weight"]
    s = jnp.zeros(shape if head is None else shape[1:], kernel.dtype)
    return s, jnp.zeros(kernel.shape[0] if head is None else shape[1], kernel.dtype)
