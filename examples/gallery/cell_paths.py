"""The cell path drowns in large weights, and h-detach: Arpit 2019.

Claim: the gradient of an LSTM is a sum over paths. With J_t = A_t + B_t, A_t the path through the
cell alone and B_t all that passes through h, the paths through h grow with the recurrent weights
and drown the one through the cells, which carries what is far back. Cutting h out of the gradient
at random, with probability 1 - p, gives the product of A_t + p B_t on average (their theorem), and
raises the share of the cell path.

Paper's numbers: the theorem is exact, so the distance from it has to be 0. How fast the path
drowns is shown in the paper by training runs, not in a table; the figures of this script for that,
the norm of the cell path over that of the rest, are held against a calculation by hand, on five
other networks of the same kind: .69, .25, .027, 4e-4 and 2.5e-10 for weights U ~ N(0, s²/n) with s
= 1/4, 1/2, 1, 2, 6.

Here: the mean over all 2^8 masks of 8 steps, each weighted by its probability; the ratio in 50
LSTMs of n = 64 units along 50 steps, forget bias 1, standard normal inputs of 4 features.

Difference: rounding for the theorem. The ratio varies between networks by a factor of e^0.8 at
small weights and e^3.3 at the largest, so means of five and of fifty differ by up to ln 40 at s =
6.

Run time: 20 s on two cores.

Reference: Arpit, Kanuparthi, Kerg, Ke, Mitliagkas & Bengio 2019, arXiv:1810.03023.

Alt: The norm of the cell path over that of the rest, falling from near 1 to 10 to the -10 as the
recurrent weights grow, with crosses of the calculation by hand on it. With h-detach of one half
the curve lies higher.
"""

import argparse
import itertools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lstmgrad as lg

SCALES = (0.25, 0.5, 1.0, 2.0, 6.0)
BY_HAND = (0.69, 0.25, 0.027, 4e-4, 2.5e-10)
KEPT = 0.5  # p, the share of the gradient through h that h-detach keeps
STATED = (0.5, 0.7, 1.5, 2.5, 4.0)  # of ln ratio: three standard errors of both means


def network(cell: lg.cells.Cell, key, scale):
    """Parameters with recurrent weights of a scale."""
    units, size = cell.init(key).weight_hh.shape[1], cell.init(key).weight_ih.shape[1]
    keys = jax.random.split(key)
    return cell.init(key)._replace(
        weight_ih=jax.random.normal(keys[0], (4 * units, size)),
        weight_hh=scale / units**0.5 * jax.random.normal(keys[1], (4 * units, units)),
    )


def log_ratios(chain: lg.Chain) -> jax.Array:
    """Ln of the norm of the cell path over that of the rest of dc_T/dc_0."""
    path, whole = (lg.jacobian(part, of="c", wrt="c") for part in (lg.routes(chain)["cell"], chain))
    return jnp.log(jnp.linalg.norm(path, 2) / jnp.linalg.norm(whole - path, 2))


def theorem(length: int) -> float:
    """The largest distance of the mean over all masks of h-detach from the product of A + p B."""
    cell = lg.cells.lstm(2, 4)
    step = lg.training.path_dropout(cell.step, keep=("cell",))
    model = cell.model(network(cell, jax.random.key(0), 1.0))._replace(step=step)
    inputs = jax.random.normal(jax.random.key(1), (length, 2))

    @jax.jit
    def product(kept):
        return lg.jacobian(lg.chain(model, (inputs, kept)))

    masks = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=length)))
    weights = KEPT ** masks.sum(axis=1) * (1 - KEPT) ** (length - masks.sum(axis=1))
    mean = jnp.tensordot(weights, jax.jit(jax.vmap(product))(masks), 1)
    return float(jnp.abs(mean - product(jnp.full(length, KEPT))).max())


def main(figure: str, *, small: bool) -> None:
    """Measures, prints the table and draws the figure."""
    networks, length, units = (6, 50, 64) if small else (50, 50, 64)
    cell = lg.cells.lstm(4, units)
    step = lg.training.path_dropout(cell.step, keep=("cell",))

    @jax.jit
    @jax.vmap
    def ratios(key, scale):
        model = cell.model(network(cell, key, scale))
        inputs = jax.random.normal(jax.random.fold_in(key, 1), (length, 4))
        kept = jnp.full(length, KEPT)
        detached = lg.chain(model._replace(step=step), (inputs, kept))
        whole = lg.chain(model, inputs)
        path = lg.jacobian(lg.routes(whole)["cell"], of="c", wrt="c")
        rest = lg.jacobian(detached, of="c", wrt="c") - path
        return log_ratios(whole), jnp.log(jnp.linalg.norm(path, 2) / jnp.linalg.norm(rest, 2))

    keys = jax.random.split(jax.random.key(0), networks)
    found = np.asarray([ratios(keys, jnp.full(networks, scale)) for scale in SCALES])
    means = found.mean(axis=2)
    rows = [
        ("h-detach: mean over all masks less the product", 0.0, theorem(4 if small else 8), 1e-5)
    ]
    for scale, by_hand, here, within in zip(SCALES, BY_HAND, means[:, 0], STATED, strict=True):
        rows.append(
            (f"s = {scale:<4g} ln of cell path / rest (by hand)", np.log(by_hand), here, within)
        )
    print(f"{'':48} {'paper':>8} {'here':>8} {'difference':>11} {'stated':>7}")
    for what, paper, here, within in rows:
        print(f"{what:48} {paper:8.3f} {here:8.3f} {here - paper:11.2g} {within:7.2g}")
    print("\nWith h-detach of p = 1/2 the path is, of the rest, by scale: ", end="")
    print(", ".join(f"{np.exp(mean):.2g}" for mean in means[:, 1]))
    draw(figure, found)


def draw(figure: str, found: np.ndarray) -> None:
    """Ratios by scale, as they are and with half of the gradient through h."""
    with lg.plot.style():
        page, ax = plt.subplots(figsize=(3.3, 2.6))
        for kind, label, marker in ((0, "LSTM", "o"), (1, r"h-detach, $p = 1/2$", "s")):
            logs = found[:, kind] / np.log(10)
            low, middle, high = np.quantile(logs, (0.1, 0.5, 0.9), axis=1)
            (line,) = ax.plot(SCALES, middle, marker=marker, label=label)
            ax.fill_between(SCALES, low, high, alpha=0.2, color=line.get_color(), linewidth=0)
        by_hand = {"linestyle": "none", "marker": "x", "markersize": 5, "color": "black"}
        ax.plot(SCALES, np.log10(BY_HAND), label="by hand, five networks", **by_hand)
        ax.set_xscale("log")
        ax.set_xticks(SCALES, [f"{scale:g}" for scale in SCALES])
        ax.minorticks_off()
        ax.set(
            xlabel="scale $s$ of the recurrent weights", ylabel=r"$\log_{10}$ of cell path / rest"
        )
        ax.set_title("Large weights drown the cell path")
        ax.legend(loc="lower left")
        page.savefig(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The cell path drowns in large weights.")
    parser.add_argument("figure", nargs="?", default="cell_paths.png", help="the file to write")
    parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
    args = parser.parse_args()
    main(args.figure, small=args.small)
