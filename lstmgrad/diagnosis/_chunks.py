"""Truncation as it is mostly run: chunks of K steps, the state detached between them.

A loss at t goes back to the start of its own chunk, so that the first losses of a chunk see next to
nothing. With the chunks' boundaries at K, 2K, ... the adjoint is cut there,

    λ_t = ℓ_t + [K does not divide t] λ_{t+1} J_{t+1},      g_K = Σ_t λ_t ∂step_t/∂θ.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._chains.base import StoredChain
from lstmgrad._chains.sweeps import sweep_adjoint
from lstmgrad._numeric.scaled import Scaled, add, log_of, norm_of, scaled
from lstmgrad.diagnosis._gradients import gradient_of

_LENGTHS = 32
"""Lengths of chunks that are tried."""


def chunk_lengths(length: int, longest: int) -> np.ndarray:
    """Returns the lengths of chunks to read, first the one in use and then some from 1 to T.

    Args:
        length: in use.
        longest: T.
    """
    spread = np.rint(np.linspace(1, longest, min(longest, _LENGTHS))).astype(int)
    # Chunks that are one step short of the sequence may cut off all of it but one step.
    tried = np.union1d(spread, [max(longest - 1, 1), longest])
    return np.concatenate([[length], tried])


@eqx.filter_jit
def chunk_bias(
    chains: StoredChain, cotangents: Float[Array, "N times n"], lengths: Int[Array, " K"]
) -> Float[Array, "N K"]:
    """Returns ‖g - g_K‖/‖g‖ for chunks of K steps with a detached state between them.

    Args:
        chains: N on axis 0.
        cotangents: flat.
        lengths: of the chunks.

    Notes:
        One gradient for each length and sequence; down to the rounding of the dtype.
    """

    def of_sequence(chain: StoredChain, flat: Array) -> Array:
        # One chunk longer than all is the whole gradient.
        whole = _cut_gradient(chain, flat, jnp.asarray(len(chain) + 1))

        def bias(length: Array) -> Array:
            cut = _cut_gradient(chain, flat, length)
            rest = add(whole, Scaled(-cut.mantissa, cut.exponent))
            sizes = [log_of(norm_of(part.mantissa), part.exponent) for part in (rest, whole)]
            return jnp.exp(sizes[0] - sizes[1])

        return jax.lax.map(bias, lengths)

    return jax.vmap(of_sequence)(chains, cotangents)


def _cut_gradient(chain: StoredChain, flat: Array, length: Array) -> Scaled:
    """The gradient with the adjoint cut at length, 2·length, ..."""
    sources = jax.vmap(scaled)(flat)
    sources = Scaled(sources.mantissa[:, None], sources.exponent)
    earlier, last = (jax.tree.map(lambda leaf, s=s: leaf[s], sources) for s in (slice(-1), -1))
    times = jnp.arange(len(chain))
    kept = (times % length != 0).astype(flat.dtype)

    def inject(block: Scaled, source: tuple[Scaled, Array]) -> Scaled:
        arriving, keep = source
        return add(Scaled(block.mantissa * keep, block.exponent), arriving)

    _, rows = sweep_adjoint(chain, last, (earlier, kept), inject, lambda entry, block: block)
    return gradient_of(chain, Scaled(rows.mantissa[:, 0], rows.exponent))
