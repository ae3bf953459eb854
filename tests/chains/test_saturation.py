"""Slopes of tanh and the logistic function far in saturation, against their formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eps

import lstmgrad as lg
from lstmgrad._chains.saturation import saturating, sech_squared

# Each side of zero, from the linear range to where float32 has no smaller number.
POINTS = np.asarray([0.0, 1e-3, 0.5, 2.0, 6.0, 9.5, 17.0, 30.0, 43.0, -0.7, -9.5, -43.0])


def slopes(a, dtype, *, twice=1.0):
    """sech²(a) for the numbers that a dtype has for the points, to all digits of float64."""
    a = np.asarray(jnp.asarray(a, dtype), np.float64)
    e = np.exp(-2 * np.abs(a) * twice)
    return 4 * e / (1 + e) ** 2


def logistic_slopes(a, dtype):
    return slopes(a, dtype, twice=0.5) / 4


@jax.jit
def by_scan(a):
    """tanh inside of a scan that is compiled, and sigmoid, which is a compiled function."""
    return jax.lax.scan(lambda carry, x: (carry, jnp.tanh(x)), 0, a)[1], jax.nn.sigmoid(a)


def by_branch(a):
    def one(index, value):
        return jax.lax.cond(index > 0, jnp.sin, jnp.tanh, value), jax.checkpoint(jax.nn.sigmoid)(
            value
        )

    return jax.vmap(lambda value: one(jnp.asarray(0), value))(a)


def by_loop(a):
    def body(carry):
        count, value, _ = carry
        return count + 1, jnp.tanh(value), jax.nn.sigmoid(value)

    _, first, second = jax.lax.while_loop(lambda carry: carry[0] < 1, body, (0, a, a))
    return first, second


def plain(a):
    return jnp.tanh(a), jax.nn.sigmoid(a)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("function", [plain, by_scan, by_branch, by_loop])
def test_slopes_hold_and_values_stay(function, dtype):
    points = POINTS if dtype != "float16" else POINTS[np.abs(POINTS) < 5]
    a = jnp.asarray(points, dtype)

    @jax.jit
    def both(a):
        return jax.jvp(saturating(function), (a,), (jnp.ones_like(a),)), function(a)

    (values, found), as_ever = both(a)
    expected = slopes(points, dtype), logistic_slopes(points, dtype)
    for one, other in zip(values, as_ever, strict=True):
        # Half precision is held in float32 where derivatives are taken.
        np.testing.assert_allclose(one, other, rtol=eps(dtype) if dtype == "float16" else 0, atol=0)
    for slope, true in zip(found, expected, strict=True):
        assert slope.dtype == dtype
        np.testing.assert_allclose(np.asarray(slope, float), true, rtol=100 * eps(dtype), atol=0)


def test_slopes_from_values_are_lost_which_is_why():
    a = jnp.asarray([9.5], jnp.float32)
    (slope,) = jax.jvp(jnp.tanh, (a,), (jnp.ones_like(a),))[1]
    assert abs(float(slope) / slopes(9.5, "float32") - 1) > 0.5
    assert abs(float(sech_squared(a)[0]) / slopes(9.5, "float32") - 1) < 1e-5


def test_reverse_mode_and_all_further_derivatives():
    def third(function):
        return jax.vmap(jax.grad(jax.grad(jax.grad(saturating(function)))))

    a = np.asarray([0.0, 0.3, -1.0, 12.0, -15.0])
    t, s = np.tanh(a), slopes(a, "float64")
    expected = s * (6 * t**2 - 2)  # of tanh'' = -2 tanh sech²
    np.testing.assert_allclose(third(jnp.tanh)(jnp.asarray(a)), expected, rtol=1e-12, atol=0)
    half, s = np.tanh(a / 2), logistic_slopes(a, "float64")
    expected = s * (half**2 - 2 * s)
    np.testing.assert_allclose(third(jax.nn.sigmoid)(jnp.asarray(a)), expected, rtol=1e-12, atol=0)


def test_complex_arguments_and_custom_rules_are_left_alone():
    z = jnp.asarray([0.3 + 0.2j, 2.0 - 1.0j])
    own, found = (
        jax.jvp(f, (z,), (jnp.ones_like(z),))[1] for f in (jnp.tanh, saturating(jnp.tanh))
    )
    np.testing.assert_array_equal(own, found)

    @jax.custom_vjp
    def straight(a):
        return jnp.tanh(a)

    straight.defvjp(lambda a: (jnp.tanh(a), None), lambda _, g: (7 * g,))
    slope = jax.grad(lambda a: saturating(lambda b: straight(b) * jnp.tanh(b))(a))(jnp.asarray(0.5))
    t = np.tanh(0.5)
    np.testing.assert_allclose(slope, 7 * t + t * (1 - t**2), rtol=1e-14, atol=0)


def test_what_has_effects_runs_as_it_is():
    seen = []

    def watched(a):
        jax.debug.callback(lambda value: seen.append(float(value)), a, ordered=True)
        return jax.pure_callback(lambda value: 2 * value, a, jnp.tanh(a))

    found = jax.jit(saturating(watched))(jnp.asarray(0.5, jnp.float32))
    np.testing.assert_allclose(found, 2 * np.tanh(0.5), rtol=1e-6, atol=0)
    jax.effects_barrier()
    assert seen == [0.5]


# -- chains ---------------------------------------------------------------------------------------


def step(a, h, x):
    return jnp.tanh(a + 0.5 * h) + 0 * x


def exact(a, steps):
    """ln |dh_T/dh_0| in float64, along the exact trajectory."""
    h, total = 1.0, 0.0
    for _ in range(steps):
        z = a + 0.5 * h
        total += np.log(0.5) + np.log(4) - 2 * z - 2 * np.log1p(np.exp(-2 * z))
        h = np.tanh(z)
    return total


@pytest.mark.parametrize("a", [2.0, 20.0])
def test_norms_of_a_saturated_unit_in_float32(a):
    a = jnp.float32(a)
    model = lg.Model(step, a, jnp.ones(1, jnp.float32))
    inputs = jnp.zeros((10, 1), jnp.float32)
    chain = lg.chain(model, inputs)
    expected = exact(float(a), 10)
    diagonal = lg.chain(model, inputs, linearize=lg.linearize_diagonal)
    for found in (
        lg.backward_norms(chain).log_norms[-1],
        lg.forward_norms(lg.stream(*model, inputs)).log_norms[-1],
        lg.backward_norms(diagonal).log_norms[-1],
        jnp.sum(lg.log_abs_det(chain)),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)
    # dh_10/da = Σ_t dh_10/dh_t sech²(z_t), of which the last term is nearly all.
    found = lg.contributions(chain, jnp.zeros((11, 1), jnp.float32).at[-1].set(1))
    last = exact(float(a), 10) - exact(float(a), 9) - np.log(0.5)
    np.testing.assert_allclose(found.log_norms[-1], last, rtol=1e-6, atol=0)
    routes = lg.routes(lg.chain(lg.Model(tagged, a, model.state), inputs))
    np.testing.assert_allclose(
        lg.backward_norms(routes["all"]).log_norms[-1], expected, rtol=1e-6, atol=0
    )


def tagged(a, h, x):
    return jnp.tanh(lg.tag(a + 0.5 * h, "all")) + 0 * x


@pytest.mark.slow
def test_gradients_of_norms_with_respect_to_parameters():
    """d/da of ln |dh_T/dh_0| against finite differences of the closed form."""

    def last(a):
        chain = lg.chain(lg.Model(step, a, jnp.ones(1)), jnp.zeros((5, 1)))
        return lg.backward_norms(chain).log_norms[-1]

    for a in (0.3, 25.0):
        expected = (exact(a + 1e-5, 5) - exact(a - 1e-5, 5)) / 2e-5
        found = jax.grad(last)(jnp.asarray(a))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
