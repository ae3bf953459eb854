"""The norm of ds_T/ds_k against the lag T - k in an RNN, a GRU and an LSTM at initialization.

The median over a batch of normal random sequences, in its band from the 10 % to the 90 % quantile.

Alt: Norms by lag, medians in bands, falling on a logarithmic scale: those of the RNN and the GRU
by many more powers of ten than those of the LSTM.
"""

import argparse

import jax
import matplotlib.pyplot as plt

import lstmgrad as lg

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("figure", nargs="?", default="norm_decay.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
batch, length, d, h = (3, 20, 2, 4) if args.small else (32, 200, 8, 64)
inputs = jax.random.normal(jax.random.key(0), (batch, length, d))


def norms_by_lag(cell: lg.cells.Cell, part: str) -> lg.NormProfile:
    """The norms in one network, sequences on the first axis."""
    model = cell.model(cell.init(jax.random.key(1)))

    def of_one(sequence):
        return lg.backward_norms(lg.chain(model, sequence), of=part, wrt=part)

    return jax.vmap(of_one)(inputs)


figure, ax = plt.subplots(figsize=(3.3, 2.5))
cells = {"RNN": lg.cells.rnn(d, h), "GRU": lg.cells.gru(d, h), "LSTM": lg.cells.lstm(d, h)}
for name, part in (("RNN", "h"), ("GRU", "h"), ("LSTM", "h"), ("LSTM", "c")):
    profile = norms_by_lag(cells[name], part)
    lg.plot.norms(profile, ax=ax, label=f"{name} ${part}$")
    print(f"{name:4} {part}: median horizon {jax.numpy.median(lg.horizon(profile)):.0f} steps")
ax.set_title("At initialization the LSTM keeps most")
ax.legend()
figure.savefig(args.figure)
