"""Sequences that end before the chain does, because their inputs are padded behind them.

The end may be traced: all lengths of a batch are one compiled program. The padding may hold
anything, NaN included, so its steps are replaced by steps of the sequence, and what is read there
is left out by the caller.
"""

import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from lstmgrad._chains.base import Chain, StoredChain
from lstmgrad._checks import check_count


def check_length(length: Any, chain: Chain) -> Int[Array, ""] | None:
    """The steps of a padded sequence, from 1 to T, as an array: no length is compiled anew.

    Args:
        length: a whole number, a traced one, or None for no padding.
        chain: T factors.
    """
    if length is None:
        return None
    try:
        operator.index(length)
    except jax.errors.TracerIntegerConversionError:
        return length
    except TypeError:
        pass
    return jnp.asarray(check_count(length, "length", most=len(chain), limit="T"))


def ending_last(chain: StoredChain, length: Int[Array, ""] | None) -> StoredChain:
    """The chain whose last factor is the last of the sequence; before its first stands that again.

    Args:
        chain: T factors.
        length: from 1 to T; None leaves the chain as it is.
    """
    return _gathered(chain, length, lambda index, length: index - (len(chain) - length))


def repeating_last(chain: StoredChain, length: Int[Array, ""] | None) -> StoredChain:
    """The chain of the sequence, behind which its last factor stands again, up to T.

    Args:
        chain: T factors.
        length: from 1 to T; None leaves the chain as it is.
    """
    return _gathered(chain, length, lambda index, length: jnp.minimum(index, length - 1))


def _gathered(chain: StoredChain, length: Any, source: Any) -> StoredChain:
    if length is None or len(chain) == 0:
        return chain
    index = jnp.arange(len(chain), dtype=length.dtype)
    index = jnp.clip(source(index, length), 0, len(chain) - 1)

    def moved(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[index], tree)

    gathered = eqx.tree_at(lambda chain: chain.factors, chain, moved(chain.factors))
    run = getattr(chain, "along", None)  # of a diagonal chain, beside its factors
    if run is None:
        return gathered
    before, inputs = moved(run.factors)
    run = eqx.tree_at(lambda run: (run.before, run.inputs), run, (before, inputs))
    return eqx.tree_at(lambda chain: chain.along, gathered, run)
