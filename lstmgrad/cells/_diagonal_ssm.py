"""Diagonal state-space models with fixed, complex poles: S4D, one a channel, and S5, one for all.

    S4D    u = W x + b,    h' = exp(Δ Λ) ⊙ h + (exp(Δ Λ) - 1)/Λ ⊙ u,          h and Λ (h, N), Δ (h,)
    S5                     h' = exp(Δ Λ) ⊙ h + (exp(Δ Λ) - 1)/Λ ⊙ (B x),      h, Λ and Δ (h,)

Both are a continuous system dh/dt = Λ h + ..., held constant over steps of the length Δ (zero-order
hold), with Λ = -exp(decay_log) + i frequency. The step Jacobian is diag exp(Δ Λ) at every step: use
`lg.linearize_diagonal`.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_count, check_full_float, resolve_dtype
from lstmgrad._tag import tag
from lstmgrad.cells._cell import GLOROT, Cell, check_sizes, init_stacked
from lstmgrad.cells._lru import LRUState


class S4DParams(NamedTuple):
    """Real numbers only.

    Attributes:
        weight_ih: (h, d), the projection of the input.
        bias: (h,).
        step_log: (h,), ln Δ.
        decay_log: (h, N), Re Λ = -exp(decay_log).
        frequency: (h, N), Im Λ.
    """

    weight_ih: Float[Array, "h d"]
    bias: Float[Array, " h"]
    step_log: Float[Array, " h"]
    decay_log: Float[Array, "h N"]
    frequency: Float[Array, "h N"]


class S5Params(NamedTuple):
    """Real numbers only.

    Attributes:
        weight_re: (h, d), the real part of B.
        weight_im: (h, d), the imaginary part of B.
        step_log: (h,), ln Δ.
        decay_log: (h,), Re Λ = -exp(decay_log).
        frequency: (h,), Im Λ.
    """

    weight_re: Float[Array, "h d"]
    weight_im: Float[Array, "h d"]
    step_log: Float[Array, " h"]
    decay_log: Float[Array, " h"]
    frequency: Float[Array, " h"]


class S4DState(NamedTuple):
    """Attributes: h (h, N), complex, the modes of every channel."""

    h: Complex[Array, "h N"]


@public
def s4d(input_size: int, hidden_size: int, *, state_size: int = 16, dtype=None) -> Cell:
    """Returns the recurrence of S4D, a diagonal state-space model per channel.

    Args:
        input_size: d.
        hidden_size: h, the channels.
        state_size: N, the complex modes of a channel; with their conjugates, 2N real ones.
        dtype: the real dtype of the parameters; the state has its complex counterpart. None is
            JAX's default float.

    Returns:
        `Cell` with `S4DParams` and `S4DState(h)`. In every channel Λ starts as -1/2 + iπn for n =
        0, ..., N-1 (S4D-Lin), and Δ is log-uniform in [0.001, 0.1].

    Raises:
        ValueError: a size is not a whole number, 1 or more; the dtype is neither float32 nor
            float64.

    Notes:
        B is 1, as the output y = 2 Re(C h) + D u, which is left to the model, scales the modes
        anyway. The projection of the input is included: at W = I and b = 0 this is the authors'
        minimal code with twice this N as its size of the state.

    Example:
        At initialization ``backward_norms`` gives -lag · min Δ/2.

        >>> unit = lg.cells.s4d(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Gu, Gupta, Goel & Ré 2022 (arXiv:2206.11893), Section 3; S4D-Lin is in Section 4.
    """
    d, h = check_sizes(input_size, hidden_size)
    size = check_count(state_size, "state_size")
    check_full_float(dtype, "dtype")

    @public
    def init(key: PRNGKeyArray) -> S4DParams:
        kind = resolve_dtype(dtype)
        key_ih, key_step = jax.random.split(key)
        return S4DParams(
            init_stacked(GLOROT, key_ih, 1, (h, d), kind),
            jnp.zeros(h, kind),
            _init_step(key_step, h, kind),
            jnp.full((h, size), math.log(0.5), kind),
            jnp.tile(math.pi * jnp.arange(size, dtype=kind), (h, 1)),
        )

    def initial_state() -> S4DState:
        zeros = jnp.zeros((h, size), resolve_dtype(dtype))
        return S4DState(jax.lax.complex(zeros, zeros))

    return Cell(init, initial_state, s4d_step, diagonal=True)


def s4d_step(params: S4DParams, state: S4DState, x: Float[Array, " d"]) -> S4DState:
    """One step of S4D.

    Args:
        params: projection, time steps and poles.
        state: h, (h, N), complex.
        x: (d,), real.
    """
    u = params.weight_ih @ x + params.bias
    kept, gain = _hold(params.step_log[:, None], params.decay_log, params.frequency)
    return S4DState(kept * tag(state.h, "carry") + gain * _complex(u)[:, None])


@public
def s5(input_size: int, hidden_size: int, *, dtype=None) -> Cell:
    """Returns the recurrence of S5, one diagonal state-space model that reads all inputs.

    Args:
        input_size: d.
        hidden_size: h, the complex modes; with their conjugates, 2h real ones.
        dtype: the real dtype of the parameters; the state has its complex counterpart. None is
            JAX's default float.

    Returns:
        `Cell` with `S5Params` and `LRUState(h)`. Λ starts as the eigenvalues of HiPPO-N of size 2h
        that lie above the real axis: -1/2 + i times a frequency. Δ is log-uniform in [0.001, 0.1],
        one for each mode.

    Raises:
        ValueError: a size is not a whole number, 1 or more; the dtype is neither float32 nor
            float64.

    Notes:
        The output y = 2 Re(C h) + D x is left to the model.

    Example:
        At initialization ``backward_norms`` gives -lag · min Δ/2.

        >>> unit = lg.cells.s5(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Smith, Warrington & Linderman 2023 (arXiv:2208.04933), Section 3.
    """
    d, h = check_sizes(input_size, hidden_size)
    check_full_float(dtype, "dtype")

    @public
    def init(key: PRNGKeyArray) -> S5Params:
        kind = resolve_dtype(dtype)
        key_b, key_step = jax.random.split(key)
        re, im = jax.random.normal(key_b, (2, h, d), kind) / math.sqrt(2 * d)
        frequency = jnp.asarray(_hippo_frequencies(h), kind)
        decay = jnp.full(h, math.log(0.5), kind)
        return S5Params(re, im, _init_step(key_step, h, kind), decay, frequency)

    def initial_state() -> LRUState:
        zeros = jnp.zeros(h, resolve_dtype(dtype))
        return LRUState(jax.lax.complex(zeros, zeros))

    return Cell(init, initial_state, s5_step, diagonal=True)


def s5_step(params: S5Params, state: LRUState, x: Float[Array, " d"]) -> LRUState:
    """One step of S5.

    Args:
        params: B, time steps and poles.
        state: h, (h,), complex.
        x: (d,), real.
    """
    kept, gain = _hold(params.step_log, params.decay_log, params.frequency)
    driven = jax.lax.complex(params.weight_re @ x, params.weight_im @ x)
    return LRUState(kept * tag(state.h, "carry") + gain * driven)


def _hold(step_log: Array, decay_log: Array, frequency: Array) -> tuple[Array, Array]:
    """What a mode keeps over one step, exp(Δ Λ), and what it takes in, (exp(Δ Λ) - 1)/Λ."""
    poles = jax.lax.complex(-jnp.exp(decay_log), frequency)
    exponent = _complex(jnp.exp(step_log)) * poles
    return jnp.exp(exponent), jnp.expm1(exponent) / poles


def _complex(real: Array) -> Array:
    return jax.lax.complex(real, jnp.zeros_like(real))


def _init_step(key: PRNGKeyArray, h: int, kind) -> Array:
    return jax.random.uniform(key, (h,), kind, math.log(1e-3), math.log(0.1))


def _hippo_frequencies(h: int) -> np.ndarray:
    """The positive imaginary parts of the eigenvalues of HiPPO-N, ascending.

    HiPPO-N is -1/2 plus the skew matrix of ±√((n + ½)(k + ½)): its eigenvalues lie on a line.
    """
    root = np.sqrt(np.arange(2 * h) + 0.5)
    skew = np.tril(np.outer(root, root), -1)
    return np.linalg.eigvalsh(1j * (skew.T - skew))[h:]
