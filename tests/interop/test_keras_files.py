"""Whole models of Keras in files: the same as their layers, and nothing in a file is run."""

import io
import json
import tracemalloc
import warnings
import zipfile
from typing import Any

import h5py
import jax
import numpy as np
import pytest
from keras_layers import D, H, filled, keras, lenient

import lstmgrad as lg

layers = keras.layers


def saved(made, path):
    """The path of a file with the model, which Keras writes with warnings about itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.save(path)
    return path


@pytest.fixture(scope="module")
def model():
    """One of everything, with random weights."""
    sequences: Any = {"return_sequences": True}
    with lenient():
        inputs = keras.Input((None, D))
        x = layers.LSTM(H, name="first", **sequences)(inputs)
        x = layers.LSTM(H, name="second", recurrent_activation="hard_sigmoid", **sequences)(x)
        both = layers.GRU(H, reset_after=False, activation="relu", use_bias=False, **sequences)
        x = layers.Bidirectional(both, name="both")(layers.Dropout(0.1)(x))
        x = keras.Sequential([layers.SimpleRNN(H, **sequences)], name="inner")(x)
        x = layers.Lambda(lambda x: 2 * x, name="own")(x)
        cells = [layers.LSTMCell(H), layers.GRUCell(H), layers.LSTMCell(H)]
        x = layers.RNN(layers.StackedRNNCells(cells), name="stacked")(x)
        made = keras.Model(inputs, layers.Dense(1)(x))
        for weight in made.weights:
            weight.assign(filled(weight.value, len(weight.path)))
    return made


@pytest.fixture(scope="module", params=[".keras", ".h5"])
def path(request, model, tmp_path_factory):
    return saved(model, tmp_path_factory.mktemp("keras") / f"model{request.param}")


LAYERS = {
    "first": (lambda model: model.get_layer("first"), None),
    "second": (lambda model: model.get_layer("second"), None),
    "both, forward": (lambda model: model.get_layer("both"), "forward"),
    "both, reverse": (lambda model: model.get_layer("both"), "reverse"),
    "inner/simple_rnn": (lambda model: model.get_layer("inner").layers[0], None),
    "simple_rnn": (lambda model: model.get_layer("inner").layers[0], None),
    "stacked": (lambda model: model.get_layer("stacked"), None),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_in_a_file_is_that_layer(name, model, path):
    find, direction = LAYERS[name]
    layer = find(model)
    name = (
        layer.name
        if name == "simple_rnn"
        else name.partition(",")[0].replace("simple_rnn", layer.name)
    )
    found = lg.interop.from_keras(path, name=name, direction=direction)
    expected = lg.interop.from_keras(layer, direction=direction)
    assert found.step is expected.step
    assert jax.tree.structure(found[1:]) == jax.tree.structure(expected[1:])
    jax.tree.map(np.testing.assert_array_equal, found[1:], expected[1:])


def test_which_layer_is_said(path):
    with pytest.raises(ValueError, match=r"name: expected one of 'first', 'second', 'both', 'in"):
        lg.interop.from_keras(path)
    with pytest.raises(ValueError, match=r"but got 'third'\. To stack them: lg\.interop\.stack"):
        lg.interop.from_keras(path, name="third")
    with pytest.raises(ValueError, match=r"direction: expected 'forward' or 'reverse', because"):
        lg.interop.from_keras(path, name="both")


def rewritten(path, target, change):
    """The archive with another configuration."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                data = json.dumps(change(json.loads(data))).encode()
            new.writestr(name, data)
    return target


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A file with one layer."""
    with lenient():
        made = keras.Sequential([keras.Input((None, D)), layers.LSTM(H, name="one")])
    return saved(made, tmp_path_factory.mktemp("keras") / "one.keras")


def changed(one, tmp_path, **options):
    def change(config):
        (layer,) = [layer for layer in config["config"]["layers"] if layer["class_name"] == "LSTM"]
        layer["config"] |= options
        return config

    return rewritten(one, tmp_path / "changed.keras", change)


def test_functions_of_the_author_are_refused_by_name(one, tmp_path):
    lambdas = {"module": "builtins", "class_name": "__lambda__", "config": {"value": ["code"]}}
    message = r"^activation: expected one of celu, .*, but the layer in .* has __lambda__"
    with pytest.raises(ValueError, match=message):
        lg.interop.from_keras(changed(one, tmp_path, activation=lambdas))
    with pytest.raises(ValueError, match=r"^recurrent_activation: .* has swoosh\. Load it in"):
        lg.interop.from_keras(changed(one, tmp_path, recurrent_activation="swoosh"))


def test_layers_of_the_author_are_none(one, tmp_path):
    def change(config):
        for layer in config["config"]["layers"]:
            layer["module"] = "mine"
        return config

    with pytest.raises(ValueError, match=r"but the Sequential in mine\.keras has none that is kno"):
        lg.interop.from_keras(rewritten(one, tmp_path / "mine.keras", change))


def test_the_hard_sigmoid_of_keras_2(one, tmp_path):
    path = changed(one, tmp_path, recurrent_activation="hard_sigmoid")
    target = tmp_path / "older.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name).replace(keras.__version__.encode(), b"2.15.0")
            new.writestr(name, data)
    newer, older = map(lg.interop.from_keras, (path, target))
    x = np.zeros(D, "float32")
    for model, slope in ((newer, 1 / 6), (older, 0.2)):
        weights = model.params._replace(
            bias=0 * model.params.bias + 1, weight_ih=0 * model.params.weight_ih
        )
        state = model.step(weights, model.state, jax.numpy.asarray(x))
        np.testing.assert_allclose(state.c, (slope + 0.5) * np.tanh(1.0), rtol=1e-6)


def weights_changed(one, tmp_path, change):
    """The archive with its arrays changed."""
    with zipfile.ZipFile(one) as old:
        members = {name: old.read(name) for name in old.namelist()}
    buffer = io.BytesIO(members["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        group = file["layers/lstm/cell/vars"]
        assert isinstance(group, h5py.Group)
        del group["0"]
        change(group)
    members["model.weights.h5"] = buffer.getvalue()
    path = tmp_path / "trick.keras"
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)
    return path


def huge(group):
    group.create_dataset("0", (10**9, 4 * H), "float32", chunks=(1000, 4 * H))


def virtual(group):
    layout = h5py.VirtualLayout((D, 4 * H), "float32")
    layout[:] = h5py.VirtualSource("secret.h5", "x", (D, 4 * H))
    group.create_virtual_dataset("0", layout)


TRICKS = {
    "another file": lambda group: group.__setitem__("0", h5py.ExternalLink("secret.h5", "/x")),
    "huge": huge,
    "virtual": virtual,
    "outside": lambda group: group.create_dataset(
        "0", (D, 4 * H), "float32", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
    ),
    "text": lambda group: group.create_dataset("0", data=np.asarray([["a"]], dtype=object)),
    "other shapes": lambda group: group.create_dataset("0", data=np.ones((D, H), "float32")),
    "nothing": lambda group: None,
}


@pytest.mark.parametrize("trick", TRICKS)
def test_arrays_are_those_of_the_file_itself(trick, one, tmp_path):
    path = weights_changed(one, tmp_path, TRICKS[trick])
    with pytest.raises(ValueError, match=r"^layer: expected an intact file of a whole model of"):
        lg.interop.from_keras(path)


def test_integers_are_no_weights(one, tmp_path):
    path = weights_changed(
        one, tmp_path, lambda group: group.create_dataset("0", data=np.ones((D, 4 * H), "int8"))
    )
    with pytest.raises(ValueError, match=r"a weight of 'one' is int8, as quantized weights are"):
        lg.interop.from_keras(path)


def test_what_is_no_model(one, tmp_path):
    for name, data in (
        ("m.keras", b""),
        ("m.keras", b"PK\x03\x04"),
        ("m.h5", b"\x89HDF\r\n\x1a\n"),
        ("m.keras", one.read_bytes()[:-30]),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(
            ValueError, match=r"^layer: expected an intact file .* weights alone, b"
        ):
            lg.interop.from_keras(tmp_path / name)
    with pytest.raises(ValueError, match=r"ends in \.keras, \.h5 or \.hdf5, but got m\.pt\.$"):
        lg.interop.from_keras(tmp_path / "m.pt")
    with pytest.raises(FileNotFoundError):
        lg.interop.from_keras(tmp_path / "none.keras")


@pytest.mark.slow
def test_an_attribute_that_claims_more_than_it_has_is_refused_at_once(model, tmp_path):
    """The reader would make room for all of it."""
    whole = saved(model, tmp_path / "model.h5").read_bytes()
    three, many = (count.to_bytes(8, "little") for count in (3, 2**26 + 3))
    start, places = 0, []
    while (start := whole.find(three, start) + 1) > 0:
        places.append(start - 1)
    refused = 0
    tracemalloc.start()
    for place in places:
        (tmp_path / "cut.h5").write_bytes(whole[:place] + many + whole[place + 8 :])
        try:
            lg.interop.from_keras(tmp_path / "cut.h5", name="first")
        except ValueError as error:
            refused += "intact file" in str(error)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused
    assert most < 2**25
