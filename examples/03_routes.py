"""LSTMs with larger recurrent weights: the cell path loses its part in the gradient.

dc_T/dc_0 is the path through the cells alone, diag Π f, plus the rest, which comes through h at
some step. The larger the recurrent weights, U ~ N(0, s²/n), the more the rest drowns the path that
LSTMs are built for: what Arpit et al. 2019 (arXiv:1810.03023) observe, and cut h out of the
gradient at random for. For each scale s, 50 LSTMs of n = 64 units with input weights N(0, 1) and
forget bias 1, each along 50 standard normal inputs of 4 features.

On the right, for the smallest and the largest scale, through what the gradient comes step by step,
in the first of the networks: the share of every route in the top singular value of dc_T/dc_0. At
each step the shares add up to 1. What vanishes is the path that never leaves the cells: step by
step a large part still comes through them.

Alt: Left, the norm of the cell path over that of the rest, falling with the scale of the recurrent
weights from near 1 to 10 to the -10. Right, the shares of the routes over time: nearly all through
the cell at the smallest scale, mixed at the largest.
"""

import argparse

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lstmgrad as lg

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description="The cell path of LSTMs against all other paths.")
parser.add_argument("figure", nargs="?", default="routes.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
networks, length, d, n = (2, 8, 2, 4) if args.small else (50, 50, 4, 64)
scales = (0.25, 0.5, 1.0, 2.0, 6.0)
cell = lg.cells.lstm(d, n)


def chain_of(key, scale) -> lg.Chain:
    """The chain of one network along one sequence."""
    keys = jax.random.split(key, 3)
    params = lg.cells.LSTMParams(
        weight_ih=jax.random.normal(keys[0], (4 * n, d)),
        weight_hh=scale / np.sqrt(n) * jax.random.normal(keys[1], (4 * n, n)),
        bias=jnp.zeros(4 * n).at[n : 2 * n].set(1.0),
    )
    return lg.chain(cell.model(params), jax.random.normal(keys[2], (length, d)))


@jax.jit
@jax.vmap
def ratio(key, scale):
    """The norm of the cell path over that of the rest of dc_T/dc_0."""
    chain = chain_of(key, scale)
    cell_route = lg.routes(chain)["cell"]
    whole, path = (lg.jacobian(part, of="c", wrt="c") for part in (chain, cell_route))
    return jnp.linalg.norm(path, 2) / jnp.linalg.norm(whole - path, 2)


@jax.jit
def shares(key, scale):
    """The share of every route, of one network."""
    chain = chain_of(key, scale)
    return lg.route_shares(chain, lg.routes(chain), of="c", wrt="c")


keys = jax.random.split(jax.random.key(0), networks)
figure, panels = plt.subplot_mosaic(
    [["ratio", "0.25"], ["ratio", "6"]],
    figsize=(6.9, 3.4),
    width_ratios=(2, 3),
)
ax = panels["ratio"]
print("norm of the cell path / norm of the rest of dc_T/dc_0")
print("scale   geometric mean   smallest    largest")
for scale in scales:
    found = ratio(keys, jnp.full(networks, scale))
    mean = np.exp(np.mean(np.log(found)))
    print(f"{scale:5} {mean:16.2g} {np.min(found):10.2g} {np.max(found):10.2g}")
    ax.loglog(np.full(networks, scale), found, ".", color="0.6", markersize=3)
    ax.loglog(scale, mean, "o", color="black")
ax.set(xlabel="scale $s$ of the recurrent weights", ylabel="cell path / rest")
ax.set_xticks(scales, [f"{scale:g}" for scale in scales])
ax.minorticks_off()
for scale in ("0.25", "6"):
    ax = lg.plot.route_shares(shares(keys[0], float(scale)), ax=panels[scale])
    ax.set_title(f"$s = {scale}$")
panels["0.25"].set_xlabel("")
figure.savefig(args.figure)
