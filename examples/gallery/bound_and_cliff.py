"""The bound on the gradient and the cliff in the loss: Bengio 1994, Pascanu 2013.

Claim: in a network h' = φ(W h + ...) the gradient over t steps is at most (γ σ_max(W))^t, with γ
the largest slope of φ: 1 for tanh, 1/4 for the logistic function. Below γ σ_max = 1 it has to
vanish, and only above that can it explode. Where it does, the loss has a cliff, and a step of
gradient descent that meets it is thrown far away; a step of limited length is not (clipping).

Paper's numbers: the norm never exceeds the bound, and a linear network with orthogonal weights
attains it (Section 2.1, Eqs. 6-7). Of a single logistic unit, x' = w σ(x) + b, a gradient can grow
only for w above 1/γ = 4. The cliff is that of their figure of the error surface of a single unit:
x_0 = 0.5, 50 steps, the loss (σ(x_50) - 0.7)².

Here: the norms of networks of 50 units over 60 steps, and of the single unit on a grid of w and b.

Difference: rounding for the bound; for the weight 0.065, because x_0 = 0.5 is not where the slope
of σ is largest. That figure has no numbers to compare with, so the two descents are printed as
they are: from the same start the plain one is thrown by 13 onto a plateau, where x_50 is large and
the loss (1 - 0.7)² = 0.09; with the gradient's norm clipped at 0.5 it goes down to 0.001.

Run time: 20 s on two cores.

References: Bengio, Simard & Frasconi 1994, IEEE Transactions on Neural Networks 5(2); Pascanu,
Mikolov & Bengio 2013, arXiv:1211.5063.

Alt: Left, the norms of a tanh, a logistic and a linear orthogonal network by lag, each below the
dotted line of its bound, the last one on it. Right, the loss of the single unit over weight and
bias, with an edge across it: the plain descent leaves the picture in one step, the clipped one
stays at the edge.
"""

import argparse

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import lstmgrad as lg

STEPS, START, TARGET, RATE, CLIP = 50, 0.5, 0.7, 0.1, 0.5
LINEAR = "linear, orthogonal"


def profiles(units: int, length: int) -> dict[str, tuple[lg.NormProfile, np.ndarray]]:
    """Norms by lag and the bound on them, for networks of three kinds."""
    inputs = jax.random.normal(jax.random.key(0), (length, 2))
    normal = jax.nn.initializers.normal(0.6 / units**0.5)
    kinds = {
        "tanh": (jnp.tanh, normal, 1.0),
        "logistic": (jax.nn.sigmoid, jax.nn.initializers.normal(2.5 / units**0.5), 0.25),
        LINEAR: (lambda x: x, lg.cells.orthogonal(0.9), 1.0),
    }
    found = {}
    for name, (activation, recurrent, slope) in kinds.items():
        cell = lg.cells.rnn(2, units, activation=activation, recurrent_init=recurrent)
        params = cell.init(jax.random.key(1))
        profile = lg.forward_norms(lg.chain(cell.model(params), inputs))
        found[name] = (
            profile,
            lg.theory.pascanu_log_bound(params.weight_hh, profile.lags, slope=slope),
        )
    return found


def unit(params, x, _):
    """One step of the single unit."""
    w, b = params
    return w * jax.nn.sigmoid(x) + b


def chain_of_unit(params) -> lg.Chain:
    """The chain of the single unit."""
    return lg.chain(lg.Model(unit, params, jnp.asarray(START)), jnp.zeros(STEPS))


def loss(params):
    """(σ(x_50) - 0.7)²."""
    return (jax.nn.sigmoid(chain_of_unit(params).trajectory.states[-1]) - TARGET) ** 2


@jax.jit
@jax.vmap
@jax.vmap
def growth(w, b):
    """Ln |dx_50/dx_0| of the single unit."""
    return lg.forward_norms(chain_of_unit((w, b))).log_norms[-1]


def descend(start, optimizer, count: int) -> np.ndarray:
    """The path (w, b) of gradient descent, (count + 1, 2)."""

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    params, state, path = start, optimizer.init(start), [start]
    for _ in range(count):
        params, state = step(params, state)
        path.append(params)
    return np.asarray(path)


