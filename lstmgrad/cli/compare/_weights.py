"""A trained network of PyTorch from a file of its weights, on the numbers it reads, as a study."""

import functools
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.command import Plan
from lstmgrad.cli._shared.console import entry
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli._shared.parser import check_whole
from lstmgrad.cli._shared.sequences import Sequence, read_numbers
from lstmgrad.cli._shared.training import TRAINED
from lstmgrad.cli.compare._options import Options, Weights, span
from lstmgrad.cli.compare._study import Study, curves_of, read_blocks, summary_lines
from lstmgrad.interop._torch_networks import Network, find_networks
from lstmgrad.interop._weights import read_tensors

_KINDS = {4: "lstm", 3: "gru", 1: "rnn"}
_ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, None: None}


def plan_weights(options: Options, source: Weights) -> Plan:
    """Returns the run that measures the network in a file.

    Args:
        options: what the user asked for.
        source: the file and the network in it.

    Raises:
        CommandError: one of the files is missing or not what it should be, or they do not fit.
    """
    tensors, prefix, network = _read_network(source)
    kind = _KINDS[network.gates]
    from_torch = functools.partial(
        lg.interop.from_torch,
        prefix=prefix,
        layer=source.layer,
        direction=source.direction,
        activation=_ACTIVATIONS[source.activation],
    )
    model = _reading(source.weights, from_torch, tensors)
    dtype = jnp.dtype(options.dtype)
    params, state = jax.tree.map(lambda leaf: leaf.astype(dtype), (model.params, model.state))
    sequence = _sequence(options, source, jax.tree.leaves(params)[0].shape[1], dtype)
    length, lags = span(options, sequence)
    inputs = jnp.asarray(sequence.rows[:length], dtype)
    blocks = _blocks(state._fields)
    settings = {
        "data": f"{sequence.source}: {sequence.summary}",
        "weights": str(source.weights),
        "cells": [kind],
        "hidden": state[-1].size,
        "length": length,
        "training_steps": None,
        "seed": None,
        "dtype": options.dtype,
    }

    @jax.jit
    def analyze(params, inputs):
        return read_blocks(lg.chain(lg.Model(model.step, params, state), inputs), blocks)

    def measure() -> Study:
        readings = jax.device_get(analyze(params, inputs))
        return Study(
            curves=tuple(curves_of(kind, TRAINED, readings)),
            stages={TRAINED: "as trained"},
            columns=("cell", "s"),
            lags=lags,
            length=length,
            settings=settings,
        )

    what = f"{KINDS[kind].title}; {_described(tensors, prefix, params, state)}"
    lines = textwrap.wrap(f"{what}, analyzed in {options.dtype}", 69)
    summary = [*entry("model", *lines), *entry("training", f"as it is in {source.weights}")]
    return Plan(summary_lines(sequence, summary, length), measure)


def _read_network(source: Weights) -> tuple[dict[str, Any], str, Network]:
    """All tensors of the file; the prefix and the network that the options name and fit."""
    tensors = _reading(source.weights, read_tensors, source.weights)
    networks = _reading(source.weights, find_networks, tensors)
    prefix = _prefix(source, list(networks))
    network = networks[prefix]
    _check_direction(source, network.bidirectional)
    _check_layer(source, len(network.layers), network.bidirectional)
    _check_activation(source, network.gates)
    return tensors, prefix, network


def _prefix(source: Weights, known: list[str]) -> str:
    """The network that is meant, by its prefix with the dot."""
    wanted = f"--prefix: expected one of {', '.join(map(repr, known))}"
    if source.prefix is None:
        if len(known) == 1:
            return known[0]
        what = f"{source.weights} holds {len(known)} recurrent networks"
        raise CommandError(f"{wanted}, because {what}, but it was left out")
    for prefix in (source.prefix, f"{source.prefix}."):
        if prefix in known:
            return prefix
    raise CommandError(f"{wanted}, but got {source.prefix!r}")


