"""Cells against the libraries that they are known from, where these are installed.

Parameters are random and both sides have the same ones; sequences start at a state of zeros. The
libraries are ncps, fla-core (with einops), s5-pytorch and linoss-dynamics, and PyTorch. S4D has
none that is kept; Mamba-2 and Gated DeltaNet are held against transformers in interop, too.
"""

import importlib.util
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hand import sigmoid

import lstmgrad as lg

T, D, H = 6, 3, 4
SHORT = 1e-2
"""What keys are multiplied by where what divides them is to be told from their length alone."""


def draw(cell):
    """Random parameters and inputs, in double precision."""
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: 0.7 * generator.standard_normal(leaf.shape), shapes)
    return params, generator.standard_normal((T, D))


def states_of(cell, params, inputs):
    model = cell.model(params)
    states = lg.unroll(model.step, model.params, model.state, inputs).states
    return jax.tree.map(lambda leaf: leaf[1:], states)


def naive(name):
    """The functions of a file of flash-linear-attention, whose packages themselves need a GPU."""
    pytest.importorskip("einops")
    spec = importlib.util.find_spec("fla")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        pytest.skip("could not import 'fla': No module named 'fla'")
    return runpy.run_path(str(Path(folders[0], "ops", name, "naive.py")))


def test_cfc_is_the_cell_of_ncps():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("ncps.torch").CfCCell(D, H, backbone_units=5).double()
    elapsed = 1.7
    ours = lg.cells.cfc(D, H, backbone_size=5, step_size=elapsed, dtype="float64")
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for leaf in theirs.parameters():
            leaf.copy_(torch.tensor(0.7 * generator.standard_normal(leaf.shape)))
    backbone, *heads = (
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in (theirs.backbone[0], theirs.ff1, theirs.ff2, theirs.time_a, theirs.time_b)
    )
    (g, b_g), (k, b_k), (f, b_f), (constant, b_constant) = heads
    narrower = 0.666 / (2 / 3)
    weight = narrower * backbone[0]
    params = lg.cells.CfCParams(
        weight[:, :D],
        weight[:, D:],
        narrower * backbone[1],
        jnp.concatenate([g, k, f + constant / elapsed]),
        jnp.concatenate([b_g, b_k, b_f + b_constant / elapsed]),
    )
    inputs, h, expected = generator.standard_normal((T, D)), torch.zeros(1, H).double(), []
    for x in torch.tensor(inputs):
        h = theirs(x[None], h, elapsed)[0]
        expected.append(h[0].detach().numpy())
    found = states_of(ours, params, inputs).h
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["delta_net", "gated_delta_net"])
def test_delta_rules_are_those_of_flash_linear_attention(name):
    torch = pytest.importorskip("torch")
    cell = lg.cells.registry()[name](D, H, dtype="float64")
    params, inputs = draw(cell)
    params.weight_ih[H : 2 * H] *= SHORT
    q, k, v = torch.nn.functional.silu(torch.tensor(inputs @ params.weight_ih.T)).split(H, dim=1)
    q, k = (part / (part.square().sum(1, keepdim=True) + 1e-6).sqrt() for part in (q, k))
    beta = torch.tensor(sigmoid(inputs @ params.weight_beta))
    if name == "delta_net":
        # Batch and head come first; queries are divided by the root of their size.
        recur = naive("delta_rule")["delta_rule_recurrence"]
        outputs, s = recur(*(part[None, None] for part in (H**0.5 * q, k, v, beta)))
        outputs = outputs[0, 0]
    else:
        # The head comes third.
        drive = torch.tensor(inputs @ params.weight_alpha + params.bias_alpha)
        alpha_log = -np.exp(params.a_log) * torch.nn.functional.softplus(drive)
        recur = naive("gated_delta_rule")["naive_recurrent_gated_delta_rule"]
        parts = (part[None, :, None] for part in (q, k, v, beta, alpha_log))
        outputs, s = recur(*parts, scale=1.0, output_final_state=True)
        outputs = outputs[0, :, 0]
    found = states_of(cell, params, inputs)
    # Theirs is in single precision, and keys by values.
    np.testing.assert_allclose(found.h, outputs.numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.s[-1].T, s[0, 0].numpy(), rtol=0, atol=1e-6)


