"""Norms per unit and per group, against columns of whole Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import H, T, chain_of, problem, random_chain, slow

import lstmgrad as lg


def columns(chain, of, wrt, groups):
    """Ln of the norms of the groups' columns at every lag, from the product of the matrices."""
    factors = np.asarray(lg.DenseChain.of(chain).factors)
    rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    product, found = np.eye(factors.shape[1]), []
    for factor in [*factors[::-1], np.eye(factors.shape[1])]:
        matrix = product[rows, columns]
        with np.errstate(divide="ignore"):
            found.append([np.log(np.linalg.norm(matrix[:, group], 2)) for group in groups])
        product = product @ factor
    return np.array(found).T


@pytest.mark.parametrize(("of", "wrt"), [("c", "c"), slow("h", "c"), slow(None, None)])
def test_each_unit_has_its_column(of, wrt):
    chain = chain_of("lstm")
    size = 2 * H if wrt is None else H
    found = lg.unit_norms(chain, of=of, wrt=wrt)
    assert found.log_norms.shape == (size, T + 1)
    truth = columns(chain, of, wrt, [[i] for i in range(size)])
    np.testing.assert_allclose(found.log_norms, truth, rtol=1e-11, atol=1e-12)
    assert np.all(np.asarray(found.errors) < 1e-12)
    whole = lg.backward_norms(chain, of=of, wrt=wrt).log_norms
    assert np.all(np.max(found.log_norms, axis=0) <= whole + 1e-9)


@pytest.mark.slow
def test_groups_of_equal_and_unequal_size():
    chain = random_chain(6)
    for groups, parts in ((3, [[0, 1], [2, 3], [4, 5]]), ([0, 1, 1, 0, 2, 1], None)):
        parts = parts or [[0, 3], [1, 2, 5], [4]]
        found = lg.unit_norms(chain, groups=groups)
        truth = columns(chain, None, None, parts)
        np.testing.assert_allclose(found.log_norms, truth, rtol=1e-11, atol=1e-12)
    one = lg.unit_norms(chain, groups=1, every=2)
    whole = lg.backward_norms(chain, rtol=0, every=2)
    np.testing.assert_array_equal(one.lags[0], [0, 2, 4])
    np.testing.assert_allclose(one.log_norms[0], whole.log_norms, rtol=1e-12, atol=1e-12)


def test_horizons_and_half_lives_of_a_diagonal_layer():
    """Gains .5 and .9: half-lives of 1 and 6.58, whichever way the chain is kept."""
    gains = jnp.array([0.5, 0.9, 1.0, 0.0])

    def step(gains, state, x):
        return gains * state + x

    model = lg.Model(step, gains, jnp.zeros(4))
    for way in (lg.linearize, lg.linearize_diagonal):
        chain = lg.chain(model, jnp.zeros((100, 4)), linearize=way)
        found = lg.unit_norms(chain)
        np.testing.assert_array_equal(lg.horizon(found), [10, 66, np.inf, 1])
        lives = lg.half_life(found)
        np.testing.assert_allclose(lives[:2], np.log(0.5) / np.log([0.5, 0.9]), rtol=1e-9)
        assert np.isinf(lives[2])
        # Zero in one step: known so of a diagonal, and below what is seen otherwise.
        assert lives[3] == 0 or np.isnan(lives[3])
    summary = lg.batch_summary(found)
    assert summary.size == 4


@pytest.mark.slow
def test_a_padded_sequence_is_the_sequence_alone():
    chain = chain_of("lstm")
    alone = lg.unit_norms(chain[:3], of="c", wrt="c")
    broken = problem("lstm").inputs.at[4:].set(jnp.nan)
    padded = lg.unit_norms(lg.chain(problem("lstm").model, broken), of="c", wrt="c", length=3)
    np.testing.assert_allclose(padded.log_norms[:, :4], alone.log_norms, rtol=1e-12, atol=1e-13)
    assert np.all(np.isnan(padded.log_norms[:, 4:]))
    np.testing.assert_allclose(lg.decay_rate(padded), lg.decay_rate(alone), rtol=1e-12)
    batch = jax.vmap(lambda n: lg.unit_norms(chain, of="c", wrt="c", length=n))(jnp.array([3, T]))
    np.testing.assert_allclose(batch.log_norms[0, :, :4], alone.log_norms, rtol=1e-12, atol=1e-13)


@pytest.mark.slow
def test_far_units_in_float32_and_parts_without_a_path():
    """One unit at 0.1 per step and one at 2: 10^-400 beside 10^120, each seen by itself."""
    factors = jnp.broadcast_to(jnp.diag(jnp.array([0.1, 2.0], jnp.float32)), (400, 2, 2))
    found = lg.unit_norms(lg.DenseChain(factors))
    assert np.isclose(found.log_norms[1, -1], 400 * np.log(2), rtol=1e-6)
    slow = found.log_norms[0]
    seen = np.isfinite(found.errors[0])
    np.testing.assert_allclose(
        slow[seen], np.arange(401)[seen] * np.log(np.float32(0.1)), rtol=1e-5, atol=1e-6
    )
    assert np.all(np.asarray(slow)[~seen] >= np.arange(401)[~seen] * np.log(0.1))
    layers = lg.DenseChain(
        jnp.ones((3, 2, 2)),
        layout=lg.chain(
            lg.Model(
                lambda p, s, x: {"a": s["a"], "b": s["b"]},
                None,
                {"a": jnp.ones(1), "b": jnp.ones(1)},
            ),
            jnp.zeros(3),
        ).layout,
        dependence=((True, False), (False, True)),
    )
    assert np.all(lg.unit_norms(layers, of="a", wrt="b").log_norms == -np.inf)


@pytest.mark.usefixtures("as_installed")
def test_bad_input_gets_a_sentence():
    chain = chain_of("lstm")
    with pytest.raises(ValueError, match="groups: expected a number that divides the 3 coord"):
        lg.unit_norms(chain, of="c", wrt="c", groups=2)
    with pytest.raises(
        ValueError, match="groups: expected the group, 0 to G - 1, of each of the 3"
    ):
        lg.unit_norms(chain, of="c", wrt="c", groups=[0, 2, 2])
    with pytest.raises(ValueError, match="wrt: expected one of the state's parts"):
        lg.unit_norms(chain, wrt="z")
    with pytest.raises(ValueError, match="profile: expected an lstmgrad NormProfile"):
        lg.half_life(jnp.ones(3))  # pyright: ignore[reportArgumentType]
