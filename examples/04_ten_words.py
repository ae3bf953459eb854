"""What each of nine words adds to the gradient of the loss on the tenth, in an RNN, GRU and LSTM.

The gradient with respect to the weights is a sum over the steps, one for each word that is read. A
step that the gradient does not reach adds nothing to it: the network cannot learn from that word
what comes ten words later. At initialization, over 50 draws of the weights, as the median in its
band from the 10 % to the 90 % quantile.
"""

import argparse

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lstmgrad as lg

WORDS = ["the", "keys", "to", "the", "old", "cabinet", "in", "the", "kitchen", "are"]

parser = argparse.ArgumentParser(description="What each word adds to the gradient.")
parser.add_argument("figure", nargs="?", default="ten_words.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
networks, h = (2, 4) if args.small else (50, 64)
vocabulary = sorted(set(WORDS))
d = len(vocabulary)
read = jnp.asarray([vocabulary.index(word) for word in WORDS[:-1]])
target = vocabulary.index(WORDS[-1])


def parts(cell: lg.cells.Cell) -> lg.Contributions:
    """What each word adds, networks on the first axis."""

    def of_one(key):
        cell_key, readout_key = jax.random.split(key)
        readout = jax.random.normal(readout_key, (d, h)) / np.sqrt(h)

        def loss(states):  # -ln p(tenth word)
            return -jax.nn.log_softmax(readout @ states.h[-1])[target]

        chain = lg.chain(cell.model(cell.init(cell_key)), jax.nn.one_hot(read, d))
        return lg.contributions(chain, lg.loss_cotangents(loss, chain.trajectory))

    return jax.jit(jax.vmap(of_one))(jax.random.split(jax.random.key(0), networks))


cells = {"RNN": lg.cells.rnn(d, h), "GRU": lg.cells.gru(d, h), "LSTM": lg.cells.lstm(d, h)}
found = {name: parts(cell) for name, cell in cells.items()}
figure, ax = plt.subplots(figsize=(5, 3.5), layout="constrained")
for name, result in found.items():
    lg.plot.contributions(result, labels=WORDS[:-1], label=name, ax=ax)
ax.legend()
figure.savefig(args.figure, dpi=200)

print("share in the gradient of the loss on the tenth word, in percent, median over the draws")
print("          " + "".join(f"{name:>8}" for name in found))
medians = [100 * np.median(result.shares, axis=0) for result in found.values()]
for word, row in zip(WORDS, zip(*medians, strict=True), strict=False):
    print(f"{word:10}" + "".join(f"{share:8.2f}" for share in row))
