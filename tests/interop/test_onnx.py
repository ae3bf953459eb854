"""Networks in ONNX: against ONNX' own reference and against PyTorch, which wrote some of them."""

import jax.numpy as jnp
import numpy as np
import onnx
import onnx.reference
import pytest
import torch_files
from onnx import TensorProto, helper, numpy_helper
from readings import assert_means, gru, lstm

import lstmgrad as lg

D, H, T = 3, 4, 6
STORED = torch_files.stored()
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def arrays_of(kind, directions=1, peepholes=False):
    """W, R, B and P with random numbers, by the name that ONNX gives them."""
    generator, rows = np.random.default_rng(3), GATES[kind] * H
    shapes = {"W": (rows, D), "R": (rows, H), "B": (2 * rows,)}
    shapes |= {"P": (3 * H,)} if peepholes else {}
    return {
        name: 0.5 * generator.normal(size=(directions, *shape)) for name, shape in shapes.items()
    }


def model_of(kind, arrays, **options):
    """A model with one node whose weights are initializers."""
    places = ["X", "W", "R", "B", "", "", "", "P"] if "P" in arrays else ["X", "W", "R", "B"]
    inputs = [name if name in arrays or name == "X" else "" for name in places]
    node = helper.make_node(kind, inputs, ["Y", "Y_h"], name="rnn", hidden_size=H, **options)
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    return graph_of([node], stored)


