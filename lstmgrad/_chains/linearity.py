"""Backward rules that are not linear, noticed when a chain is made.

Reverse mode gives u J only if what every function does to a cotangent is linear. A rule of its own
(`jax.custom_vjp`) may do anything: clip the gradient, round it, drop its negative part. Then there
is no Jacobian that the rule belongs to, and what is read depends on the size of what is pulled.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from lstmgrad._chains.factors import flat_step, pull_rows
from lstmgrad._chains.layout import Layout
from lstmgrad._chains.run import Run

_TOLERANCE = 0.05  # what a rule that calculates in 8 bits may be off by


def check_linear(run: Run, layout: Layout, rules: list[str]) -> Run:
    """Returns the run, once backward rules were seen to be linear at some of its states.

    Args:
        run: of a step.
        layout: of its states.
        rules: the functions in it that have a backward rule of their own; nothing is done for none.

    Raises:
        RuntimeError: a rule is not linear: what it gives for a sum is not the sum, or for a
            multiple, a negative one among them, not the multiple.
    """
    if not rules:
        return run
    length = jax.tree.leaves(run.factors)[0].shape[0]
    at = np.unique(np.linspace(0, length - 1, 8).astype(int))
    factors = jax.tree.map(lambda leaf: leaf[at], run.factors)
    try:
        wrong = jax.vmap(lambda factor: _is_wrong(run, layout, factor))(factors)
    except Exception:  # a step without reverse mode pulls nothing through its rules
        return run
    message = (
        "step: expected backward rules that are linear in the cotangent, because a Jacobian is, "
        f"but that of {' or '.join(rules)} (jax.custom_vjp) is not, as one that clips gradients. "
        "Leave it out of the step that is analyzed: the states stay the same."
    )
    return eqx.error_if(run, jnp.any(wrong), message)


def _is_wrong(run: Run, layout: Layout, factor: Any) -> Bool[Array, ""]:
    finfo = jnp.finfo(layout.dtype)
    size = 2.0 ** min(30, finfo.maxexp // 4)
    one, other = np.random.default_rng(0).standard_normal((2, layout.size))
    rows = np.stack([one, other, one + other, -size * one, one / size])
    step, flat = flat_step(run.step, layout, factor)
    first, second, both, large, small = pull_rows(step, flat, jnp.asarray(rows, layout.dtype))
    top = jnp.maximum(jnp.max(jnp.abs(first)), jnp.max(jnp.abs(second)))
    # Where a multiple would leave the dtype's range there is nothing to be seen.
    inside = (top > float(finfo.tiny) * size * 1024) & (top < float(finfo.max) / size / 1024)
    offs = jnp.stack([both - first - second, large / size + first, small * size - first])
    return inside & jnp.any(jnp.abs(offs) > _TOLERANCE * top)
