"""Calls of PyTorch's recurrent functions as sequences of every layer and direction.

A call of whole layers shows its lowest inputs and its topmost outputs alone. So its layers are run
once more, one by one, with the same inputs, weights and random numbers: this gives the inputs of
every layer, dropout included, and the derivative of the loss with respect to its outputs, from the
layers above it. A call of one layer is not run again.

This module needs PyTorch, and is imported by `record` alone.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from lstmgrad.interop._torch_calls import CellPiece, LayersCall
from lstmgrad.interop._weights import to_numpy

_ACTIVATIONS = {"rnn_tanh": jnp.tanh, "rnn_relu": jax.nn.relu}


class Side(NamedTuple):
    """One direction of one layer, along all sequences.

    Attributes:
        leaves: its weights, by PyTorch's name.
        activation: of a plain network, otherwise None.
        inputs: (B, T, d), in the order in which the direction reads, padded with zeros.
        lengths: of the sequences.
        start: h_0, or h_0 and c_0, each (B, ·).
        cotangents: dL/dh_t and dL/dc_t from outside, each (B, T + 1, ·), with zeros where the loss
            does not look, or None if there was no backward pass.
    """

    leaves: dict[str, np.ndarray]
    activation: Any
    inputs: np.ndarray
    lengths: tuple[int, ...]
    start: tuple[np.ndarray, ...]
    cotangents: tuple[np.ndarray, ...] | None


def sides_of(call: LayersCall | CellPiece, stacked: bool) -> list[dict[str, Side]]:
    """Returns every layer, from the lowest, by direction.

    Args:
        call: what was recorded.
        stacked: whether the layers are read as one recurrence. Then what layers above send back is
            inside of it, and nothing is run again.
    """
    if isinstance(call, CellPiece):
        return [{"forward": _side_of_piece(call)}]
    outputs, layer_inputs, found = _layers(call, stacked)
    sides = ("forward", "reverse")[: 1 + call.options[4]]
    return [
        {
            side: _side(call, layer, place, layer_inputs[layer], outputs[layer], found)
            for place, side in enumerate(sides)
        }
        for layer in range(call.options[1])
    ]


def _layers(call: LayersCall, stacked: bool) -> tuple[list, list, bool]:
    """What comes back to the outputs of each layer, the inputs of each, and whether any came."""
    layers, found = call.options[1], bool(call.cotangents)
    back: list[Tensor | None] = [None] * layers
    back[-1] = call.cotangents.get("outputs")
    inputs = [call.inputs] * layers
    if layers > 1 and not stacked:
        inputs, outputs = _replayed(call)
        _check_replay(call, outputs[-1][0])
        results = [part for layer in outputs for part in layer[1:]]
        wanted = [_layers_of(call.cotangents.get(name), call) for name in "hc"[: len(call.start)]]
        sent = [part for layer in zip(*wanted, strict=True) for part in layer]
        pairs = [
            (result, one)
            for result, one in zip([outputs[-1][0], *results], [back[-1], *sent], strict=True)
            if one is not None and result.requires_grad
        ]
        if pairs:
            back[:-1] = torch.autograd.grad(
                [result for result, _ in pairs],
                [layer[0] for layer in outputs[:-1]],
                [one for _, one in pairs],
                allow_unused=True,
            )
    return back, inputs, found


def _layers_of(tensor: Tensor | None, call: LayersCall) -> list[Tensor | None]:
    """What came back to h_T or c_T, layer by layer."""
    layers = call.options[1]
    return [None] * layers if tensor is None else list(tensor.chunk(layers))


def _replayed(call: LayersCall) -> tuple[list[Tensor], list[tuple]]:
    """The inputs and the results of every layer, with a graph from each layer's outputs on."""
    biases, layers, dropout, training, bidirectional = call.options
    function = getattr(torch, call.function)
    per_layer = len(call.weights) // layers
    x, inputs, results, differentiated = call.inputs, [], [], bool(call.cotangents)
    with _random(call), torch.set_grad_enabled(differentiated):
        for layer in range(layers):
            if layer and call.random is not None:
                x = torch.nn.functional.dropout(x, dropout, training=True)
            inputs.append(x.detach())
            start = tuple(part.chunk(layers)[layer].contiguous() for part in call.start)
            weights = call.weights[per_layer * layer : per_layer * (layer + 1)]
            rest = start if len(start) == 2 else start[0], weights, biases, 1, 0.0, training
            if call.sizes is None:
                found = function(x, *rest, bidirectional, False)
            else:
                found = function(x, call.sizes, *rest, bidirectional)
            if layer == 0 and differentiated:
                found = (found[0].requires_grad_(), *found[1:])
            results.append(found)
            x = found[0]
    return inputs, results