def graph_of(nodes, stored, outputs=("Y",)):
    given = [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, 1, None])]
    made = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in outputs]
    graph = helper.make_graph(nodes, "graph", given, made, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def outputs_of(model, inputs):
    (found,) = onnx.reference.ReferenceEvaluator(model).run(["Y"], {"X": inputs[:, None]})
    return np.asarray(found)[:, 0, 0]


INPUTS = np.random.default_rng(4).normal(size=(T, D))

NODES = {
    "lstm": ("LSTM", {}, {}),
    "peepholes": ("LSTM", {"peepholes": True}, {}),
    "gru": ("GRU", {}, {"linear_before_reset": 1}),
    "reset before": ("GRU", {}, {"linear_before_reset": 0}),
    "rnn": ("RNN", {}, {}),
}


@pytest.mark.parametrize("name", NODES)
def test_a_node_computes_what_onnx_says(name, tmp_path):
    kind, given, options = NODES[name]
    model = model_of(kind, arrays_of(kind, **given), **options)
    onnx.save(model, tmp_path / "net.onnx")
    found = lg.interop.from_onnx(tmp_path / "net.onnx")
    assert found.state.h.dtype == "float64"
    states = lg.unroll(*found, INPUTS).states
    np.testing.assert_allclose(states.h[1:], outputs_of(model, INPUTS), rtol=0, atol=1e-12)


def test_gates_lie_in_an_order_of_their_own():
    arrays = arrays_of("LSTM")
    weights = arrays["W"][0], arrays["R"][0], sum(np.split(arrays["B"][0], 2))
    wrongs = [lstm(weights, order=order) for order in ("ifgo", "ifog", "iogf")]
    model = lg.interop.from_onnx(model_of("LSTM", arrays))
    assert_means(model, lstm(weights, order="iofg"), *wrongs)


@pytest.mark.parametrize("after", [0, 1])
def test_two_kinds_of_reset(after):
    arrays = arrays_of("GRU")
    outer, inner = np.split(arrays["B"][0], 2)
    weights = arrays["W"][0], arrays["R"][0], outer, inner
    resets = ("after", "before") if after else ("before", "after")
    if not after:
        # U_n (r ⊙ h) + b: both biases of the candidate are outside.
        weights = *weights[:2], outer + inner, 0 * inner
    model = lg.interop.from_onnx(model_of("GRU", arrays, linear_before_reset=after))
    right = gru(weights, order="zrn", reset=resets[0])
    wrongs = gru(weights, order="zrn", reset=resets[1]), gru(weights, order="rzn", reset=resets[0])
    assert_means(model, right, *wrongs)


# -- what PyTorch exports --------------------------------------------------------------------------


def exported(name):
    model = onnx.load_model_from_string(STORED[f"file/{name}"].tobytes())
    start = f"{name}/"
    weights = {key.removeprefix(start): STORED[key] for key in STORED if start in key}
    return model, {key: value for key, value in weights.items() if key not in ("", name)}


def assert_same(one, other):
    assert type(one.params) is type(other.params)
    for got, expected in zip(one.params, other.params, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ["onnx lstm", "onnx gru"])
def test_layers_of_an_export_are_those_of_torch(name):
    model, weights = exported(name)
    found, expected = lg.interop.from_onnx(model), lg.interop.from_torch(weights)
    assert found.state._fields == expected.state._fields
    for index in range(2):
        one = lg.interop.from_onnx(model, layer=index)
        assert_same(one, lg.interop.from_torch(weights, layer=index))
        for part, other in zip(found.params[index], one.params, strict=True):
            np.testing.assert_array_equal(part, other)


def test_directions_of_an_export_are_those_of_torch():
    model, weights = exported("onnx both")
    for options in (
        {"layer": 0, "direction": "forward"},
        {"layer": 1, "direction": "reverse"},
    ):
        assert_same(
            lg.interop.from_onnx(model, **options), lg.interop.from_torch(weights, **options)
        )
    with pytest.raises(ValueError, match="direction: expected 'forward' or 'reverse', because"):
        lg.interop.from_onnx(model)
    with pytest.raises(ValueError, match="layer: expected one of 0 to 1, because a layer of a bid"):
        lg.interop.from_onnx(model, direction="forward")


def test_an_export_knows_its_activation():
    model, weights = exported("onnx rnn")
    found = lg.interop.from_onnx(model)
    states = lg.unroll(*found, 10 + np.zeros((3, torch_files.D), "float32")).states
    np.testing.assert_array_equal(found.params.weight_hh, weights["weight_hh_l0"])
    assert float(states.h.max()) > 1
    assert float(states.h.min()) >= 0


# -- constants -------------------------------------------------------------------------------------


def moved(model, change):
    """The model with each of its weights behind nodes that compute it."""
    nodes, stored = [], []
    for tensor in model.graph.initializer:
        more, kept = change(tensor.name, numpy_helper.to_array(tensor))
        nodes += more
        stored += [numpy_helper.from_array(array, name) for name, array in kept.items()]
    return graph_of([*nodes, *model.graph.node], stored)


def in_constants(name, array):
    value = numpy_helper.from_array(array, name)
    return [helper.make_node("Constant", [], [name], value=value)], {}


def in_halves(name, array):
    one, other = np.split(array, 2, axis=1)
    node = helper.make_node("Concat", [f"{name}1", f"{name}2"], [name], axis=1)
    return [node], {f"{name}1": one, f"{name}2": other}


def without_direction(name, array):
    axes = np.asarray([0])
    node = helper.make_node("Unsqueeze", [f"{name}1", f"{name}2"], [name])
    return [node], {f"{name}1": array[0], f"{name}2": axes}


@pytest.mark.parametrize("change", [in_constants, in_halves, without_direction])
def test_weights_behind_a_few_operations(change):
    model = model_of("LSTM", arrays_of("LSTM"))
    assert_same(lg.interop.from_onnx(moved(model, change)), lg.interop.from_onnx(model))


def test_quantized_weights_with_scale_and_zero_point():
    def quantized(name, array):
        scale, zero = np.float32(0.02), np.int8(3)
        integers = np.clip(np.round(array / scale) + zero, -128, 127).astype("int8")
        names = [f"{name}{index}" for index in range(3)]
        node = helper.make_node("DequantizeLinear", names, [name])
        return [node], dict(zip(names, (integers, scale, zero), strict=True))

    arrays = arrays_of("LSTM")
    found = lg.interop.from_onnx(moved(model_of("LSTM", arrays), quantized))
    assert found.params.weight_ih.dtype == "float32"
    expected = lg.interop.from_onnx(model_of("LSTM", arrays))
    np.testing.assert_allclose(found.params.weight_hh, expected.params.weight_hh, atol=0.0101)


def test_weights_in_a_file_beside_the_model(tmp_path):
    model = model_of("LSTM", arrays_of("LSTM"))
    path = tmp_path / "net.onnx"
    options = {"location": "net.data", "size_threshold": 0}
    onnx.save_model(
        onnx.ModelProto.FromString(model.SerializeToString()),
        path,
        save_as_external_data=True,
        **options,
    )
    assert_same(lg.interop.from_onnx(path), lg.interop.from_onnx(model))
    bare = onnx.load(path, load_external_data=False)
    with pytest.raises(ValueError, match=r"but 'W' is in the file 'net\.data'\. Pass the path of"):
        lg.interop.from_onnx(bare)
    secret = tmp_path / "secret" / "net.data"
    secret.parent.mkdir()
    (tmp_path / "net.data").rename(secret)
    for tensor in bare.graph.initializer:
        tensor.external_data[0].value = "../net.data"
    (tmp_path / "secret" / "inner").mkdir()
    inner = tmp_path / "secret" / "inner" / "net.onnx"
    inner.write_bytes(bare.SerializeToString())
    with pytest.raises(ValueError, match=r"expected 'W' in the file '\.\./net\.data' beside the m"):
        lg.interop.from_onnx(inner)
    with pytest.raises(ValueError, match=r"expected 'W' in the file 'net\.data' beside the model"):
        lg.interop.from_onnx(path)


def test_a_constant_start_is_read():
    model = model_of("LSTM", arrays_of("LSTM"))
    start = np.random.default_rng(0).normal(size=(1, 1, H))
    model.graph.node[0].input.extend(["", "h", "c"])
    for name, value in (("h", np.repeat(start, 2, 1)), ("c", -start)):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    state = lg.interop.from_onnx(model).state
    np.testing.assert_array_equal(state.h, start[0, 0])
    np.testing.assert_array_equal(state.c, -start[0, 0])


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("LSTM", {"activations": ["Sigmoid", "Tanh", "Relu"]}, "one activation .* Tanh and Relu"),
        ("LSTM", {"activations": ["HardSigmoid", "Tanh", "Tanh"]}, "out of .* has HardSigmoid"),
        ("GRU", {"activations": ["Sigmoid"]}, "activations out of .* has too few"),
        ("LSTM", {"clip": 3.0}, r"expected no clip, but the LSTM 'rnn' has clip=3\.0"),
        ("LSTM", {"input_forget": 1}, "expected no input_forget, but the LSTM 'rnn' has input_f"),
        ("RNN", {"direction": "sideways"}, "a direction out of forward, .* has 'sideways'"),
    ],
)
def test_what_a_step_does_not_have_is_refused_by_name(kind, options, message):
    with pytest.raises(ValueError, match=message):
        lg.interop.from_onnx(model_of(kind, arrays_of(kind), **options))


