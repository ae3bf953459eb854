"""Who recalls the first symbol, over many seeds: the counts behind the first command's story.

For every kind of network of `python -m lstmgrad`, with the training of that command:

    python tests/benchmarks/recall.py [--seeds 10] [--seed 1]

prints the score of every network at the delay of the training, and how many of them are within 0.06
of the baseline without a memory, and how many at 0.95 or above. It ends with exit code 1 unless
RNN, GRU and LSTM with forget bias 1 stay at the baseline and the LSTM with chrono biases learns the
task, in nine of ten networks of each at least.
"""

import argparse
import sys
import time

import numpy as np

import lstmgrad as lg
from lstmgrad.cli.recall._networks import make_networks, score_key
from lstmgrad.cli.recall._options import CHRONO, Options
from lstmgrad.cli.recall._study import BATCH, LEARNED, NEAR

SEQUENCES = 2000

parser = argparse.ArgumentParser(description="Who recalls the first symbol, over many seeds.")
parser.add_argument("--seeds", type=int, default=10, help="networks of each kind")
parser.add_argument("--seed", type=int, default=1, help="of the first one; the command has 0")
given = parser.parse_args()
options = Options(seeds=given.seeds, seed=given.seed)
task = lg.tasks.registry()[options.task]()
chance = float(task.baseline(options.delay).score)
needed = int(np.ceil(0.9 * options.seeds))

print(f"{options.train} steps at delay {options.delay}; scores over {SEQUENCES} sequences")
print(f"without a memory {chance}")
print(f"{'network':12} within {NEAR:g}  {LEARNED:g} or above  seconds  scores")
holds = True
for name in options.cells:
    start = time.perf_counter()
    _, model, keys = make_networks(name, task, options)
    fit = lg.training.fit(
        model, task, keys, delay=options.delay, steps=options.train, batch_size=BATCH
    )
    key = score_key(options)
    found = lg.training.evaluate(fit, task, key, delay=options.delay, size=SEQUENCES)
    scores = np.asarray(found.score)
    near, learned = int((np.abs(scores - chance) <= NEAR).sum()), int((scores >= LEARNED).sum())
    holds &= (learned if name.endswith(CHRONO) else near) >= needed
    shown = " ".join(f"{score:.2f}" for score in scores)
    seconds = time.perf_counter() - start
    print(f"{name:12} {near:6}/{len(scores)} {learned:11}/{len(scores)} {seconds:8.0f}  {shown}")
sys.exit(not holds)
