"""Watches how far the gradient reaches while a network trains, and keeps it as a table.

Two LSTMs learn to recall the first symbol after 60 steps of noise, one with forget bias 1 and one
with chrono biases. Every few steps `lg.training.monitor` reads some thirty numbers off the network,
which go into a CSV beside the figure; its docstring has the lines for TensorBoard and Weights &
Biases. The one learns from a gradient that reaches the first step, and the other one has none.

Alt: Four panels by training step, for a forget bias of 1 and for chrono biases: the score, the
gradient over the whole delay, the path alone, the share of the first quarter. Those with chrono
biases rise.
"""

import argparse
import csv
from pathlib import Path

import jax
import matplotlib.pyplot as plt

import lstmgrad as lg

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description="A training, watched.")
parser.add_argument("figure", nargs="?", default="watched.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
delay, units, steps, every = (8, 4, 4, 2) if args.small else (60, 32, 400, 20)

task = lg.tasks.delayed_recall()
cell = lg.cells.lstm(task.input_size, units)
keys = jax.random.split(jax.random.key(0), 3)
params = cell.init(keys[0])
kinds = {
    "forget bias 1": cell.model(params),
    "chrono biases": cell.model(lg.cells.with_chrono_bias(params, keys[1], delay + 1)),
}
batch = task.batch(keys[2], 32, delay)
watch = lg.training.monitor(kinds["forget bias 1"], task)  # compiled once for both

rows = []
for name, model in kinds.items():

    def observe(now: lg.training.Snapshot, name: str = name) -> None:
        """Adds a row: what training says, and what the monitor reads."""
        numbers = watch((now.fit.model.params, now.fit.readout), batch)
        score = float(now.fit.curve.scores[-1])
        rows.append({"network": name, "step": now.steps, "score": score, **numbers})

    lg.training.fit(model, task, keys[2], delay=delay, steps=steps, every=every, observe=observe)

with Path(args.figure).with_suffix(".csv").open("w", newline="") as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)

reached, path = f"log_norm/c/{delay + 1}", f"log_norm/path/{delay + 1}"
panels = {
    "score": "score",
    reached: r"$\ln\,\Vert\partial c_T/\partial c_0\Vert$",
    path: "additive path alone",
    "share_of_first_quarter": "share of first quarter",
}
figure, axes = plt.subplots(len(panels), sharex=True, figsize=(3.3, 5.4))
for ax, (number, label) in zip(axes, panels.items(), strict=True):
    for name, style in zip(kinds, ("--", "-"), strict=True):
        mine = [row for row in rows if row["network"] == name]
        ax.plot([row["step"] for row in mine], [row[number] for row in mine], style, label=name)
    ax.set_ylabel(label)
ends = {row["network"]: row["score"] for row in rows}  # the last row of each
learned = [name for name, score in ends.items() if score > 0.9]
axes[0].set_title(f"Learned with {' and with '.join(learned)}" if learned else "Not learned yet")
axes[0].legend()
figure.align_ylabels(axes)
axes[-1].set_xlabel("training step")
figure.savefig(args.figure)

print(f"{'network':14} {'step':>5} {'score':>6} {'ln dc_T/dc_0':>13} {'path':>7} {'horizon':>8}")
for row in rows[:: max(1, len(rows) // 10)]:
    print(
        f"{row['network']:14} {row['step']:5} {row['score']:6.2f} {row[reached]:13.1f} "
        f"{row[path]:7.1f} {row['horizon/c']:8.0f}"
    )