def test_other_activations_are_those_of_onnx():
    options = {"activations": ["Sigmoid", "Softsign", "Softsign"]}
    arrays = arrays_of("LSTM")
    found = lg.interop.from_onnx(model_of("LSTM", arrays, **options))
    drive = arrays["W"][0] @ INPUTS[0] + sum(np.split(arrays["B"][0], 2))
    i, o, _, g = np.split(drive, 4)

    def squashed(a):
        return a / (1 + np.abs(a))

    c = squashed(g) / (1 + np.exp(-i))
    state = found.step(found.params, found.state, jnp.asarray(INPUTS[0]))
    np.testing.assert_allclose(state.h, squashed(c) / (1 + np.exp(-o)), atol=1e-14)


def test_several_networks_and_none():
    one = model_of("LSTM", arrays_of("LSTM"))
    other = onnx.ModelProto.FromString(one.SerializeToString())
    node = one.graph.node.add()
    node.CopyFrom(other.graph.node[0])
    node.name, node.output[0], node.output[1] = "second", "Z", "Z_h"
    with pytest.raises(ValueError, match="'rnn', 'second', because the model has 2 recurrent netw"):
        lg.interop.from_onnx(one)
    assert_same(lg.interop.from_onnx(one, prefix="sec"), lg.interop.from_onnx(other))
    with pytest.raises(
        ValueError, match=r"prefix: expected the start of one of .*, but got 'third'"
    ):
        lg.interop.from_onnx(one, prefix="third")
    none = graph_of([helper.make_node("Identity", ["X"], ["Y"])], [])
    with pytest.raises(ValueError, match="LSTM, GRU or RNN nodes, but the model has none"):
        lg.interop.from_onnx(none)
    fused = graph_of([helper.make_node("DynamicQuantizeLSTM", ["X"], ["Y"], domain="ms")], [])
    with pytest.raises(ValueError, match=r"has only DynamicQuantizeLSTM\. Export it before"):
        lg.interop.from_onnx(fused)


def test_weights_that_are_computed_or_do_not_fit():
    arrays = arrays_of("LSTM")
    model = model_of("LSTM", arrays)
    model.graph.node[0].input[2] = "X"
    with pytest.raises(ValueError, match="expected R of the LSTM 'rnn' as a constant of the file"):
        lg.interop.from_onnx(model)
    with pytest.raises(
        ValueError, match=r"expected W \[1, 4 h, d\] and R \[1, 4 h, h\] of .* 'rnn'"
    ):
        lg.interop.from_onnx(model_of("LSTM", arrays | {"R": arrays["R"][:, 1:]}))
    with pytest.raises(
        ValueError, match=r"expected B \[1, 32\] of the LSTM 'rnn', but it has \[1, "
    ):
        lg.interop.from_onnx(model_of("LSTM", arrays | {"B": arrays["B"][:, 1:]}))
    broken = model_of("LSTM", arrays)
    broken.graph.initializer[0].dims[1] = 2**40
    with pytest.raises(ValueError, match=r"expected the numbers of 'W', \[1, 1099511627776, 3\]"):
        lg.interop.from_onnx(broken)


def test_names_that_are_no_text(tmp_path):
    data = model_of("LSTM", arrays_of("LSTM")).SerializeToString()
    (tmp_path / "net.onnx").write_bytes(data.replace(b"rnn", b"\xff\xfe\xff"))
    assert_same(
        lg.interop.from_onnx(tmp_path / "net.onnx", prefix="\ufffd"),
        lg.interop.from_onnx(onnx.ModelProto.FromString(data)),
    )
    (tmp_path / "net.onnx").write_bytes(data.replace(b"LSTM", b"L\xffTM"))
    with pytest.raises(ValueError, match="LSTM, GRU or RNN nodes, but the model has none"):
        lg.interop.from_onnx(tmp_path / "net.onnx")


def test_what_is_no_model(tmp_path):
    path = tmp_path / "net.onnx"
    for data in (b"", b"abc", model_of("GRU", arrays_of("GRU")).SerializeToString()[:200]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"^source: expected an intact ONNX file .*net\.onnx"):
            lg.interop.from_onnx(path)
    with pytest.raises(
        ValueError, match=r"path of an \.onnx file or an onnx\.ModelProto, but got d"
    ):
        lg.interop.from_onnx({})
    with pytest.raises(FileNotFoundError):
        lg.interop.from_onnx(tmp_path / "none.onnx")
