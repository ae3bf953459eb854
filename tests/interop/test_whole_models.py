"""The guide's lines for models with an embedding and a head, run as they stand there."""

import re
import warnings
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from keras_layers import keras, lenient
from parity import filled
from registry import slow

import lstmgrad as lg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import haiku as hk
    from flax import linen as nn
    from flax import nnx

PAGE = Path(__file__).parents[2] / "examples" / "guides" / "bring_a_model.md"
WORDS, D, H, CLASSES, T = 9, 3, 4, 5, 6
TOKENS = jnp.asarray(np.random.default_rng(0).integers(WORDS, size=T))
LABELS = jnp.asarray(np.random.default_rng(1).integers(CLASSES, size=T))


def criterion(logits, labels):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def guide():
    """The lines for each framework, and those for all."""
    text = PAGE.read_text(encoding="utf-8")
    block = re.search(r"## A whole model in JAX.*?```text\n(.*?)```", text, re.DOTALL)
    assert block is not None
    parts = re.split(r"^# (.*)\n", block[1], flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


class EquinoxNet(eqx.Module):
    embedding: eqx.nn.Embedding
    cell: eqx.nn.LSTMCell
    head: eqx.nn.Linear


def of_equinox():
    keys = jax.random.split(jax.random.key(0), 3)
    net = EquinoxNet(
        eqx.nn.Embedding(WORDS, D, key=keys[0]),
        eqx.nn.LSTMCell(D, H, key=keys[1]),
        eqx.nn.Linear(H, CLASSES, key=keys[2]),
    )

    def loss(cell):
        def step(state, x):
            after = cell(x, state)
            return after, after[0]

        start = jnp.zeros(H), jnp.zeros(H)
        _, outputs = jax.lax.scan(step, start, jax.vmap(net.embedding)(TOKENS))
        return criterion(jax.vmap(net.head)(outputs), LABELS)

    return {"net": net}, lambda: jax.grad(loss)(net.cell)


class NNXNet(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.embedding = nnx.Embed(WORDS, D, rngs=rngs)
        self.rnn = nnx.RNN(nnx.LSTMCell(D, H, rngs=rngs), rngs=rngs)
        self.head = nnx.Linear(H, CLASSES, rngs=rngs)


def of_nnx():
    net = NNXNet()
    graph, weights = nnx.split(net.rnn)

    def loss(weights):
        rnn = nnx.merge(graph, weights)
        return criterion(net.head(rnn(net.embedding(TOKENS)[None])[0]), LABELS)

    return {"net": net}, lambda: jax.grad(loss, allow_int=True)(weights)["cell"]


class LinenNet(nn.Module):
    def setup(self):
        self.embedding = nn.Embed(WORDS, D)
        self.rnn = nn.RNN(nn.LSTMCell(H))
        self.head = nn.Dense(CLASSES)

    def __call__(self, tokens):
        return self.head(self.rnn(self.embedding(tokens)))


def of_linen():
    net: Any = LinenNet()
    variables = filled(jax.eval_shape(net.init, jax.random.key(0), TOKENS), 1)

    def gradient():
        whole = jax.grad(lambda variables: criterion(net.apply(variables, TOKENS), LABELS))
        return whole(variables)["params"]["rnn"]["cell"]

    return {"net": net, "variables": variables}, gradient


def core():
    return hk.LSTM(H)


def of_haiku():
    embedding = hk.transform(lambda tokens: hk.Embed(WORDS, D)(tokens))
    head = hk.transform(lambda h: hk.Linear(CLASSES)(h))

    def network(tokens):
        lstm = core()
        start = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), lstm.initial_state(None))
        embedded = hk.Embed(WORDS, D)(tokens)
        outputs, _ = hk.dynamic_unroll(lstm, embedded, start)
        return hk.Linear(CLASSES)(outputs)

    net = hk.transform(network)
    params = filled(jax.eval_shape(net.init, jax.random.key(0), TOKENS), 1)
    given = {"core": core, "embedding": embedding, "head": head, "params": params}

    def gradient():
        whole = jax.grad(lambda params: criterion(net.apply(params, None, TOKENS), LABELS))(params)
        return whole["lstm/linear"]

    return given, gradient


def of_keras():
    net = keras.Sequential(
        [
            keras.layers.Embedding(WORDS, D),
            keras.layers.LSTM(H, return_sequences=True),
            keras.layers.Dense(CLASSES),
        ]
    )
    net.build((None, T))

    def loss(weights):
        values = [weight.value for weight in net.trainable_variables]
        values[1:4] = weights
        fixed = [variable.value for variable in net.non_trainable_variables]
        logits = net.stateless_call(values, fixed, TOKENS[None])[0]
        return criterion(logits[0], LABELS)

    def gradient():
        kernel, recurrent, bias = jax.grad(loss)([v.value for v in net.layers[1].cell.weights])
        return lg.cells.LSTMParams(kernel.T, recurrent.T, bias)  # both have i, f, c, o

    return {"net": net}, gradient


FRAMEWORKS = {
    "Equinox": of_equinox,
    "Flax, nnx": of_nnx,
    "Flax, linen": of_linen,
    "Haiku": of_haiku,
    "Keras": of_keras,
}


def test_the_guide_has_every_framework_in_at_most_five_lines():
    lines = guide()
    rest = lines.pop("and for all of them")
    assert [name.split(" where")[0].rstrip(",") for name in lines] == list(FRAMEWORKS)
    assert max(len((own + rest).splitlines()) for own in lines.values()) <= 5


@pytest.mark.parametrize("framework", ["Keras", *(slow(n) for n in FRAMEWORKS if n != "Keras")])
def test_the_lines_give_the_gradient_of_the_whole_model(framework):
    lines = guide()
    (own,) = [code for name, code in lines.items() if name.startswith(framework)]
    with lenient():
        given, gradient = FRAMEWORKS[framework]()
        names = {"jax": jax, "lg": lg, "tokens": TOKENS, "labels": LABELS, "criterion": criterion}
        names |= given
        exec(own + lines["and for all of them"], names)
        expected = [leaf for leaf in jax.tree.leaves(gradient()) if eqx.is_inexact_array(leaf)]
    found: Any = names["found"]
    weights = found.gradient["lstm/linear"] if framework == "Haiku" else found.gradient
    assert np.abs(np.concatenate([leaf.ravel() for leaf in expected])).max() > 1e-3
    for got, one in zip(jax.tree.leaves(weights), expected, strict=True):
        np.testing.assert_allclose(got, one, rtol=0, atol=2e-6)
    assert found.input_gradients.shape == (T, D)
