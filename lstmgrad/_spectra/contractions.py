"""Products that give a Fisher memory without its covariance, which spans more than any digits do.

With C = L Lᵀ at every t and Q = G Gᵀ, J_t L_{t-1} and G side by side are L_t times orthonormal
rows, (A_t, B_t):

    J(k) = ‖A_T ··· A_{T-k+1} B_{T-k} G⁻¹ v_{T-k}‖²

is a product of contractions alone. L_t is kept as F_t S_t, an orthonormal frame that turns with the
chain times a triangle whose rows have a power of two each, since orthonormal rows stay the same
however the rows of S_t are scaled.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._chains.base import StoredChain, identity_rows
from lstmgrad._chains.inputs import InputMap, input_layout, known_steps
from lstmgrad._chains.sweeps import sweep_forward
from lstmgrad._checks import check_array, check_arrays
from lstmgrad._leaves import type_name
from lstmgrad._numeric import lapack
from lstmgrad._numeric.rows import joined, log_size, split
from lstmgrad._numeric.scaled import LOWEST, Scaled, add, normalize, power_below, scaled, widen
from lstmgrad._types import Inputs


def entering_directions(chain: StoredChain, direction: Inputs) -> Float[Array, "T n"]:
    """v_t, at every step."""
    steps, size = len(chain), chain.layout.size
    if chain.steps_along is None:
        check_array(direction, "direction")
        vector = jnp.asarray(direction)
        if vector.shape != (size,):
            raise ValueError(
                f"direction: expected shape ({size},), a direction of the flat state, because the "
                f"chain knows no model, but got {vector.shape}."
            )
        return jnp.broadcast_to(vector.astype(chain.layout.dtype), (steps, size))
    step, factors = known_steps(chain)
    check_arrays(direction, "direction")
    layout = input_layout(factors[1])
    one = jax.tree.map(lambda leaf: leaf[0], factors[1])
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (one, direction)]
    if shapes[0] != shapes[1]:
        kinds = [jax.tree.map(type_name, tree) for tree in (one, direction)]
        raise ValueError(
            f"direction: expected one like the input of one step, {kinds[0]}, but got {kinds[1]}."
        )
    enter = InputMap(step, chain.layout, layout)
    row = layout.ravel(jax.tree.map(jnp.asarray, direction))[None]
    return jax.vmap(lambda factor: enter.push(factor, row.astype(chain.layout.dtype))[0])(factors)


def contractions(
    chain: StoredChain, root: Float[Array, "n n"], whitened: Float[Array, "T n"]
) -> tuple[Float[Array, "T n n"], Float[Array, "T n"]]:
    """A_t, and B_t G⁻¹ v_t, at every step.

    Args:
        chain: T factors.
        root: G.
        whitened: G⁻¹ v_t.
    """
    size = chain.layout.size

    def read(carry: tuple, block: Scaled) -> tuple[tuple, Scaled, tuple[Array, Array]]:
        step, spread = carry
        frame, triangle = lapack.qr(widen(block.mantissa).T)
        moved = _times_rows(Scaled(triangle, block.exponent), spread)
        noise = jnp.matmul(frame.T, root, precision="highest")
        # The rows of both, side by side, under one power of two each.
        tops = jnp.maximum(moved.exponent, 0)
        parts = (
            part * power_below(exponent - tops, root.dtype)[:, None]
            for part, exponent in ((moved.mantissa, moved.exponent), (noise, jnp.zeros_like(tops)))
        )
        # From the last row to the first, which makes the triangle an upper one.
        columns, lower = lapack.qr(jnp.concatenate(list(parts), axis=1)[::-1].T)
        spread = normalize(Scaled(lower.T[::-1, ::-1], tops))
        rows = columns.T[::-1]
        signal = jnp.matmul(rows[:, size:], whitened[step], precision="highest")
        turned = Scaled(frame.T.astype(block.mantissa.dtype), jnp.zeros((), jnp.int32))
        return (step + 1, spread), turned, (rows[:, :size], signal)

    nothing = Scaled(jnp.zeros((size, size), root.dtype), jnp.full(size, LOWEST, jnp.int32))
    start = scaled(identity_rows(chain)), (jnp.zeros((), jnp.int32), nothing)
    return sweep_forward(chain, start[0], read, start[1])[1]


def _times_rows(triangle: Scaled, rows: Scaled) -> Scaled:
    """A matrix times rows with an exponent each, in such rows.

    Args:
        triangle: (n, n), with one exponent.
        rows: (n, m), with an exponent each.
    """
    fractions, powers = jnp.frexp(triangle.mantissa)
    powers = powers.astype(jnp.int32) + rows.exponent[None]
    powers = jnp.where(fractions == 0, LOWEST, jnp.maximum(powers, LOWEST))
    tops = jnp.max(powers, axis=1)
    weights = fractions * power_below(powers - tops[:, None], fractions.dtype)
    product = jnp.matmul(weights, rows.mantissa, precision="highest")
    return normalize(Scaled(product, jnp.maximum(tops + triangle.exponent, LOWEST)))


def pulled(
    after: Float[Array, "T n n"], signals: Float[Array, "T n"]
) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
    """Ln ‖A_T ··· A_{t+1} b_t‖ at every t, and ln of what rounding may have made of it.

    A probe gets the rounding of every product, and is pulled back with the rows.

    Args:
        after: A_t.
        signals: b_t.
    """
    size, dtype = signals.shape[1], signals.dtype
    signs = np.sign(np.random.default_rng(0).standard_normal(size))
    rounding = scaled(jnp.asarray(8 * float(jnp.finfo(dtype).eps) * size * signs, dtype))

    def back(carry: tuple[Scaled, Scaled], entry: tuple) -> tuple[tuple[Scaled, Scaled], tuple]:
        (rows, probe), (matrix, signal) = carry, entry
        found = jax.vmap(lambda row: jnp.vdot(row, signal, precision="highest"))(rows.mantissa)
        whole = joined(rows)
        largest = jnp.linalg.norm(whole.mantissa)
        fresh = Scaled(largest * rounding.mantissa, whole.exponent + rounding.exponent)
        probe = add(probe, normalize(fresh))
        strength = log_size(scaled(signal))
        size = joined(normalize(Scaled(found[:, None], rows.exponent)))
        reading = log_size(Scaled(size.mantissa[:, 0], size.exponent)), log_size(probe) + strength
        rows, probe = (
            normalize(Scaled(jnp.matmul(x.mantissa, matrix, precision="highest"), x.exponent))
            for x in (rows, probe)
        )
        return (rows, probe), reading

    start = split(scaled(jnp.eye(size, dtype=dtype))), scaled(jnp.zeros(size, dtype))
    _, (logs, levels) = jax.lax.scan(back, start, (after, signals), reverse=True)
    broken = jnp.any(jnp.isnan(after), axis=(1, 2)) | jnp.any(jnp.isnan(signals), axis=1)
    broken = jnp.any(broken)
    return jnp.where(broken, jnp.nan, logs), jnp.where(broken, jnp.nan, levels)
