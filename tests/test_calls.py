"""Calls that do not fit: options by position, names that do not exist, arguments exchanged."""

import importlib
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from registry import chain_of, problem

import lstmgrad as lg

pytestmark = pytest.mark.usefixtures("as_installed")

ROOMS = ("cells", "diagnosis", "interop", "plot", "report", "tasks", "theory", "training")
# Functions that are handed to others and run inside of a step.
PARTS_OF_STEPS = ("dense", "layer_input")


def public_functions():
    for room in ("", *(f".{room}" for room in ROOMS)):
        module = importlib.import_module(f"lstmgrad{room}")
        for name in getattr(module, "__all__", None) or vars(module):
            value = getattr(module, name)
            ours = getattr(value, "__module__", "").startswith(f"lstmgrad{room}")
            if ours and inspect.isfunction(value) and name not in PARTS_OF_STEPS:
                yield pytest.param(value, id=f"{room}.{name}".strip("."))


FUNCTIONS = list(public_functions())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_too_many_arguments_get_a_sentence(function):
    signature = inspect.signature(function)
    if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        return
    with pytest.raises(
        TypeError, match=rf"^{function.__name__}: expected .*, but got 12 arguments"
    ):
        function(*range(12))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_missing_is_named(function):
    parameters = inspect.signature(function).parameters.values()
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if not needed:
        return
    message = (
        rf"^{needed[0]}: expected a value, but got none. Write {function.__name__}\({needed[0]}"
    )
    with pytest.raises(TypeError, match=message):
        function()


def given():
    chain = chain_of("lstm")
    return chain, chain.model, chain.trajectory, problem("lstm").inputs


loose: Any = lg  # calls that a type checker would refuse

