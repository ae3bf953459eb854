"""A trained network of PyTorch, from a file of its weights, and the numbers that it reads."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.sequences import Sequence, read_numbers
from lstmgrad.cli.compare._options import Options
from lstmgrad.interop._weights import named_tensors

_ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, None: None}
_KINDS = {
    lg.cells.LSTMParams: "lstm",
    lg.interop.ProjectedLSTMParams: "lstm",
    lg.cells.GRUParams: "gru",
    lg.cells.RNNParams: "rnn",
}
# What the library says of its arguments, as said of options.
_PLAIN = {
    "jnp.tanh or jax.nn.relu": "tanh or relu",
    "but got None": "but it was left out",
    "expected None": "expected no such option",
    " or None": " or no such option",
    ": inputs[::-1]": "",
}


class Trained(NamedTuple):
    """A network and its sequence.

    Attributes:
        model: its step, parameters and zero state, in the dtype asked for.
        kind: the name of its cells.
        units: of a layer.
        layers: how many.
        summary: what it is, for the output.
        sequence: rows of its inputs as they are in the file, from the last to the first for a
            reverse direction.
    """

    model: lg.Model
    kind: str
    units: int
    layers: int
    summary: str
    sequence: Sequence

    @property
    def blocks(self) -> list[tuple[str, str]]:
        """What is measured: each part by itself; of a stack the top layer's by the lowest's."""
        parts, top = self.model.state._fields, self.layers - 1
        across = [(f"{kind}{top}", f"{kind}0") for kind in "hc" if top and f"{kind}0" in parts]
        return [*zip(parts, parts, strict=True), *across]


def read_trained(options: Options, weights: Path) -> Trained:
    """Returns the network in a file of weights, and the sequence in the input file.

    Args:
        options: what the user asked for.
        weights: the file of weights.

    Raises:
        CommandError: one of the files is missing or not what it should be, or they do not fit.
    """
    tensors, prefix = _tensors(weights), options.prefix or ""
    model = _model(options, tensors)
    dtype = jnp.dtype(options.dtype)
    params, state = jax.tree.map(lambda leaf: leaf.astype(dtype), (model.params, model.state))
    layers = params if type(params) is tuple else (params,)
    # The first leaf of a layer is weight_ih.
    width, units = jax.tree.leaves(params)[0].shape[1], state[-1].size
    reader = weights if options.layer is None else f"layer {options.layer} of {weights}"
    if options.input is None:
        raise CommandError(
            f"--input: expected a .csv or .npy file of {width} columns, what {reader} reads"
        )
    sequence = read_numbers(options.input)
    if sequence.width != width:
        raise CommandError(
            f"{options.input}: expected {width} columns, what {reader} reads, "
            f"but it has {sequence.width}"
        )
    if np.abs(sequence.rows).max() > np.finfo(dtype).max:
        raise CommandError(
            f"{options.input}: expected numbers that {dtype} can hold, because they are not "
            "standardized; --dtype float64 holds them all"
        )
    sequence = sequence._replace(summary=f"{sequence.summary}, as they are, not standardized")
    if options.direction == "reverse":
        sequence = sequence._replace(
            rows=sequence.rows[::-1], summary=f"{sequence.summary}, last row first"
        )
    count = f"{len(layers)} layer{'s' * (len(layers) > 1)}"
    projected = "" if state[0].size == units else f" with projections to {state[0].size}"
    inputs = f"{width} input{'s' * (width > 1)}"
    own = [name for name in tensors if "weight_hh" in name and name.startswith(prefix)]
    dtypes = {str(tensors[name].dtype).removeprefix("torch.") for name in own}
    kept = " and ".join(sorted(dtypes))
    summary = f"{count} of {units} units{projected}, {inputs}; {kept}, analyzed in {options.dtype}"
    return Trained(
        lg.Model(model.step, params, state),
        _KINDS[type(layers[0])],
        units,
        len(layers),
        summary,
        sequence,
    )


def _tensors(weights: Path) -> dict[str, Any]:
    with _refusing(weights):
        return named_tensors(weights)


def _model(options: Options, tensors: dict[str, Any]) -> lg.Model:
    with _refusing(options.weights):
        return lg.interop.from_torch(
            tensors,
            prefix=options.prefix,
            layer=options.layer,
            direction=options.direction,
            activation=_ACTIVATIONS[options.activation],
        )


@contextlib.contextmanager
def _refusing(weights: Path | None) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        # "source: expected ..." is about the option of another name.
        argument, _, rest = str(error).partition(": ")
        option = "weights" if argument == "source" else argument
        for of_python, plain in _PLAIN.items():
            rest = rest.replace(of_python, plain)
        raise CommandError(f"--{option}: {rest.removesuffix('.')}") from None
    except ImportError as error:
        raise CommandError(f"--weights: {error}".removesuffix(".")) from None
    except OSError as error:
        raise CommandError(f"--weights: {weights}: cannot be read: {error.strerror}") from None
