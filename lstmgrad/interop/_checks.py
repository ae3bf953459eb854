"""The rules of models that come from elsewhere: one function a rule, one sentence a message."""

import importlib
import itertools
import re
from pathlib import Path
from types import ModuleType
from typing import Any


def require(module: str, extra: str) -> ModuleType:
    """A framework's module, once it is installed."""
    package = module.split(".")[0]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(
            f"{package} is not installed; the extra {extra} brings it: "
            f'pip install "lstmgrad[{extra}]", or pip install ".[{extra}]" in a checkout.',
            name=package,
        ) from None
    return importlib.import_module(module)


def check_known(cell: Any, state: Any, known: str, call: str) -> None:
    """A cell whose state is known, or a start that shows it."""
    if state is None:
        raise ValueError(
            f"cell: expected {known}, but got {type(cell).__name__}. A cell of another kind, "
            f"{call}, needs its starting state: pass state=. The parts of that state are what "
            "`of` and `wrt` name."
        )


def check_hidden(models: tuple[Any, ...]) -> None:
    """Layers whose output is a part h of their state."""
    if not models:
        raise ValueError("models: expected at least one layer, but got none.")
    for index, model in enumerate(models):
        if "h" not in getattr(model.state, "_fields", ()):
            raise ValueError(
                "models: expected layers whose state is a NamedTuple with a part h, which the next "
                f"layer reads, but that of layer {index} is {type(model.state).__name__}."
            )


def check_direction(direction: Any, both: bool, argument: str) -> None:
    """A direction where there are two, none where there is one."""
    if direction not in (None, "forward", "reverse"):
        raise ValueError(
            f"direction: expected 'forward', 'reverse' or None, but got {direction!r}."
        )
    if both and direction is None:
        raise ValueError(
            f"direction: expected 'forward' or 'reverse', because {argument} is bidirectional and "
            "its directions are two recurrences that do not meet, but got None. The reverse one "
            "reads the sequence from its end: inputs[::-1]."
        )
    if direction == "reverse" and not both:
        raise ValueError(
            f"direction: expected 'forward' or None, because {argument} has one direction, but "
            "got 'reverse'."
        )


def check_layer(layer: Any, count: int, both: bool) -> None:
    """A layer that is there; one of them where a whole stack is no recurrence."""
    known = isinstance(layer, int) and not isinstance(layer, bool) and 0 <= layer < count
    if layer is not None and not known:
        raise ValueError(f"layer: expected 0 to {count - 1} or None, but got {layer!r}.")
    if layer is None and both and count > 1:
        raise ValueError(
            f"layer: expected one of 0 to {count - 1}, because a layer of a bidirectional stack "
            "reads both directions of the one below at all times and the stack is no recurrence, "
            "but got None. The inputs of layer l are the outputs of layer l - 1, forward and "
            "reverse side by side."
        )


def check_variables(variables: Any) -> None:
    """Flax's variables, by collection."""
    if not hasattr(variables, "keys") or "params" not in variables:
        what = ", ".join(map(repr, variables)) if hasattr(variables, "keys") else type(variables)
        raise ValueError(
            "variables: expected all collections, {'params': ...}, as module.init returns them, "
            f"but got {what}. Of parameters alone, pass {{'params': params}}."
        )


def check_scope(inside: Any, params: Any, scope: str) -> None:
    """Haiku's parameters of a module."""
    if not inside:
        what = ", ".join(map(repr, params)) or "no module at all"
        raise ValueError(
            f"scope: expected the module that the core was made in, but the params have {what}, "
            f"none of them in {scope!r}."
        )


def check_type(value: Any, kinds: tuple[type, ...], argument: str) -> None:
    """One of a framework's own recurrent layers; a subclass may compute anything."""
    if type(value) not in kinds:
        raise ValueError(
            f"{argument}: expected one of {', '.join(kind.__name__ for kind in kinds)}, but got "
            f"{type(value).__name__}. Of another kind of cell, write the step: any "
            "step(params, state, x) -> state will do."
        )


def check_built(cell: Any) -> None:
    """A Keras cell that has its weights."""
    if not cell.built:
        raise ValueError(
            "layer: expected one that is built, because its weights are read, but this one has "
            "none yet. Call it on data, or layer.build(input_shape)."
        )


def check_function(name: str, known: tuple[str, ...], argument: str) -> None:
    """An activation that the step has."""
    if name not in known:
        raise ValueError(
            f"{argument}: expected {' or '.join(known)}, but the layer has {name}. Write the step "
            "of this layer: any step(params, state, x) -> state will do."
        )


def check_source(source: Any) -> None:
    """Names and tensors."""
    if not hasattr(source, "items"):
        raise ValueError(
            "source: expected a torch module, a state_dict or the path of a file, but got "
            f"{type(source).__name__}."
        )


