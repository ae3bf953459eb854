"""Norms of any finite chain, by SVD or tracked, and of long ones, against NumPy's SVDs by lag."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import block_log_norms, eps, log_norm

import lstmgrad as lg
from lstmgrad._numeric.tracked import SMALL

LENGTH = 6  # the same for all, because each length compiles anew
NORMS = {"end": lg.backward_norms, "start": lg.forward_norms}


def rng(seed=0):
    return np.random.default_rng(seed)


SIZES = [4, SMALL + 1]
KINDS = ["gaussian", "orthogonal", "rank one", "nilpotent", "diagonal", "zero", "identity"]


def factor_of(kind, seed, n):
    entries = rng(seed).normal(size=(n, n))
    return {
        "gaussian": lambda: entries,
        "orthogonal": lambda: np.linalg.qr(entries)[0],
        "rank one": lambda: np.outer(entries[0], entries[1]),
        "nilpotent": lambda: np.triu(entries, 1),
        "diagonal": lambda: np.diag(np.exp(4 * entries[0])),
        "zero": lambda: np.zeros((n, n)),
        "identity": lambda: np.eye(n),
    }[kind]()


chains = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 99), st.integers(-300, 300)),
    min_size=LENGTH,
    max_size=LENGTH,
)


@pytest.mark.parametrize("fixed", NORMS)
@pytest.mark.parametrize("n", SIZES)
def test_any_finite_chain(n, fixed):
    """No NaN, no inf without cause; entry <= norm <= Frobenius; powers of two only shift."""

    @settings(max_examples=30, deadline=None, derandomize=True)
    @given(chains)
    def check(description):
        kinds, seeds, powers = zip(*description, strict=True)
        factors = np.stack([factor_of(k, s, n) for k, s in zip(kinds, seeds, strict=True)])
        shifted = np.ldexp(factors, np.asarray(powers)[:, None, None])
        profile, moved = (NORMS[fixed](lg.DenseChain(f)) for f in (factors, shifted))
        truth = block_log_norms(factors, fixed=fixed)
        got = np.asarray(profile.log_norms)
        assert not np.any(np.isnan(got) | np.isposinf(got))
        np.testing.assert_array_equal(np.isneginf(got), np.isneginf(truth))

        rounding = 64 * n * eps("float64")
        finite = np.isfinite(truth)
        assert np.all(got[finite] <= truth[finite] + rounding)
        product = lg.product(lg.DenseChain(factors))
        entries = np.asarray(product.log_abs())
        frobenius = np.logaddexp.reduce(2 * entries.ravel()) / 2
        assert entries.max() - rounding <= got[-1] <= frobenius + rounding

        np.testing.assert_array_equal(moved.errors, profile.errors)
        order = powers if fixed == "start" else powers[::-1]
        want = got + np.log(2) * np.cumsum([0, *order])
        np.testing.assert_allclose(moved.log_norms, want, rtol=8 * eps("float64"), atol=rounding)

    check()


def spread_factors():
    """2000 matrices 16 x 16 with singular values from 1 to 1e-8."""
    generator = rng()
    left, right = (np.linalg.qr(generator.normal(size=(2000, 16, 16)))[0] for _ in range(2))
    return left * np.logspace(0, -8, 16) @ right


@pytest.mark.slow
def test_two_thousand_factors_of_spread_singular_values():
    factors = spread_factors()
    chain = lg.DenseChain(factors)
    truth = block_log_norms(factors)
    forward = lg.forward_norms(chain).log_norms
    backward = lg.backward_norms(chain).log_norms
    np.testing.assert_allclose(forward, truth, rtol=0, atol=1e-6)
    np.testing.assert_allclose(backward, block_log_norms(factors, fixed="end"), rtol=0, atol=1e-6)
    for method in (lg.Method.sequential, lg.Method.parallel):
        product = lg.product(chain, method=method)
        got = log_norm(product.mantissa) + float(product.exponent) * np.log(2)
        np.testing.assert_allclose(got, truth[-1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(backward[-1], forward[-1], rtol=0, atol=1e-6)


def test_the_same_factors_in_float32():
    """The logarithm of 2000 factors is as good as its own rounding."""
    factors = spread_factors().astype(np.float32)
    profile = lg.forward_norms(lg.DenseChain(factors))
    assert profile.log_norms.dtype == np.float32
    np.testing.assert_allclose(profile.log_norms, block_log_norms(factors), rtol=1e-6, atol=1e-6)