@contextlib.contextmanager
def _random(call: LayersCall) -> Iterator[None]:
    """The random numbers of the call, and afterward those of before."""
    if call.random is None:
        yield
        return
    device = call.inputs.device
    with torch.random.fork_rng([device] if len(call.random) > 1 else []):
        torch.set_rng_state(call.random[0])
        if len(call.random) > 1:
            torch.cuda.set_rng_state(call.random[1], device)
        yield


def _check_replay(call: LayersCall, outputs: Tensor) -> None:
    """The layers one by one gave what the call gave, where outputs were dropped between them."""
    known = call.outputs
    if known is None or torch.allclose(
        outputs, known, rtol=0, atol=1e-3 * float(known.abs().max())
    ):
        return
    raise ValueError(
        "layer: expected dropout between the layers whose masks can be drawn again, but this call "
        "drew them from a generator of its own, as cuDNN does. Record with "
        "torch.backends.cudnn.flags(enabled=False) around the block, on the CPU, or with "
        "module.eval()."
    )


def _side(
    call: LayersCall, layer: int, place: int, inputs: Tensor, back: Tensor | None, found: bool
) -> Side:
    """One direction of one layer of a call."""
    biases, layers, _, _, bidirectional = call.options
    directions = 1 + bidirectional
    index = layer * directions + place
    count = len(call.weights) // (layers * directions)
    names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if biases else [])]
    names += ["weight_hr"] * (count - len(names))
    own = call.weights[count * index : count * (index + 1)]
    xs, lengths = _batch_first(call, inputs)
    starts = [_sorted_back(call, part[index]) for part in call.start]
    cotangents = None
    if found:
        after = None if back is None else back.chunk(directions, -1)[place]
        last = [call.cotangents.get(name) for name in "hc"[: len(starts)]]
        ends = [None if one is None else _sorted_back(call, one[index]) for one in last]
        outputs = None if after is None else _batch_first(call, after)[0]
        cotangents = _cotangents(starts, ends, outputs, lengths, xs.shape[1], place == 1)
    return Side(
        leaves={name: to_numpy(w, name) for name, w in zip(names, own, strict=True)},
        activation=_ACTIVATIONS.get(call.function),
        inputs=_reversed(xs, lengths) if place else xs,
        lengths=lengths,
        start=tuple(starts),
        cotangents=cotangents,
    )


def _cotangents(
    starts: list, ends: list, outputs: Any, lengths: tuple, steps: int, backward: bool
) -> tuple[np.ndarray, ...]:
    """What came back to all states: to the outputs at every step, and to the last state."""
    found = [np.zeros((len(lengths), steps + 1, part.shape[1]), part.dtype) for part in starts]
    if outputs is not None:
        found[0][:, 1:] = _reversed(outputs, lengths) if backward else outputs
    for part, end in zip(found, ends, strict=True):
        if end is not None:
            part[np.arange(len(lengths)), lengths] += end
    return tuple(found)


def _reversed(values: np.ndarray, lengths: tuple[int, ...]) -> np.ndarray:
    """Each sequence from its end, the padding where it is."""
    turned = values.copy()
    for row, length in enumerate(lengths):
        turned[row, :length] = values[row, :length][::-1]
    return turned


def _batch_first(call: LayersCall, tensor: Tensor) -> tuple[np.ndarray, tuple[int, ...]]:
    """Values at every step as (B, T, ·), in the caller's order of sequences, and the lengths."""
    if call.sizes is None:
        values = tensor.transpose(0, 1)
        return to_numpy(values, "inputs"), (values.shape[1],) * len(values)
    packed = PackedSequence(tensor, call.sizes, None, call.order)
    values, lengths = pad_packed_sequence(packed, batch_first=True)
    return to_numpy(values, "inputs"), tuple(lengths.tolist())


def _sorted_back(call: LayersCall, part: Tensor) -> np.ndarray:
    """A state (B, ·) in the caller's order of sequences."""
    return to_numpy(part if call.order is None else part.index_select(0, call.order), "state")


def _side_of_piece(piece: CellPiece) -> Side:
    """The run of a cell."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = zip(names, piece.weights, strict=True)
    inputs = to_numpy(torch.stack(piece.inputs, 1), "inputs")
    start = tuple(to_numpy(part, "state") for part in piece.start)
    cotangents = None
    if any(piece.cotangents):
        found = [
            np.zeros((len(part), inputs.shape[1] + 1, part.shape[1]), part.dtype) for part in start
        ]
        for step, back in enumerate(piece.cotangents):
            for part, name in zip(found, "hc", strict=False):
                if name in back:
                    part[:, step + 1] = to_numpy(back[name], "state")
        cotangents = tuple(found)
    return Side(
        leaves={name: to_numpy(w, name) for name, w in weights if w is not None},
        activation=_ACTIVATIONS.get(piece.function.removesuffix("_cell")),
        inputs=inputs,
        lengths=(inputs.shape[1],) * len(inputs),
        start=start,
        cotangents=cotangents,
    )
