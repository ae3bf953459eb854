"""The largest Lyapunov exponent of an LSTM without its cell, as a published tool has it, and exact.

The state of an LSTM is (h, c). Multiplying dh_t/dh_{t-1} with c held leaves out the cell, the path
that the LSTM was invented for: one step apart nothing is wrong with these matrices, but after a
hundred their product is wrong by tens of orders of magnitude. The larger the bias b of the forget
gate, the worse: what the cell keeps, σ(b) a step, is what is left out.

Random networks, weights uniform within ±1/√h, driven by normal inputs.

Alt: Left, the largest exponent by forget bias: that of the whole Jacobian approaches 0, that of
the h-block alone stays near -2. Right, the norms by lag of one network, 90 powers of ten apart
after 100 steps.
"""

import argparse

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lstmgrad as lg

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description="An LSTM's exponent without its cell, and exact.")
parser.add_argument("figure", nargs="?", default="wrong_jacobian.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
h, d, length, networks = (4, 2, 30, 2) if args.small else (32, 8, 400, 5)
names = ("h alone, c held", "exact, (h, c)")
biases = np.array([0.0, 3.0]) if args.small else np.arange(-2.0, 5.5, 0.5)
cell = lg.cells.lstm(d, h)


def without_cell(params, h, entry):
    """The step of h at held c."""
    x, c = entry
    return cell.step(params, lg.cells.LSTMState(h, c), x).h


def chains(key, bias) -> tuple[lg.Chain, lg.Chain]:
    """The steps' Jacobians without the cell, and exact ones."""
    keys, bound = jax.random.split(key, 4), h**-0.5
    shapes = (4 * h, d), (4 * h, h), (4 * h,)
    weights = [
        jax.random.uniform(key, shape, minval=-bound, maxval=bound)
        for key, shape in zip(keys[:3], shapes, strict=True)
    ]
    params = lg.cells.LSTMParams(*weights)
    params = params._replace(bias=params.bias.at[h : 2 * h].add(bias))
    inputs = jax.random.normal(keys[3], (length, d))
    exact = lg.chain(cell.model(params), inputs)
    states = exact.trajectory.states
    alone = lg.Trajectory((inputs, states.c[:-1]), states.h)
    return lg.linearize(without_cell, params, alone), exact


@jax.jit
@jax.vmap
def largest(key):
    """The largest exponents, without the cell and exact, by forget bias."""

    def of_one(bias):
        found = [
            lg.lyapunov_spectrum(chain, num_exponents=1, interval=10).exponents[0]
            for chain in chains(key, bias)
        ]
        return jnp.stack(found)

    return jax.vmap(of_one)(jnp.asarray(biases, jnp.float32))


keys = jax.random.split(jax.random.key(0), networks)
medians = np.median(largest(keys), axis=0)
gate = -np.log1p(np.exp(-biases))
print(f"bias{names[0]:>18}{names[1]:>18}{'ln sigma(b)':>14}")
for bias, values, rate in zip(biases, medians, gate, strict=True):
    print(f"{bias:4.1f}{values[0]:18.3f}{values[1]:18.3f}{rate:14.3f}")
figure, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.7))
for values, name, color, marker in zip(medians.T, names, ("C3", "C0"), ("s", "o"), strict=True):
    left.plot(biases, values, color=color, marker=marker, markersize=4, label=name)
left.plot(biases, gate, color="0.6", linewidth=0.9, label=r"$\ln\,\sigma(b)$", zorder=0)
left.set(xlabel="bias $b$ of the forget gate", ylabel=r"$\lambda_1$ (nats per step)")
left.set_title("Without $c$, every bias seems to forget at once")
left.legend()
for chain, name, color in zip(chains(keys[0], 1.0), names, ("C3", "C0"), strict=True):
    profile = lg.forward_norms(chain[: min(100, length)])
    lg.plot.norms(profile, ax=right, label=name, color=color)
right.set_title("One network, $b = 1$")
right.legend()
figure.savefig(args.figure)
