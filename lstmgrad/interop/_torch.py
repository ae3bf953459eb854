"""Recurrent layers of PyTorch, from their weights alone, in cells of ours.

`weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, and so on for every layer, those of the
second direction with `_reverse` behind; without `_l0` in a single cell. Gates are stacked in the
order i, f, g, o and r, z, n. The two biases add up, but for the n of a GRU: that of `bias_hh` is
inside the product with r. `weight_hr` projects the h of an LSTM.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._model import Model
from lstmgrad.cells._gru import GRUParams, GRUState, gru_step
from lstmgrad.cells._lstm import LSTMParams, LSTMState, lstm_step
from lstmgrad.cells._rnn import RNNParams, RNNState, rnn_step
from lstmgrad.interop._checks import (
    check_activation,
    check_direction,
    check_layer,
    check_others,
    check_prefix,
    check_shapes,
    check_type,
    check_widths,
    require,
)
from lstmgrad.interop._model import stack
from lstmgrad.interop._weights import named_tensors, to_numpy

_NAME = re.compile(
    r"(?P<prefix>(?:.*\.)?)(?P<leaf>weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)"
    r"(?:_l(?P<layer>\d+)(?P<reverse>_reverse)?)?"
)


class ProjectedLSTMParams(NamedTuple):
    """Attributes: lstm, with weight_hh (4h, p); weight_hr (p, h), which makes h' of o ⊙ tanh c'."""

    lstm: LSTMParams
    weight_hr: Float[Array, "p h"]


def from_torch(
    source: Any,
    *,
    prefix: str | None = None,
    layer: int | None = None,
    direction: str | None = None,
    activation: Callable[[Array], Array] | None = None,
) -> Model:
    """Returns a recurrent network of PyTorch as a model.

    Args:
        source: an `nn.LSTM`, `nn.GRU`, `nn.RNN` or one of their cells, or a module around one; a
            `state_dict`, of tensors or of arrays; or the path of a `.safetensors`, `.pt`, `.pth` or
            `.bin` file of one. No code in a file is ever run.
        prefix: what is in front of the names of the recurrent weights, ``"encoder.lstm."``; None
            where only one network is in the source.
        layer: one layer, counted from 0; None is all of them, stacked.
        direction: of a bidirectional network, "forward" or "reverse"; None elsewhere.
        activation: of an `nn.RNN`, `jnp.tanh` or `jax.nn.relu`: weights do not tell. Not needed for
            a live module.

    Returns:
        `Model` with the parts h and c, or h; h0, c0, h1, ... of several layers. With `proj_size` p,
        h is (p,). Parameters are `LSTMParams`, `ProjectedLSTMParams`, `GRUParams` or `RNNParams`, a
        tuple of them for several layers.

    Raises:
        ImportError: what reads the source is not installed.
        ValueError: there are no recurrent weights, several networks, or some that do not fit each
            other; a file is not what its name says, damaged, or holds more than weights; an option
            is out of range, or missing.
        FileNotFoundError: there is no such file.

    Notes:
        Floats of 16 bits are widened to float32; float64 stays where JAX has it enabled. Dropout
        between layers is off, as in ``eval()``. `batch_first` is no property of the weights: the
        batch is a `jax.vmap` over axis 0 of batch-major inputs, over axis 1 of the others,
        ``jax.vmap(lambda xs: lg.unroll(*model, xs), in_axes=1)(inputs)``. A reverse direction reads
        ``inputs[::-1]``. A layer of a bidirectional stack reads both directions of the one below at
        all times, so that the stack is no recurrence: its layers are looked at one by one.

    Example:
        ```python
        model = lg.interop.from_torch("model.safetensors")
        trajectory = lg.unroll(*model, inputs)
        chain = lg.linearize(model.step, model.params, trajectory)
        profile = lg.backward_norms(chain, of="c1", wrt="c0")
        ```
    """
    tensors = named_tensors(source)
    networks = _networks(tensors)
    prefix = check_prefix(prefix, list(networks), tensors)
    check_others(tensors, prefix, _NAME.fullmatch)
    layers, both = networks[prefix]
    check_direction(direction, both, "the network")
    check_layer(layer, len(layers), both)
    if hasattr(source, "state_dict"):
        activation = _activation(source, prefix, activation)
    side = direction or "forward"
    if layer is not None:
        return _layer(layers[layer][side], activation)
    check_widths([one[side] for one in layers])
    models = [_layer(one[side], activation) for one in layers]
    return models[0] if len(models) == 1 else stack(models)


def _networks(tensors: Mapping[str, Any]) -> dict[str, tuple[list[dict[str, Any]], bool]]:
    """By prefix: for each layer and direction its arrays by name; whether it is bidirectional."""
    found: dict[str, dict[tuple[int, str], dict[str, np.ndarray]]] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match:
            place = int(match["layer"] or 0), "reverse" if match["reverse"] else "forward"
            leaves = found.setdefault(match["prefix"], {}).setdefault(place, {})
            leaves[match["leaf"]] = to_numpy(tensor, name)
    networks = {}
    for prefix, places in found.items():
        both = any(side == "reverse" for _, side in places)
        sides = ("forward", "reverse") if both else ("forward",)
        count = 1 + max(index for index, _ in places)
        layers = [{side: places.get((index, side), {}) for side in sides} for index in range(count)]
        for index, layer in enumerate(layers):
            for side, leaves in layer.items():
                check_shapes(leaves, f"{prefix}*_l{index}" + "_reverse" * (side == "reverse"))
        networks[prefix] = layers, both
    return networks


def _activation(module: Any, prefix: str, activation: Any) -> Any:
    """The activation of a live module's recurrent network, once that is one of PyTorch's own."""
    nn = require("torch", "torch").nn
    network = module.get_submodule(prefix.removesuffix("."))
    kinds = (nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell)
    check_type(network, kinds, "source")
    own = {"tanh": jnp.tanh, "relu": jax.nn.relu}.get(str(getattr(network, "nonlinearity", "")))
    return activation or own


def _layer(leaves: dict[str, np.ndarray], activation: Any) -> Model:
    """One layer in one direction."""
    rows, width = leaves["weight_hh"].shape
    gates = 4 if "weight_hr" in leaves else rows // width
    check_activation(activation, gates)
    none = np.zeros(rows, leaves["weight_hh"].dtype)
    bias_ih, bias_hh = (leaves.get(name, none) for name in ("bias_ih", "bias_hh"))
    weights = jnp.asarray(leaves["weight_ih"]), jnp.asarray(leaves["weight_hh"])
    h, c = (jnp.zeros(size, weights[1].dtype) for size in (width, rows // gates))
    if gates == 3:
        inside = np.arange(rows) >= 2 * width
        bias = jnp.asarray(bias_ih + np.where(inside, none, bias_hh))
        params = GRUParams(*weights, bias, jnp.asarray(bias_hh[inside]))
        return Model(gru_step, params, GRUState(h))
    bias = jnp.asarray(bias_ih + bias_hh)
    if gates == 1:
        return Model(rnn_step(activation), RNNParams(*weights, bias), RNNState(h))
    lstm = LSTMParams(*weights, bias)
    if "weight_hr" not in leaves:
        return Model(lstm_step, lstm, LSTMState(h, c))
    params = ProjectedLSTMParams(lstm, jnp.asarray(leaves["weight_hr"]))
    return Model(_projected_step, params, LSTMState(h, c))


def _projected_step(
    params: ProjectedLSTMParams, state: LSTMState, x: Float[Array, " d"]
) -> LSTMState:
    """An LSTM whose h is projected: what it reads is (p,), what it keeps in c is (h,)."""
    after = lstm_step(params.lstm, state, x)
    return LSTMState(params.weight_hr @ after.h, after.c)
