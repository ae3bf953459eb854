"""LSTMs over 20 000 steps: their gradient vanishes too, and when, by the forget gate's bias b.

With all weights zero the forget gate is the constant σ(b), and the norm of dc_T/dc_k is exactly
σ(b)^(T-k), the thin lines. Weights change that in two ways. The gates move with the input, which
lets a unit by itself decay a little faster on average, because ln σ is concave. And what the cell
sends through h comes back through the gates, which adds to the norm. With recurrent weights a tenth
of Glorot's, the norm decays somewhat more slowly than the lines and vanishes for every b. With
Glorot's own it still vanishes for b = 1, but for b = 3 and 5 the loop through h holds it up: in
about half and in most of the networks it is not lost after 20 000 steps, and in some it grows.

The marked lines are the additive path alone, the product of the forget gates as they were, and of
the unit that keeps most: it vanishes for every b, near σ(b)^lag, and the loop through h adds the
distance to the norm. All of this is about what can be learned from a lag. What a trained network
remembers is what `python -m lstmgrad` shows.

A curve is the median, in its band from the 10 % to the 90 % quantile, over 15 networks with Glorot
input weights on 15 standard normal sequences. All of it in float32, where numbers end at 1e-38 and
the logarithms of these norms go on to -6000.

Alt: Two panels of norms by lag up to 20 000 steps, for forget biases of 1, 3 and 5. With recurrent
weights a tenth of Glorot's all curves fall near the thin lines of the bias; with Glorot's own
those of 3 and 5 stay up, while the paths alone, with markers, fall as before.
"""

import argparse
import math

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lstmgrad as lg

THRESHOLD = 1e-3
EVERY = 10
PATH = {"linestyle": "-", "linewidth": 0.9, "markersize": 3.5, "markerfacecolor": "white"}
GLOROT = jax.nn.initializers.glorot_normal()

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description="The norm of dc_T/dc_k in LSTMs over 20 000 steps.")
parser.add_argument("figure", nargs="?", default="long_sequences.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
networks, length, d, h = (3, 300, 2, 4) if args.small else (15, 20_000, 8, 32)


def norms_by_lag(bias: float, gain: float) -> tuple[lg.NormProfile, jax.Array]:
    """The norms of dc_T/dc_k at every tenth lag, and ln of those of the additive path alone.

    Networks are on the first axis of both.
    """

    def recurrent_init(*key_shape_dtype):
        return gain * GLOROT(*key_shape_dtype)

    def of_one(key):
        params_key, inputs_key = jax.random.split(key)
        inputs = jax.random.normal(inputs_key, (length, d))
        chain = lg.chain(cell.model(cell.init(params_key)), inputs)
        # diag Π f, whose norm is that of the unit that keeps most.
        forget = lg.tagged_values(chain)["forget"]
        path = jnp.cumsum(jnp.log(forget[::-1]), axis=0).max(axis=1)
        return lg.backward_norms(chain, of="c", wrt="c", every=EVERY), path[EVERY - 1 :: EVERY]

    cell = lg.cells.lstm(d, h, forget_bias=bias, recurrent_init=recurrent_init)
    return jax.vmap(of_one)(jax.random.split(jax.random.key(0), networks))


print(
    f"                  log10 norm at lag {length}          "
    f"first lag below {THRESHOLD:g} for good   never"
)
print("recurrent      b   sigma(b)^lag    path   median   sigma(b)^lag  median, in tens  below")
figure, panels = plt.subplots(1, 2, figsize=(6.9, 2.9), sharey=True)
lags = np.arange(1, length + 1)
for ax, gain, weights in zip(panels, (0.1, 1.0), ("Glorot / 10", "Glorot"), strict=True):
    for bias in (1, 3, 5):
        profile, path = norms_by_lag(bias, gain)
        lg.plot.norms(profile, ax=ax, label=f"$b = {bias}$")
        rate = math.log1p(math.exp(-bias))  # -ln σ(b)
        line = -rate * lags / math.log(10)
        color = ax.lines[-1].get_color()
        ax.plot(lags, line, color=color, linestyle="-", linewidth=0.6)
        alone = np.median(path, axis=0) / math.log(10)
        ax.plot(lags[EVERY - 1 :: EVERY], alone, color=color, marker="o", markevery=0.08, **PATH)
        last = np.median(profile.log_norms[:, -1]) / math.log(10)
        horizons = lg.horizon(profile, threshold=THRESHOLD)
        reach, never = np.median(horizons), np.isinf(horizons).sum()
        exact = math.ceil(-math.log(THRESHOLD) / rate)
        table = f"{line[-1]:14.1f} {alone[-1]:7.1f} {last:8.1f} {exact:14} {reach:16.0f} {never:6}"
        print(f"{weights:11} {bias:4} {table}")
    ax.axhline(math.log10(THRESHOLD), color="0.55", linewidth=0.8, zorder=0)
    ax.set(xscale="log", xlim=(EVERY, length), ylim=(-15, 15))
    ax.set_title(f"Recurrent weights: {weights}")
    ax.label_outer()
panels[0].plot([], [], "-", color="black", linewidth=0.6, label=r"$\sigma(b)^{T-k}$")
panels[0].plot([], [], color="black", marker="o", label="path alone", **PATH)
panels[0].plot([], [], "-", color="0.55", linewidth=0.8, label=f"norm {THRESHOLD:g}")
panels[0].legend(loc="upper left", ncols=2)
figure.savefig(args.figure)
