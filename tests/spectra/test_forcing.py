"""Teacher forcing of chaotic networks, against NumPy's norms and forced chains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import chain_of, problem, random_chain, slow
from result_records import lyapunov_spectrum

import lstmgrad as lg

GROWTHS = {
    "largest": lambda norms, factors: np.max(norms),
    "arithmetic_mean": lambda norms, factors: np.mean(norms),
    "geometric_mean": lambda norms, factors: np.exp(np.mean(np.log(norms))),
    "mean_jacobian": lambda norms, factors: np.linalg.norm(factors.mean(axis=0), 2),
    "product": lambda norms, factors: (
        np.linalg.norm(np.linalg.multi_dot(factors[::-1]), 2) ** (1 / len(factors))
    ),
}


@pytest.mark.parametrize("name", ["product", *map(slow, list(GROWTHS)[:-1])])
def test_strengths_are_those_of_numpy(name):
    growth = getattr(lg.Growth, name)
    chain = random_chain(length=6)
    factors = np.asarray(chain.factors)
    g = GROWTHS[name](np.linalg.norm(factors, 2, axis=(1, 2)), factors)
    assert g > 1
    found = lg.forcing_strength(chain, growth=growth)
    np.testing.assert_allclose(found, 1 - 1 / g, rtol=1e-12)
    # Forced by so much, the growth is 1.
    forced = lg.DenseChain((1 - found) * chain.factors)
    np.testing.assert_allclose(lg.forcing_strength(forced, growth=growth), 0.0, atol=1e-14)
    np.testing.assert_allclose(
        lg.forcing_strength(chain, growth=growth, length=4),
        lg.forcing_strength(chain[:4], growth=growth),
        rtol=1e-12,
    )


@pytest.mark.slow
def test_a_contraction_needs_none_and_chaos_beyond_the_range_does():
    chain = random_chain(length=400, dtype="float32")
    assert lg.forcing_strength(lg.DenseChain(0.01 * chain.factors)) == 0
    large = lg.DenseChain(1e3 * chain.factors)  # a product of 10^1200
    exact = lg.log_abs_det(large)
    assert np.all(np.isfinite(exact))
    found = lg.forcing_strength(large)
    rate = lg.lyapunov_spectrum(large, num_exponents=1).exponents[0]
    np.testing.assert_allclose(-np.log1p(-np.float64(found)), rate, rtol=5e-3)
    broken = large.factors.at[3, 0, 0].set(jnp.nan)
    assert np.isnan(lg.forcing_strength(lg.DenseChain(broken)))


@pytest.mark.slow
def test_streams_and_batches():
    given = problem("lstm")
    stream = lg.stream(*given.model, given.inputs)
    np.testing.assert_allclose(
        lg.forcing_strength(stream), lg.forcing_strength(chain_of("lstm")), rtol=1e-12
    )
    lengths = jnp.array([2, 5])
    chain = random_chain()
    batch = jax.vmap(lambda n: lg.forcing_strength(chain, length=n))(lengths)
    np.testing.assert_allclose(batch[0], lg.forcing_strength(chain[:2]), rtol=1e-12)


def with_first(exponent, error):
    spectrum = lyapunov_spectrum()
    errors = spectrum.standard_errors.at[0].set(error)
    exponents = spectrum.exponents.at[0].set(exponent)
    return lg.LyapunovSpectrum(
        exponents=exponents,
        standard_errors=errors,
        rounding_errors=spectrum.rounding_errors,
        times=spectrum.times,
        running_exponents=spectrum.running_exponents,
        state=spectrum.state,
    )


def test_intervals_and_their_errors():
    found = lg.forcing_interval(with_first(0.02, 0.001))
    np.testing.assert_allclose(found.interval, np.log(2) / 0.02)
    np.testing.assert_allclose(found.standard_error, np.log(2) / 0.02**2 * 0.001)
    np.testing.assert_allclose(found.least, np.log(2) / 0.022)
    none = lg.forcing_interval(with_first(-0.02, 0.001))
    assert np.isinf(none.interval)
    assert np.isinf(none.least)
    assert "none needed" in repr(none)
    unsure = lg.forcing_interval(with_first(-0.001, 0.001))
    assert np.isinf(unsure.interval)
    np.testing.assert_allclose(unsure.least, np.log(2) / 0.001)
    assert np.isnan(lg.forcing_interval(with_first(np.nan, np.nan)).interval)


@pytest.mark.usefixtures("as_installed")
def test_bad_input_gets_a_sentence():
    with pytest.raises(ValueError, match="spectrum: expected an lstmgrad LyapunovSpectrum"):
        lg.forcing_interval(jnp.ones(3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        ValueError, match=r"growth: expected an lstmgrad Growth, but got str: Growth"
    ):
        lg.forcing_strength(random_chain(), growth="product")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="chain: expected at least one step"):
        lg.forcing_strength(random_chain()[1:1])
