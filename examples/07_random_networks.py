"""Lyapunov spectra of random networks x' = J tanh(x) against their gain, on the theory's curve.

The entries of J are normal with variance g²/N. Below g = 1 such a network comes to rest at zero.
Above, it is chaotic: entropy, the sum of the positive exponents, and dimension are shares of N, and
have no free parameter in the limit of large N. Both rise with the gain and fall again, because a
stronger drive also saturates more units, whose slopes vanish; networks of 100 units stay somewhat
below the limit. The more of them saturate, the more of the spectrum falls out of what float32
resolves: these exponents, marked hollow, lie along a floor, and the true ones far below it.

Alt: Left, spectra of random networks at three gains on the lines of the theory. Middle and right,
dimension and entropy rate by gain, points of networks beside the curve of the theory.
"""

import argparse

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lstmgrad as lg

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description="Spectra of random networks against their gain.")
parser.add_argument("figure", nargs="?", default="random_networks.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
n, steps, networks = (10, 60, 2) if args.small else (100, 1000, 4)
gains = np.array([2.0, 20.0]) if args.small else np.geomspace(1.3, 25.0, 8)
shown = gains if args.small else gains[[1, 3, 5]]
burn_in = steps // 4


def step(weights, x, _):
    """One step of the network."""
    return weights @ jnp.tanh(x)


def spectrum(key, gain) -> lg.LyapunovSpectrum:
    """All exponents of one network."""
    key_weights, key_start = jax.random.split(key)
    weights = gain * jax.random.normal(key_weights, (n, n)) / jnp.sqrt(n)
    start = jax.random.normal(key_start, (n,))
    chain = lg.stream(step, weights, start, jnp.arange(steps + burn_in))
    return lg.lyapunov_spectrum(chain, burn_in=burn_in)


of_all = jax.jit(jax.vmap(spectrum, in_axes=(0, None)))
keys = jax.random.split(jax.random.key(0), networks)
figure, panels = plt.subplots(1, 3, figsize=(6.9, 2.6))
readings = lg.kaplan_yorke_dimension, lg.entropy_rate
most = dict.fromkeys(readings, (-1.0, 0.0))  # the largest mean, and its gain
print("gain   resolved   dimension / N: measured, theory   entropy rate / N: measured, theory")
for gain in gains:
    found = of_all(keys, gain)
    theory = jnp.asarray(lg.theory.random_tanh_exponents(gain, n))
    line = f"{gain:5.1f} {float(found.resolved.mean()):9.0%}   "
    for ax, reading in zip(panels[1:], readings, strict=True):
        measured, expected = reading(found.exponents) / n, reading(theory) / n
        ax.plot(np.full(networks, gain), measured, ".", color="0.5", markersize=3, clip_on=False)
        most[reading] = max(most[reading], (float(measured.mean()), gain))
        line += f"{float(measured.mean()):22.3f} {float(expected):8.3f}"
    if gain in shown:
        one = jax.tree.map(lambda leaf: leaf[0], found)
        lg.plot.lyapunov_spectrum(one, theory=theory, ax=panels[0], label=f"g = {gain:.1f}")
        share = float(one.resolved.mean())
        panels[0].set_title(f"At g = {gain:.1f}, {share:.0%} are resolved")
    print(line)
curve = np.geomspace(gains[0], gains[-1], 5 if args.small else 40)
expected = [jnp.asarray(lg.theory.random_tanh_exponents(gain, 1000)) for gain in curve]
for ax, reading in zip(panels[1:], readings, strict=True):
    ax.plot(curve, [reading(one) / 1000 for one in expected], color="C0", label="theory")
    ax.plot([], [], ".", color="0.5", label=f"networks, N = {n}")
    ax.set(xscale="log", xlabel="gain $g$", ylim=(0, None))
    ax.set_xticks([2, 5, 10, 20], ["2", "5", "10", "20"])
    ax.minorticks_off()
    ax.legend()
panels[0].set_ylim(-22, 2)
panels[1].set_ylabel("dimension / $N$")
panels[2].set_ylabel("entropy rate / $N$ (nats)")
for ax, reading, name in zip(panels[1:], readings, ("Dimension", "Entropy"), strict=True):
    ax.set_title(f"{name}: largest at g = {most[reading][1]:.1f}")
handles, labels = panels[0].get_legend_handles_labels()
kept = {label: handle for handle, label in zip(handles, labels, strict=True)}
kept = dict(sorted(kept.items(), key=lambda item: not item[0].startswith("g")))
panels[0].legend(kept.values(), kept.keys())
figure.savefig(args.figure)
