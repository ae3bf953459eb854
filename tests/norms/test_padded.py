"""Sequences that end at different times: lags count from each true end, in one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import slow

import lstmgrad as lg

LENGTHS = (9, 5, 12)


@pytest.fixture(scope="module")
def padded():
    cell = lg.cells.lstm(3, 6, forget_bias=-1.0)
    model = cell.model(cell.init(jax.random.key(0)))
    inputs = jax.random.normal(jax.random.key(1), (3, max(LENGTHS), 3))
    # What the padding holds, whatever it is.
    rows = jnp.arange(max(LENGTHS))[:, None]
    inputs = jnp.stack([jnp.where(rows < n, x, 1e30) for n, x in zip(LENGTHS, inputs, strict=True)])
    return model, inputs


@pytest.mark.parametrize(
    ("norms", "every"),
    [
        (lg.backward_norms, 1),
        (lg.forward_norms, 2),
        slow(lg.backward_norms, 2),
        slow(lg.forward_norms, 1),
    ],
)
def test_a_padded_sequence_is_read_as_the_sequence_alone(padded, norms, every):
    model, inputs = padded
    chains = jax.vmap(lambda one: lg.chain(model, one))(inputs)
    found = jax.vmap(lambda chain, n: norms(chain, of="c", wrt="c", every=every, length=n))(
        chains, jnp.array(LENGTHS)
    )
    rates, horizons = lg.decay_rate(found), lg.horizon(found, threshold=0.1)
    for index, length in enumerate(LENGTHS):
        alone = norms(lg.chain(model, inputs[index, :length]), of="c", wrt="c", every=every)
        count = len(alone.lags)
        np.testing.assert_allclose(found.log_norms[index, :count], alone.log_norms, atol=1e-5)
        assert np.all(np.isnan(found.log_norms[index, count:]))
        np.testing.assert_allclose(rates[index], lg.decay_rate(alone), rtol=1e-5)
        assert horizons[index] == lg.horizon(alone, threshold=0.1)
        single = norms(lg.chain(model, inputs[index]), of="c", wrt="c", every=every, length=length)
        summary, expected = lg.summary(single), lg.summary(alone)
        assert summary == pytest.approx(expected, rel=1e-5)
        assert str(single).split("\n")[1:] == str(alone).split("\n")[1:]
    assert np.isfinite(horizons).any()


def test_all_lengths_are_one_program(padded):
    model, inputs = padded
    chain = lg.chain(model, inputs[2])
    step, compiled = chain, []
    lg.backward_norms(step, of="c", wrt="c", length=12)
    with jax.log_compiles(True):
        import logging

        class Count(logging.Handler):
            def emit(self, record):
                if "Compiling" in record.getMessage():
                    compiled.append(record.getMessage())

        handler, logger = Count(), logging.getLogger("jax")
        logger.addHandler(handler)
        try:
            lg.backward_norms(step, of="c", wrt="c", length=7)
        finally:
            logger.removeHandler(handler)
    assert not compiled


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("length", [0, 13, 2.5, True])
def test_a_length_is_a_whole_number_of_steps(padded, length):
    model, inputs = padded
    chain = lg.chain(model, inputs[2])
    for norms in (lg.backward_norms, lg.forward_norms):
        with pytest.raises(ValueError, match=r"^length: expected a whole number from 1 to T = 12"):
            norms(chain, length=length)
