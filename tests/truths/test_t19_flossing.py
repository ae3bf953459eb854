"""T19. Gradient flossing: descending the square of the first exponents makes them vanish.

Source: Engelken 2023 (arXiv:2312.17306): mean_i λ_i² over the first k exponents, of a driven tanh
network. An independent run of his method with 32 units took λ_1 from -.360 to
-.0066; here the draw of the network is another one, so what is held is that it starts in that
regime and ends within .02 of zero, along fresh input.
"""

import jax
import jax.numpy as jnp
import optax

import lstmgrad as lg

UNITS, K, LENGTH, STEPS = 32, 4, 40, 150
CELL = lg.cells.rnn(1, UNITS)


def bits(key, length):
    return jax.random.bernoulli(key, shape=(length, 1)).astype(float)


def first_exponent(params):
    chain = lg.chain(CELL.model(params), bits(jax.random.key(5), 1000))
    return lg.lyapunov_spectrum(chain, num_exponents=1, burn_in=100, interval=10).exponents[0]


def test_flossing_takes_the_first_exponent_to_zero(truth):
    params = CELL.init(jax.random.key(0))
    params = params._replace(weight_hh=0.69 * params.weight_hh)
    optimizer = optax.adam(3e-3)

    def loss(params, inputs):
        chain = lg.chain(CELL.model(params), inputs)
        return lg.training.flossing_regularizer(chain, num_exponents=K, interval=5)

    def floss(carry, key):
        params, state = carry
        slope = jax.grad(loss)(params, bits(key, LENGTH))
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(slope, state, params)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(1), STEPS)
    start = params, optimizer.init(params)
    (flossed, _), _ = jax.jit(lambda start: jax.lax.scan(floss, start, keys))(start)
    truth(
        "first exponent of 32 tanh units before flossing", -0.36, first_exponent(params), atol=0.05
    )
    truth("first exponent of 32 tanh units after flossing", 0, first_exponent(flossed), atol=0.02)
    assert jnp.any(flossed.weight_hh != params.weight_hh)