def check_prefix(prefix: str | None, known: list[str], names: Any) -> str:
    """The one network that is meant; returns its prefix, with the dot."""
    if not known:
        some = ", ".join(list(names)[:8]) or "no tensor at all"
        raise ValueError(
            "source: expected recurrent weights under PyTorch's names, weight_ih_l0, weight_hh_l0, "
            f"..., with any prefix, but got {some}{', ...' if len(names) > 8 else ''}."
        )
    what = ", ".join(map(repr, known))
    if prefix is None:
        if len(known) > 1:
            raise ValueError(
                f"prefix: expected one of {what}, because the source has {len(known)} recurrent "
                "networks, but got None."
            )
        return known[0]
    for candidate in (prefix, f"{prefix}."):
        if candidate in known:
            return candidate
    raise ValueError(f"prefix: expected one of {what}, but got {prefix!r}.")


def check_others(names: Any, prefix: str, known: Any) -> None:
    """No weights beside those that a network of PyTorch's own has."""
    for name in names:
        if name.startswith((f"{prefix}weight_", f"{prefix}bias_")) and not known(name):
            raise ValueError(
                "source: expected a network of PyTorch's own, whose weights are weight_ih_l0, "
                f"weight_hh_l0, weight_hr_l0, bias_ih_l0, bias_hh_l0, ..., but got {name}. "
                "Of another network, write the step."
            )


def check_shapes(leaves: Any, where: str) -> None:
    """Weights of one layer and direction that belong together."""
    for name in ("weight_ih", "weight_hh"):
        if name not in leaves:
            raise ValueError(
                f"source: expected weight_ih and weight_hh in {where}, but {name} is missing."
            )
    shapes = {name: array.shape for name, array in leaves.items()}
    what = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
    ranks = {name: 1 if name.startswith("bias") else 2 for name in shapes}
    good = all(len(shapes[name]) == rank and 0 not in shapes[name] for name, rank in ranks.items())
    if good:
        rows, width = shapes["weight_hh"]
        hidden = shapes["weight_hr"][1] if "weight_hr" in shapes else width
        gates = (4,) if "weight_hr" in shapes else (1, 3, 4)
        stacked = {shape[0] for name, shape in shapes.items() if name != "weight_hr"}
        good = stacked == {rows} and rows in [number * hidden for number in gates]
        good = good and shapes.get("weight_hr", (width, hidden)) == (width, hidden)
    if not good:
        raise ValueError(
            "source: expected weight_ih [gates h, d], weight_hh [gates h, h] and biases [gates h] "
            "with 1, 3 or 4 gates, and in an LSTM with projections weight_hh [4h, p] and weight_hr "
            f"[p, h], but {where} has {what}."
        )
    dtypes = {array.dtype.name for array in leaves.values()}
    if len(dtypes) > 1:
        raise ValueError(f"source: expected one dtype, but {where} has {', '.join(dtypes)}.")


def check_widths(layers: list[Any]) -> None:
    """Layers that follow one another."""
    for index, (below, above) in enumerate(itertools.pairwise(layers)):
        width, reads = below["weight_hh"].shape[1], above["weight_ih"].shape[1]
        if width != reads:
            raise ValueError(
                f"source: expected layer {index + 1} to read the {width} outputs of layer {index}, "
                f"but its weight_ih has {reads} columns."
            )


def check_activation(activation: Any, gates: int) -> None:
    """The activation of a network without gates, and of no other."""
    if gates == 1 and activation is None:
        raise ValueError(
            "activation: expected jnp.tanh or jax.nn.relu, because the weights of an nn.RNN do not "
            "tell which it has, but got None. PyTorch's default is tanh."
        )
    if gates > 1 and activation is not None:
        raise ValueError(
            f"activation: expected None, because {'an LSTM' if gates == 4 else 'a GRU'} has its "
            f"own, but got {activation!r}."
        )


def check_dtype(name: str, tensor: str) -> None:
    """Floats that JAX has."""
    if name not in ("float32", "float64"):
        raise ValueError(
            f"source: expected floating-point weights of 16, 32 or 64 bits, but {tensor} is {name}."
        )


def check_suffix(path: Path, known: tuple[str, ...]) -> None:
    """A file whose name says what it is."""
    if path.suffix not in known:
        raise ValueError(
            f"source: expected a file that ends in {', '.join(known)}, but got {path.name}."
        )


def check_content(path: Path, content: str, wanted: str) -> None:
    """A file that is what its name says."""
    if content != wanted:
        ends = ".safetensors" if content == "safetensors" else ".pt"
        raise ValueError(
            f"source: expected a {wanted} file, as its name says, but {path.name} is a {content} "
            f"file. If you know where it comes from, rename it to end in {ends}."
        )


def check_reader(version: str) -> None:
    """A PyTorch whose reader of weights alone keeps what it promises."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < (2, 6):
        raise ValueError(
            "source: expected PyTorch 2.6 or later to read the file, because the reader of earlier "
            f"ones can be made to run code (CVE-2025-32434), but {version} is installed."
        )


def unreadable(path: Path, kind: str, reason: str) -> ValueError:
    """The error of a file that is damaged, or that holds more than weights."""
    return ValueError(
        f"source: expected an intact {kind} file of weights alone, but {path.name} {reason}. "
        "Nothing in it was run."
    )
