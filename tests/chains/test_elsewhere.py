"""Steps that read from attributes, closures and globals get what these hold now."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import slow

import lstmgrad as lg
from lstmgrad._chains.elsewhere import CurrentStep, current_step

T, N = 6, 3
GENERATOR = np.random.default_rng(0)
W0 = 0.4 * GENERATOR.normal(size=(N, N))
INPUTS = jnp.asarray(GENERATOR.normal(size=(T, N)))
START = jnp.zeros(N)
GAIN = 1.0
W = jnp.asarray(W0)


class Reservoir:
    """A module that is its own step, as people write them."""

    weight = W
    gain = 1.0

    def step(self, params, state, x):
        return jnp.tanh(self.gain * (self.weight @ state) + x)


def from_globals(params, state, x):
    return jnp.tanh(GAIN * (W @ state) + x)


def helper(state):
    return GAIN * (W @ state)


def from_a_global_of_a_helper(params, state, x):
    return jnp.tanh(helper(state) + x)


def exact(weight):
    """ln of the norm of dh_T/dh_0 in NumPy."""
    h, product = np.zeros(N), np.eye(N)
    for x in np.asarray(INPUTS):
        h = np.tanh(weight @ h + x)
        product = (1 - h**2)[:, None] * weight @ product
    return np.log(np.linalg.norm(product, 2))


def last(chain):
    return float(lg.backward_norms(chain).log_norms[-1])


def chains(step):
    """Every way to a chain."""
    model = lg.Model(step, None, START)
    trajectory = lg.unroll(*model, INPUTS)
    return lg.chain(model, INPUTS), lg.linearize(step, None, trajectory)


@pytest.mark.parametrize("gain", [1.0, slow(2.0)])
def test_attributes(gain):
    net = Reservoir()
    for scale in (1.0, 1.5):
        net.gain, net.weight = gain, jnp.asarray(scale * W0)
        for chain in chains(net.step):
            np.testing.assert_allclose(last(chain), exact(gain * scale * W0), rtol=1e-12)
    chain = chains(net.step)[0]
    # A chain keeps what it was made with, whatever happens to the module.
    net.weight = jnp.zeros((N, N))
    np.testing.assert_allclose(last(chain), exact(gain * 1.5 * W0), rtol=1e-12)
    again = lg.chain(chain.model, INPUTS)
    np.testing.assert_allclose(last(again[1:]), last(chain[1:]), rtol=1e-14)


@pytest.mark.parametrize("step", [slow(from_globals), from_a_global_of_a_helper])
def test_globals(step, monkeypatch):
    for gain in (1.0, 2.0):
        monkeypatch.setitem(globals(), "GAIN", gain)
        for scale in (1.0, 1.5):
            monkeypatch.setitem(globals(), "W", jnp.asarray(scale * W0))
            np.testing.assert_allclose(last(chains(step)[0]), exact(gain * scale * W0), rtol=1e-12)


@pytest.mark.slow
def test_closures_and_arrays_of_numpy_that_are_written_into():
    weight = W0.copy()

    def step(params, state, x):
        return jnp.tanh(weight @ state + x)

    first = chains(step)[0]
    weight *= 2
    second = chains(step)[0]
    weight *= 0
    np.testing.assert_allclose([last(first), last(second)], [exact(W0), exact(2 * W0)], rtol=1e-12)
    forward = lg.forward_norms(lg.stream(step, None, START, INPUTS)).log_norms[-1]
    assert forward == -np.inf


def test_nothing_is_compiled_twice():
    """The program is the key of what is compiled: one for all values, others for other numbers."""
    net, programs = Reservoir(), []
    for scale, gain in ((1.0, 1.0), (2.0, 1.0), (2.0, 3.0), (2.0, 1.0)):
        net.weight, net.gain = scale * W, gain
        step = current_step(net.step, None, START, INPUTS)
        assert isinstance(step, CurrentStep)
        programs.append(step.program)
    assert programs[0] is programs[1] is programs[3] is not programs[2]


def test_pure_steps_are_left_alone():
    cells = {name: make(2, 3) for name, make in lg.cells.registry().items()}
    for cell in cells.values():
        assert current_step(cell.step, None, None, None) is cell.step

    class Module(eqx.Module):
        weight: jax.Array

        def step(self, params, state, x):
            return jnp.tanh(self.weight @ state + x)

    for step in (Module(W).step, lambda params, state, x: jax.nn.relu(params @ state) + x):
        assert current_step(step, W, START, INPUTS) is step


@pytest.mark.slow
def test_other_arguments_and_transformations():
    net = Reservoir()

    def norm(weight, inputs):
        net.weight = weight
        return lg.backward_norms(lg.chain(lg.Model(net.step, None, START), inputs)).log_norms[-1]

    step = 1e-6 * W
    difference = (norm(W + step, INPUTS) - norm(W - step, INPUTS)) / 2
    slope = jnp.vdot(jax.grad(norm)(W, INPUTS), step)
    np.testing.assert_allclose(slope, difference, rtol=1e-6)
    batch = jnp.stack([INPUTS, INPUTS[::-1]])
    net.weight = W
    found = jax.jit(jax.vmap(lambda inputs: norm(W, inputs)))(batch)
    np.testing.assert_allclose(found[0], exact(W0), rtol=1e-12)
    # Arguments of another kind than at the time: the step itself.
    net.weight = W
    kept = lg.chain(lg.Model(net.step, None, START), INPUTS).model.step
    np.testing.assert_allclose(
        kept(None, jnp.ones((N, 2)), jnp.zeros((N, 1))), jnp.tanh(W @ jnp.ones((N, 2)))
    )


@pytest.mark.slow
def test_tags_and_contributions():
    net = Reservoir()

    def step(params, state, x):
        return jnp.tanh(lg.tag(net.weight @ state, "recurrent") + params * x)

    chain = lg.chain(lg.Model(step, jnp.ones(N), START), INPUTS)
    assert isinstance(chain.model.step, CurrentStep)
    route = lg.routes(chain)["recurrent"]
    np.testing.assert_allclose(last(route), last(chain), rtol=1e-12)
    cotangents = jnp.zeros((T + 1, N)).at[-1].set(1)
    found = lg.contributions(chain, cotangents).gradient

    def loss(params):
        state = functools.reduce(lambda s, x: step(params, s, x), INPUTS, START)
        return jnp.sum(state)

    np.testing.assert_allclose(found, jax.grad(loss)(jnp.ones(N)), rtol=1e-12)
