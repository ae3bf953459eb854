"""Fisher memory against its definition, with the covariance inverted in exact fractions."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import T, chain_of, problem, slow

import lstmgrad as lg


def by_definition(factors, vectors, noise):
    """J(k) with C summed and inverted in exact fractions: chaotic chains span any digits."""
    matrices = [[[Fraction(float(x)) for x in row] for row in m] for m in factors]
    size = len(noise)

    def times(a, b):
        columns = list(zip(*b, strict=True))
        return [[sum(x * y for x, y in zip(r, c, strict=True)) for c in columns] for r in a]

    def solved(a, b):
        rows = [[*row, value] for row, value in zip(a, b, strict=True)]
        for i in range(size):
            pivot = next(j for j in range(i, size) if rows[j][i] != 0)
            rows[i], rows[pivot] = rows[pivot], rows[i]
            rows[i] = [x / rows[i][i] for x in rows[i]]
            for j in range(size):
                if j != i:
                    rows[j] = [x - rows[j][i] * y for x, y in zip(rows[j], rows[i], strict=True)]
        return [row[-1] for row in rows]

    q = [[Fraction(float(x)) for x in row] for row in noise]
    product = [[Fraction(int(i == j)) for j in range(size)] for i in range(size)]
    total, signals = [[Fraction(0)] * size for _ in range(size)], []
    for matrix, vector in zip(matrices[::-1], vectors[::-1], strict=True):
        spread = times(times(product, q), list(zip(*product, strict=True)))
        total = [
            [x + y for x, y in zip(*pair, strict=True)] for pair in zip(total, spread, strict=True)
        ]
        column = [[Fraction(float(x))] for x in vector]
        signals.append([row[0] for row in times(product, column)])
        product = times(product, matrix)
    return np.array(
        [float(sum(x * y for x, y in zip(w, solved(total, w), strict=True))) for w in signals]
    )


def random(gain, length, size=3, seed=0):
    rng = np.random.default_rng(seed)
    factors = gain * rng.standard_normal((length, size, size)) / np.sqrt(size)
    root = rng.standard_normal((size, size))
    return factors, rng.standard_normal(size), root @ root.T + 0.1 * np.eye(size)


@pytest.mark.parametrize(
    ("gain", "dtype"),
    [(8.0, "float64"), slow(0.5, "float32"), slow(0.5, "float64"), slow(8.0, "float32")],
)
def test_it_is_its_definition_whatever_the_covariance_spans(gain, dtype):
    """Gain 8 makes a covariance of 10^36 beside one of 1, where inverting it in float64 fails."""
    factors, vector, noise = random(gain, 20)
    factors, noise = factors.astype(dtype), noise.astype(dtype)
    truth = np.log(by_definition(factors, [vector.astype(dtype)] * 20, noise))
    found = lg.fisher_memory(lg.DenseChain(factors), vector.astype(dtype), noise=noise)
    seen = np.isfinite(found.errors)
    assert np.sum(seen) >= 5
    assert np.all(
        np.abs(np.asarray(found.log_memories) - truth)[seen] <= np.asarray(found.errors)[seen]
    )
    assert np.all(np.asarray(found.errors)[:5] < 1e4 * jnp.finfo(dtype).eps)
    # A value that is not seen is a level, and the truth lies below it.
    assert np.all((np.asarray(found.log_memories) >= truth - 1e-6)[~seen])


def test_inputs_enter_through_the_step():
    given = problem("lstm")
    chain, direction = chain_of("lstm"), jnp.array([1.0, -2.0])

    def after(state, x):
        return jnp.concatenate([*given.step(given.params, state, x)])

    states = chain.trajectory.states
    entering = [
        jax.jacfwd(lambda x, t=t: after(jax.tree.map(lambda s: s[t], states), x))(given.inputs[t])
        @ direction
        for t in range(T)
    ]
    factors, size = lg.DenseChain.of(chain).factors, chain.layout.size
    variances = np.linspace(0.5, 2.0, size)
    truth = by_definition(factors, entering, np.diag(variances))
    found = lg.fisher_memory(chain, direction, noise=variances)
    np.testing.assert_allclose(np.exp(found.log_memories), truth, rtol=1e-10)
    np.testing.assert_allclose(found.total, truth.sum(), rtol=1e-10)
    twice = lg.fisher_memory(chain, direction, noise=2 * variances)
    np.testing.assert_allclose(twice.log_memories, found.log_memories - np.log(2), rtol=1e-10)


@pytest.mark.slow
def test_a_padded_sequence_is_the_sequence_alone():
    chain, direction = chain_of("lstm"), jnp.ones(2)
    alone = lg.fisher_memory(chain[:3], direction)
    broken = jax.tree.map(lambda leaf: leaf.at[4:].set(jnp.nan), problem("lstm").inputs)
    padded = lg.fisher_memory(lg.chain(problem("lstm").model, broken), direction, length=3)
    np.testing.assert_allclose(padded.log_memories[:3], alone.log_memories, rtol=1e-12)
    assert np.all(np.isnan(padded.log_memories[3:]))
    np.testing.assert_allclose(padded.total, alone.total, rtol=1e-12)
    assert lg.summary(padded) == pytest.approx(lg.summary(alone))
    lengths = jnp.array([3, T])
    batch = jax.vmap(lambda n: lg.fisher_memory(chain, direction, length=n))(lengths)
    np.testing.assert_allclose(batch.total[0], alone.total, rtol=1e-12)
    np.testing.assert_allclose(batch.total[1], lg.fisher_memory(chain, direction).total, rtol=1e-12)


def test_what_does_not_enter_and_what_is_broken():
    factors, vector, _ = random(0.5, 4)
    assert np.all(lg.fisher_memory(lg.DenseChain(factors), 0 * vector).log_memories == -np.inf)
    factors[1, 0, 0] = np.nan
    assert np.all(np.isnan(lg.fisher_memory(lg.DenseChain(factors), vector).log_memories))
    indefinite = jnp.diag(jnp.array([1.0, -1.0, 1.0]))
    found = lg.fisher_memory(lg.DenseChain(factors), vector, noise=indefinite)
    assert np.all(np.isnan(found.log_memories))


@pytest.mark.usefixtures("as_installed")
def test_bad_input_gets_a_sentence():
    chain = chain_of("lstm")
    with pytest.raises(ValueError, match=r"direction: expected one like the input of one step"):
        lg.fisher_memory(chain, jnp.ones(3))
    with pytest.raises(ValueError, match=r"direction: expected shape \(6,\), .* knows no model"):
        lg.fisher_memory(chain_of("lstm", "dense"), jnp.ones(2))
    with pytest.raises(ValueError, match=r"noise: expected a number above zero, but got 0\.0"):
        lg.fisher_memory(chain, jnp.ones(2), noise=0.0)
    with pytest.raises(ValueError, match=r"noise: expected a variance, \(6,\) of them or"):
        lg.fisher_memory(chain, jnp.ones(2), noise=jnp.ones(5))
    with pytest.raises(ValueError, match="chain: expected at least one step"):
        lg.fisher_memory(chain[2:2], jnp.ones(2))
