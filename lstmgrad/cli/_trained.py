"""A trained network of PyTorch, from a file of its weights, and the numbers that it reads."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

import lstmgrad as lg
from lstmgrad.cli._error import CommandError
from lstmgrad.cli._options import Options
from lstmgrad.cli._sequences import Sequence, read_numbers

_ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, None: None}
_KINDS = {
    lg.cells.LSTMParams: "lstm",
    lg.interop.ProjectedLSTMParams: "lstm",
    lg.cells.GRUParams: "gru",
    lg.cells.RNNParams: "rnn",
}


class Trained(NamedTuple):
    """A network and its sequence.

    Attributes:
        model: its step, parameters and zero state, in the dtype asked for.
        kind: the name of its cells.
        units: of a layer.
        summary: what it is, for the output.
        sequence: rows of its inputs as they are in the file, from the last to the first for a
            reverse direction.
    """

    model: lg.interop.Model
    kind: str
    units: int
    summary: str
    sequence: Sequence


def read_trained(options: Options, weights: Path) -> Trained:
    """Returns the network in a file of weights, and the sequence in the input file.

    Args:
        options: what the user asked for.
        weights: the file of weights.

    Raises:
        CommandError: one of the files is missing or not what it should be, or they do not fit.
    """
    model = _model(options, weights)
    dtype = jnp.dtype(options.dtype)
    params, state = jax.tree.map(lambda leaf: leaf.astype(dtype), (model.params, model.state))
    layers = params if type(params) is tuple else (params,)
    # The first leaf of a layer is weight_ih.
    width, units = jax.tree.leaves(params)[0].shape[1], state[-1].size
    if options.input is None:
        raise CommandError(
            f"--input: expected a .csv or .npy file of {width} columns, what {weights} reads"
        )
    sequence = read_numbers(options.input)
    if sequence.width != width:
        raise CommandError(
            f"{options.input}: expected {width} columns, what {weights} reads, "
            f"but it has {sequence.width}"
        )
    if options.direction == "reverse":
        sequence = sequence._replace(
            rows=sequence.rows[::-1], summary=f"{sequence.summary}, from the last to the first"
        )
    count = f"{len(layers)} layer{'s' * (len(layers) > 1)}"
    summary = f"{weights}; {count} of {units} units, {options.dtype}"
    return Trained(
        lg.interop.Model(model.step, params, state),
        _KINDS[type(layers[0])],
        units,
        summary,
        sequence,
    )


def _model(options: Options, weights: Path) -> lg.interop.Model:
    try:
        return lg.interop.from_torch(
            weights,
            prefix=options.prefix,
            layer=options.layer,
            direction=options.direction,
            activation=_ACTIVATIONS[options.activation],
        )
    except ValueError as error:
        # "source: expected ..." is about the option of another name.
        argument, _, rest = str(error).partition(": ")
        option = "weights" if argument == "source" else argument
        plain = rest.replace("jnp.tanh or jax.nn.relu", "tanh or relu").removesuffix(".")
        raise CommandError(f"--{option}: {plain}") from None
    except ImportError as error:
        raise CommandError(f"--weights: {error}".removesuffix(".")) from None
    except OSError as error:
        raise CommandError(f"--weights: {weights}: cannot be read: {error.strerror}") from None
