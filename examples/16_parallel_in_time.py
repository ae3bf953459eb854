"""Which recurrent networks can be evaluated at all times at once, predicted and measured.

Newton's method solves for the whole run together: each iteration linearizes the step at all states
and solves a linear recurrence, which takes log T time where there are enough processors. It pays
where few iterations do. Driven tanh networks need a handful as long as they forget, many more where
weak inputs leave them at the edge of chaos, and do not converge beyond it. The chain of the run
says so beforehand, by 1/√μ, the norm of the inverse of what is solved: within a factor of two
where they forget, and roughly at the edge, where counts run into the hundreds. Cells at
initialization are on the good side, and recurrences that are linear in their state need one
iteration, and a second one to see that nothing changes.

Alt: Left: iterations of Newton's method against the gain of the recurrent weights, measured as dots
on predicted lines, from 5 to some hundred for weak inputs. Right: predicted and measured iterations
of five cells.
"""

import argparse

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lstmgrad as lg

jax.config.update("jax_enable_x64", True)  # rounding decides what converges
plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description="Newton's method over all times at once.")
parser.add_argument("figure", nargs="?", default="parallel_in_time.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
n, steps = (6, 20) if args.small else (32, 500)
gains = (0.5, 1.5) if args.small else (0.5, 0.8, 1.0, 1.2, 1.3, 1.4, 1.5, 1.6, 2.0, 2.5)
sizes = (1.0,) if args.small else (1.0, 0.3)
TOLERANCE = 1e-6


def driven(weights, state, x):
    """One step of a tanh network."""
    return jnp.tanh(weights @ state + x)


def both(model, inputs, linearize=lg.linearize):
    """The prediction from the chain of a run, and the run by Newton's method."""
    chain = lg.chain(model, inputs, linearize=linearize)
    predicted = lg.newton_iterations(chain, tolerance=TOLERANCE)
    measured = lg.newton_unroll(model, inputs, tolerance=TOLERANCE, linearize=linearize)
    return predicted, measured


key_weights, key_inputs = jax.random.split(jax.random.key(0))
weights = jax.random.normal(key_weights, (n, n)) / jnp.sqrt(n)
noise = jax.random.normal(key_inputs, (steps, n))
figure, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.7))
factors = [1.0]  # between predicted and measured, where the network forgets
print("inputs  gain  exponent  ln overshoot   ln mu  predicted  measured")
for size, color, mark in zip(sizes, ("C0", "C1"), ("o", "s"), strict=False):
    rows = []
    for gain in gains:
        model = lg.Model(driven, gain * weights, jnp.zeros(n))
        predicted, measured = both(model, size * noise)
        rows.append((predicted.iterations, measured.num_iterations, measured.converged))
        if predicted.exponent < 0:
            ratio = float(predicted.iterations / measured.num_iterations)
            factors.append(max(ratio, 1 / ratio))
        words = "" if measured.converged else "  not converged"
        words += "" if predicted.converges else "  (predicted: does not converge)"
        print(
            f"{size:6.1f} {gain:5.1f} {predicted.exponent:9.3f} {predicted.log_overshoot:13.1f} "
            f"{predicted.log_mu:7.1f} {predicted.iterations:10.1f} {measured.num_iterations:9d}"
            f"{words}"
        )
    expected, counts, good = (np.array(column) for column in zip(*rows, strict=True))
    where = np.asarray(gains)
    left.plot(where, expected, "-", color=color)
    left.plot(where[good], counts[good], mark, color=color, label=f"inputs of size {size}")
    left.plot(where[~good], counts[~good], mark, color=color, markerfacecolor="white")
left.plot([], [], "-", color="0.4", label="predicted")
left.plot([], [], "o", color="0.4", label="measured")
left.plot([], [], "o", color="0.4", markerfacecolor="white", label="not converged")
left.set(
    yscale="log", xlabel="gain of the recurrent weights", ylabel="iterations of Newton's method"
)
left.axhline(steps, color="0.6", linewidth=0.8)
left.text(gains[0], steps, f"T = {steps}", va="bottom", color="0.4")
left.set_title(f"Where networks forget, predicted within ×{max(factors):.1f}")
left.legend(loc="lower right")

cells = {
    "RNN": (lg.cells.rnn, lg.linearize),
    "GRU": (lg.cells.gru, lg.linearize),
    "LSTM": (lg.cells.lstm, lg.linearize),
    "minGRU": (lg.cells.min_gru, lg.linearize_diagonal),
    "LRU": (lg.cells.lru, lg.linearize_diagonal),
}
inputs = jax.random.normal(jax.random.key(1), (steps, 4))
print("cell            predicted  measured")
most = 0
for index, (name, (make, linearize)) in enumerate(cells.items()):
    cell = make(4, n, dtype=jnp.float64)
    predicted, measured = both(cell.model(cell.init(jax.random.key(2))), inputs, linearize)
    print(f"{name:14s} {predicted.iterations:10.1f} {measured.num_iterations:9d}")
    most = max(most, int(measured.num_iterations))
    right.bar(
        index - 0.2, predicted.iterations, 0.4, color="C0", label="predicted" if not index else None
    )
    right.bar(
        index + 0.2,
        measured.num_iterations,
        0.4,
        color="C1",
        label="measured" if not index else None,
    )
right.set_xticks(range(len(cells)), cells, rotation=30, ha="right")
right.set_ylabel("iterations of Newton's method")
right.set_title(f"Cells as they start: at most {most} iterations")
right.legend()
figure.savefig(args.figure)
