"""Regularizers: values against NumPy, slopes against central differences in float64."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import problem, random_chain, slow

import lstmgrad as lg

REGULARIZERS: dict[str, Callable[[lg.Chain], Any]] = {
    "flossing": functools.partial(
        lg.training.flossing_regularizer, num_exponents=2, target=-0.1, interval=2, burn_in=1
    ),
    "norm": functools.partial(lg.training.spectral_norm_regularizer, target=0.7),
    "radius": functools.partial(lg.training.spectral_radius_regularizer, target=0.7),
}


@pytest.mark.parametrize(
    ("which", "name"),
    [
        ("flossing", "lstm"),
        ("norm", "rnn"),
        ("radius", "rnn"),
        *[slow(which, name) for which in REGULARIZERS for name in ("gru", "rnn-relu")],
        slow("flossing", "rnn"),
        slow("norm", "lstm"),
        slow("radius", "lstm"),
    ],
)
def test_slopes_are_central_differences(which, name):
    """Along a random direction in all parameters: h² of the third derivative, and the rounding."""
    given = problem(name)

    @jax.jit
    def value(params):
        chain = lg.chain(given.model._replace(params=params), given.inputs)
        return REGULARIZERS[which](chain)

    slope = jax.jit(jax.grad(value))(given.params)
    keys = jax.random.split(jax.random.key(9), len(jax.tree.leaves(given.params)))
    leaves, treedef = jax.tree.flatten(given.params)
    noise = [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    direction = jax.tree.unflatten(treedef, noise)
    along = sum(
        float(jnp.vdot(a, b))
        for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(direction), strict=True)
    )
    ends = [
        float(value(jax.tree.map(lambda a, b, h=h: a + h * b, given.params, direction)))
        for h in (1e-5, -1e-5)
    ]
    assert abs(along) > 1e-3
    assert along == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_values_are_those_of_numpy():
    chain = random_chain(n=4, length=6)
    factors = np.asarray(chain.factors)
    norms = [np.linalg.svd(J, compute_uv=False)[0] for J in factors]
    radii = [np.abs(np.linalg.eigvals(J)).max() for J in factors]
    for which, sizes in (("norm", norms), ("radius", radii)):
        expected = np.mean((np.array(sizes) - 0.7) ** 2)
        assert float(REGULARIZERS[which](chain)) == pytest.approx(expected, rel=1e-12)
    exponents = lg.lyapunov_spectrum(chain, num_exponents=2, interval=1).exponents
    found = lg.training.flossing_regularizer(chain, num_exponents=2, target=0.3)
    assert float(found) == pytest.approx(np.mean((np.asarray(exponents) - 0.3) ** 2), rel=1e-12)


def test_orthogonal_factors_and_a_batch():
    rng = np.random.default_rng(0)
    factors = jnp.asarray(0.8 * np.linalg.qr(rng.normal(size=(2, 5, 4, 4)))[0])
    chains = jax.vmap(lg.DenseChain)(factors)
    expected = {"flossing": (np.log(0.8) + 0.1) ** 2, "norm": 0.01, "radius": 0.01}
    for which, regularizer in REGULARIZERS.items():
        found = jax.vmap(regularizer)(chains)
        np.testing.assert_allclose(found, np.full(2, expected[which]), rtol=1e-11)


def test_a_trajectory_that_was_nan_gives_nan_and_waits_for_nothing():
    chain = lg.DenseChain(jnp.full((3, 4, 4), jnp.nan))
    for which in ("norm", "radius"):
        assert np.isnan(float(REGULARIZERS[which](chain)))


def test_refusals():
    chain = random_chain(length=3)
    training = lg.training
    with pytest.raises(ValueError, match="num_exponents: expected a whole number from 1 to n = 4"):
        training.flossing_regularizer(chain, num_exponents=5)
    with pytest.raises(ValueError, match="target: expected a number, 0 or above, but got -1"):
        training.spectral_norm_regularizer(chain, target=-1)
    with pytest.raises(ValueError, match="chain: expected at least one step, but got T = 0"):
        training.spectral_radius_regularizer(chain[:0])