def main(figure: str, *, small: bool) -> None:
    """Measures, prints the table and draws the figure."""
    units, length, grid, count = (12, 20, 25, 100) if small else (50, 60, 201, 100)
    found = profiles(units, length)
    over = {name: np.asarray(p.log_norms) - bound for name, (p, bound) in found.items()}

    weights = jnp.linspace(3.0, 6.0, grid)
    biases = -weights[:, None] * jnp.linspace(0.4, 0.6, 4 * grid + 1)
    grows = np.asarray(growth(jnp.broadcast_to(weights[:, None], biases.shape), biases)).max(1) > 0
    least = float(weights[int(np.argmax(grows))])
    rows = [
        ("tanh: ln of the norm above the bound", 0.0, over["tanh"].max(), 1e-5),
        ("logistic: ln of the norm above the bound", 0.0, over["logistic"].max(), 1e-5),
        (
            "linear, orthogonal: largest distance from the bound",
            0.0,
            np.abs(over[LINEAR]).max(),
            1e-3,
        ),
        ("single unit: least w at which a gradient grows", 4.0, least, 0.2),
    ]
    print(f"{'':50} {'paper':>8} {'here':>9} {'difference':>11} {'stated':>7}")
    for what, paper, here, within in rows:
        print(f"{what:50} {paper:8.3g} {here:9.4g} {here - paper:11.2g} {within:7.1g}")

    start = (jnp.asarray(4.5), jnp.asarray(-2.251))
    paths = {
        "plain": descend(start, optax.sgd(RATE), count),
        "clipped": descend(
            start, optax.chain(optax.clip_by_global_norm(CLIP), optax.sgd(RATE)), count
        ),
    }
    print()
    for name, path in paths.items():
        longest = np.linalg.norm(np.diff(path, axis=0), axis=1).max()
        last = float(loss(tuple(jnp.asarray(path[-1]))))
        print(
            f"gradient descent, {name:8}: longest step {longest:8.3g}, loss at the end {last:.4f}"
        )

    draw(figure, found, paths, grid)


def draw(figure: str, found, paths, grid: int) -> None:
    """Norms beside their bounds, and the loss of the single unit with its cliff."""
    with lg.plot.style():
        page, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.6))
        for name, (profile, bound) in found.items():
            lg.plot.norms(profile, ax=left, label=name)
            color = left.lines[-1].get_color()
            left.plot(profile.lags, bound / np.log(10), color=color, linestyle=":", linewidth=0.8)
        left.plot([], [], ":", color="0.3", linewidth=0.8, label=r"bound $(\gamma\sigma_{max})^t$")
        left.set_title("No norm exceeds its bound")
        left.legend()

        w, b = jnp.linspace(4.3, 4.7, grid), jnp.linspace(-2.4, -2.1, grid)
        losses = jax.jit(jax.vmap(lambda b: jax.vmap(lambda w: loss((w, b)))(w)))(b)
        right.grid(visible=False)
        image = right.pcolormesh(w, b, losses, cmap="Greys", vmax=0.5, rasterized=True)
        page.colorbar(image, ax=right, label=r"loss $(\sigma(x_{50}) - 0.7)^2$")
        for (name, path), marker in zip(paths.items(), "so", strict=True):
            style = {"marker": marker, "markersize": 2.5, "linewidth": 0.6}
            right.plot(*path[:40].T, label=f"descent, {name}", **style)
        right.plot(*paths["plain"][0], "*", color="black", markersize=7, label="start", zorder=3)
        right.set(xlabel="weight $w$", ylabel="bias $b$", xlim=(4.3, 4.7), ylim=(-2.4, -2.1))
        right.set_title("At the cliff a plain step is thrown away")
        right.legend(loc="upper left")
        page.savefig(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="The bound on the gradient, and the cliff in the loss."
    )
    parser.add_argument(
        "figure", nargs="?", default="bound_and_cliff.png", help="the file to write"
    )
    parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
    args = parser.parse_args()
    main(args.figure, small=args.small)
