"""A network that has learned chaos, and how often to force it: Mikhaeil 2022.

Claim: a network with a chaotic orbit has λ₁ > 0, and its gradients grow by exp(λ₁) per step,
whatever its architecture: the loss itself is as sensitive. What helps is to put the network back
onto the data at intervals of the predictability time, τ = ln 2 / λ₁ (their Eq. 17).

Paper's numbers: the formula for τ. The network is one whose exponents others have published: an
LSTM of 30 units that reads its own prediction, trained on the system of Lorenz (MagriLab,
Tutorials, 2024), with .8319, -.0012 and -14.0565 per time unit of 100 steps. So τ is ln 2 / .8319
= .8332 time units.

Here: the three largest of its 60 exponents over 100 000 steps, `lg.forcing_interval` of them, and
the growth of the gradient over the first 6000 steps.

Difference: the orbit lingers now and then, so that runs of this length scatter by .03, .005 and
.1, and the standard errors of ours come on top; with them the interval is within .08. Over 6000
steps, 50 Lyapunov times, the growth of the gradient is within .15 of λ₁.

Run time: 15 s on two cores.

References: Mikhaeil, Monfared & Durstewitz 2022, NeurIPS, arXiv:2110.07238; MagriLab, Tutorials,
github.com/MagriLab/Tutorials.

Alt: Left, running estimates of three exponents settle at .83, 0 and -14 per time unit, on the
dashed lines of what was published. Right, the norm of the gradient grows by 10 to the 20 within 60
time units along the line of the first exponent, and with the chain cut every 0.83 time units it
stays below 1000.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lstmgrad as lg

jax.config.update("jax_enable_x64", True)

STEP = 0.01  # time units
PUBLISHED = (0.8319, -0.0012, -14.0565)
SCATTER = (0.03, 0.005, 0.1)
DATA = Path(__file__).parents[2] / "tests" / "data" / "lorenz_lstm30.npz"


def network() -> lg.Model:
    """The trained network, which reads its own prediction, on its attractor."""
    with np.load(DATA) as file:
        data = {name: jnp.asarray(file[name], jnp.float64) for name in file}
    cell = lg.cells.lstm(3, 30)
    # Keras has inputs in rows.
    params = lg.cells.LSTMParams(data["kernel"].T, data["recurrent_kernel"].T, data["bias"])
    readout = lg.interop.DenseParams(data["dense_kernel"].T, data["dense_bias"])
    loop = lg.interop.closed_loop(cell.model(params), lg.interop.dense, readout)
    start = loop._replace(state=lg.cells.LSTMState(jnp.full(30, 0.1), jnp.zeros(30)))
    settled = lg.unroll(*start, jnp.arange(1000)).states
    return loop._replace(state=jax.tree.map(lambda part: part[-1], settled))


def main(figure: str, *, small: bool) -> None:
    """Measures, prints the table and draws the figure."""
    steps, growing = (20_000, 2000) if small else (100_000, 6000)
    model = network()
    found = lg.lyapunov_spectrum(lg.stream(*model, jnp.arange(steps)), num_exponents=3)
    exponents = np.asarray(found.exponents) / STEP
    errors = np.asarray(found.standard_errors) / STEP
    forcing = lg.forcing_interval(found)
    interval = float(forcing.interval) * STEP

    chain = lg.chain(model, jnp.arange(growing))
    profile = lg.forward_norms(chain, every=10)
    slope = -float(lg.decay_rate(profile)) / STEP
    every = int(interval / STEP)
    pieces = [
        lg.forward_norms(chain[first : first + every])
        for first in range(0, growing - every, max(every, growing // 20))
    ]

    stated = [scatter + 3 * error for scatter, error in zip(SCATTER, errors, strict=True)]
    rows = [
        (f"exponent {i + 1} (per time unit)", PUBLISHED[i], exponents[i], stated[i])
        for i in range(3)
    ]
    within = np.log(2) / PUBLISHED[0] * stated[0] / exponents[0]
    rows += [
        ("forcing interval ln 2 / λ₁ (time units)", np.log(2) / PUBLISHED[0], interval, within),
        ("growth of the gradient (per time unit)", PUBLISHED[0], slope, 0.3 if small else 0.15),
    ]
    print(f"{'':42} {'paper':>9} {'here':>9} {'difference':>11} {'stated':>7}")
    for what, paper, here, limit in rows:
        print(f"{what:42} {paper:9.4f} {here:9.4f} {here - paper:11.2g} {limit:7.2g}")
    draw(figure, found, profile, pieces, exponents[0])


def draw(figure: str, found, profile, pieces, largest: float) -> None:
    """Running estimates of the exponents, and the gradient of a free and of a forced run."""
    with lg.plot.style():
        page, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.6))
        lg.plot.lyapunov_convergence(found, ax=left)
        for published in PUBLISHED:
            left.axhline(published * STEP, color="0.4", linewidth=0.7, linestyle="--", zorder=1)
        left.set_title("Exponents of the trained network (dashed: published)")
        times = STEP * np.asarray(profile.lags)
        right.plot(times, np.asarray(profile.log_norms) / np.log(10), label="free run")
        right.plot(times, largest * times / np.log(10), label=r"$e^{\lambda_1 t}$")
        ends = [float(piece.log_norms[-1]) / np.log(10) for piece in pieces]
        at = np.linspace(0, times[-1], len(ends))
        right.plot(at, ends, "D", linestyle="none", label=r"forced every $\tau$, after one $\tau$")
        right.set(
            xlabel="time (units)", ylabel=r"$\log_{10}\,\Vert\partial s_t/\partial s_0\Vert_2$"
        )
        right.set_title("The gradient grows until the run is forced")
        right.legend()
        page.savefig(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A network that has learned chaos.")
    parser.add_argument("figure", nargs="?", default="learned_chaos.png", help="the file to write")
    parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
    args = parser.parse_args()
    main(args.figure, small=args.small)
