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
ZERO = STATE.h
LSTM = r"state: expected LSTMState\(h, c\), which the step reads and returns, but got "


def by_key(params, state, x):
    """A step whose parameters and state are dicts."""
    weights = params["cell"]
    return {"h": jnp.tanh(weights["U"] @ state["h"] + weights["W"] @ x)}


def by_place(params, state, x):
    """A step that takes its state apart."""
    h, c = state
    c = 0.5 * c + params["U"] @ h + params["W"] @ x
    return jnp.tanh(c), c


WEIGHTS = {"U": jnp.ones((6, 6)), "W": jnp.ones((6, 3))}
TREE, PLACES = {"cell": WEIGHTS}, (ZERO, ZERO)


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
    "state and inputs": (own(state=INPUTS), STATE, "^state, inputs: expected them in this"),
    "below": (
        own(by_key, WEIGHTS, {"h": ZERO}),
        INPUTS,
        r"^params: expected a tree that has 'cell', .* Pass \{'cell': params\}, or the whole tree",
    ),
    "another key": (
        own(by_key, {"net": WEIGHTS}, {"h": ZERO}),
        INPUTS,
        "^params: expected a tree that has 'cell', which the step reads, .* a dict with 'net'",
    ),
    "no parameters": (
        own(params=None),
        INPUTS,
        "^params: expected parameters with weight_ih.*None",
    ),
    "a key for parameters": (
        own(params=jax.random.key(0)),
        INPUTS,
        r"^params: expected parameters with weight_ih, .*got key<fry>\[\]. Those of a cell are",
    ),
    "a tuple": (own(state=(ZERO, ZERO)), INPUTS, LSTM + r"\(float64\[6\], float64\[6\]\)"),
    "a dict": (own(state={"h": ZERO, "c": ZERO}), INPUTS, LSTM + "a dict with 'c', 'h'"),
    "one array": (own(state=ZERO), INPUTS, LSTM + r"float64\[6\]"),
    "another cell's state": (own(state=lg.cells.GRUState(ZERO)), INPUTS, LSTM + r"GRUState\(h\)"),
    "a dict for a tuple": (
        own(by_place, WEIGHTS, {"h": ZERO, "c": ZERO}),
        INPUTS,
        r"^state: expected \(float64\[6\], float64\[6\]\), which",
    ),
    "one array for a tuple": (
        own(by_place, WEIGHTS, ZERO),
        INPUTS,
        r"^state: expected \(float64\[6",
    ),
    "a record for a tuple": (own(by_place, WEIGHTS, STATE), INPUTS, r"^state: .* got LSTMState\(h"),
    "a tuple for a dict": (
        own(by_key, TREE, (ZERO,)),
        INPUTS,
        "^state: expected a dict with 'h', ",
    ),
    "another part": (
        own(by_key, TREE, {"c": ZERO}),
        INPUTS,
        "^state: .*'h', .* got a dict with 'c'",
    ),
    "no state": (
        own(state=None),
        INPUTS,
        r"^state: .*got None. That of a cell is cell.initial",
    ),
    "another size": (
        own(state=lg.cells.LSTMState(jnp.zeros(5), jnp.zeros(5))),
        INPUTS,
        r"^state: expected arrays of shape \(6,\), but got float64\[5\]",
    ),
    "a batch of states": (
        own(state=jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), STATE)),
        INPUTS,
        r"^state: expected that of one sequence, .*\[2,6\]. Drop the batch",
    ),
    "a batch of both": (
        own(state=jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), STATE)),
        jnp.ones((12, 2, 3)),
        "^inputs, state: expected those of one sequence, but got a batch",
    ),
    "a list of steps": (
        own(),
        [jnp.ones(3)] * 4,
        r"^inputs: expected one array \(T, 3\).*jnp.stack",
    ),
    "a text": (own(), "f", "^inputs: expected arrays, but got 'f'"),
    "no return": (own(lambda p, s, x: None), INPUTS, "^step: .*it returned None. Return the new"),
    "two arguments": (
        own(step=lambda s, x: s),
        INPUTS,
        r"^step: expected a function of three arguments, .*got <lambda>\(s, x\). Wrap it",
    ),
    "a cell of Equinox": (own(step=OTHER), INPUTS, r"^step: .* got GRUCell\(input, hidden, key\)"),
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
