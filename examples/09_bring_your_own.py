"""The same question to a cell of Equinox, one of Flax and a function of one's own.

Every analysis takes a step, parameters and a starting state: `lg.interop` makes the three of a cell
of another framework, and a function is a step as it is. Flax comes with `pip install ".[flax]"`.

Alt: Norms by lag of an Equinox LSTM, a Flax GRU and a network given as a function, each part of
its state.
"""

import argparse
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
from flax import nnx

import lstmgrad as lg

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("figure", nargs="?", default="bring_your_own.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
length, d, h = (20, 2, 4) if args.small else (300, 8, 64)
inputs = jax.random.normal(jax.random.key(0), (length, d))


class Reservoir(NamedTuple):
    """The state of the function below: a part for each field, by its name."""

    fast: jax.Array
    slow: jax.Array


def reservoir(params, state, x):
    """Two populations of tanh units, of which the slow one follows the fast one at a rate."""
    fast = jnp.tanh(params["recurrent"] @ state.fast + params["input"] @ x + 0.2 * state.slow)
    return Reservoir(fast, state.slow + params["rate"] * (fast - state.slow))


recurrent, weight = jax.random.split(jax.random.key(1))
params = {
    "recurrent": lg.cells.orthogonal(0.9)(recurrent, (h, h)),
    "input": 0.3 * jax.random.normal(weight, (h, d)),
    "rate": jnp.asarray(0.02),
}
models = {
    "Equinox LSTM": lg.interop.from_equinox(eqx.nn.LSTMCell(d, h, key=jax.random.key(2))),
    "Flax GRU": lg.interop.from_nnx(nnx.GRUCell(d, h, rngs=nnx.Rngs(3))),
    "a function": lg.Model(reservoir, params, Reservoir(jnp.zeros(h), jnp.zeros(h))),
}

figure, ax = plt.subplots(figsize=(3.3, 2.5))
for name, model in models.items():
    chain = lg.chain(model, inputs)
    for part in chain.layout.parts:
        profile = lg.backward_norms(chain, of=part, wrt=part)
        lg.plot.norms(profile, ax=ax, label=f"{name}, {part}")
        print(f"{name:12} {part:4}: decay {lg.decay_rate(profile):.4f} nats per step")
    reach = lg.horizon(lg.input_norms(chain))
    print(f"{name:12} an input moves the state by less than 0.001 after {reach:.0f} steps")
ax.legend()
figure.savefig(args.figure)
