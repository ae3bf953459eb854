"""Parameters of Flax in files, found by their names: MessagePack, and folders of Orbax."""

import warnings

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import D, H, filled, sequence

import lstmgrad as lg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import orbax.checkpoint as ocp

CELLS = {
    "lstm": nn.LSTMCell(H),
    "optimized": nn.OptimizedLSTMCell(H),
    "gru": nn.GRUCell(H),
    "simple": nn.SimpleCell(H),
    "mgu": nn.MGUCell(H),
}


def params_of(cell, seed=0):
    """Random parameters, biases included."""
    key, x = jax.random.key(0), jnp.zeros(D, "float32")
    shapes = jax.eval_shape(lambda: cell.init(key, cell.initialize_carry(key, (D,)), x)["params"])
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, "float32"), shapes)
    return jax.tree.map(np.asarray, filled(zeros, seed))


def training(params, other):
    """A training state around a model with two cells: the optimizer has the same names again."""
    model = {"encoder": {"lstm": params}, "decoder": {"cell": other}, "head": {"bias": np.ones(2)}}
    return {"step": 3, "params": model, "opt_state": {"0": {"mu": model, "nu": model}}}


def written(tree, tmp_path):
    path = tmp_path / "model.msgpack"
    path.write_bytes(flax.serialization.msgpack_serialize(tree))
    return path


def saved(tree, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ocp.PyTreeCheckpointer().save(path, tree)
    return path


def assert_params(model, params):
    assert jax.tree.structure(model.params) == jax.tree.structure({"params": params})
    jax.tree.map(np.testing.assert_array_equal, model.params, {"params": params})


@pytest.mark.parametrize("name", CELLS)
def test_the_parameters_of_a_cell(name, tmp_path):
    cell = CELLS[name]
    params = params_of(cell)
    for tree in (params, {"params": params}, {"params": {"rnn": {"cell": params}}}):
        assert_params(lg.interop.from_linen(cell, written(tree, tmp_path)), params)


def test_a_cell_is_found_in_a_training_state(tmp_path):
    params, other = params_of(CELLS["lstm"], 1), params_of(CELLS["gru"], 2)
    path = written(training(params, other), tmp_path)
    assert_params(lg.interop.from_linen(nn.RNN(CELLS["lstm"]), path), params)
    assert_params(lg.interop.from_linen(CELLS["gru"], str(path)), other)
    with pytest.raises(
        ValueError, match=r"variables: expected parameters 'h', 'i', .* has them now"
    ):
        lg.interop.from_linen(CELLS["simple"], path)


@pytest.mark.parametrize("write", [written, lambda tree, path: saved(tree, path / "step")])
def test_several_cells_are_told_by_what_is_around_them(write, tmp_path):
    params, other = params_of(CELLS["lstm"], 1), params_of(CELLS["lstm"], 2)
    path = write(training(params, other), tmp_path)
    cell = CELLS["lstm"]
    assert_params(lg.interop.from_linen(cell, path, prefix="decoder.cell"), other)
    assert_params(lg.interop.from_linen(cell, path, prefix="lstm"), params)
    message = r"prefix: expected the modules .* because .* has 2 such cells, but got None"
    with pytest.raises(ValueError, match=message):
        lg.interop.from_linen(cell, path)
    with pytest.raises(ValueError, match=r"^prefix: expected the modules around .* but got 'oder'"):
        lg.interop.from_linen(cell, path, prefix="oder")


def test_a_file_computes_what_flax_computes(tmp_path):
    cell = CELLS["lstm"]
    params = params_of(cell)
    model = lg.interop.from_linen(cell, written(params, tmp_path))
    inputs = sequence("float32", 5)
    carry = (jnp.zeros(H), jnp.zeros(H))
    carry = jax.tree.map(lambda leaf: leaf.astype("float32"), carry)
    for x in inputs:
        carry, _ = cell.apply({"params": params}, carry, x)
    states = lg.unroll(*model, inputs).states
    np.testing.assert_allclose(states.h[-1], carry[1], rtol=0, atol=1e-6)


def test_the_folder_of_a_manager_has_a_folder_for_each_step(tmp_path):
    params = params_of(CELLS["lstm"])
    for step in (7, 12):
        saved({"params": params}, tmp_path / "run" / str(step) / "default")
    assert_params(lg.interop.from_linen(CELLS["lstm"], tmp_path / "run" / "12"), params)
    with pytest.raises(ValueError, match=r"run has those of steps 7, 12\. Pass path / '12'\."):
        lg.interop.from_linen(CELLS["lstm"], tmp_path / "run")


def test_what_does_not_fit_is_said(tmp_path):
    path = written(params_of(CELLS["lstm"]), tmp_path)
    with pytest.raises(ValueError, match="cell: expected as many features as the parameters in"):
        lg.interop.from_linen(nn.LSTMCell(H + 1), path)

    class Own(nn.Module):
        pass

    with pytest.raises(ValueError, match="is not known of Own, but got a path"):
        lg.interop.from_linen(Own(), path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"intact MessagePack file, .* but model\.msgpack is none"):
        lg.interop.from_linen(CELLS["lstm"], path)
    with pytest.raises(ValueError, match="intact folder of one step, written by Orbax"):
        lg.interop.from_linen(CELLS["lstm"], tmp_path)
    with pytest.raises(FileNotFoundError):
        lg.interop.from_linen(CELLS["lstm"], tmp_path / "none.msgpack")
