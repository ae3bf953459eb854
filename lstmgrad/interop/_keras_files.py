"""Layers in files of Keras, without Keras: **no code in a file is ever run**.

A `.keras` file is an archive: config.json says which layers there are, model.weights.h5 has their
arrays, in groups that are named after classes and counted. An `.h5` file of a whole model has both
in one, the older way. What is a function of the author's own is there as code or as a name, and is
refused: only the layers and activations of Keras itself mean something without their code.
"""

import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstmgrad._checks import require
from lstmgrad.interop._bounded import Bounded
from lstmgrad.interop._gated_steps import Activation
from lstmgrad.interop._keras_activations import FUNCTIONS
from lstmgrad.interop._keras_cells import GATES, KerasCell
from lstmgrad.interop._keras_groups import Arrays, Grouped, Named, Step
from lstmgrad.interop._weights import to_numpy

_MOST_CONFIG = 2**20
"""Bytes of a member that is larger than the whole file, because it is compressed."""


class Place(NamedTuple):
    """A cell of a file.

    Attributes:
        kind: "LSTM", "GRU" or "SimpleRNN".
        options: its configuration.
        steps: from the model to it.
    """

    kind: str
    options: dict[str, Any]
    steps: tuple[Step, ...]


Layer = dict[str, list[Place]]
"""The cells of a recurrent layer from the lowest, for each direction."""


def read_cells(path: Path, name: str | None) -> dict[str, list[KerasCell]]:
    """Returns the cells of one recurrent layer of a file, from the lowest, for each direction.

    Args:
        path: of a `.keras` or an `.h5` file of a whole model.
        name: of the layer; None if there is only one.

    Raises:
        ImportError: pyfive is not installed.
        ValueError: the file is damaged or of another kind; there is no such layer, or there are
            several; it has functions of the author's own.
        FileNotFoundError: there is no such file.
    """
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ValueError(
            "layer: expected a layer of Keras, or a file of a whole model that ends in .keras, .h5 "
            f"or .hdf5, but got {path.name}."
        )
    require("pyfive", "keras")
    with path.open("rb"):  # a file that is not there is not damaged
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is odd in a damaged file
        try:
            read = _read_archive if path.suffix == ".keras" else _read_single
            config, version, arrays = read(path)
            layers = dict(_layers(config["config"], "", ()))
        except Exception:
            raise _unreadable(path) from None
        layer = layers[_choose(list(layers), name, config, path)]
        return {
            side: [_cell(place, arrays, version, path) for place in places]
            for side, places in layer.items()
        }


def _read_archive(path: Path) -> tuple[dict[str, Any], str, Arrays]:
    """The configuration, the version of Keras and the arrays of a `.keras` file."""
    members = {}
    with path.open("rb") as file:
        archive = zipfile.ZipFile(Bounded(file))  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            about = archive.getinfo(name)
            if about.file_size > max(path.stat().st_size, _MOST_CONFIG):
                raise ValueError(f"{name} is larger than the file")
            members[name] = archive.read(about)
    config, about = (json.loads(members[name]) for name in ("config.json", "metadata.json"))
    return config, str(about["keras_version"]), Grouped(members["model.weights.h5"])


def _read_single(path: Path) -> tuple[dict[str, Any], str, Arrays]:
    """The same of an `.h5` file."""
    arrays = Named(path.read_bytes())
    return json.loads(arrays.attribute("model_config")), arrays.attribute("keras_version"), arrays


def _layers(
    config: dict[str, Any], prefix: str, steps: tuple[Step, ...]
) -> Iterator[tuple[str, Layer]]:
    """(name, layer) of the recurrent layers of a model and of the models inside it."""
    for inner, step in _counted(config["layers"], "layers"):
        name, place, options = f"{prefix}{step.name}", (*steps, step), inner["config"]
        if inner["class_name"] == "Bidirectional":
            sides = {"forward": ("forward_layer", "layer"), "reverse": ("backward_layer",) * 2}
            found = {
                side: _cells(options.get(key) or options["layer"], (*place, Step("", attribute)))
                for side, (attribute, key) in sides.items()
            }
            if found["forward"]:
                yield name, found
        elif cells := _cells(inner, place):
            yield name, {"forward": cells}
        elif isinstance(options.get("layers"), list):
            yield from _layers(options, f"{name}/", place)


