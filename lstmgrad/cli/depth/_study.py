"""The gradient through a stack of layers: its factors, its norm in every layer, and the bound."""

import math
import textwrap

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.console import say
from lstmgrad.cli._shared.outputs import output_directory, write_whole
from lstmgrad.cli.depth._options import ACTIVATIONS, DepthOptions
from lstmgrad.cli.depth._report import (
    DepthStudy,
    Gradients,
    depth_file,
    depth_reading,
    factor_table,
    gradient_table,
)

FIGURES = ("depth.png", "depth.svg")
FILES = (*FIGURES, "depth.json")


def depth(options: DepthOptions) -> None:
    """Measures the stack, prints the tables and writes the files.

    Args:
        options: what the user asked for.

    Raises:
        CommandError: the output directory will not do; nothing is written then.
    """
    with output_directory(options.out, FILES):
        say(*_preamble(options))
        study = study_depth(options)
        say(*factor_table(study), *gradient_table(study))
        say(textwrap.fill(depth_reading(study), 79), "")
        contents = {**_figures(study), "depth.json": depth_file(study, options)}
        write_whole(options.out, contents)
        say(f"Wrote {', '.join(FILES)} into {options.out}")


def study_depth(options: DepthOptions) -> DepthStudy:
    """Everything that is measured.

    Args:
        options: what the user asked for.
    """
    function, slope = ACTIVATIONS[options.activation]
    plain, residual = lg.cells.plain_layer(function), lg.cells.residual_layer(function)

    # Arguments, because what is closed over would be a constant of the compiled program.
    @jax.jit
    def analyze(layers, start, cotangent) -> DepthStudy:
        def run(step) -> tuple[lg.Trajectory, Gradients]:
            trajectory = lg.unroll(step, None, start, layers)
            cotangents = lg.loss_cotangents(lambda states: cotangent @ states.h[-1], trajectory)
            parts = lg.contributions(step, None, trajectory, cotangents)
            adjoint = lg.adjoint(lg.linearize(step, None, trajectory), cotangents)
            lengths = lg.Scaled(jnp.linalg.norm(adjoint.mantissa, axis=1), adjoint.exponent)
            return trajectory, Gradients(parts.input_log_norms.weight, lengths.log_abs())

        trajectory, of_plain = run(plain)
        chain = lg.linearize(plain, None, trajectory)
        factors = lg.layer_factors(chain)
        # At most `slope` times sigma_max a layer, from the output down to the layer itself.
        log_gains = math.log(slope) + factors.log_weights
        below = jnp.concatenate([jnp.cumsum(log_gains[::-1])[::-1], jnp.zeros(1, log_gains.dtype)])
        log_inputs = jnp.log(jnp.linalg.norm(trajectory.states.h[:-1], axis=1))
        return DepthStudy(
            one=lg.layer_factors(chain[:1]),
            all=factors,
            log_norm_one=_log_norm(lg.product(chain[:1])),
            log_norm_all=_log_norm(lg.product(chain)),
            plain=of_plain,
            residual=run(residual)[1],
            bounds=Gradients(below[1:] + math.log(slope) + log_inputs, below),
            budget=lg.gain_budget(chain, through=["branch"]),
        )

    return jax.device_get(analyze(*draw(options)))


def draw(options: DepthOptions) -> tuple[lg.cells.LayerParams, lg.cells.LayerState, jax.Array]:
    """The layers, the input, and the gradient of the loss at the output, of length 1.

    Args:
        options: what the user asked for.
    """
    count, width, dtype = options.layers, options.width, jnp.dtype(options.dtype)
    weight_key, input_key, loss_key = jax.random.split(jax.random.key(options.seed), 3)
    glorot = jax.nn.initializers.glorot_normal(batch_axis=0)
    weights = glorot(weight_key, (count, width, width), dtype)
    layers = lg.cells.LayerParams(weights, jnp.zeros((count, width), dtype))
    start = lg.cells.LayerState(jax.random.normal(input_key, (width,), dtype))
    cotangent = jax.random.normal(loss_key, (width,), dtype)
    return layers, start, cotangent / jnp.linalg.norm(cotangent)


def _log_norm(product: lg.Scaled) -> jax.Array:
    norm = jnp.linalg.norm(product.mantissa, 2)
    return lg.Scaled(norm, product.exponent).log_abs()


def _preamble(options: DepthOptions) -> list[str]:
    return [
        f"stack     depth {options.layers}, width {options.width}, {options.activation}; Glorot "
        "weights, no bias",
        f"          {options.dtype}, seed {options.seed}",
        "",
    ]


def _figures(study: DepthStudy) -> dict[str, bytes]:
    # Not before it is needed: importing matplotlib takes longer than refusing a bad option.
    from lstmgrad import plot
    from lstmgrad.plot._curves import draw_curve

    layers = np.arange(1, study.depth + 1)

    def norms(ax) -> None:
        kinds = {"plain": study.plain, "bound": study.bounds, "residual": study.residual}
        for label, kind in kinds.items():
            values = np.asarray(kind.log_weights)[None] / math.log(10)
            draw_curve(ax, layers, values, label, {}, marker="o", markersize=3)
        ax.set(xlabel="layer $l$", ylabel=r"$\log_{10}\,\Vert dL/dW_l\Vert$")
        ax.legend()

    def factors(ax) -> None:
        plot.gain_budget(study.budget, names={"branch": "slope", "state": "weights"}, ax=ax)
        gain = r"gain of $\Vert\partial h_L/\partial h_0\Vert$ in layer $l$ ($\log_{10}$)"
        ax.set(xlabel="layer $l$", ylabel=gain)

    figure = plot.page([norms, factors], width=3.8, height=2.5)
    return {name: plot.encode(figure, name.rpartition(".")[2]) for name in FIGURES}
