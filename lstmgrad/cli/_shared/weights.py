"""A network of PyTorch in a file of its weights: which one is meant, and as a model."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

import lstmgrad as lg
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.parser import Parser, check_whole, whole
from lstmgrad.interop._torch_networks import Network, find_networks
from lstmgrad.interop._weights import read_tensors

_KINDS = {4: "lstm", 3: "gru", 1: "rnn"}
_ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, None: None}


class Weights(NamedTuple):
    """A trained network in a file of its weights.

    Attributes:
        weights: the file.
        prefix: which network of the file; None for the only one.
        layer: which of its layers; None is all of them.
        direction: of a bidirectional network.
        activation: of a plain one, "tanh" or "relu".
    """

    weights: Path
    prefix: str | None = None
    layer: int | None = None
    direction: Literal["forward", "reverse"] | None = None
    activation: str | None = None


class Loaded(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: all of them by name.
        prefix: of the network that is meant, with the dot.
        kind: its name in `KINDS`.
        model: the network.
    """

    tensors: dict[str, Any]
    prefix: str
    kind: str
    model: lg.Model

    @property
    def input_size(self) -> int:
        """The numbers that it reads at every step."""
        return jax.tree.leaves(self.model.params)[0].shape[1]

    def described(self) -> str:
        """Returns layers, units, inputs and the dtype of the file in words."""
        return _described(self.tensors, self.prefix, self.model.params, self.model.state)


def add_weights(parser: Parser, what: str) -> None:
    """Adds the options that name a network in a file.

    Args:
        parser: where to add them.
        what: what is done with the network, behind a comma.
    """
    option = parser.add_argument
    option(
        "--weights",
        type=Path,
        metavar="FILE",
        help="a .safetensors, .pt or .ckpt file of a trained LSTM, GRU or RNN of PyTorch, "
        f"{what}; no code in it is run",
    )
    option("--prefix", metavar="NAME", help="which network in --weights, if there are several")
    layer = whole("--layer", 0)
    option("--layer", type=layer, metavar="N", help="one layer of --weights (default: all)")
    option("--direction", choices=("forward", "reverse"), help="of a bidirectional --weights")
    option("--activation", choices=("tanh", "relu"), help="of an RNN in --weights")


def load_weights(source: Weights, dtype: str) -> Loaded:
    """Returns the network that the options name, in the dtype of the analysis.

    Args:
        source: the file and the network in it.
        dtype: "float32" or "float64".

    Raises:
        CommandError: the file is missing or not what it should be, or has no such network.
    """
    tensors, prefix, network = _read_network(source)
    from_torch = functools.partial(
        lg.interop.from_torch,
        prefix=prefix,
        layer=source.layer,
        direction=source.direction,
        activation=_ACTIVATIONS[source.activation],
    )
    model = _reading(source.weights, from_torch, tensors)
    wanted = jnp.dtype(dtype)
    params, state = jax.tree.map(lambda leaf: leaf.astype(wanted), (model.params, model.state))
    return Loaded(tensors, prefix, _KINDS[network.gates], lg.Model(model.step, params, state))


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
