"""The curse of memory: Zucchet & Orvieto 2024.

Claim: the longer a network remembers, the more its states move when its parameters do, although no
gradient through time explodes. Of the linear unit h' = λ h + x with white input the second moments
are 1/(1 - λ²) for the state and (1 + λ²)/(1 - λ²)³ for its derivative by λ: it grows with the cube
of the memory 1/(1 - λ) (their analysis of linear units). Two things cure it, both of which
state-space models have: the input times √(1 - λ²), and λ = exp(-exp(ν)), with ν as the parameter.

Paper's numbers: the two closed forms above. With both cures the derivative by ν has the second
moment (λ ln λ / (1 - λ²))², which follows from the same sums and stays below 1/4 for every λ.

Here: `lg.sensitivity` of h_T to λ and to ν, over 4000 white sequences at T = 12/(1 - λ), where the
start is forgotten.

Difference: three standard errors of a mean of 4000 squares, up to 10 % of the value. Rows are
ratios of what is measured to what the paper says, so that the paper's number is 1.

Run time: 15 s on two cores.

Reference: Zucchet & Orvieto 2024, NeurIPS, arXiv:2405.21064.

Alt: Second moments against the memory on two logarithmic axes. The state's grows in proportion to
the memory, that of its derivative by λ with the cube, and that of its derivative by ν stays at
1/4.
"""

import argparse

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lstmgrad as lg

DECAYS = (0.5, 0.9, 0.98, 0.99, 0.995)


def plain(decay, h, x):
    """One step of h' = λ h + x; the parameter is λ."""
    return decay * h + x


def cured(nu, h, x):
    """The same with the input times √(1 - λ²) and λ = exp(-exp(ν)); the parameter is ν."""
    decay = jnp.exp(-jnp.exp(nu))
    return decay * h + jnp.sqrt(1 - decay**2) * x


def moments(step, parameter: float, sequences) -> tuple[np.ndarray, np.ndarray]:
    """h_T² and the square of its derivative by the parameter, (N,) each."""

    @jax.jit
    def of_all(sequences):
        def of_one(inputs):
            chain = lg.chain(lg.Model(step, jnp.asarray(parameter), jnp.zeros(())), inputs)
            found = lg.sensitivity(chain)
            return chain.trajectory.states[-1] ** 2, jnp.exp(2 * found.log_norms[-1])

        return jax.lax.map(of_one, sequences, batch_size=200)

    states, slopes = of_all(sequences)
    return np.asarray(states, np.float64), np.asarray(slopes, np.float64)


def closed_forms(decay: float) -> tuple[float, float, float]:
    """What the paper says of E h², E (dh/dλ)², and with both cures E (dh/dν)²."""
    rest = 1 - decay**2
    return 1 / rest, (1 + decay**2) / rest**3, (decay * np.log(decay) / rest) ** 2


def main(figure: str, *, small: bool) -> None:
    """Measures, prints the table and draws the figure."""
    decays, count = (DECAYS[:2], 1000) if small else (DECAYS, 4000)
    rows, found = [], []
    for decay in decays:
        sequences = jax.random.normal(jax.random.key(0), (count, int(12 / (1 - decay))))
        states, slopes = moments(plain, decay, sequences)
        _, cures = moments(cured, np.log(-np.log(decay)), sequences)
        found.append([states.mean(), slopes.mean(), cures.mean()])
        names = ("h²", "(dh/dλ)²", "cured (dh/dν)²")
        for name, squares, paper in zip(
            names, (states, slopes, cures), closed_forms(decay), strict=True
        ):
            error = squares.std() / count**0.5 / paper
            rows.append(
                (f"λ = {decay:<5g} E {name}, over {paper:.4g}", squares.mean() / paper, error)
            )
    print(f"{'':40} {'paper':>6} {'here':>8} {'difference':>11} {'stated':>7}")
    for what, here, error in rows:
        print(f"{what:40} {1:6.3f} {here:8.3f} {here - 1:11.2g} {3 * error:7.2g}")
    draw(figure, decays, np.array(found))


def draw(figure: str, decays, found: np.ndarray) -> None:
    """Second moments against the memory, beside the closed forms."""
    labels = (r"$E\,h^2$", r"$E\,(dh/d\lambda)^2$", r"$E\,(dh/d\nu)^2$, both cures")
    many = np.linspace(decays[0], decays[-1], 400)
    with lg.plot.style():
        page, ax = plt.subplots(figsize=(3.3, 2.6))
        forms = np.array([closed_forms(decay) for decay in many]).T
        for label, values, form, mark in zip(labels, found.T, forms, "osD", strict=True):
            (line,) = ax.plot(1 / (1 - many), form, label=label)
            ax.plot(1 / (1 - np.array(decays)), values, mark, color=line.get_color())
        ax.set(xscale="log", yscale="log", xlabel=r"memory $1/(1-\lambda)$ (steps)")
        ax.set_ylabel("second moment")
        ax.set_title("Memory makes states sensitive to the weights")
        ax.legend()
        page.savefig(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Memory makes states sensitive.")
    parser.add_argument(
        "figure", nargs="?", default="curse_of_memory.png", help="the file to write"
    )
    parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
    args = parser.parse_args()
    main(args.figure, small=args.small)
