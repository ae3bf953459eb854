"""The gradient through a stack of layers: its factors, its norm in every layer, and the bound."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.command import Plan
from lstmgrad.cli._shared.compiler import jit_quickly
from lstmgrad.cli._shared.console import entry
from lstmgrad.cli.depth._options import ACTIVATIONS, Options

SMALL = 10_000
"""Units of all layers together, up to which good code takes longer to compile than it saves."""

Values = jax.Array | np.ndarray
"""Traced inside the analysis, NumPy's outside of it."""


class Gradients(NamedTuple):
    """Natural logarithms of the norms of the gradient of the loss.

    Attributes:
        log_weights: (L,), ‖dL/dW_l‖ at l-1, Frobenius.
        log_states: (L+1,), ‖dL/dh_l‖ at l.
    """

    log_weights: Values
    log_states: Values


class Factors(NamedTuple):
    """The Jacobian of some layers, in factors and as one matrix.

    Attributes:
        layers: three factors per layer.
        log_norm: ln of its spectral norm, from the product of the matrices.
    """

    layers: lg.LayerFactors
    log_norm: Values


class Study(NamedTuple):
    """Everything that was measured.

    Attributes:
        one: dh_1/dh_0.
        all: dh_L/dh_0.
        plain: the gradients in plain layers.
        residual: the gradients in residual layers.
        bounds: what the gradients in plain layers cannot exceed.
        budget: of dh_L/dh_0, for the figure.
        settings: what was asked for, for the files.
    """

    one: Factors
    all: Factors
    plain: Gradients
    residual: Gradients
    bounds: Gradients
    budget: lg.GainBudget
    settings: dict[str, Any]

    @property
    def depth(self) -> int:
        """L, the number of layers."""
        return len(self.plain.log_weights)

    @property
    def kinds(self) -> dict[str, Gradients]:
        """The gradients by name, in the order in which they are shown."""
        return {"plain": self.plain, "bound": self.bounds, "residual": self.residual}


def plan(options: Options) -> Plan:
    """Returns the run that the options ask for."""
    size = f"depth {options.layers}, width {options.width}, {options.activation}"
    made = f"{options.dtype}, seed {options.seed}"
    summary = entry("stack", f"{size}; Glorot weights, no bias", made)
    return Plan(summary, lambda: measure(options))


def measure(options: Options) -> Study:
    """Returns everything that is measured."""
    settings = {name: value for name, value in options._asdict().items() if name != "out"}
    function, slope = ACTIVATIONS[options.activation]
    plain, residual = lg.cells.plain_layer(function), lg.cells.residual_layer(function)

    jit = jit_quickly if options.layers * options.width <= SMALL else jax.jit

    # Arguments, because what is closed over would be a constant of the compiled program.
    @jit
    def analyze(layers, start, cotangent) -> Study:
        def run(step) -> tuple[lg.Chain, Gradients]:
            chain = lg.chain(lg.Model(step, None, start), layers)
            cotangents = lg.loss_cotangents(lambda s: cotangent @ s.h[-1], chain.trajectory)
            parts = lg.contributions(chain, cotangents)
            adjoint = lg.adjoint(chain, cotangents)
            lengths = lg.Scaled(jnp.linalg.norm(adjoint.mantissa, axis=1), adjoint.exponent)
            return chain, Gradients(parts.input_log_norms.weight, lengths.log_abs())

        chain, of_plain = run(plain)
        whole = _factors(chain)
        # At most `slope` times sigma_max per layer, from the output down to the layer itself.
        log_gains = math.log(slope) + whole.layers.log_weights
        below = jnp.concatenate([jnp.cumsum(log_gains[::-1])[::-1], jnp.zeros(1, log_gains.dtype)])
        log_inputs = jnp.log(jnp.linalg.norm(chain.trajectory.states.h[:-1], axis=1))
        return Study(
            one=_factors(chain[:1]),
            all=whole,
            plain=of_plain,
            residual=run(residual)[-1],
            bounds=Gradients(below[1:] + math.log(slope) + log_inputs, below),
            budget=lg.gain_budget(chain, through=["branch"]),
            settings={},
        )

    return jax.device_get(analyze(*draw(options)))._replace(settings=settings)


def draw(options: Options) -> tuple[lg.cells.LayerParams, lg.cells.LayerState, jax.Array]:
    """Returns the layers, the input, and the gradient of the loss at the output, of length 1."""
    count, width, dtype = options.layers, options.width, jnp.dtype(options.dtype)
    weight_key, input_key, loss_key = jax.random.split(jax.random.key(options.seed), 3)
    glorot = jax.nn.initializers.glorot_normal(batch_axis=0)
    weights = glorot(weight_key, (count, width, width), dtype)
    layers = lg.cells.LayerParams(weights, jnp.zeros((count, width), dtype))
    start = lg.cells.LayerState(jax.random.normal(input_key, (width,), dtype))
    cotangent = jax.random.normal(loss_key, (width,), dtype)
    return layers, start, cotangent / jnp.linalg.norm(cotangent)


def _factors(chain: lg.Chain) -> Factors:
    product = lg.product(chain)
    norm = lg.Scaled(jnp.linalg.norm(product.mantissa, 2), product.exponent)
    return Factors(lg.layer_factors(chain), norm.log_abs())
