"""Networks of PyTorch: against its stored results everywhere, against itself where it is."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import OUTPUT
from readings import assert_means, gru, lstm
from torch_networks import FILE, NETWORKS, D, H, P, T, measured, network

import lstmgrad as lg

CASES = [
    (name, direction)
    for name, (_, options) in NETWORKS.items()
    for direction in (("forward", "reverse") if "bidirectional" in options else (None,))
]
every_network = pytest.mark.parametrize(
    ("name", "direction"), CASES, ids=["-".join(filter(None, case)) for case in CASES]
)


def stored(name):
    with np.load(FILE) as file:
        return {
            key.removeprefix(f"{name}/"): file[key] for key in file if key.startswith(f"{name}/")
        }


def weights_of(arrays, prefix=""):
    """The state_dict among the arrays."""
    inside = "weights/"
    return {
        prefix + key.removeprefix(inside): value
        for key, value in arrays.items()
        if key.startswith(inside)
    }


def activation_of(name):
    return {"rnn-tanh": jnp.tanh, "rnn-relu-both": jax.nn.relu}.get(name)


def assert_parity(model, arrays, direction, dtype, derivatives=True):
    """Outputs, and every block of ds_T/ds_0, are those among the arrays."""
    side, step = (1, -1) if direction == "reverse" else (0, 1)
    layers = len(model.params) if type(model.params) is tuple else 1
    # Our parts by layer; PyTorch has (h, c), each with layers and directions on its first axis.
    places = [
        (kind, layer + side) for layer in range(layers) for kind in range(1 + ("start/1" in arrays))
    ]
    start = [jnp.asarray(arrays[f"start/{kind}"][index]) for kind, index in places]
    inputs = jnp.asarray(arrays["inputs"])[::step]
    trajectory = lg.unroll(model.step, model.params, type(model.state)(*start), inputs)
    top = [part for name, part in trajectory.states._asdict().items() if name[0] == "h"][-1]
    assert top.dtype == dtype
    size = top.shape[1]
    expected = arrays["outputs"][:, side * size : (side + 1) * size][::step]
    np.testing.assert_allclose(top[1:], expected, rtol=0, atol=OUTPUT[dtype])
    if not derivatives:
        return
    jacobian = lg.jacobian(lg.linearize(model.step, model.params, trajectory))
    starts = np.cumsum([0, *(part.size for part in start)])
    for a, (i, row) in enumerate(places):
        for b, (j, column) in enumerate(places):
            got = jacobian[starts[a] : starts[a + 1], starts[b] : starts[b + 1]]
            block = arrays[f"jacobian/{i}{j}"][row, :, column]
            # A layer is deaf to those above it.
            assert np.abs(block).max() > 0 or row < column
            np.testing.assert_allclose(got, block, rtol=0, atol=1e-12 * np.abs(block).max())


@every_network
def test_weights_give_what_torch_gave(name, direction):
    arrays = stored(name)
    model = lg.interop.from_torch(
        weights_of(arrays), direction=direction, activation=activation_of(name)
    )
    assert_parity(model, arrays, direction, "float64")


@every_network
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_live_module_gives_what_it_gives(name, direction, dtype):
    torch = pytest.importorskip("torch")
    module, *_ = network(name, getattr(torch, dtype))
    model = lg.interop.from_torch(module, direction=direction)
    arrays = measured(name, getattr(torch, dtype))
    assert_parity(model, arrays, direction, dtype, derivatives=dtype == "float64")


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_live_cell_is_a_layer(kind):
    torch = pytest.importorskip("torch")
    cell = getattr(torch.nn, f"{kind}Cell")(D, H, dtype=torch.float64)
    model = lg.interop.from_torch(torch.nn.ModuleDict({"inner": cell}))
    inputs = np.random.default_rng(0).normal(size=(T, D))
    state, outputs = None, []
    for x in torch.tensor(inputs):
        state = cell(x, state)
        outputs.append((state[0] if kind == "LSTM" else state).detach().numpy())
    states = lg.unroll(*model, inputs).states
    np.testing.assert_allclose(states.h[1:], outputs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_batch_is_on_either_axis(batch_first):
    torch = pytest.importorskip("torch")
    axis = 0 if batch_first else 1
    module = torch.nn.GRU(D, H, batch_first=batch_first, dtype=torch.float64)
    inputs = np.random.default_rng(0).normal(size=(5, 4, D))
    model = lg.interop.from_torch(module)
    run = jax.vmap(lambda xs: lg.unroll(*model, xs).states.h[1:], in_axes=axis, out_axes=axis)
    expected = module(torch.tensor(inputs))[0].detach().numpy()
    np.testing.assert_allclose(run(inputs), expected, rtol=0, atol=1e-12)


def test_one_layer_of_a_bidirectional_stack():
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(D, H, num_layers=2, bidirectional=True, dtype=torch.float64)
    inputs = np.random.default_rng(0).normal(size=(6, D))

    def both(layer, inputs):
        """The outputs of a layer, both directions side by side."""
        halves = []
        sides: list[tuple[Literal["forward", "reverse"], int]] = [("forward", 1), ("reverse", -1)]
        for direction, step in sides:
            model = lg.interop.from_torch(module, layer=layer, direction=direction)
            halves.append(lg.unroll(*model, inputs[::step]).states.h[1:][::step])
        return np.concatenate(halves, axis=1)

    expected = module(torch.tensor(inputs))[0].detach().numpy()
    np.testing.assert_allclose(both(1, both(0, inputs)), expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"layer: expected one of 0 to 1, because .* is not a rec"):
        lg.interop.from_torch(module, direction="forward")


def test_a_live_module_of_another_kind_is_refused():
    torch = pytest.importorskip("torch")

    class Mine(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight_ih = torch.nn.Parameter(torch.ones(4 * H, D))
            self.weight_hh = torch.nn.Parameter(torch.ones(4 * H, H))

    class MyLSTM(torch.nn.LSTM):
        pass

    for module in (Mine(), MyLSTM(D, H)):
        name = type(module).__name__
        with pytest.raises(ValueError, match=rf"source: expected one of LSTM, .* but got {name}"):
            lg.interop.from_torch(module)


def test_sixteen_bits_are_widened():
    torch = pytest.importorskip("torch")
    for dtype in (torch.bfloat16, torch.float16):
        module = torch.nn.LSTM(D, H, dtype=dtype)
        params = lg.interop.from_torch(module).params
        assert params.weight_ih.dtype == "float32"
        np.testing.assert_array_equal(params.weight_ih, module.weight_ih_l0.detach().float())


# What needs weights alone.


def test_one_layer_of_a_stack_and_the_stack_have_the_same_weights():
    weights = weights_of(stored("lstm-stack"))
    stack = lg.interop.from_torch(weights)
    assert stack.state._fields == ("h0", "c0", "h1", "c1")
    for layer in range(2):
        one = lg.interop.from_torch(weights, layer=layer)
        assert one.state._fields == ("h", "c")
        jax.tree.map(np.testing.assert_array_equal, one.params, stack.params[layer])


def test_a_network_among_others_is_found_by_its_prefix():
    lstm, gru = weights_of(stored("lstm"), "a.rnn."), weights_of(stored("gru"), "b.")
    readout = {"head.weight": np.ones((2, H)), "head.bias": np.ones(2), "step": np.asarray(3)}
    alone = lg.interop.from_torch({"epoch": 3, "state_dict": lstm | readout})
    assert isinstance(alone.params, lg.cells.LSTMParams)
    for prefix in ("b", "b."):
        found = lg.interop.from_torch(lstm | gru | readout, prefix=prefix)
        assert isinstance(found.params, lg.cells.GRUParams)
    with pytest.raises(ValueError, match=r"prefix: expected one of 'a.rnn.', 'b.', because the so"):
        lg.interop.from_torch(lstm | gru)
    with pytest.raises(ValueError, match=r"prefix: expected one of 'a.rnn.', but got 'c'"):
        lg.interop.from_torch(lstm, prefix="c")


def test_projections_have_two_sizes():
    model = lg.interop.from_torch(weights_of(stored("lstm-projected-stack")))
    assert [part.shape for part in model.state] == [(P,), (H,), (P,), (H,)]


WRONG = {
    "names": (lambda w: {f"x{k}": v for k, v in w.items()}, {}, "expected recurrent weights under"),
    "nothing": (lambda w: {}, {}, "no tensor at all"),
    "peephole": (
        lambda w: w | {"weight_ch_l0": np.ones(12)},
        {},
        "expected a network of PyTorch's own, .* but got weight_ch_l0",
    ),
    "missing": (
        lambda w: {k: v for k, v in w.items() if k != "weight_hh_l0"},
        {},
        r"in \*_l0, but weight_hh is missing",
    ),
    "transposed": (
        lambda w: w | {"weight_ih_l0": w["weight_ih_l0"].T},
        {},
        r"weight_ih \[gates h, d\].*weight_ih \[3, 16\]",
    ),
    "two gates": (lambda w: {k: v[:8] for k, v in w.items()}, {}, "with 1, 3 or 4 gates"),
    "vector": (lambda w: w | {"weight_hh_l0": np.ones(16)}, {}, r"weight_hh \[16\]"),
    "empty": (lambda w: {k: v[:0] for k, v in w.items()}, {}, r"bias_ih \[0\]"),
    "widths": (
        lambda w: w | {k.replace("l0", "l1"): v for k, v in w.items()},
        {},
        "layer 1 to read the 4 outputs of layer 0, but its weight_ih has 3 columns",
    ),
    "dtypes": (
        lambda w: w | {"bias_ih_l0": w["bias_ih_l0"].astype("float32")},
        {},
        "expected one dtype",
    ),
    "integers": (
        lambda w: w | {"bias_ih_l0": np.ones(16, int)},
        {},
        "16, 32 or 64 bits, but bias_ih_l0 is int64",
    ),
    "activation": (lambda w: w, {"activation": jnp.tanh}, "activation: expected None, because an"),
    "direction": (lambda w: w, {"direction": "reverse"}, "the network has one direction"),
    "layer": (lambda w: w, {"layer": 1}, "layer: expected 0 to 0 or None, but got 1"),
    "no weights": (lambda w: 3, {}, "source: expected a torch module, a state_dict or the path"),
}


@pytest.mark.parametrize("case", WRONG)
def test_weights_that_do_not_fit(case):
    change, options, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        lg.interop.from_torch(change(weights_of(stored("lstm"))), **options)


def test_weights_of_a_plain_network_do_not_tell_its_activation():
    with pytest.raises(ValueError, match=r"activation: expected jnp.tanh or jax.nn.relu, because"):
        lg.interop.from_torch(weights_of(stored("rnn-tanh")))


def test_weights_of_two_directions_need_one():
    with pytest.raises(ValueError, match="direction: expected 'forward' or 'reverse', because the"):
        lg.interop.from_torch(weights_of(stored("lstm-both")))


def test_one_bias_of_a_gru_is_inside_the_reset():
    generator = np.random.default_rng(3)
    shapes = {"weight_ih_l0": (3 * H, D), "weight_hh_l0": (3 * H, H)}
    shapes |= dict.fromkeys(("bias_ih_l0", "bias_hh_l0"), (3 * H,))
    tensors = {name: 0.5 * generator.normal(size=shape) for name, shape in shapes.items()}
    w, u, b, inner = tensors.values()
    assert_means(
        lg.interop.from_torch(tensors),
        gru((w, u, b, inner)),
        gru((w, u, b + inner, 0 * b)),
        gru((w, u, b, inner), order="zrn"),
    )


def test_two_biases_of_an_lstm_add_up():
    generator = np.random.default_rng(4)
    shapes = {"weight_ih_l0": (4 * H, D), "weight_hh_l0": (4 * H, H)}
    shapes |= dict.fromkeys(("bias_ih_l0", "bias_hh_l0"), (4 * H,))
    tensors = {name: 0.5 * generator.normal(size=shape) for name, shape in shapes.items()}
    w, u, b, inner = tensors.values()
    assert_means(
        lg.interop.from_torch(tensors),
        lstm((w, u, b + inner)),
        lstm((w, u, b)),
        lstm((w, u, b + inner), order="igfo"),
        lstm((w, u, b + inner), forget_bias=1.0),
    )
