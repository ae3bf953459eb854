"""The options of ``depth``, and what each may be."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstmgrad.cli._shared.parser import FIGURES, OUT, Parser, add_common, add_seed, add_whole

_DESCRIPTION = """\
What becomes of the gradient in a deep stack of layers?

Takes a stack of plain layers h' = phi(W h + b) apart: the norm of the Jacobian
through one layer is a product of three factors (the slope of the activation,
the size of the weights, how well the two are aligned); through ten layers it
is a product of thirty. Beside it stands the norm of the gradient in every
layer, in the plain layers and in residual layers h' = h + phi(W h + b) with
the same weights. Prints two tables; writes depth.png and depth.svg (the
figure) and depth.json (all numbers) into the --out directory.

Weights are Glorot normal, biases are zero, the input is standard normal, and
the gradient of the loss at the output is a random vector of length 1.
"""

_EPILOG = """\
examples:
  python -m lstmgrad depth --layers 10
  python -m lstmgrad depth --layers 50 --activation relu --width 256
"""


class Activation(NamedTuple):
    """An activation.

    Attributes:
        function: element-wise.
        slope: its largest derivative.
    """

    function: Callable[[jax.Array], jax.Array]
    slope: float


ACTIVATIONS = {
    "sigmoid": Activation(jax.nn.sigmoid, 0.25),
    "tanh": Activation(jnp.tanh, 1.0),
    "relu": Activation(jax.nn.relu, 1.0),
}


class Options(NamedTuple):
    """What the user asked for.

    Attributes:
        layers: how many layers.
        width: units of each layer.
        activation: a name from `ACTIVATIONS`.
        seed: of the weights, the input and the loss.
        dtype: "float32" or "float64".
        out: the directory for the results.
        figures: the endings of the files of the figure.
    """

    layers: int = 10
    width: int = 64
    activation: str = "sigmoid"
    seed: int = 0
    dtype: str = "float32"
    out: Path = OUT
    figures: tuple[str, ...] = FIGURES


def parse(argv: Sequence[str]) -> Options:
    """Returns the options that the arguments ask for.

    Args:
        argv: the arguments after the command.

    Raises:
        CommandError: an argument is unknown, or its value is not one it may have.
        SystemExit: after ``--help``.
    """
    defaults = Options._field_defaults
    parser = Parser("lstmgrad depth", _DESCRIPTION, _EPILOG)
    add_whole(parser, "--layers", 1, defaults["layers"], "LAYERS", "number of layers")
    add_whole(parser, "--width", 1, defaults["width"], "UNITS", "units of each layer")
    parser.add_argument(
        "--activation",
        choices=tuple(ACTIVATIONS),
        help=f"activation of all layers (default: {defaults['activation']})",
    )
    add_seed(parser, "weights, input and loss")
    add_common(parser)
    return Options(**vars(parser.parse_args(argv)))
