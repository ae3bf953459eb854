"""Cells of the commands: readouts, random streams, training."""

import math

import jax
import jax.numpy as jnp
import pytest

import lstmgrad as lg
from lstmgrad.cli._shared import training
from lstmgrad.cli._shared.kinds import CELLS, KINDS
from lstmgrad.cli._shared.sequences import read_sequence


def test_training_lowers_the_loss():
    sequence = read_sequence(None)
    model = training.build(CELLS["rnn"], sequence, 4, jnp.dtype("float32"))
    params = model.init(jax.random.key(0))
    loss = training.evaluator(model)
    trained = training.train(model, params, jax.random.key(1), 30)
    assert float(loss(params)) == pytest.approx(math.log(sequence.width), abs=0.5)
    assert float(loss(trained)) < float(loss(params)) - 0.1
    assert {leaf.dtype for leaf in jax.tree.leaves(trained)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", lg.cells.registry())
def test_every_cell_has_a_readout_and_parts(name):
    kind, sequence = KINDS[name], read_sequence(None)
    model = training.build(kind, sequence, 3, jnp.dtype("float32"))
    params = jax.eval_shape(model.init, jax.random.key(0))
    rows = jax.ShapeDtypeStruct((5,), jnp.int32)
    loss, gradients = jax.eval_shape(jax.value_and_grad(model.loss), params, rows)
    assert (loss.shape, loss.dtype) == ((), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}
    sizes = {"lru": 6, "s5": 6, "selective_ssm": 48, "mamba_2": 48, "s4d": 96}
    features = sizes.get(name, 3)
    assert params.weight.shape == (sequence.width, features)
    # The stabilizer m is held.
    two = {"co_rnn": "hz", "lin_oss": "hz", "slstm": "hcn", "mlstm": "hcn", "min_lstm": "h"}
    two |= dict.fromkeys(("delta_net", "gated_delta_net", "rwkv_7"), "hs")
    assert kind.parts(3) == tuple(two.get(name, "hc" if "lstm" in name[-9:] else "h"))


def test_the_random_streams_of_the_cells_are_their_own():
    numbers = {name: kind.number for name, kind in KINDS.items()}
    assert [numbers[name] for name in ("rnn", "gru", "lstm")] == [0, 1, 2]
    assert len(set(numbers.values())) == len(numbers) == len(lg.cells.registry())
    assert numbers["peephole_lstm"] == 3450917008  # wherever it stands in the registry
