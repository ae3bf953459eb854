"""Fixed points against closed forms and the step itself; angles between covariant vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg


def scalar(weight, state, x):
    return jnp.tanh(weight * state + x)


def test_the_three_points_of_a_neuron():
    """h' = tanh(2 h): 0 and ±.9575040240772688, with slopes 2 and exp(-1.793528506542228)."""
    model = lg.Model(scalar, jnp.asarray(2.0), jnp.zeros(1))
    starts = jnp.linspace(-1.5, 1.5, 7)[:, None]
    found = lg.fixed_points(model, jnp.asarray(0.0), starts, steps=200)
    assert np.all(found.converged)
    points = np.sort(np.asarray(found.states)[np.asarray(found.distinct), 0])
    np.testing.assert_allclose(points, [-0.9575040240772688, 0, 0.9575040240772688], atol=1e-14)
    slopes = np.sort(np.asarray(found.eigenvalues[found.distinct].real)[:, 0])
    np.testing.assert_allclose(slopes, [*np.exp([-1.793528506542228] * 2), 2.0], rtol=1e-12)
    assert np.sum(np.asarray(found.stable) & np.asarray(found.distinct)) == 2
    assert lg.summary(found)["num_points"] == 3
    assert "3 fixed points, 2 stable" in repr(found)
    # A batch of networks: the first has the origin alone.
    weights = jnp.array([0.5, 2.0])
    many = jax.vmap(
        lambda w: lg.fixed_points(model._replace(params=w), jnp.asarray(0.0), starts, steps=200)
    )(weights)
    assert np.sum(many.distinct[0]) == 1
    np.testing.assert_allclose(many.eigenvalues[0, 0], 0.5)
    np.testing.assert_allclose(many.states[1], found.states, atol=1e-12)


@pytest.mark.slow
def test_points_and_eigenvalues_of_an_lstm_are_those_of_its_step():
    cell = lg.cells.lstm(2, 4, dtype=jnp.float64)
    params = cell.init(jax.random.key(0))
    model, x = cell.model(params), jnp.array([0.5, -0.5])
    keys = jax.random.split(jax.random.key(1), 2)
    starts = lg.cells.LSTMState(*(jax.random.normal(key, (12, 4)) for key in keys))
    found = lg.fixed_points(model, x, starts, steps=300)
    assert np.any(found.converged)
    best = jax.tree.map(lambda leaf: leaf[0], found.states)
    after = cell.step(params, best, x)
    for one, other in zip(best, after, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    chain = lg.chain(lg.Model(cell.step, params, best), x[None])
    np.testing.assert_allclose(
        np.abs(lg.step_eigenvalues(chain)[0]), np.abs(found.eigenvalues[0]), atol=1e-9
    )
    assert np.all(np.diff(found.residuals) >= 0)
    flat = np.concatenate([np.asarray(leaf) for leaf in found.states], axis=1)
    kept = flat[np.asarray(found.distinct)]
    apart = np.linalg.norm(kept[:, None] - kept[None], axis=-1) + np.eye(len(kept))
    assert apart.min() > 1e-3
    assert len(kept) < len(flat)


@pytest.mark.slow
def test_slow_points_and_none():
    """h' = h + .1 + h²: no fixed point, and the slowest state is 0, which moves by .1."""
    model = lg.Model(lambda p, h, x: h + 0.1 + h**2, None, jnp.zeros(1))
    found = lg.fixed_points(model, jnp.zeros(1), jnp.array([[-0.5], [0.3]]), steps=300)
    assert not np.any(found.converged)
    np.testing.assert_allclose(found.residuals, 0.1, rtol=1e-6)
    assert lg.summary(found)["num_slow"] == 1
    assert "0 fixed points" in repr(found)


@pytest.mark.usefixtures("as_installed")
def test_bad_input_gets_a_sentence():
    model = lg.Model(scalar, 2.0, jnp.zeros(1))
    with pytest.raises(ValueError, match=r"starts: expected states like the model's, float64\[1\]"):
        lg.fixed_points(model, 0.0, jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match="steps: expected a whole number, 1 or more, but got 0"):
        lg.fixed_points(model, 0.0, jnp.zeros((3, 1)), steps=0)
    with pytest.raises(ValueError, match="radius: expected a number above zero"):
        lg.fixed_points(model, 0.0, jnp.zeros((3, 1)), radius=-1)
    counting = lg.Model(lambda p, s, x: s, None, {"h": jnp.zeros(2), "n": jnp.zeros((), int)})
    with pytest.raises(ValueError, match="state: expected floating-point or complex leaves alone"):
        lg.fixed_points(counting, 0.0, {"h": jnp.zeros((3, 2)), "n": jnp.zeros(3, int)})
    with pytest.raises(ValueError, match="vectors: expected an lstmgrad LyapunovVectors"):
        lg.covariant_angles(jnp.ones(3))  # pyright: ignore[reportArgumentType]


def test_angles_are_those_of_the_eigenvectors():
    """Also where they are all but parallel, and for a batch."""

    def angles(slant):
        matrix = jnp.array([[0.9, 0.0], [0.0, 0.5]])
        basis = jnp.array([[1.0, 1.0], [0.0, 1.0]]).at[1, 1].set(slant)
        matrix = basis @ matrix @ jnp.linalg.inv(basis)
        chain = lg.DenseChain(jnp.broadcast_to(matrix, (130, 2, 2)))
        return lg.covariant_angles(lg.lyapunov_vectors(chain, burn_in=62))

    slants = jnp.array([1.0, 1e-6])
    found = jax.vmap(angles)(slants)
    for index in range(2):
        np.testing.assert_allclose(found[index, :, 0, 1], np.arctan(slants[index]), rtol=1e-7)
    np.testing.assert_array_equal(found[:, :, 0, 0], 0.0)
    np.testing.assert_array_equal(found, jnp.swapaxes(found, -1, -2))


@pytest.mark.slow
def test_exponents_of_each_example_are_those_of_the_loop():
    """Finite-time exponents of a batch: `vmap` of the spectrum, each by itself."""
    cell = lg.cells.rnn(2, 3, dtype=jnp.float64)
    model = cell.model(cell.init(jax.random.key(0)))
    batch = jax.random.normal(jax.random.key(1), (3, 20, 2))
    both = jax.vmap(lambda xs: lg.lyapunov_spectrum(lg.chain(model, xs)))(batch)
    for index, inputs in enumerate(batch):
        one = lg.lyapunov_spectrum(lg.chain(model, inputs))
        np.testing.assert_allclose(both.exponents[index], one.exponents, rtol=1e-9)
