"""Steps that can be differentiated in one mode only, against the same step that has both."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

T, N = 6, 4
GENERATOR = np.random.default_rng(0)
PARAMS = {
    "W": jnp.asarray(GENERATOR.normal(size=(N, N))),
    "U": jnp.asarray(GENERATOR.normal(size=(N, 3))),
}
INPUTS = jnp.asarray(GENERATOR.normal(size=(T, 3)))
START = {"v": jnp.asarray(GENERATOR.normal(size=N)), "z": jnp.zeros(N)}


@jax.custom_vjp
def reverse_only(a):
    return jnp.sin(a)


reverse_only.defvjp(
    lambda a: (jnp.sin(a), a),
    lambda a, g: (jnp.cos(a) * g,),
)


def forward_only(a):
    """sin by a loop whose length is not known."""
    return jax.lax.while_loop(lambda c: c[0] < 1, lambda c: (c[0] + 1, jnp.sin(c[1])), (0, a))[1]


def step_with(function):
    def step(params, state, x):
        v = 0.9 * state["v"] * (1 - state["z"]) + params["U"] @ x + params["W"] @ state["z"]
        return {"v": v, "z": jnp.tanh(function(v))}

    return step


STEPS = {
    "sin": step_with(jnp.sin),
    "reverse_only": step_with(reverse_only),
    "forward_only": step_with(forward_only),
}


def chain_of(name):
    return lg.chain(lg.Model(STEPS[name], PARAMS, START), INPUTS)


COTANGENTS = {"v": jnp.zeros((T + 1, N)), "z": jnp.zeros((T + 1, N)).at[-1].set(1.0)}

READINGS = {
    "jacobian": lambda chain: lg.jacobian(chain, of="v", wrt="v"),
    "tall": lambda chain: lg.jacobian(chain, wrt="v"),
    "backward": lambda chain: lg.backward_norms(chain, of="v", wrt="v").log_norms,
    "forward": lambda chain: lg.forward_norms(chain, of="v", wrt="v").log_norms,
    "matrix_free": lambda chain: lg.matrix_free_norms(chain, (1, 5), of="v", wrt="v").log_norms,
    "exponents": lambda chain: lg.lyapunov_spectrum(chain, num_exponents=2).exponents,
    "determinants": lambda chain: lg.log_abs_det(chain),
    "adjoint": lambda chain: lg.adjoint(chain, COTANGENTS).to_array(),
}


@functools.cache
def readings(name):
    return {key: reading(chain_of(name)) for key, reading in READINGS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reverse_only", "forward_only"])
def test_every_reading_of_the_state_needs_one_mode(name):
    for key, values in readings(name).items():
        expected = readings("sin")[key]
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-12, err_msg=key)


def test_gradients_by_parameters_need_reverse_mode_and_say_so():
    own, other = (lg.contributions(chain_of(name), COTANGENTS) for name in ("sin", "reverse_only"))
    np.testing.assert_allclose(own.shares, other.shares, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(own.gradient["W"], other.gradient["W"], rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match=r"step: expected one with a reverse mode.*jax.lax.scan"):
        lg.contributions(chain_of("forward_only"), COTANGENTS)


@pytest.mark.parametrize("name", ["reverse_only", "forward_only"])
def test_a_declared_diagonal(name):
    def step(a, s, x):
        return a * s + {"reverse_only": reverse_only, "forward_only": forward_only}[name](s) + x

    def both(a, s, x):
        return a * s + jnp.sin(s) + x

    found, expected = (
        lg.backward_norms(
            lg.chain(
                lg.Model(one, jnp.asarray([0.3, 0.5]), jnp.ones(2)),
                jnp.zeros((4, 2)),
                linearize=lg.linearize_diagonal,
            )
        )
        for one in (step, both)
    )
    np.testing.assert_allclose(found.log_norms, expected.log_norms, rtol=1e-12, atol=1e-14)


def test_a_step_without_any_mode_fails_in_the_words_of_jax():
    chain = lg.chain(lg.Model(neither, None, jnp.ones(2)), jnp.zeros((3, 2)))
    with pytest.raises(TypeError, match="custom_vjp"):
        lg.forward_norms(chain)
    with pytest.raises(ValueError, match="Reverse-mode"):
        lg.backward_norms(chain)


def neither(params, s, x):
    return reverse_only(forward_only(s)) + x
