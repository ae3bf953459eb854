"""Padded sequences in every reading: what is found is what the sequence alone has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import slow

import lstmgrad as lg

LENGTHS = (7, 9, 4)
LONGEST = max(LENGTHS)


@pytest.fixture(scope="module")
def padded():
    """A model, inputs with huge numbers and NaN behind each end, and a loss on every state."""
    cell = lg.cells.lstm(2, 3)
    model = cell.model(cell.init(jax.random.key(0)))
    inputs = jax.random.normal(jax.random.key(1), (len(LENGTHS), LONGEST, 2))
    rows = jnp.arange(LONGEST)[:, None]
    ends = zip(LENGTHS, (1e30, 0.0, jnp.nan), inputs, strict=True)
    inputs = jnp.stack([jnp.where(rows < n, x, wrong) for n, wrong, x in ends])
    chains = jax.vmap(lambda one: lg.chain(model, one))(inputs)
    cotangents = jax.random.normal(jax.random.key(2), (len(LENGTHS), LONGEST + 1, 6))
    return model, inputs, chains, cotangents


def alone(padded, index):
    """One sequence without its padding, and its cotangents."""
    model, inputs, _, cotangents = padded
    length = LENGTHS[index]
    return lg.chain(model, inputs[index, :length]), cotangents[index, : length + 1]


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def by_length(padded, analyze):
    """The analysis of all three in one compiled program; of the last, with NaN behind it, alone."""
    _, _, chains, cotangents = padded
    traces = []

    def of_one(chain, cotangents, length):
        traces.append(length)
        return analyze(chain, cotangents, length)

    found = jax.jit(jax.vmap(of_one))(chains, cotangents, jnp.array(LENGTHS))
    assert len(traces) == 1
    # Alone, each would compile programs of its own.
    member = jax.tree.map(lambda leaf: leaf[2], found)
    return member, analyze(*alone(padded, 2), None), LENGTHS[2]


def same_print(found, expected):
    assert lg.summary(found) == pytest.approx(lg.summary(expected), rel=1e-9, nan_ok=True)
    assert str(found).split("\n")[1:] == str(expected).split("\n")[1:]


@pytest.mark.slow
@pytest.mark.parametrize("spectrum", [lg.forward_singular_spectrum, lg.backward_singular_spectrum])
def test_singular_spectra(padded, spectrum):
    def analyze(chain, _, length):
        return spectrum(chain, of="c", wrt="c", every=2, length=length)

    found, expected, _ = by_length(padded, analyze)
    count = len(expected.lags)
    close(found.log_values[:count], expected.log_values)
    assert np.isnan(found.log_values[count:]).all()
    assert np.isnan(found.errors[count:]).all()
    same_print(found, expected)


@pytest.mark.parametrize("interval", [slow(None), 2])
def test_lyapunov_exponents(padded, interval):
    def analyze(chain, _, length):
        return lg.lyapunov_spectrum(chain, burn_in=1, interval=interval, length=length)

    found, expected, length = by_length(padded, analyze)
    close(found.exponents, expected.exponents)
    close(found.rounding_errors, expected.rounding_errors)
    close(found.standard_errors, expected.standard_errors)
    close(jnp.abs(found.state.frame), jnp.abs(expected.state.frame))
    assert found.state.num_steps == length - 1
    close(found.running_exponents[-1], found.exponents)


@pytest.mark.slow
def test_exponents_of_a_diagonal_recurrence():
    cell = lg.cells.lru(2, 3, dtype=jnp.float64)
    model = cell.model(cell.init(jax.random.key(0)))
    inputs = jax.random.normal(jax.random.key(1), (40, 2))
    chain = lg.chain(model, inputs, linearize=lg.linearize_diagonal)
    found = lg.lyapunov_spectrum(chain, length=30, burn_in=10)
    expected = lg.lyapunov_spectrum(chain[:30], burn_in=10)
    close(found.exponents, expected.exponents)
    norms = lg.backward_norms(chain, length=30)
    close(norms.log_norms[:31], lg.backward_norms(chain[:30]).log_norms)
    cotangents = jnp.ones((41, 6))
    close(
        lg.contributions(chain, cotangents, length=30).log_norms[:30],
        lg.contributions(chain[:30], cotangents[:31]).log_norms,
    )


def test_adjoints(padded):
    found, expected, length = by_length(
        padded, lambda *given: lg.adjoint(*given[:2], length=given[2])
    )
    found = found.to_array()
    close(found[: length + 1], expected.to_array())
    assert not found[length + 1 :].any()


def test_contributions(padded):
    def analyze(chain, cotangents, length):
        return lg.contributions(chain, cotangents, length=length)

    found, expected, length = by_length(padded, analyze)
    for name in ("log_norms", "cosines"):
        close(getattr(found, name)[:length], getattr(expected, name))
        assert np.isnan(getattr(found, name)[length:]).all()
    close(found.shares[:length], expected.shares)
    assert not found.shares[length:].any()
    for name in ("residuals", "cumulative_shares"):
        close(getattr(found, name)[: length + 1], getattr(expected, name))
        close(getattr(found, name)[length:], getattr(expected, name)[-1])
    jax.tree.map(close, found.gradient, expected.gradient)
    close(found.input_gradients[:length], expected.input_gradients)
    assert not found.input_gradients[length:].any()
    lengths = (lg.truncation_length(one, tolerance=0.2) for one in (found, expected))
    assert next(lengths) == next(lengths)
    same_print(found, expected)


def test_truncation_bias(padded):
    def analyze(chain, cotangents, length):
        return lg.truncation_bias(chain, cotangents, length=length)

    found, expected, length = by_length(padded, analyze)
    close(found.residuals[:length], expected.residuals[:length])
    assert (found.residuals[length:] < 1e-9).all()


@pytest.mark.slow
def test_maps(padded):
    def norms(chain, _, length):
        return lg.norm_map(chain, of="c", wrt="c", every=2, length=length)

    def parts(chain, cotangents, length):
        return lg.contribution_map(chain, cotangents, every=2, length=length)

    for analyze in (norms, parts):
        found, expected, _ = by_length(padded, analyze)
        rows, columns = expected.log_norms.shape
        close(found.log_norms[:rows, :columns], expected.log_norms)
        assert np.isnan(found.log_norms[rows:]).all()
        same_print(found, expected)


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("length", [0, LONGEST + 1, 2.5, True])
def test_a_length_is_a_whole_number_of_steps(padded, length):
    model, inputs, _, cotangents = padded
    chain = lg.chain(model, inputs[1])
    wanted = rf"^length: expected a whole number from 1 to T = {LONGEST}"
    of_chain = (
        lg.forward_singular_spectrum,
        lg.backward_singular_spectrum,
        lg.lyapunov_spectrum,
        lg.norm_map,
    )
    of_loss = (lg.adjoint, lg.contributions, lg.truncation_bias, lg.contribution_map)
    for analyze in of_chain:
        with pytest.raises(ValueError, match=wanted):
            analyze(chain, length=length)
    for analyze in of_loss:
        with pytest.raises(ValueError, match=wanted):
            analyze(chain, cotangents[1], length=length)


def test_a_stream_has_no_length_of_exponents(padded):
    model, inputs, _, _ = padded
    chain = lg.stream(model.step, model.params, model.state, inputs[1])
    with pytest.raises(ValueError, match=r"length: expected None for a stream"):
        lg.lyapunov_spectrum(chain, length=3)