CALLS = {
    "options in order": (
        lambda c, m, t, x: loose.backward_norms(c, "h", "h"),
        r"^backward_norms: expected chain alone by position, but got 3 arguments. Name the "
        r"options: backward_norms\(chain, of='h', wrt='h'\)\.$",
    ),
    "options that are long": (
        lambda c, m, t, x: loose.jacobian(c, x),
        r"^jacobian: .* got 2 arguments. Name the options: of=, wrt=\.$",
    ),
    "options beside one by name": (
        lambda c, m, t, x: loose.backward_norms(c, 2, of="h"),
        r"backward_norms\(chain, wrt=2\)",
    ),
    "no options": (
        lambda c, m, t, x: loose.routes(c, "h"),
        r"^routes: expected chain alone, but got 2 arguments. Write routes\(chain\)\.$",
    ),
    "a misspelt option": (
        lambda c, m, t, x: loose.backward_norms(c, wtr="h"),
        r"^backward_norms: expected its options of=, wrt=.* and length=, but got wtr=. Did you "
        r"mean wrt=\?$",
    ),
    "an option that is none": (
        lambda c, m, t, x: loose.routes(c, of="h"),
        r"^routes: expected no options, but got of=. Leave it out\.$",
    ),
    "twice": (
        lambda c, m, t, x: loose.routes(c, chain=c),
        "^chain: expected one value, but got two, by position and by name",
    ),
    "a model in three arguments' place": (
        lambda c, m, t, x: loose.unroll(m, x),
        r"^unroll: expected step, params, state and inputs, .*a Model and 1 more. Write "
        r"unroll\(\*model, inputs\)\.$",
    ),
    "model and inputs": (lambda c, m, t, x: loose.chain(x, m), "^model, inputs: .*Exchange them"),
    "chain and cotangents": (
        lambda c, m, t, x: loose.contributions(t.states, c),
        "^chain, cotangents: expected them in this order, but got them the other way around",
    ),
    "loss and trajectory": (
        lambda c, m, t, x: loose.loss_cotangents(t, lambda states: jnp.sum(states.h)),
        "^loss, trajectory: expected them in this order",
    ),
    "a number for a loss": (
        lambda c, m, t, x: loose.loss_cotangents(jnp.sum(t.states.h), t),
        r"^loss: expected a function of the states, but got float64\[\]",
    ),
    "a loss for cotangents": (
        lambda c, m, t, x: loose.adjoint(c, len),
        "^cotangents: expected arrays, but got the function len. loss_cotangents",
    ),
    "a seed for a key": (
        lambda c, m, t, x: loose.cells.lstm(2, 3).init(0),
        r"^key: expected a random key, but got 0. jax.random.key\(0\) makes one",
    ),
    "an array for a chain": (
        lambda c, m, t, x: loose.backward_norms(x),
        r"^chain: expected an lstmgrad Chain, but got float64\[5,2\]: chain\(model, inputs\)",
    ),
    "a chain for matrices": (
        lambda c, m, t, x: loose.DenseChain(c),
        r"^factors: expected matrices .* got ImplicitChain. DenseChain.of\(chain\)",
    ),
    "a text for a vector": (
        lambda c, m, t, x: loose.push_forward(c, "f"),
        "^tangents: expected an array, but got 'f'",
    ),
    "a result for an array": (
        lambda c, m, t, x: loose.kaplan_yorke_dimension(lg.scaled(x)),
        "^exponents: expected an array, but got Scaled. Pass its mantissa",
    ),
    "a chain for a model": (
        lambda c, m, t, x: loose.swap_response(c, x, at=0, replacements=x),
        r"^model: expected an lstmgrad Model, but got ImplicitChain: cell\.model\(params\)",
    ),
    "a name in front": (
        lambda c, m, t, x: loose.tag("h", x),
        "^name: expected a text, but got float64",
    ),
    "a word for a function": (
        lambda c, m, t, x: loose.chain(m, x, linearize="diagonal"),
        "^linearize: expected lg.linearize, .* or lg.linearize_one_sided, but got 'diagonal'",
    ),
    "a word for an initializer": (
        lambda c, m, t, x: loose.cells.rnn(2, 3, recurrent_init="zeros").init(jax.random.key(0)),
        "^recurrent_init: expected an initializer, .* but got 'zeros'. lg.cells.orthogonal",
    ),
    "a dtype that is none": (
        lambda c, m, t, x: loose.cells.rnn(2, 3, dtype="float99").init(jax.random.key(0)),
        "^dtype: expected a floating-point dtype or None, but got 'float99'",
    ),
    "a dtype of integers": (
        lambda c, m, t, x: loose.cells.rnn(2, 3, dtype=int).init(jax.random.key(0)),
        "^dtype: expected a floating-point dtype or None, but got int",
    ),
    "a task of integers": (
        lambda c, m, t, x: loose.tasks.delayed_xor(jnp.int32),
        "^dtype: expected a floating-point dtype or None, but got int32",
    ),
    "a word for a factor": (
        lambda c, m, t, x: loose.cells.identity("half"),
        "^scale: expected a number, but got 'half'",
    ),
    "no number for a gain": (
        lambda c, m, t, x: loose.cells.orthogonal(None),
        "^gain: expected a number, but got None",
    ),
    "words for numbers": (
        lambda c, m, t, x: loose.theory.forget_half_life("one"),
        "^bias: expected numbers, but got 'one'",
    ),
    "no lags": (
        lambda c, m, t, x: loose.theory.critical_log_decay(None, 1.0),
        "^lags: expected numbers, but got None",
    ),
    "one number for a spectrum": (
        lambda c, m, t, x: loose.effective_rank(1.0),
        r"^log_values: expected the logarithm of one singular value .* but got shape \(\)",
    ),
    "no spectrum": (
        lambda c, m, t, x: loose.log_condition(None),
        "^log_values: expected an array, but got None",
    ),
    "whole numbers to scale": (
        lambda c, m, t, x: loose.scaled(jnp.arange(3)),
        r"^array: expected floats, but got int.*\[3\]. Convert it",
    ),
    "a number for evidence": (
        lambda c, m, t, x: loose.diagnosis.shown(3.0),
        "^entry: expected an lstmgrad Evidence, but got float",
    ),
    "a readout of no state": (
        lambda c, m, t, x: loose.interop.dense(None, x),
        "^state: expected a NamedTuple with a part h, or h0, h1, ..., but got float",
    ),
    "a cell for a model": (
        lambda c, m, t, x: loose.diagnosis.on_task(
            lg.cells.rnn(2, 3), lg.tasks.adding(), jax.random.key(0), delay=3
        ),
        "^model: expected an lstmgrad Model, but got Cell",
    ),
    "a seed for the key of a training": (
        lambda c, m, t, x: loose.training.fit(m, lg.tasks.adding(), 0, delay=3),
        "^key: expected a random key, but got 0",
    ),
    "cells in a stack": (
        lambda c, m, t, x: loose.interop.stack([lg.cells.lstm(2, 3)]),
        r"^models\[0\]: expected an lstmgrad Model, but got Cell",
    ),
    "one model for a list": (
        lambda c, m, t, x: loose.interop.stack(m),
        r"^models: expected a list of models, but got one Model\. Pass \[model\]",
    ),
    "a result for panels": (
        lambda c, m, t, x: loose.plot.comparison(m),
        r"^panels: expected a dict of curves",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_call_that_does_not_fit(case):
    call, message = CALLS[case]
    with pytest.raises((TypeError, ValueError), match=message):
        call(*given())


def test_an_error_from_inside_is_left_as_it_is():
    def broken(states):
        raise TypeError("gate")

    with pytest.raises(TypeError, match="gate"):
        lg.loss_cotangents(broken, given()[2])
