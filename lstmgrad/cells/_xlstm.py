"""The two cells of the xLSTM: exponential input gates and a normalizer that divides them out.

    sLSTM   i = exp(ĩ), f = σ(f̃), z = tanh z̃, o = σ(õ),   all from W x + U h + b
            C' = f ⊙ C + i ⊙ z,      N' = f ⊙ N + i,       h' = o ⊙ C'/N'
    mLSTM   i = exp(ĩ), f = σ(f̃) scalars, q, k, v, o,      all from W x + b
            C' = f C + i v kᵀ,       N' = f N + i k,       h' = o ⊙ C' q / max(|N'·q|, 1)

C and N outgrow any float, so both are stored as c = C exp(-m) and n = N exp(-m) with a stabilizer
m' = max(ln f + m, ĩ), and h' = o ⊙ c' q / max(|n'·q|, exp(-m')).

**m is a gauge**: (c, n, m) and (c exp(-s), n exp(-s), m + s) are the same C and N, and have the
same outputs forever. If m were differentiated like the rest, it would add a coordinate that
duplicates the scale of (c, n). Wherever the maximum is ln f + m, its slope in m is exactly 1: a
direction that neither grows nor shrinks and means nothing, and that would read as perfect memory.
Here m is held (`stop_gradient` before and after the maximum):

* Its rows and columns of every Jacobian are exactly zero.
* Derivatives of h and with respect to the parameters stay exact: h does not depend on how the scale
  is split, so what would flow through m adds up to zero. Only the slope in the *starting* m_0, with
  c_0 and n_0 held, is lost: it is c_0 · ∂/∂c_0 + n_0 · ∂/∂n_0.
* Blocks of c and n are in the gauge of the trajectory: ∂C_t/∂C_k = exp(m_t) ∂c_t/∂c_k exp(-m_k).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import resolve_dtype
from lstmgrad._tag import tag
from lstmgrad.cells._cell import (
    GLOROT,
    Cell,
    ForgetGate,
    Initializer,
    check_sizes,
    init_stacked,
    init_weights,
    zero_state,
)


class SLSTMParams(NamedTuple):
    """Gates are stacked along axis 0 in the order i, f, z, o (input, forget, candidate, output).

    Attributes:
        weight_ih: (4h, d).
        weight_hh: (4h, h), the memory mixing, with one head.
        bias: (4h,).
    """

    weight_ih: Float[Array, "4*h d"]
    weight_hh: Float[Array, "4*h h"]
    bias: Float[Array, " 4*h"]

    forget_gate = ForgetGate(order="ifzo", kept="f", written="i")


class SLSTMState(NamedTuple):
    """Attributes: h, the output; c, cell; n, normalizer; m, stabilizer (held); each (h,)."""

    h: Float[Array, " h"]
    c: Float[Array, " h"]
    n: Float[Array, " h"]
    m: Float[Array, " h"]


class MLSTMParams(NamedTuple):
    """The parameters of one head.

    Attributes:
        weight_ih: (4h, d), of query, key, value and output gate, stacked in the order q, k, v, o.
        bias: (4h,).
        weight_gates: (2, d), of the scalar gates, in the order i, f.
        bias_gates: (2,).
    """

    weight_ih: Float[Array, "4*h d"]
    bias: Float[Array, " 4*h"]
    weight_gates: Float[Array, "2 d"]
    bias_gates: Float[Array, " 2"]

    forget_gate = ForgetGate(order="if", kept="f", written="i", leaf="bias_gates")


class MLSTMState(NamedTuple):
    """The memory of the mLSTM.

    Attributes:
        h: (h,), the output, which the next step does not read.
        c: (h, h), the matrix memory, values by keys.
        n: (h,), the normalizer.
        m: (), the stabilizer (held).
    """

    h: Float[Array, " h"]
    c: Float[Array, "h h"]
    n: Float[Array, " h"]
    m: Float[Array, ""]


@public
def slstm(
    input_size: int,
    hidden_size: int,
    *,
    forget_bias: float = 1.0,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns an sLSTM cell: exponential gating with memory mixing.

    Args:
        input_size: d.
        hidden_size: h.
        forget_bias: the initial bias of the forget gate.
        recurrent_init: the initializer of each gate's recurrent matrix.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `SLSTMParams` (gate order i, f, z, o) and `SLSTMState(h, c, n, m)`.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        The forget gate is a sigmoid, one of the paper's two choices. The stabilizer is a gauge and
        is held; see the head of this file.

    Example:
        Dividing c and n by exp(s) and adding s to m changes no output.

        >>> unit = lg.cells.slstm(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Beck et al. 2024 (arXiv:2405.04517), Eqs. 8-17.
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> SLSTMParams:
        kind = resolve_dtype(dtype)
        bias = jnp.zeros(4 * h, kind).at[h : 2 * h].set(forget_bias)
        return SLSTMParams(*init_weights(key, 4, (d, h), recurrent_init, kind), bias)

    def initial_state() -> SLSTMState:
        return zero_state(SLSTMState, h, dtype)

    return Cell(init, initial_state, slstm_step, held=("m",))


def slstm_step(params: SLSTMParams, state: SLSTMState, x: Float[Array, " d"]) -> SLSTMState:
    """One step of the sLSTM.

    Args:
        params: gates stacked in the order i, f, z, o.
        state: (h, c, n, m), each (h,).
        x: (d,).
    """
    drive = params.weight_ih @ x + params.weight_hh @ state.h + params.bias
    i, f, z, o = jnp.split(drive, 4)
    log_i, log_f = tag(i, "input"), tag(jax.nn.log_sigmoid(f), "forget")
    kept, written, m = stabilized(log_i, log_f, state.m)
    c = kept * tag(state.c, "cell") + written * tag(jnp.tanh(z), "candidate")
    n = kept * tag(state.n, "normalizer") + written
    return SLSTMState(tag(jax.nn.sigmoid(o), "output") * c / n, c, n, m)


@public
def mlstm(input_size: int, hidden_size: int, *, forget_bias: float = 1.0, dtype=None) -> Cell:
    """Returns an mLSTM cell: a matrix memory written by keys and read by queries.

    Args:
        input_size: d.
        hidden_size: h, the size of queries, keys and values; the memory is (h, h).
        forget_bias: the initial bias of the forget gate.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `MLSTMParams` and `MLSTMState(h, c, n, m)`, n = h² + 2h + 1 flat coordinates.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        The forget gate is a sigmoid, one of the paper's two choices. The gates do not look at the
        state: dc_t/dc_k is the product of the scalars f, in the gauge of the trajectory (use
        `lg.linearize_one_sided`). The stabilizer is held, and the 1 in the output's denominator is
        exp(-m) in its gauge, as in the authors' code; see the head of this file.

    Example:
        Dividing c and n by exp(s) and adding s to m changes no output.

        >>> unit = lg.cells.mlstm(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Beck et al. 2024 (arXiv:2405.04517), Eqs. 19-27.
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> MLSTMParams:
        kind = resolve_dtype(dtype)
        key_ih, key_gates = jax.random.split(key)
        return MLSTMParams(
            init_stacked(GLOROT, key_ih, 4, (h, d), kind),
            jnp.zeros(4 * h, kind),
            init_stacked(GLOROT, key_gates, 2, (1, d), kind),
            jnp.zeros(2, kind).at[1].set(forget_bias),
        )

    def initial_state() -> MLSTMState:
        kind = resolve_dtype(dtype)
        shapes = (h,), (h, h), (h,), ()
        return MLSTMState(*[jnp.zeros(shape, kind) for shape in shapes])

    return Cell(init, initial_state, mlstm_step, held=("m",), one_sided=True)


def mlstm_step(params: MLSTMParams, state: MLSTMState, x: Float[Array, " d"]) -> MLSTMState:
    """One step of the mLSTM.

    Args:
        params: stacked in the order q, k, v, o, and i, f.
        state: (h, c, n, m).
        x: (d,).
    """
    q, k, v, o = jnp.split(params.weight_ih @ x + params.bias, 4)
    k = k / jnp.sqrt(jnp.asarray(k.size, k.dtype))
    log_i, f = params.weight_gates @ x + params.bias_gates
    kept, written, m = stabilized(log_i, jax.nn.log_sigmoid(f), state.m)
    c = kept * tag(state.c, "cell") + written * jnp.outer(v, k)
    n = kept * tag(state.n, "normalizer") + written * k
    # exp(-m) may underflow, and a query of zero has to read zero even then.
    one = jnp.maximum(jnp.exp(-m), jnp.finfo(m.dtype).tiny)
    scale = jnp.maximum(jnp.abs(jnp.vdot(n, q)), one)
    return MLSTMState(jax.nn.sigmoid(o) * (c @ q) / scale, c, n, m)


def stabilized(log_i: Array, log_f: Array, m: Array) -> tuple[Array, Array, Array]:
    """The forget gate and the input gate in the next gauge, and that gauge."""
    before = jax.lax.stop_gradient(m)
    after = jax.lax.stop_gradient(jnp.maximum(log_f + before, log_i))
    return jnp.exp(log_f + before - after), jnp.exp(log_i - after), after
