"""Many networks of one kind, each from weights of its own, with chrono biases where asked for."""

import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.kinds import KINDS

CHRONO = "+chrono"
"""Behind the name of a cell that forgets: its biases are spread over time constants up to T."""

DEFAULT_CELLS = ("rnn", "gru", "lstm", f"lstm{CHRONO}")
"""The networks of the story: what forgets, and what keeps."""

_BIASES = 2**31 + 2
"""What a key is folded with for the biases; the networks have small numbers."""

DRAWING = threading.Lock()
"""Orthogonal weights are a decomposition, which two threads had better not do at once."""


def title_of(name: str) -> str:
    """Returns what networks are called in tables and sentences.

    Args:
        name: a cell, perhaps with `CHRONO` behind it.
    """
    return KINDS[name.removesuffix(CHRONO)].title + (CHRONO if name.endswith(CHRONO) else "")


def draw_networks(
    name: str, input_size: int, length: int, *, count: int, hidden: int, seed: int, dtype: str
) -> tuple[lg.cells.Cell, Any, jax.Array]:
    """Returns the cell, the parameters of all networks on axis 0, and a key for each.

    With and without chrono biases the weights are the same. A network stays the same, whatever
    networks and kinds there are beside it.

    Args:
        name: a cell, perhaps with `CHRONO` behind it.
        input_size: features of an input.
        length: T, the longest time constant of chrono biases.
        count: networks.
        hidden: hidden units of each.
        seed: of all of them.
        dtype: "float32" or "float64".
    """
    kind = KINDS[name.removesuffix(CHRONO)]
    cell = kind.make(input_size, hidden, dtype=jnp.dtype(dtype))

    def init(key: jax.Array) -> Any:
        params = cell.init(key)
        if not name.endswith(CHRONO):
            return params
        return lg.cells.with_chrono_bias(params, jax.random.fold_in(key, _BIASES), length)

    base = jax.random.fold_in(jax.random.key(seed), kind.number)
    keys = [jax.random.fold_in(base, index) for index in range(count)]
    # Not compiled: drawing weights takes longer to compile than all networks take to be drawn.
    with DRAWING:
        params = _stacked([init(key) for key in keys])
    return cell, params, jnp.stack(keys)


@jax.jit
def _stacked(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def forget_bias_of(params: Any) -> float | None:
    """Returns the one bias of all forget gates of an LSTM; None where they differ, or elsewhere.

    Args:
        params: of one network, or of several on axis 0.
    """
    gate = getattr(type(params), "forget_gate", None)
    if not isinstance(params, lg.cells.LSTMParams) or gate is None:
        return None
    biases = np.split(np.asarray(params.bias), len(gate.order), axis=-1)[gate.order.index("f")]
    return float(biases.flat[0]) if (biases == biases.flat[0]).all() else None


def label_of(name: str, params: Any) -> str:
    """Returns what networks are called in figures, where the biases of an LSTM are named.

    Args:
        name: a cell, perhaps with `CHRONO` behind it.
        params: theirs.
    """
    title, bias = KINDS[name.removesuffix(CHRONO)].title, forget_bias_of(params)
    if name.endswith(CHRONO):
        return f"{title}, chrono biases"
    return title if bias is None else f"{title}, forget bias {bias:g}"
