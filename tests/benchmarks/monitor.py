"""What `lg.training.monitor` costs beside the training it watches.

For an LSTM with h = 128 on sequences of T = 200 in batches of 32, with the default options:

    python tests/benchmarks/monitor.py [--rounds 7]

Readings and training steps take turns in one process, so that what else the machine does falls on
both. It prints the median time of each and the share of a reading every 100 steps, and ends with
exit code 1 where that is above 2 %.
"""

import argparse
import sys
import time

import jax
import numpy as np

import lstmgrad as lg

HIDDEN, LENGTH, BATCH, EVERY, LIMIT = 128, 200, 32, 100, 0.02

parser = argparse.ArgumentParser(description="The cost of a reading beside that of training.")
parser.add_argument("--rounds", type=int, default=7, help="readings that are timed")
given = parser.parse_args()

task = lg.tasks.delayed_recall()
cell = lg.cells.lstm(task.input_size, HIDDEN)
model, key = cell.model(cell.init(jax.random.key(0))), jax.random.key(1)
batch = task.batch(jax.random.key(2), BATCH, LENGTH - 1)
watch = lg.training.monitor(model, task)
readings, steps, compiled = [], [], []


def observe(now: lg.training.Snapshot) -> None:
    """Times the steps since the last report, and a reading."""
    global began
    jax.block_until_ready(now.state.leaves)
    trained = time.perf_counter()
    numbers = watch((now.fit.model.params, now.fit.readout), batch)
    read = time.perf_counter()
    if not compiled:
        compiled.append(read - trained)
    else:
        steps.append((trained - began) / count)
        readings.append(read - trained)
    assert all(isinstance(value, float) for value in numbers.values())
    began = time.perf_counter()


count = 5
began = time.perf_counter()
lg.training.fit(
    model,
    task,
    key,
    delay=LENGTH - 1,
    steps=count * (given.rounds + 1),
    batch_size=BATCH,
    every=count,
    observe=observe,
)
shares = np.array(readings) / (EVERY * np.array(steps))
print(f"LSTM h = {HIDDEN}, T = {LENGTH}, batch {BATCH}, {jax.devices()[0].platform}")
print(f"a training step      {1e3 * np.median(steps):8.0f} ms")
print(f"a reading            {1e3 * np.median(readings):8.0f} ms")
print(f"the first reading    {compiled[0]:8.1f} s, with compilation")
share = float(np.median(shares))
spread = f"{100 * shares.min():.2f} to {100 * shares.max():.2f}"
print(f"a reading every {EVERY} steps takes {100 * share:.2f} % of the training ({spread})")
sys.exit(share > LIMIT)