def test_rwkv_7_is_the_generalized_delta_rule_of_flash_linear_attention():
    torch = pytest.importorskip("torch")
    cell = lg.cells.rwkv_7(D, H, dtype="float64")
    params, inputs = draw(cell)
    params.weight_ih[H : 2 * H] *= SHORT
    r, k, v = torch.tensor(inputs @ params.weight_ih.T).split(H, dim=1)
    gates = torch.tensor(sigmoid(inputs @ params.weight_gates.T + params.bias_gates))
    decay, rate = gates.split(H, dim=1)
    kappa = torch.nn.functional.normalize(k * torch.tensor(params.removal), dim=1)
    written = k.addcmul(k * (rate - 1), torch.tensor(params.replacement))
    parts = (H**0.5 * r, written, v, -kappa, kappa * rate, -0.6065306597126334 * decay)
    recur = naive("generalized_delta_rule/dplr")["dplr_recurrence"]
    outputs, s = recur(*(part.float()[None, None] for part in parts))
    found = states_of(cell, params, inputs)
    np.testing.assert_allclose(found.h, outputs[0, 0].numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.s[-1].T, s[0, 0].numpy(), rtol=0, atol=1e-6)


def test_s5_is_that_of_s5_pytorch():
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("s5.s5_model")
    torch.manual_seed(0)
    poles, *_ = library.make_DPLR_HiPPO(2 * H)
    poles = poles[poles.imag > 0]
    one = torch.eye(H, dtype=torch.complex64)
    given = torch.tensor(poles, dtype=torch.complex64)
    theirs = library.S5SSM(given, one, one, D, H, 1e-3, 0.1, bcInit="dense")
    b, c, feedthrough, step_log = (
        leaf.detach().numpy() for leaf in (theirs.B, theirs.C, theirs.D, theirs.log_step)
    )
    cell = lg.cells.s5(D, H, dtype="float64")
    start = jax.tree.map(np.asarray, cell.init(jax.random.key(0)))
    at_start = -np.exp(start.decay_log) + 1j * start.frequency
    np.testing.assert_allclose(at_start, poles, rtol=0, atol=1e-12)
    params = start._replace(weight_re=b[..., 0], weight_im=b[..., 1], step_log=step_log)
    inputs = np.random.default_rng(0).standard_normal((T, D))
    h = np.asarray(states_of(cell, jax.tree.map(np.float64, params), inputs).h)
    expected, last = theirs(torch.tensor(inputs, dtype=torch.float32), return_state=True)
    found = (h @ c.T).real + feedthrough * inputs
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(h[-1], last.detach().numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("scheme", "theirs"), [("IM", "implicit"), ("IMEX", "implicit_explicit")])
def test_lin_oss_is_that_of_linoss_dynamics(scheme, theirs):
    library = pytest.importorskip("linoss_dynamics")
    cell = lg.cells.lin_oss(D, H, scheme=scheme, dtype="float64")
    params, inputs = draw(cell)
    found = states_of(cell, params, inputs)
    stiffness, steps = np.maximum(params.frequency, 0), sigmoid(params.time)
    for i in range(H):
        # One oscillator at a time, as theirs have a step in common.
        h, z = np.zeros((2, 1))
        for x, of_h, of_z in zip(inputs, found.h[:, i], found.z[:, i], strict=True):
            push = params.weight_ih[i] @ x
            h, z, _ = library.linoss_step(h, z, stiffness[i], steps[i], theirs, u=push)
            np.testing.assert_allclose([of_h, of_z], [h[0], z[0]], rtol=0, atol=1e-12)