def _check_direction(source: Weights, both: bool) -> None:
    network = f"the network in {source.weights}"
    if both and source.direction is None:
        raise CommandError(
            f"--direction: expected forward or reverse, because {network} is bidirectional and its "
            "directions are two separate recurrences, but it was left out; the reverse one reads "
            "the sequence from its end"
        )
    if not both and source.direction == "reverse":
        raise CommandError(
            f"--direction: expected forward or no such option, because {network} has one "
            "direction, but got reverse"
        )


def _check_layer(source: Weights, count: int, both: bool) -> None:
    if source.layer is not None:
        why = f"because the network has {count} layer{'s' * (count > 1)}"
        check_whole(source.layer, "--layer", 0, most=count - 1, why=why)
    elif both and count > 1:
        raise CommandError(
            f"--layer: expected a whole number from 0 to {count - 1}, because a layer of a "
            "bidirectional stack reads both directions of the one below at all times, so the stack "
            "is not a recurrence, but it was left out; the inputs of layer l are the outputs of "
            "layer l - 1, forward and reverse side by side"
        )


def _check_activation(source: Weights, gates: int) -> None:
    if gates == 1 and source.activation is None:
        raise CommandError(
            "--activation: expected tanh or relu, because the weights of an nn.RNN do not say "
            "which it has, but it was left out; PyTorch's default is tanh"
        )
    if gates > 1 and source.activation is not None:
        own = "an LSTM" if gates == 4 else "a GRU"
        raise CommandError(
            f"--activation: expected no such option, because {own} has its own, but got "
            f"{source.activation}"
        )


def _reading(path: Path, read: Callable[[Any], Any], what: Any) -> Any:
    """What a function reads; its errors are about the file, because the options were checked."""
    try:
        return read(what)
    except ValueError as error:
        # "source" is what the library calls the file.
        sentence = str(error).removeprefix("source: ").removesuffix(".")
        raise CommandError(f"--weights: {sentence}") from None
    except ImportError as error:
        raise CommandError(f"--weights: {error}".removesuffix(".")) from None
    except OSError as error:
        raise CommandError(f"--weights: {path}: cannot be read: {error.strerror}") from None


def _sequence(options: Options, source: Weights, width: int, dtype: jnp.dtype) -> Sequence:
    """The numbers that the network reads, as they are; for a reverse direction last row first."""
    layer = "" if source.layer is None else f"layer {source.layer} of "
    columns = f"{width} column{'s' * (width > 1)}, what {layer}{source.weights} reads"
    if options.input is None:
        raise CommandError(f"--input: expected a .csv or .npy file of {columns}")
    sequence = read_numbers(options.input)
    if sequence.width != width:
        raise CommandError(f"{options.input}: expected {columns}, but it has {sequence.width}")
    if np.abs(sequence.rows).max() > np.finfo(dtype).max:
        raise CommandError(
            f"{options.input}: expected numbers that {dtype} can hold, because they are not "
            "standardized; --dtype float64 holds them all"
        )
    summary = f"{sequence.summary}, as they are, not standardized"
    if source.direction != "reverse":
        return sequence._replace(summary=summary)
    return sequence._replace(rows=sequence.rows[::-1], summary=f"{summary}, last row first")


def _blocks(parts: tuple[str, ...]) -> list[tuple[str, str]]:
    """What is measured: each part by itself; in a stack the top layer's by the lowest's."""
    top = max(int(part[1:] or 0) for part in parts)
    across = [(f"{kind}{top}", f"{kind}0") for kind in "hc" if top and f"{kind}0" in parts]
    return [*zip(parts, parts, strict=True), *across]


def _described(tensors: dict[str, Any], prefix: str, params: Any, state: Any) -> str:
    """Layers, units, inputs and the dtype of the file."""
    layers, width = len(params) if type(params) is tuple else 1, jax.tree.leaves(params)[0].shape[1]
    outputs, units = state[0].size, state[-1].size
    projected = "" if outputs == units else f" with projections to {outputs}"
    own = [name for name in tensors if name.startswith(f"{prefix}weight_hh")]
    dtypes = sorted({str(tensors[name].dtype).removeprefix("torch.") for name in own})
    return (
        f"{layers} layer{'s' * (layers > 1)} of {units} units{projected}, "
        f"{width} input{'s' * (width > 1)}; {' and '.join(dtypes)}"
    )
