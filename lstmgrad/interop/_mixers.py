"""What the recurrent layers of Hugging Face models have in common: projections, windows, norms.

A mixer reads one token's features x (d,) and keeps a memory s, (heads, d_v, d_k). Where a kind has
channels that do not mix, each is a head: with a memory of one row, or of one number.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._model import Model
from lstmgrad._tag import tag

Weights = dict[str, Array]
"""The tensors of one mixer, by their names inside of it."""

Build = Callable[[Weights, Mapping[str, Any], int | None], Model]
"""``build(weights, config, head) -> model``, of one head or of all."""

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_pytorch_tanh": jax.nn.gelu,
    "relu": jax.nn.relu,
}


class MixerState(NamedTuple):
    """The state of a mixer behind a short convolution.

    Attributes:
        h: the output, which no step reads: (d,) of all heads, (d_v,) of one.
        s: (heads, d_v, d_k), the memory; (d_v, d_k) of one head.
        window: (channels, K - 1), the last inputs of the convolution.
    """

    h: Float[Array, " d"]
    s: Float[Array, "*heads v k"]
    window: Float[Array, "channels taps"]


def linear(weights: Weights, name: str, x: Float[Array, " d"]) -> Float[Array, " out"]:
    """W x + b, or W x where there is no b.

    Args:
        weights: of the mixer.
        name: of the projection.
        x: (d,).
    """
    y = weights[f"{name}.weight"] @ x
    bias = weights.get(f"{name}.bias")
    return y if bias is None else y + bias


def convolve(
    weights: Weights,
    name: str,
    window: Float[Array, "channels taps"],
    new: Float[Array, " channels"],
) -> tuple[Float[Array, " channels"], Float[Array, "channels taps"]]:
    """The convolution over the window and what is new, channel by channel, and the next window.

    Args:
        weights: of the mixer.
        name: of the convolution.
        window: the inputs before.
        new: the input now.
    """
    taps = jnp.concatenate([tag(window, "window"), new[:, None]], axis=1)
    y = jnp.sum(taps * weights[f"{name}.weight"][:, 0], axis=1)
    bias = weights.get(f"{name}.bias")
    return (y if bias is None else y + bias), taps[:, 1:]


def empty_window(weights: Weights, name: str) -> Float[Array, "channels taps"]:
    """The window before the first token.

    Args:
        weights: of the mixer.
        name: of the convolution.
    """
    kernel = weights[f"{name}.weight"]
    return jnp.zeros((kernel.shape[0], kernel.shape[-1] - 1), kernel.dtype)


def root_mean_square(x: Float[Array, "*heads n"], eps: float) -> Float[Array, "*heads n"]:
    """Vectors divided by their root mean square.

    Args:
        x: the last axis is that of the vectors.
        eps: added to the mean square.
    """
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps)


def chosen(head: int | None, *arrays: Array) -> list[Array]:
    """Arrays with heads in front, or one head of each.

    Args:
        head: which one; None is all.
        *arrays: with heads on axis 0.
    """
    return [array if head is None else array[head] for array in arrays]


def check_head(head: Any, count: int, what: str = "heads") -> None:
    """A head is None or one of those that there are.

    Args:
        head: counted from 0.
        count: how many there are.
        what: they are called.
    """
    known = isinstance(head, int | np.integer) and not isinstance(head, bool)
    if head is not None and not (known and 0 <= head < count):
        raise ValueError(
            f"head: expected one of 0 to {count - 1}, the {what} of the layer, or None for all of "
            f"them, but got {head!r}."
        )


def activation(config: Mapping[str, Any], name: str) -> Callable[[Array], Array]:
    """The activation that a configuration names.

    Args:
        config: of the model.
        name: of the entry.
    """
    found = config.get(name, "silu")
    if found not in ACTIVATIONS:
        raise ValueError(
            f"source: expected one of {', '.join(ACTIVATIONS)} as {name}, but got {found!r} in the "
            "configuration."
        )
    return ACTIVATIONS[found]
