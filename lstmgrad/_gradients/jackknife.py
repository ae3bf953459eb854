"""Signal and noise of one lag over the sequences of a batch, and the error of their ratio.

    ‖μ‖² = (‖Σ g(i)‖² - Σ ‖g(i)‖²) / (N (N - 1)),      tr Σ = Σ ‖g(i) - ḡ‖² / (N - 1),

both without bias; the error of ‖μ‖²/tr Σ is that of the jackknife, by leaving out one sequence at a
time.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from lstmgrad._gradients.local import log_norm, squares, together
from lstmgrad._numeric.scaled import widen
from lstmgrad._types import Params

LEAST = 3
"""Sequences without which there is no error of a ratio."""


def statistics(parts: Params, there: Bool[Array, " N"], exponent: Int[Array, ""]) -> tuple:
    """The ratio of signal and noise, its error, ln of the root mean square, and the count.

    Args:
        parts: the contributions of one lag, with N on axis 0; zero where there is none.
        there: which sequences have the lag.
        exponent: of all parts.
    """
    like = widen(jnp.zeros((), jnp.result_type(*map(jnp.real, jax.tree.leaves(parts)))))
    count = jnp.sum(there)
    sums = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), parts)

    def products(one: Params) -> tuple[Array, Array]:
        """⟨Σ g, g(i)⟩ and ‖g(i)‖²."""
        inner = jax.tree.map(
            lambda a, b: jnp.vdot(a, b, precision="highest").real.astype(like.dtype), sums, one
        )
        return sum(jax.tree.leaves(inner), start=like), together(squares(one), like)

    inner, own = jax.vmap(products)(parts)
    whole, total = jnp.sum(inner), jnp.sum(own)
    number = count.astype(like.dtype)
    ratio = _ratio(whole, total, number)
    without = _ratio(whole - 2 * inner + own, total - own, number - 1)
    mean = jnp.sum(jnp.where(there, without, 0.0)) / number
    spread = jnp.sum(jnp.where(there, (without - mean) ** 2, 0.0))
    error = jnp.sqrt((number - 1) / number * spread)
    few = count < LEAST
    ratio, error = (jnp.where(few, jnp.nan, x) for x in (ratio, error))
    log = jnp.where(count > 0, log_norm(total / number, exponent), jnp.nan)
    return ratio, error, log, count


def _ratio(whole: Array, total: Array, count: Array) -> Array:
    """‖μ‖²/tr Σ without bias; inf without noise, NaN without anything.

    Args:
        whole: ‖Σ g‖².
        total: Σ ‖g‖².
        count: of the sequences.
    """
    signal = (whole - total) / (count * (count - 1))
    noise = (total - whole / count) / (count - 1)
    return signal / jnp.maximum(noise, 0.0)