def _cells(layer: dict[str, Any], steps: tuple[Step, ...]) -> list[Place]:
    """The cells of a layer, from the lowest; none if it is not one of Keras' own recurrent ones."""
    kind, options = layer["class_name"], layer["config"]
    if not str(layer.get("module") or "keras").startswith("keras"):
        return []
    inside = (*steps, Step("", "cell"))
    if kind in GATES:
        return [Place(kind, options, inside)]
    if kind != "RNN":
        return []
    cells = [(options["cell"], inside)]
    if options["cell"]["class_name"] == "StackedRNNCells":
        counted = _counted(options["cell"]["config"]["cells"], "cells")
        cells = [(cell, (*inside, step)) for cell, step in counted]
    found = [
        Place(cell["class_name"].removesuffix("Cell"), cell["config"], place)
        for cell, place in cells
        if str(cell.get("module") or "keras").startswith("keras")
    ]
    return found if all(place.kind in GATES for place in found) and len(found) == len(cells) else []


def _counted(layers: list[dict[str, Any]], container: str) -> Iterator[tuple[dict[str, Any], Step]]:
    """Each layer with its step, whose key is its class in small letters and its count."""
    counts: dict[str, int] = {}
    for index, layer in enumerate(layers):
        base = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", layer["class_name"])
        base = re.sub(r"([a-z])([A-Z])", r"\1_\2", base).lower()
        count = counts[base] = counts.get(base, -1) + 1
        name = str(layer["config"].get("name", ""))
        yield layer, Step(container, f"{base}_{count}" if count else base, name, index)


def _choose(known: list[str], name: str | None, config: dict[str, Any], path: Path) -> str:
    """The name of the one layer that is meant."""
    if not known:
        what = str(config.get("class_name"))
        raise ValueError(
            "layer: expected a file with an LSTM, GRU or SimpleRNN of Keras among its layers, but "
            f"the {what} in {path.name} has none that is known without code of the author's own. "
            "Load it in Keras, and pass its layer or cell."
        )
    if name is None and len(known) == 1:
        return known[0]
    found = [one for one in known if name is not None and f"/{one}".endswith(f"/{name}")]
    if len(found) == 1:
        return found[0]
    why = f", because {path.name} has {len(known)} recurrent layers" * (name is None)
    raise ValueError(
        f"name: expected one of {', '.join(map(repr, known))}{why}, but got {name!r}. To stack "
        "them: lg.interop.stack([lg.interop.from_keras(path, name=one) for one in names])."
    )


def _cell(place: Place, arrays: Arrays, version: str, path: Path) -> KerasCell:
    """The arrays and options of a cell."""
    kind, options = place.kind, place.options
    names = ["activation", "activation" if kind == "SimpleRNN" else "recurrent_activation"]
    own, gate = (_activation(options.get(name), name, version, path) for name in names)
    try:
        found = arrays.of_cell(place.steps)
    except Exception:
        raise _unreadable(path) from None
    after = kind == "GRU" and bool(options.get("reset_after", True))
    weights = [to_numpy(array, f"a weight of {place.steps[0].name!r}") for array in found]
    shapes = [array.shape for array in weights]
    units, rows = options.get("units"), 0
    if isinstance(units, int):
        rows = GATES[kind] * units
    reads = shapes[0][0] if shapes and len(shapes[0]) == 2 else 0
    expected = [(reads, rows), (units, rows)]
    if options.get("use_bias", True):
        expected.append((2, rows) if after else (rows,))
    if shapes != expected or 0 in (reads, rows):
        raise _unreadable(path)
    kernel, recurrent, *bias = map(jnp.asarray, weights)
    return KerasCell(kind, kernel, recurrent, bias[0] if bias else None, own, gate, after)


def _activation(value: Any, argument: str, version: str, path: Path) -> Activation:
    """An activation of Keras by its name."""
    own = isinstance(value, dict) and value.get("module") in ("builtins", "keras.activations")
    if own and value.get("class_name") == "function":
        value = value.get("config")
    value = "linear" if value is None else value
    if value == "hard_sigmoid" and version.startswith("2."):
        return _older_hard_sigmoid
    if not isinstance(value, str) or value not in FUNCTIONS:
        what = value.get("class_name") if isinstance(value, dict) else value
        raise ValueError(
            f"{argument}: expected one of {', '.join(FUNCTIONS)}, whose meaning is known without "
            f"code of the author's own, but the layer in {path.name} has {what}. Load it in Keras, "
            "and pass its layer."
        )
    return FUNCTIONS[value]


def _older_hard_sigmoid(x: jax.Array) -> jax.Array:
    """That of Keras 2, which was steeper."""
    return jnp.clip(0.2 * x + 0.5, 0, 1)


def _unreadable(path: Path) -> ValueError:
    """The error of a file that is damaged, or has no layers."""
    return ValueError(
        f"layer: expected an intact file of a whole model of Keras, but {path.name} is none. If it "
        "has weights alone, build the model, model.load_weights(path), and pass its layer. Nothing "
        "in the file was run."
    )
