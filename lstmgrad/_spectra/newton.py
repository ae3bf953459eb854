"""How many iterations Newton's method needs to evaluate a network at all times at once.

The run of a network solves r_t = step(s_{t-1}, x_t) - s_t = 0, t = 1..T. Newton's method corrects
all states together by d_t = J_t d_{t-1} + r_t, a linear recurrence that an associative scan solves
in log T time: r = L d, with L the unit lower bidiagonal matrix of the chain. How hard that is
lies in

    √μ = σ_min(L) = 1/‖L⁻¹‖,      (L⁻¹)_{t,k} = J_t ··· J_{k+1},

the Polyak-Łojasiewicz constant of ½‖r‖²: of order (1 - exp λ₁)/a where the network forgets, λ₁ < 0,
with a the overshoot of products above exp(λ₁ t), and exponentially small in T where it is chaotic.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lstmgrad._chains.base import Chain, StoredChain, check_stored, known_run
from lstmgrad._chains.factors import flat_step
from lstmgrad._chains.sweeps import sweep_adjoint, sweep_forward
from lstmgrad._checks import check_not_empty, check_positive
from lstmgrad._compile import compiled, plain_options
from lstmgrad._labeled import Axes
from lstmgrad._numeric.rows import log_size
from lstmgrad._numeric.scaled import (
    LOG_2,
    Scaled,
    add,
    exponent_of,
    normalize,
    power_below,
    scaled,
    widen,
)
from lstmgrad._result import Result
from lstmgrad._writing import number

POWERS = 20
"""Iterations of the power method for ‖L⁻¹‖, which converge from below."""


class NewtonIterations(Result):
    """The iterations that Newton's method is predicted to need, and what decides it.

    Attributes:
        iterations: how many, the one that sees that nothing changes any more included; T where it
            does not converge before the correct states have come to the end one by one.
        converges: whether rounding, which L⁻¹ amplifies, leaves the states within the tolerance.
        exponent: λ₁, nats per step, of a perturbation along the whole chain.
        log_overshoot: ln a = max_t (S_t - λ₁ t), with S_t the logarithm of its size.
        log_mu: ln μ = -2 ln ‖L⁻¹‖.
        log_rounding: ln of how far rounding alone may move a state.

    Example:
        >>> found = lg.newton_iterations(chain)
        >>> bool(found.converges), float(found.log_mu) < 0
        (True, True)
    """

    iterations: Float[Array, "*batch"]
    converges: Bool[Array | np.ndarray, "*batch"]
    exponent: Float[Array, "*batch"]
    log_overshoot: Float[Array, "*batch"]
    log_mu: Float[Array, "*batch"]
    log_rounding: Float[Array, "*batch"]

    _main = ("iterations", 0)
    _axes = Axes(
        {
            "iterations": "",
            "converges": "",
            "exponent": "",
            "log_overshoot": "",
            "log_mu": "",
            "log_rounding": "",
        }
    )

    def _subject(self) -> str:
        return "Newton's method over all times"

    def _headline(self) -> str:
        if bool(self.converges):
            return f"about {number(np.ceil(self.iterations))} iterations"
        return "does not converge: rounding is amplified beyond the tolerance"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        row = [
            number(self.iterations, 3),
            "yes" if self.converges else "no",
            number(self.exponent),
            number(self.log_overshoot),
            number(self.log_mu),
        ]
        return ["iterations", "converges", "exponent", "ln overshoot", "ln mu"], [row]

    def _numbers(self) -> dict[str, Any]:
        return {
            "iterations": self.iterations,
            "converges": self.converges,
            "exponent": self.exponent,
            "log_overshoot": self.log_overshoot,
            "log_mu": self.log_mu,
            "log_rounding": self.log_rounding,
        }


@plain_options
def newton_iterations(chain: Chain, *, tolerance: float | None = None) -> NewtonIterations:
    """Returns how many iterations of Newton's method would evaluate the run of a chain in parallel.

    log₂ log₂(1/tolerance) + ‖L⁻¹‖^(1/2), at most T: the quadratic convergence at the end, and what
    comes before it; 2 where the step is linear in the state.

    Args:
        chain: of T steps of a model, from `chain` or `linearize`, of any declared structure, along
            its run.
        tolerance: the largest change of any number of the states at which `newton_unroll` stops;
            None is the square root of the dtype's epsilon.

    Returns:
        `NewtonIterations`.

    Raises:
        ValueError: a chain that does not know its model; no step; a tolerance that is not above
            zero.

    Notes:
        Some twenty pushes and pulls of one vector through the chain, O(T n) memory, in any range.
        Rounding, eps ‖L⁻¹‖, decides whether it converges, and is exact but for the norm: the power
        method gives a lower bound of it. The number of iterations is an estimate. The square root
        is what is measured, not a theorem: on driven tanh networks it holds within a factor of two
        where they forget their start, and within four or so at the edge of chaos, where counts run
        into the hundreds. The chain knows the network along its own run alone: one that has several
        attractors under the same inputs may need many times as many on the way from the guess.

    Example:
        For a contraction the number hardly grows with T; for a chaotic network it is T.

        >>> bool(lg.newton_iterations(chain).iterations <= len(chain))
        True

    References:
        Gonzalez, Kozachkov, Zoltowski, Clarkson & Linderman 2025, Predictability enables
        parallelization of nonlinear state space models (arXiv:2508.16817), Sections 3 and 4, for μ,
        the overshoot and the two regimes; Lim, Zhu, Selfridge & Kasim 2024 (arXiv:2309.12252).
    """
    known_run(check_stored(chain))
    if tolerance is not None:
        tolerance = check_positive(tolerance, "tolerance")
    return _newton_iterations(chain, tolerance=tolerance)


@compiled
def _newton_iterations(chain: Chain, *, tolerance: float | None) -> NewtonIterations:
    chain = check_stored(chain)
    steps = len(chain)
    check_not_empty(steps)
    eps = float(jnp.finfo(chain.layout.dtype).eps)
    tolerance = math.sqrt(eps) if tolerance is None else tolerance
    exponent, overshoot = _growth_of(chain)
    log_inverse = log_inverse_norm(chain)
    states = jax.vmap(chain.layout.ravel)(known_run(chain).states())
    log_rounding = math.log(eps) + log_inverse + jnp.log(jnp.maximum(jnp.max(jnp.abs(states)), 1.0))
    quadratic = math.log2(max(math.log2(1 / tolerance), 2.0)) if tolerance < 1 else 1.0
    count = quadratic + jnp.exp(jnp.minimum(log_inverse / 2, math.log(steps) + 1))
    count = jnp.where(_is_linear(chain, states), 2.0, count)
    converges = log_rounding <= math.log(tolerance)
    count = jnp.where(converges, jnp.minimum(count, max(steps, 2)), max(steps, 2))
    return NewtonIterations(
        iterations=jnp.where(jnp.isnan(log_rounding), jnp.nan, count),
        converges=converges,
        exponent=exponent,
        log_overshoot=overshoot,
        log_mu=-2 * log_inverse,
        log_rounding=log_rounding,
    )


def _growth_of(chain: StoredChain) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """λ₁ of one perturbation along the chain, and the logarithm of its overshoot."""
    start = _normal(0, (1, chain.layout.size), chain.layout.dtype)

    def read(carry: None, block: Scaled) -> tuple[None, Scaled, Array]:
        return carry, block, log_size(Scaled(block.mantissa[0], block.exponent))

    block = scaled(start / jnp.linalg.norm(start))
    _, sizes = sweep_forward(chain, block, read, None)
    rate = sizes[-1] / len(chain)
    times = jnp.arange(1, len(chain) + 1).astype(sizes.dtype)
    above = sizes - jnp.where(jnp.isneginf(rate), 0.0, rate) * times
    return rate, jnp.maximum(jnp.max(above), jnp.zeros((), sizes.dtype))


def log_inverse_norm(chain: StoredChain) -> Float[Array, ""]:
    """Ln ‖L⁻¹‖₂ of the bidiagonal matrix of a chain, from below.

    Args:
        chain: T >= 1 factors.
    """
    steps, size, dtype = len(chain), chain.layout.size, chain.layout.dtype
    rows = _unit(jax.vmap(scaled)(_normal(1, (steps, size), dtype)))[0]

    def power(rows: Scaled, _: None) -> tuple[Scaled, Array]:
        solved, log = _unit(_solved(chain, rows))
        return _unit(_solved_transposed(chain, solved))[0], log

    return jax.lax.scan(power, rows, length=POWERS)[1][-1]


def _solved(chain: StoredChain, sources: Scaled) -> Scaled:
    """L⁻¹ x: d_t = J_t d_{t-1} + x_t, a vector with its own exponent at every t.

    Args:
        chain: T factors.
        sources: (T, n), (T,).
    """

    def read(time: Array, block: Scaled) -> tuple[Array, Scaled, tuple[Array, Array]]:
        source = Scaled(sources.mantissa[time][None], sources.exponent[time])
        block = add(block, source)
        return time + 1, block, (block.mantissa[0], block.exponent)

    nothing = scaled(jnp.zeros_like(sources.mantissa[:1]))
    return Scaled(*sweep_forward(chain, nothing, read, jnp.zeros((), jnp.int32))[1])


def _solved_transposed(chain: StoredChain, sources: Scaled) -> Scaled:
    """L⁻ᵀ x: y_t = J_{t+1}ᵀ y_{t+1} + x_t.

    Args:
        chain: T factors.
        sources: (T, n), (T,).
    """
    first = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[:1]), sources)
    arriving = jax.tree.map(lambda zero, leaf: jnp.concatenate([zero, leaf]), first, sources)
    arriving = Scaled(arriving.mantissa[:, None], arriving.exponent)
    earlier, last = (jax.tree.map(lambda leaf, s=s: leaf[s], arriving) for s in (slice(-1), -1))
    _, found = sweep_adjoint(chain, last, earlier, add, lambda _, block: block)
    return Scaled(found.mantissa[:, 0], found.exponent)


def _unit(rows: Scaled) -> tuple[Scaled, Float[Array, ""]]:
    """Vectors with exponents of their own divided by their common norm, and its logarithm."""
    exponents = jax.vmap(exponent_of)(rows)
    top = jnp.max(exponents)
    plain = widen(rows.mantissa) * power_below(exponents - top, rows.mantissa.dtype)[:, None]
    size = jnp.linalg.norm(plain)
    divided = Scaled(rows.mantissa / size.astype(rows.mantissa.dtype), rows.exponent - top)
    return normalize(divided), jnp.log(size) + top.astype(size.dtype) * LOG_2


def _is_linear(chain: StoredChain, states: Float[Array, "times n"]) -> Bool[Array, ""]:
    """Whether the step is linear in the state as far as the start is from it, up to rounding."""
    run, layout = known_run(chain), chain.layout

    def remainder(source: Any, factor: Any) -> Array:
        step, here = flat_step(run.step, layout, source)
        away = states[0].astype(here.dtype) + _normal(2, here.shape, here.dtype) - here
        linear = chain.push(factor, away[None].astype(layout.dtype))[0]
        moved = step(here + away) - step(here)
        scale = jnp.max(jnp.abs(moved)) + jnp.max(jnp.abs(here)) + jnp.max(jnp.abs(away))
        return jnp.max(jnp.abs(moved - linear)) / scale

    worst = jnp.max(jax.vmap(remainder)(run.factors, chain.factors))
    return worst <= 64 * float(jnp.finfo(layout.dtype).eps)


def _normal(seed: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """Normal numbers that are the same in every call."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)
