"""Weights that PyTorch stores in another form than it uses, and tensors beside them."""

import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

D, H = 3, 4
GENERATOR = np.random.default_rng(0)
PLAIN = {
    "weight_ih_l0": GENERATOR.normal(size=(4 * H, D)),
    "weight_hh_l0": GENERATOR.normal(size=(4 * H, H)),
    "bias_ih_l0": GENERATOR.normal(size=4 * H),
    "bias_hh_l0": GENERATOR.normal(size=4 * H),
}
WEIGHT = PLAIN["weight_hh_l0"]
REST = {name: value for name, value in PLAIN.items() if name != "weight_hh_l0"}
GAINS = np.abs(GENERATOR.normal(size=(4 * H, 1)))
BY_ROW = GAINS * WEIGHT / np.linalg.norm(WEIGHT, axis=1, keepdims=True)
BY_COLUMN = GAINS[:H].T * WEIGHT / np.linalg.norm(WEIGHT, axis=0, keepdims=True)
MASK = (GENERATOR.random(WEIGHT.shape) > 0.5).astype(float)


def named(prefix, *trees):
    return {prefix + name: value for tree in trees for name, value in tree.items()}


# By name: what the module uses, what is stored.
FORMS = {
    "weight norm": (BY_ROW, named("", REST, {"weight_hh_l0_g": GAINS, "weight_hh_l0_v": WEIGHT})),
    "of columns": (
        BY_COLUMN,
        named("a.", REST, {"weight_hh_l0_g": GAINS[:H].T, "weight_hh_l0_v": WEIGHT}),
    ),
    "of the whole": (
        2 * WEIGHT / np.linalg.norm(WEIGHT),
        named("", REST, {"weight_hh_l0_g": np.asarray(2.0), "weight_hh_l0_v": WEIGHT}),
    ),
    "parametrization": (
        BY_ROW,
        named("b.", REST)
        | named("b.parametrizations.weight_hh_l0.", {"original0": GAINS, "original1": WEIGHT}),
    ),
    "pruned": (
        MASK * WEIGHT,
        named("", REST, {"weight_hh_l0_orig": WEIGHT, "weight_hh_l0_mask": MASK}),
    ),
    "dropped": (WEIGHT, named("r.0.module.", REST) | {"r.0.weight_hh_l0_raw": WEIGHT}),
    "dropped and stale": (
        WEIGHT,
        named("module.", PLAIN, {"weight_hh_l0": MASK * WEIGHT}) | {"weight_hh_l0_raw": WEIGHT},
    ),
    "raw in its own module": (WEIGHT, named("lstm.", REST, {"weight_hh_l0_raw": WEIGHT})),
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_read_in_the_form_in_which_they_are_used(form):
    used, stored = FORMS[form]
    found = lg.interop.from_torch(
        stored | {"head.bias": np.ones(2)} if "." in min(stored) else stored
    )
    np.testing.assert_allclose(found.params.weight_hh, used, rtol=1e-14, atol=0)
    np.testing.assert_array_equal(found.params.weight_ih, PLAIN["weight_ih_l0"])


def beside(prefix, name, value=WEIGHT):
    return named(prefix, PLAIN) | {name: value}


# By the tensor that is named: all that is stored.
REFUSED = {
    "norm_x.weight": beside("", "norm_x.weight"),
    "lstm.norm.bias": beside("lstm.", "lstm.norm.bias"),
    "lstm.gain": beside("lstm.", "lstm.gain"),
    "lstm.weight_ch_l0": beside("lstm.", "lstm.weight_ch_l0"),
    "drop.weight_hh_l0_noise": beside("drop.module.", "drop.weight_hh_l0_noise"),
    "parametrizations.weight_hh_l0.original": beside("", "parametrizations.weight_hh_l0.original"),
    "weight_hh_l0_g": named("", REST, {"weight_hh_l0_g": GAINS}),
    "weight_hh_l0_orig, weight_hh_l0_v": named(
        "", REST, {"weight_hh_l0_orig": WEIGHT, "weight_hh_l0_u": GAINS, "weight_hh_l0_v": WEIGHT}
    ),
    "b.parametrizations.weight_hh_l0.original0": named("b.", REST)
    | named("b.parametrizations.weight_hh_l0.", {"original0": WEIGHT, "original1": WEIGHT}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tensors_that_a_plain_network_does_not_have_are_named(name):
    with pytest.raises(ValueError, match=f"source: expected a network of PyTorch's .* got {name} "):
        lg.interop.from_torch(REFUSED[name])


def test_what_lies_elsewhere_does_not_matter():
    stored = named("encoder.lstm.", PLAIN) | {
        "encoder.norm.weight": np.ones(H),
        "weight": np.ones(2),
        "decoder.weight_out": np.ones(2),
    }
    found = lg.interop.from_torch(stored)
    np.testing.assert_array_equal(found.params.weight_hh, WEIGHT)


# -- against PyTorch itself ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["hook", "parametrization", "pruning"])
def test_live_modules_and_their_state_dicts(kind):
    torch = pytest.importorskip("torch")
    net = torch.nn.LSTM(D, H, dtype=torch.float64)
    if kind == "hook":
        torch.nn.utils.weight_norm(net, "weight_hh_l0")
    elif kind == "parametrization":
        torch.nn.utils.parametrizations.weight_norm(net, "weight_hh_l0")
    else:
        pytest.importorskip("torch.nn.utils.prune")
        torch.nn.utils.prune.l1_unstructured(net, "weight_hh_l0", 0.3)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith(("_g", "original0")):
                weight.mul_(1.5)
    outputs, _ = net(torch.ones(5, D, dtype=torch.float64))
    for source in (net, net.state_dict()):
        states = lg.unroll(*lg.interop.from_torch(source), jnp.ones((5, D))).states
        np.testing.assert_allclose(states.h[1:], outputs.detach().numpy(), rtol=0, atol=1e-12)


def test_other_parametrizations_are_named():
    torch = pytest.importorskip("torch")
    net = torch.nn.utils.parametrizations.orthogonal(torch.nn.RNN(H, H), "weight_hh_l0")
    with pytest.raises(ValueError, match=r"got parametrizations\.weight_hh_l0\.original, "):
        lg.interop.from_torch(net)
    torch.nn.utils.parametrize.remove_parametrizations(net, "weight_hh_l0")
    lg.interop.from_torch(net)

    class Pair(torch.nn.Module):
        def forward(self, one, other):
            return one * other

        def right_inverse(self, weight):
            return torch.ones(4 * H, 1), weight

    net = torch.nn.LSTM(D, H)
    torch.nn.utils.parametrize.register_parametrization(net, "weight_hh_l0", Pair())
    with pytest.raises(ValueError, match="weight_hh_l0 is parametrized by Pair"):
        lg.interop.from_torch(net)
