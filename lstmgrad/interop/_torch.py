"""Recurrent layers of PyTorch, from their weights alone, in this package's cells.

Gates are stacked in the order i, f, g, o and r, z, n. The two biases add up, except for the n of a
GRU, where the one of `bias_hh` is inside the product with r. `weight_hr` projects the h of an LSTM.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._calls import public
from lstmgrad._checks import require
from lstmgrad._leaves import shown
from lstmgrad._model import Model
from lstmgrad.cells._cell import zero_state
from lstmgrad.cells._gru import GRUParams, GRUState, gru_step
from lstmgrad.cells._lstm import LSTMParams, LSTMState, lstm_step
from lstmgrad.cells._rnn import RNNParams, RNNState, rnn_step
from lstmgrad.interop._checks import check_direction, check_type
from lstmgrad.interop._model import stack
from lstmgrad.interop._torch_networks import find_network, gates_of
from lstmgrad.interop._weights import read_tensors


class ProjectedLSTMParams(NamedTuple):
    """Attributes: lstm, with weight_hh (4h, p); weight_hr (p, h), which maps o ⊙ tanh c' to h'."""

    lstm: LSTMParams
    weight_hr: Float[Array, "p h"]


@public
def from_torch(
    source: Any,
    *,
    prefix: str | None = None,
    layer: int | None = None,
    direction: Literal["forward", "reverse"] | None = None,
    activation: Callable[[Array], Array] | None = None,
    unused: Sequence[str] = (),
) -> Model:
    """Returns a recurrent network of PyTorch as a model.

    Args:
        source: an `nn.LSTM`, `nn.GRU`, `nn.RNN` or one of their cells, or a module around one; a
            `state_dict`, of tensors or of arrays; or the path of a file: `.safetensors`; what
            `torch.save` writes (`.pt`, `.pth`, `.bin`, `.ckpt` of Lightning), of weights, of a
            checkpoint around them or of a whole module; TorchScript; an ``.index.json`` of several
            files, or the folder with it. No code in a file is ever run.
        prefix: what the names of the recurrent weights start with, ``"encoder.lstm."``, or the end
            of that if it is clear which is meant; None if the source has only one network.
        layer: one layer, counted from 0; None is all of them, stacked.
        direction: "forward" or "reverse" for a bidirectional network, otherwise None.
        activation: `jnp.tanh` or `jax.nn.relu` for an `nn.RNN`, whose weights do not say which. Not
            needed for a live module.
        unused: names of tensors beside the weights that the network does not use at all, such as
            those of a module that is left from training. Every other one is refused.

    Returns:
        `Model` with the parts h and c, or h; h0, c0, h1, ... for several layers. With `proj_size`
        p, h is (p,). Parameters are `LSTMParams`, `ProjectedLSTMParams`, `GRUParams` or
        `RNNParams`, or a tuple of them for several layers.

    Raises:
        ImportError: the library that reads the source is not installed.
        ValueError: there are no recurrent weights, or those of several networks, or weights that do
            not fit each other; a file is damaged, is not what its name says, or holds no weights;
            the network has other tensors than PyTorch's own, or weights in a form that is not
            known; an option is out of range, or missing.
        FileNotFoundError: there is no such file.

    Notes:
        Weights under weight norm, pruned weights and the raw weights beside a weight-dropped module
        are read as the module uses them in ``eval()``. Floats of 8 and 16 bits are widened to
        float32; float64 is kept if JAX has it enabled. Weights that are quantized dynamically are
        scale · (q - zero point); what such a layer rounds as it runs is left out. Dropout between
        layers is off, as in ``eval()``. `batch_first` is not a property of the weights: use
        `jax.vmap` over axis 0 of batch-major inputs, and over axis 1 of others,
        ``jax.vmap(lambda xs: lg.unroll(*model, xs), in_axes=1)(inputs)``. A reverse direction reads
        ``inputs[::-1]``. A layer of a bidirectional stack reads both directions of the one below at
        all times, so the stack is not a recurrence: take its layers one by one.

    Example:
        ```python
        model = lg.interop.from_torch("model.safetensors")
        profile = lg.backward_norms(lg.chain(model, inputs), of="c1", wrt="c0")
        ```

        >>> shapes = {"weight_ih_l0": (12, 2), "weight_hh_l0": (12, 3)}
        >>> shapes |= {"bias_ih_l0": (12,), "bias_hh_l0": (12,)}
        >>> weights = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
        >>> lg.chain(lg.interop.from_torch(weights), inputs).trajectory.states.c.shape
        (7, 3)
    """
    prefix, network = find_network(read_tensors(source), prefix, unused)
    check_direction(direction, network.bidirectional, "the network")
    check_layer(layer, len(network.layers), network.bidirectional)
    if hasattr(source, "state_dict"):
        activation = _activation(source, prefix, activation)
    side = direction or "forward"
    if layer is not None:
        return make_model(network.layers[layer][side], activation)
    models = [make_model(leaves, activation) for leaves in network.direction(side)]
    return models[0] if len(models) == 1 else stack(models)


def _activation(module: Any, prefix: str, activation: Any) -> Any:
    """The activation of a live module's recurrent network, which is one of PyTorch's own."""
    nn = require("torch", "torch").nn
    kinds = (nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell)
    network = functools.reduce(getattr, prefix.split(".")[:-1], module)
    scripted = {kind.__name__: kind for kind in kinds}.get(getattr(network, "original_name", ""))
    if scripted is None and not type(network).__module__.startswith(_QUANTIZED):
        _check_parametrizations(network)
        # A parametrized module has a type of its own, right below the one that it was.
        depth = int(hasattr(network, "parametrizations"))
        check_type(type(network).__mro__[depth], kinds, "source")
    own = {"tanh": jnp.tanh, "relu": jax.nn.relu}.get(str(getattr(network, "nonlinearity", "")))
    return activation or own


_QUANTIZED = "torch.ao.nn.quantized.dynamic."


def _check_parametrizations(network: Any) -> None:
    """A live module is parametrized by weight norm alone, which is known from its names."""
    for name, chain in getattr(network, "parametrizations", {}).items():
        if any(type(one).__name__ != "_WeightNorm" for one in chain):
            kinds = ", ".join(type(one).__name__ for one in chain)
            raise ValueError(
                f"source: expected weights as they are, or parametrized by weight norm, but {name} "
                f"is parametrized by {kinds}. Remove that first and keep what it computes: "
                f"torch.nn.utils.parametrize.remove_parametrizations(module, {name!r})."
            )


def make_model(leaves: dict[str, np.ndarray], activation: Any) -> Model:
    """One layer in one direction."""
    rows, width = leaves["weight_hh"].shape
    gates = gates_of(leaves)
    _check_activation(activation, gates)
    none = np.zeros(rows, leaves["weight_hh"].dtype)
    bias_ih, bias_hh = (leaves.get(name, none) for name in ("bias_ih", "bias_hh"))
    weights = jnp.asarray(leaves["weight_ih"]), jnp.asarray(leaves["weight_hh"])
    dtype = weights[1].dtype
    if gates == 3:
        inside = np.arange(rows) >= 2 * width
        bias = jnp.asarray(bias_ih + np.where(inside, none, bias_hh))
        params = GRUParams(*weights, bias, jnp.asarray(bias_hh[inside]))
        return Model(gru_step, params, zero_state(GRUState, width, dtype))
    bias = jnp.asarray(bias_ih + bias_hh)
    if gates == 1:
        params = RNNParams(*weights, bias)
        return Model(rnn_step(activation), params, zero_state(RNNState, width, dtype))
    lstm = LSTMParams(*weights, bias)
    if "weight_hr" not in leaves:
        return Model(lstm_step, lstm, zero_state(LSTMState, width, dtype))
    params = ProjectedLSTMParams(lstm, jnp.asarray(leaves["weight_hr"]))
    start = LSTMState(jnp.zeros(width, dtype), jnp.zeros(rows // gates, dtype))
    return Model(_projected_step, params, start)


def _projected_step(
    params: ProjectedLSTMParams, state: LSTMState, x: Float[Array, " d"]
) -> LSTMState:
    """A step of an LSTM whose h is projected: it reads p numbers, and keeps h in c."""
    after = lstm_step(params.lstm, state, x)
    return LSTMState(params.weight_hr @ after.h, after.c)


def check_layer(layer: Any, count: int, both: bool) -> None:
    """The layer exists, and is given if the whole stack is not a recurrence.

    Args:
        layer: its number, or None for all of them.
        count: of the layers.
        both: whether there are two directions.
    """
    known = isinstance(layer, int) and not isinstance(layer, bool) and 0 <= layer < count
    if layer is not None and not known:
        raise ValueError(f"layer: expected 0 to {count - 1} or None, but got {shown(layer)}.")
    if layer is None and both and count > 1:
        raise ValueError(
            f"layer: expected one of 0 to {count - 1}, because a layer of a bidirectional stack "
            "reads both directions of the one below at all times, so the stack is not a "
            "recurrence, but got None. The inputs of layer l are the outputs of layer l - 1, "
            "forward and reverse side by side."
        )


def _check_activation(activation: Any, gates: int) -> None:
    """An activation is given for a network without gates, and for no other."""
    if gates == 1 and activation is None:
        raise ValueError(
            "activation: expected jnp.tanh or jax.nn.relu, because the weights of an nn.RNN do not "
            "say which it has, but got None. PyTorch's default is tanh."
        )
    if gates > 1 and activation is not None:
        raise ValueError(
            f"activation: expected None, because {'an LSTM' if gates == 4 else 'a GRU'} has its "
            f"own, but got {shown(activation)}."
        )
