"""Lyapunov exponents of a trained LSTM that has learned the Lorenz attractor, by others.

An LSTM of 30 units predicts the next state of the Lorenz system, and its prediction is its next
input: an autonomous system of 60 dimensions. If it has learned the dynamics and not just the next
value, its first exponents are those of Lorenz: a positive one, a zero one along the flow, and a
strongly negative one; the other 57 lie lower. The weights, and the exponents published for them,
are those of MagriLab (tests/data/README.md).

Alt: Left, six exponents of the trained LSTM; the first three lie on what was published. Right,
their running estimates settle on the published lines.
"""

import argparse
from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lstmgrad as lg

DT = 0.01  # time units a step
PUBLISHED = (0.8319, -0.0012, -14.0565)  # over 200 Lyapunov times
LORENZ = (0.9056, 0.0, -14.5723)

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description="Lyapunov exponents of an LSTM that learned Lorenz.")
parser.add_argument("figure", nargs="?", default="lyapunov.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
steps, burn_in = (500, 100) if args.small else (100_000, 1000)
cell = lg.cells.lstm(3, 30)


def closed_loop(params, state, _):
    """The prediction from the last state is the next input."""
    weights, kernel, bias = params
    return cell.step(weights, state, state.h @ kernel + bias)


with np.load(Path(__file__).parents[1] / "tests" / "data" / "lorenz_lstm30.npz") as file:
    data = {name: jnp.asarray(file[name]) for name in file}
# Keras has inputs in rows, and the gates in our order, i, f, g, o.
weights = lg.cells.LSTMParams(data["kernel"].T, data["recurrent_kernel"].T, data["bias"])
params = weights, data["dense_kernel"], data["dense_bias"]
start = lg.cells.LSTMState(jnp.full(30, 0.1), jnp.zeros(30))
# A stream: the network runs while its tangents are pushed, and no state is kept.
chain = lg.stream(closed_loop, params, start, jnp.arange(burn_in + steps))
found = lg.lyapunov_spectrum(chain, num_exponents=6, burn_in=burn_in)

print("Per time unit      ours   standard error   published    Lorenz")
for index, (published, lorenz) in enumerate(zip(PUBLISHED, LORENZ, strict=True)):
    value, error = found.exponents[index] / DT, found.standard_errors[index] / DT
    print(f"exponent {index + 1} {value:12.4f} {error:16.4f} {published:11.4f} {lorenz:9.4f}")
dimension = lg.kaplan_yorke_dimension(found.exponents)
entropy = lg.entropy_rate(found.exponents) / DT
print(f"Kaplan-Yorke dimension {dimension:.3f} (Lorenz 2.062), entropy rate {entropy:.3f} nats")

figure, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.7))
lg.plot.lyapunov_spectrum(found, ax=left, label="LSTM, 60 dimensions")
numbers = np.arange(1, 4)
left.plot(numbers, DT * np.asarray(PUBLISHED), "x", color="black", zorder=4, label="published")
left.plot(numbers, DT * np.asarray(LORENZ), "_", color="C0", markersize=14, label="Lorenz")
left.legend()
first = lg.lyapunov_spectrum(chain, num_exponents=2, burn_in=burn_in)
lg.plot.lyapunov_convergence(first, ax=right)
for value in PUBLISHED[:2]:
    right.axhline(DT * value, color="C3", linewidth=0.8)
figure.savefig(args.figure)
