"""Covariant vectors, against the dynamics that carries each into itself and eigenvectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import problem, random_chain

import lstmgrad as lg

LENGTH, BURN_IN = 160, 60


@pytest.fixture(scope="module")
def found():
    given = problem("lstm", length=LENGTH)
    chain = given.chain()
    return given, chain, lg.lyapunov_vectors(chain, burn_in=BURN_IN)


def test_each_step_carries_every_vector_into_the_next(found):
    _, chain, found = found
    vectors = np.asarray(found.vectors)
    assert vectors.shape == (LENGTH - 2 * BURN_IN + 1, 6, 6)
    np.testing.assert_array_equal(found.times, range(BURN_IN, LENGTH - BURN_IN + 1))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-12)
    factors = np.asarray(lg.DenseChain.of(chain[BURN_IN : LENGTH - BURN_IN]).factors)
    for before, factor, after, growths in zip(
        vectors, factors, vectors[1:], found.log_growths, strict=False
    ):
        np.testing.assert_allclose(factor @ before, np.exp(growths)[None] * after, atol=1e-9)


def test_they_are_not_the_frame_and_not_orthogonal(found):
    _, chain, found = found
    frame = np.asarray(lg.lyapunov_spectrum(chain[: LENGTH - BURN_IN], interval=1).state.frame)
    overlaps = np.abs(frame.T @ np.asarray(found.vectors[-1]))
    # The first is that of the frame; the second lies in the plane of the first two, and so on.
    np.testing.assert_allclose(overlaps[0, 0], 1, rtol=1e-9)
    np.testing.assert_allclose(np.tril(overlaps, -1), 0, atol=1e-9)
    assert overlaps[0, 1:].max() > 0.1


def test_they_grow_at_the_exponents(found):
    """Up to the logarithms of angles at either end, so that means over T steps differ by c/T."""
    _, chain, found = found
    start = lg.lyapunov_spectrum(chain[:BURN_IN]).state
    inner = lg.lyapunov_spectrum(chain[BURN_IN : LENGTH - BURN_IN], start.frame).exponents
    steps = LENGTH - 2 * BURN_IN
    means = np.asarray(found.log_growths).mean(0)
    np.testing.assert_allclose(means, inner, rtol=0, atol=8 / steps)
    # Volumes have no angles to themselves but those between all vectors at the two ends.
    ends = [np.linalg.slogdet(np.asarray(found.vectors[k]))[1] for k in (0, -1)]
    total = np.asarray(lg.log_abs_det(chain))[BURN_IN : LENGTH - BURN_IN].sum()
    grown = np.asarray(found.log_growths).sum()
    np.testing.assert_allclose(grown + ends[1] - ends[0], total, rtol=1e-9)


@pytest.mark.slow
def test_streams_batches_and_fewer_vectors(found):
    given, _, whole = found
    stream = lg.stream(given.step, given.params, given.state, given.inputs)
    some = lg.lyapunov_vectors(stream, burn_in=BURN_IN, num_exponents=2)
    overlaps = np.abs(np.sum(some.vectors * whole.vectors[:, :, :2], axis=1))
    np.testing.assert_allclose(overlaps, 1, rtol=1e-6)

    def of_one(inputs):
        chain = lg.stream(given.step, given.params, given.state, inputs)
        return lg.lyapunov_vectors(chain, burn_in=BURN_IN, num_exponents=2)

    batch = jax.vmap(of_one)(jnp.stack([given.inputs, 0.5 * given.inputs]))
    np.testing.assert_allclose(batch.vectors[0], some.vectors, rtol=0, atol=1e-10)
    assert batch.log_growths.shape == (2, LENGTH - 2 * BURN_IN, 2)


def test_of_one_matrix_they_are_its_eigenvectors():
    values = np.array([1.5, -0.8, 0.4])
    basis = np.array([[1.0, 1.0, 0.2], [0.0, 1.0, 1.0], [0.0, 0.5, 1.0]])
    basis = basis / np.linalg.norm(basis, axis=0)
    matrix = basis @ np.diag(values) @ np.linalg.inv(basis)
    found = lg.lyapunov_vectors(lg.DenseChain(np.tile(matrix, (130, 1, 1))), burn_in=60)
    overlaps = np.abs(np.sum(np.asarray(found.vectors) * basis[None], axis=1))
    np.testing.assert_allclose(overlaps, 1, rtol=1e-12)
    growths = np.broadcast_to(np.log(np.abs(values)), found.log_growths.shape)
    np.testing.assert_allclose(found.log_growths, growths, atol=1e-9)


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("burn_in", [3, 5, -1, 1.0])
def test_bad_burn_in(burn_in):
    with pytest.raises(ValueError, match=rf"burn_in: expected .* but got {burn_in}"):
        lg.lyapunov_vectors(random_chain(), burn_in=burn_in)
