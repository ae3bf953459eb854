"""A network of PyTorch in a file of its weights: which one is meant, and as a model."""

import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

import lstmgrad as lg
from lstmgrad.cli._shared.console import listed
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.parser import Parser, check_whole, whole
from lstmgrad.interop._torch_networks import Network, find_networks
from lstmgrad.interop._weights import read_tensors

_KINDS = {4: "lstm", 3: "gru", 1: "rnn"}
_ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, None: None}


SORTED = "sorted"
"""The vocabulary of the different characters of a text in their sorted order."""


class Weights(NamedTuple):
    """A trained network in a file of its weights.

    Attributes:
        weights: the file.
        prefix: which network of the file; none for the only one, several for a stack of them, from
            the lowest to the highest.
        layer: which of its layers; None is all of them.
        direction: of a bidirectional network.
        activation: of a plain one, "tanh" or "relu".
        embedding: the tensor of the file that turns tokens into what is read; None is the only one.
        vocabulary: the file of the tokens of a text, or `SORTED`.
    """

    weights: Path
    prefix: Sequence[str] = ()
    layer: int | None = None
    direction: Literal["forward", "reverse"] | None = None
    activation: str | None = None
    embedding: str | None = None
    vocabulary: str | None = None


class Loaded(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: all of them by name.
        layers: of the networks that are meant, from the lowest, by their prefix with the dot.
        kind: their name in `KINDS`.
        model: the network.
    """

    tensors: dict[str, Any]
    layers: dict[str, int]
    kind: str
    model: lg.Model

    def holds(self, name: str) -> bool:
        """Returns whether a tensor is one of the recurrent weights.

        Args:
            name: of the tensor.
        """
        return name.startswith(tuple(f"{prefix}weight_" for prefix in self.layers))

    def parts_of(self, params: Any) -> list[tuple[str, Any]]:
        """Returns the prefix and the parameters of every network.

        Args:
            params: like those of the model.
        """
        if len(self.layers) == 1:
            return [(name, params) for name in self.layers]
        rest, parts = iter(params), []
        for name, count in self.layers.items():
            layers = tuple(itertools.islice(rest, count))
            parts.append((name, layers if count > 1 else layers[0]))
        return parts

    @property
    def input_size(self) -> int:
        """The numbers that it reads at every step."""
        return jax.tree.leaves(self.model.params)[0].shape[1]

    def described(self) -> str:
        """Returns layers, units, inputs and the dtype of the file in words."""
        return _described(self.tensors, tuple(self.layers), self.model.params, self.model.state)


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
    option(
        "--prefix",
        action="append",
        metavar="NAME",
        help="which network in --weights, if there are several; given again, the one that reads "
        "its outputs, and so on up",
    )
    layer = whole("--layer", 0)
    option("--layer", type=layer, metavar="N", help="one layer of --weights (default: all)")
    option("--direction", choices=("forward", "reverse"), help="of a bidirectional --weights")
    option("--activation", choices=("tanh", "relu"), help="of an RNN in --weights")
    option(
        "--embedding",
        metavar="NAME",
        help="the tensor of --weights whose rows are read in place of tokens, if several fit",
    )
    option(
        "--vocabulary",
        metavar="FILE",
        help="the tokens of a text in --input in the order of the embedding's rows: one on each "
        f"line, or .json; or {SORTED}: the different characters of the text in their order",
    )


def load_weights(source: Weights, dtype: str) -> Loaded:
    """Returns the network that the options name, in the dtype of the analysis.

    Args:
        source: the file and the network in it.
        dtype: "float32" or "float64".

    Raises:
        CommandError: the file is missing or not what it should be, or has no such network.
    """
    tensors = _reading(source.weights, read_tensors, source.weights)
    networks = _reading(source.weights, find_networks, tensors)
    chosen = {prefix: networks[prefix] for prefix in _prefixes(source, list(networks))}
    if len(chosen) > 1:
        _check_stack(source, chosen)
    for network in chosen.values():
        _check_direction(source, network.bidirectional)
        _check_layer(source, len(network.layers), network.bidirectional)
        _check_activation(source, network.gates)
    models = [
        _reading(source.weights, functools.partial(_model, source, prefix, layer), tensors)
        for prefix, network in chosen.items()
        for layer in (range(len(network.layers)) if len(chosen) > 1 else [source.layer])
    ]
    model = lg.interop.stack(models) if len(models) > 1 else models[0]
    wanted = jnp.dtype(dtype)
    params, state = jax.tree.map(lambda leaf: leaf.astype(wanted), (model.params, model.state))
    layers = {prefix: len(network.layers) for prefix, network in chosen.items()}
    kind = _KINDS[next(iter(chosen.values())).gates]
    return Loaded(tensors, layers, kind, lg.Model(model.step, params, state))


def _model(source: Weights, prefix: str, layer: int | None, tensors: dict[str, Any]) -> lg.Model:
    """One network of the file, or one of its layers."""
    return lg.interop.from_torch(
        tensors,
        prefix=prefix,
        layer=layer,
        direction=source.direction,
        activation=_ACTIVATIONS[source.activation],
    )


def _prefixes(source: Weights, known: list[str]) -> list[str]:
    """The networks that are meant, by their prefixes with the dot."""
    wanted = f"--prefix: expected one of {', '.join(map(repr, known))}"
    if not source.prefix:
        if len(known) == 1:
            return known
        what = f"{source.weights} holds {len(known)} recurrent networks"
        raise CommandError(
            f"{wanted}, because {what}, but it was left out; given several times "
            "it stacks the networks"
        )
    found: list[str] = []
    for given in source.prefix:
        prefix = given if given in known else f"{given}."
        if prefix not in known:
            raise CommandError(f"{wanted}, but got {given!r}")
        if prefix in found:
            raise CommandError(f"--prefix: expected each network once, but got {given!r} twice")
        found.append(prefix)
    return found


def _check_stack(source: Weights, networks: dict[str, Network]) -> None:
    """Networks of one kind and one direction, each of which reads the outputs of the one below."""
    if source.layer is not None:
        raise CommandError("--layer: expected no such option beside several --prefix")
    below, first = None, next(iter(networks.values()))
    for prefix, network in networks.items():
        if network.bidirectional:
            raise CommandError(
                f"--prefix: expected networks of one direction to be stacked, but {prefix!r} is "
                "bidirectional, and reads its whole input before it says anything"
            )
        if network.gates != first.gates:
            one, other = (_KINDS[each.gates].upper() for each in (first, network))
            raise CommandError(
                f"--prefix: expected networks of one kind to be stacked, but the first is "
                f"{one} and {prefix!r} {other}; in Python lg.interop.stack takes any"
            )
        reads = network.layers[0]["forward"]["weight_ih"].shape[1]
        if below is not None and below[1] != reads:
            raise CommandError(
                f"--prefix: expected {prefix!r} to read the {below[1]} outputs of {below[0]!r}, "
                f"but it reads {reads} numbers"
            )
        below = prefix, network.layers[-1]["forward"]["weight_hh"].shape[1]


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


def _described(tensors: dict[str, Any], prefixes: tuple[str, ...], params: Any, state: Any) -> str:
    """Layers, units, inputs and the dtype of the file."""
    layers, width = len(params) if type(params) is tuple else 1, jax.tree.leaves(params)[0].shape[1]
    parts = len(state) // layers  # of every layer: h, and c where there is one
    outputs, units = ([part.size for part in state[first::parts]] for first in (0, parts - 1))
    projected = "" if outputs == units else f" with projections to {_counts(outputs)}"
    starts = tuple(f"{prefix}weight_hh" for prefix in prefixes)
    own = [name for name in tensors if name.startswith(starts)]
    dtypes = sorted({str(tensors[name].dtype).removeprefix("torch.") for name in own})
    return (
        f"{layers} layer{'s' * (layers > 1)} of {_counts(units)} units{projected}, "
        f"{width} input{'s' * (width > 1)}; {' and '.join(dtypes)}"
    )


def _counts(numbers: list[int]) -> str:
    """One number where all are the same, or all of them."""
    return listed([str(number) for number in (numbers if len(set(numbers)) > 1 else numbers[:1])])
