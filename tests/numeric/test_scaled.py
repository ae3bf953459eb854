"""Numbers of unbounded range, against NumPy: bit for bit wherever that is promised."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracles import eps

import lstmgrad as lg
from lstmgrad._numeric.scaled import (
    LOWEST,
    add,
    exponent_above,
    exponent_of,
    largest,
    lower,
    normalize,
    power_below,
    power_of_two,
)


def normal_floats(dtype):
    """Every finite float but the subnormal ones, which XLA flushes to zero."""
    return st.floats(
        allow_nan=False,
        allow_infinity=False,
        allow_subnormal=False,
        width=32 if dtype == np.float32 else 64,
    )


def blocks(dtype):
    """Blocks of one shape: a shape of its own would compile each example anew."""
    return hnp.arrays(dtype, (3, 2), elements=normal_floats(dtype))


there_and_back = jax.jit(lambda array: (lg.scaled(array), lg.scaled(array).to_array()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_number_makes_the_round_trip_bit_for_bit(dtype):
    @settings(deadline=None, max_examples=300)
    @given(normal_floats(dtype))
    def check(number):
        array = dtype(number)
        value, back = there_and_back(array)
        assert np.asarray(back).tobytes() == array.tobytes()
        assert number == 0 or 0.5 <= abs(float(value.mantissa)) < 1
        assert np.ldexp(np.longdouble(value.mantissa), int(value.exponent)) == array

    check()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_block_makes_the_round_trip_bit_for_bit(dtype):
    tiny = float(jnp.finfo(dtype).tiny)

    @settings(deadline=None, max_examples=300)
    @given(blocks(dtype))
    def check(array):
        value, back = there_and_back(array)
        top = np.abs(array).max()
        # Entries more than the dtype's range below the largest are lost, as documented.
        kept = np.abs(array) / max(top, tiny) >= 2 * tiny
        np.testing.assert_array_equal(np.asarray(back)[kept], array[kept])
        assert np.all(np.abs(np.asarray(back)[~kept]) <= np.abs(array[~kept]))
        assert top == 0 or 0.5 <= np.abs(value.mantissa).max() < 1

    check()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("extreme", ["max", "tiny"])
def test_the_ends_of_the_range(dtype, extreme):
    number = dtype(getattr(jnp.finfo(dtype), extreme))
    for sign in (1, -1):
        assert lg.scaled(jnp.asarray(sign * number)).to_array() == sign * number


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes_stay(dtype):
    value = lg.scaled(jnp.asarray([3.0, 0.25], dtype))
    assert value.mantissa.dtype == dtype
    assert value.exponent.dtype == jnp.int32
    np.testing.assert_array_equal(value.to_array(), jnp.asarray([3.0, 0.25], dtype))
    assert value.to_array().dtype == value.log_abs().dtype == dtype
    assert (value @ value).mantissa.dtype == dtype


def test_zero_stays_zero():
    value = lg.scaled(jnp.zeros((2, 2)))
    np.testing.assert_array_equal(value.to_array(), 0.0)
    np.testing.assert_array_equal(value.log_abs(), -jnp.inf)
    np.testing.assert_array_equal((value @ value).log_abs(), -jnp.inf)
    assert lg.scaled(jnp.zeros((0, 3))).to_array().shape == (0, 3)


def test_inf_and_nan_stay():
    value = lg.scaled(jnp.asarray([jnp.inf, -jnp.inf, jnp.nan, 2.0, 0.0]))
    np.testing.assert_array_equal(value.to_array(), [np.inf, -np.inf, np.nan, 2.0, 0.0])
    np.testing.assert_array_equal(value.log_abs(), [np.inf, np.inf, np.nan, np.log(2.0), -np.inf])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mantissa", [(0.5, 0.0), (0.75, -0.5), (0.5, 1e-30), (3e38, 1e10)])
def test_beyond_the_range_is_inf_or_zero_and_never_nan(dtype, mantissa):
    mantissa = np.asarray(mantissa, dtype)
    for exponent in (2**30, 10**5, 5000, -5000, -(10**5), -(2**30)):
        value = lg.Scaled(jnp.asarray(mantissa), jnp.int32(exponent)).to_array()
        with np.errstate(over="ignore", under="ignore"):
            np.testing.assert_array_equal(value, np.ldexp(mantissa, exponent))


@pytest.mark.parametrize("exponent", range(-260, 261, 13))
def test_every_shift_is_the_power_of_two(exponent):
    mantissa = np.asarray([0.5, -0.75, np.float32(1 - 2**-24), 0.0], np.float32)
    value = lg.Scaled(jnp.asarray(mantissa), jnp.int32(exponent)).to_array()
    with np.errstate(over="ignore", under="ignore"):
        want = np.ldexp(mantissa, exponent)
    want = np.where(np.abs(want) < np.finfo(np.float32).tiny, 0.0, want)
    np.testing.assert_array_equal(value, want)


def test_log_abs_beyond_the_range():
    value = lg.Scaled(jnp.asarray([0.5, -0.75, 0.0]), jnp.int32(10**6))
    want = [10**6 * np.log(2) + np.log(0.5), 10**6 * np.log(2) + np.log(0.75), -np.inf]
    np.testing.assert_allclose(value.log_abs(), want, rtol=4 * eps(np.float64))


def test_matmul_beyond_the_range():
    a, b = jax.random.normal(jax.random.key(0), (2, 3, 3), jnp.float32)
    huge = lg.Scaled(lg.scaled(a).mantissa, jnp.int32(10**6))
    small = lg.Scaled(lg.scaled(b).mantissa, jnp.int32(-(10**6)))
    truth = np.asarray(huge.mantissa, np.float64) @ np.asarray(small.mantissa, np.float64)
    atol = 8 * eps(np.float32)
    np.testing.assert_allclose((huge @ small).to_array(), truth, rtol=0, atol=atol)
    assert int((huge @ huge).exponent) > 10**6
    assert 0.5 <= np.abs((huge @ huge).mantissa).max() < 1


def test_normalizing_again_changes_nothing():
    value = lg.scaled(jnp.asarray([3.0, -1e-3]))
    again = normalize(value)
    np.testing.assert_array_equal(again.mantissa, value.mantissa)
    assert again.exponent == value.exponent


def test_vmap_gives_each_its_own_exponent():
    array = jnp.asarray([[1e-30, 2e-30], [4.0, 8.0]])
    value = jax.vmap(lg.scaled)(array)
    assert value.exponent.shape == (2,)
    assert value.exponent[0] != value.exponent[1]
    np.testing.assert_array_equal(jax.vmap(lambda v: v.to_array())(value), array)


def test_derivatives_pass_through():
    def there_and_back(x):
        return (lg.scaled(x) @ lg.scaled(x)).to_array()

    x = jax.random.normal(jax.random.key(1), (3, 3))
    got, want = jax.jacrev(there_and_back)(x), jax.jacrev(lambda x: x @ x)(x)
    np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-14)
    slope = jax.grad(lambda x: lg.scaled(x).log_abs().sum())(jnp.asarray([2.0, -5.0]))
    np.testing.assert_allclose(slope, [0.5, -0.2], rtol=1e-14)


def as_scaled(number, exponent, dtype):
    value = lg.scaled(jnp.asarray([number, 0.25 * number], dtype))
    return lg.Scaled(value.mantissa, value.exponent + jnp.int32(exponent))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponents", [(0, 3), (5000, 4990), (-5000, -5003), (2000, -2000)])
def test_a_sum_beyond_the_range(dtype, exponents):
    """Like that of the mantissas at the larger exponent, either way round."""
    one, other = (as_scaled(x, e, dtype) for x, e in zip((1.5, -0.75), exponents, strict=True))
    top = max(exponents)
    terms = zip((1.5, -0.75), exponents, strict=True)
    want = sum(np.ldexp(np.asarray([x, x / 4]), max(e - top, -1000)) for x, e in terms)
    for total in (add(one, other), add(other, one)):
        got = lg.Scaled(total.mantissa, total.exponent - jnp.int32(top)).to_array()
        np.testing.assert_allclose(got, want, rtol=4 * eps(dtype))
        assert 0.5 <= np.abs(total.mantissa).max() < 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponent", [0, 5000, -5000])
def test_nothing_added_is_no_change_whatever_its_exponent(dtype, exponent):
    value, zeros = as_scaled(1.5, exponent, dtype), jnp.zeros(2, dtype)
    for own in (0, 10**6, -(10**6), LOWEST):
        nothing = lg.Scaled(zeros, jnp.int32(own))
        for total in (add(value, nothing), add(nothing, value)):
            np.testing.assert_array_equal(total.mantissa, value.mantissa)
            assert total.exponent == value.exponent
        np.testing.assert_array_equal(add(nothing, nothing).mantissa, zeros)
        again = add(add(nothing, nothing), value)
        np.testing.assert_array_equal(again.mantissa, value.mantissa)


def test_a_sum_that_cancels_and_one_that_is_broken():
    value = as_scaled(1.5, -5000, "float32")
    gone = add(value, lg.Scaled(-value.mantissa, value.exponent))
    np.testing.assert_array_equal(gone.log_abs(), -np.inf)
    broken = lg.scaled(jnp.asarray([jnp.nan, 1.0], "float32"))
    assert np.isnan(add(value, broken).mantissa[0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_powers_below_one(dtype):
    least = int(jnp.finfo(dtype).minexp)
    exponents = [0, -1, least + 1, least, least - 1, -(10**6), LOWEST, 2 * LOWEST]
    want = [1.0, 0.5, 2.0 ** (least + 1), 2.0**least, 0.0, 0.0, 0.0, 0.0]
    got = power_below(jnp.asarray(exponents, jnp.int32), dtype)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got.astype("float64"), want)


def test_a_lower_mantissa_is_the_same_value():
    value = as_scaled(1.5, 40, "float64")
    top = value.exponent + 30
    got = lg.Scaled(lower(value, top), top).to_array()
    np.testing.assert_array_equal(got, value.to_array())
    np.testing.assert_array_equal(lower(value, value.exponent + 5000), 0)


def test_the_exponent_of_nothing_is_below_all_others():
    assert exponent_of(as_scaled(1.5, -(10**6), "float32")) == 1 - 10**6
    assert exponent_of(lg.Scaled(jnp.zeros(2), jnp.int32(10**6))) == LOWEST
    assert exponent_of(lg.scaled(jnp.asarray([jnp.nan, 0.0]))) == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_exponents_and_powers_are_those_of_numpy(dtype):
    finfo = jnp.finfo(dtype)
    generator = np.random.default_rng(0)
    ends = [0, 1, -1, 0.5, -7, np.inf, -np.inf, np.nan, float(finfo.max), -float(finfo.tiny)]
    some = generator.normal(size=40) * 10.0 ** generator.uniform(-4, 4, 40)
    array = jnp.asarray(np.concatenate([ends, some]), dtype)
    exact = np.asarray(array, np.float64)
    expected = np.where(np.isfinite(exact), np.frexp(exact)[1], 0)
    np.testing.assert_array_equal(exponent_above(array), expected)
    exponents = np.arange(finfo.minexp, finfo.maxexp).astype(np.int32)
    powers = power_of_two(jnp.asarray(exponents), dtype)
    assert powers.dtype == dtype
    np.testing.assert_array_equal(np.asarray(powers, np.float64), 2.0**exponents)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_largest_of_what_holds_nan_is_nan(axis):
    array = np.random.default_rng(1).normal(size=(70, 130)).astype(np.float32)
    array[3, 4] = -np.inf
    find = jax.jit(largest, static_argnums=1)
    np.testing.assert_array_equal(find(array, axis), np.max(array, axis=axis))
    array[60, 100] = np.nan
    np.testing.assert_array_equal(find(array, axis), np.max(array, axis=axis))
