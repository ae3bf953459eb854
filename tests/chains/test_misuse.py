"""What people pass instead of a step, parameters, a state and one sequence: a sentence each."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import lstmgrad as lg

pytestmark = pytest.mark.usefixtures("as_installed")

CELL = lg.cells.lstm(3, 6)
PARAMS, STATE = CELL.init(jax.random.key(0)), CELL.initial_state()
INPUTS = jnp.ones((12, 3))
OTHER = eqx.nn.GRUCell(3, 6, key=jax.random.key(0))


def own(step=CELL.step, params=PARAMS, state=STATE):
    return lg.Model(step, params, state)


CASES = {
    "the cell": (own(step=CELL), INPUTS, "^step: expected a function .*got Cell. Pass its step"),
    "a number": (own(step=3), INPUTS, "^step: expected a function .*got int. Write one"),
    "exchanged": (
        own(params=STATE, state=PARAMS),
        INPUTS,
        "^params, state: expected them in this order",
    ),
    "a key": (own(params={"cell": PARAMS}), INPUTS, r"under 'cell'. Pass params\['cell'\]."),
    "an index": (own(params=(0.0, PARAMS)), INPUTS, r"under 1. Pass params\[1\]."),
    "a batch": (own(), jnp.ones((4, 12, 3)), r"^inputs: .* a batch: float64\[12,3\] at every step"),
    "tokens": (own(), jnp.zeros(12, int), r"^inputs: expected 3 numbers .*\(T, 3\).* Embed the"),
    "scalars": (own(), jnp.zeros(12, jnp.float32), "^inputs: expected 3 numbers .*got float32"),
    "features": (own(), jnp.ones((12, 5)), "^inputs: expected 3 numbers at every step"),
    "a batch elsewhere": (lg.interop.from_equinox(OTHER), jnp.ones((4, 12, 3)), "a batch: float"),
}


def unrolled(model, inputs):
    return lg.unroll(model.step, model.params, model.state, inputs)


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_named(case):
    model, inputs, message = CASES[case]
    for call in (lg.chain, unrolled):
        with pytest.raises(ValueError, match=message):
            call(model, inputs)


def test_an_error_of_the_step_itself_is_left_as_it_is():
    def broken(params, state, x):
        raise KeyError("gate")

    with pytest.raises(KeyError, match="gate"):
        lg.chain(own(step=broken), INPUTS)
