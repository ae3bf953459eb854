"""Result records made of powers of ten, for the tests of plots."""

from typing import Any

import jax.numpy as jnp
import numpy as np

import lstmgrad as lg

LAGS = np.arange(21)


def profile(
    log10_norms: Any,
    of: Any = "h",
    wrt: Any = "h",
    fixed: Any = "end",
    *,
    every: int = 1,
    hidden: Any = False,
    missed: float = 0.0,
) -> lg.NormProfile:
    """Norms by lag, of one sequence or of a batch.

    Args:
        log10_norms: (..., L).
        of: the part of s_t.
        wrt: the part of s_k.
        fixed: the end that all lags share.
        every: the distance of the lags.
        hidden: where the arithmetic does not resolve the norm.
        missed: the error of all other norms.
    """
    values = jnp.asarray(log10_norms, jnp.float64) * np.log(10)
    return lg.NormProfile(
        lags=jnp.broadcast_to(every * jnp.arange(values.shape[-1]), values.shape),
        log_norms=values,
        errors=_errors(values, hidden, missed),
        of=of,
        wrt=wrt,
        fixed=fixed,
        rtol=1e-5,
    )


def norm_map(
    log10_norms: Any, every: int = 1, of: Any = "c", wrt: Any = "c", *, hidden: Any = False
) -> lg.NormMap:
    """Norms by pairs of times, (..., G, G)."""
    values = jnp.asarray(log10_norms, jnp.float64) * np.log(10)
    return lg.NormMap(
        times=jnp.broadcast_to(every * jnp.arange(values.shape[-1]), values.shape[:-1]),
        log_norms=values,
        errors=_errors(values, hidden, 0.0),
        of=of,
        wrt=wrt,
        rtol=1e-5,
    )


def _errors(values: Any, hidden: Any, missed: float) -> Any:
    return jnp.broadcast_to(jnp.where(jnp.asarray(hidden), jnp.inf, missed), values.shape)
