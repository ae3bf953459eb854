"""The linear recurrent unit: a complex diagonal recurrence with eigenvalues inside the unit circle.

    h' = λ ⊙ h + γ ⊙ (B x),    λ = exp(-exp(ν) + i exp(θ))

The step Jacobian is diag λ at every step; in the real coordinates (Re h, Im h) it scales each pair
by |λ| and rotates it: ln ‖dh_t/dh_k‖₂ = (t - k) · max ln |λ|. Use `lg.linearize_diagonal`.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_full_float, check_number, resolve_dtype
from lstmgrad._tag import tag
from lstmgrad.cells._cell import Cell, check_sizes


class LRUParams(NamedTuple):
    """Real numbers only, so any optimizer will do.

    Attributes:
        weight_re: (h, d), the real part of B.
        weight_im: (h, d), the imaginary part of B.
        nu_log: (h,), ν; |λ| = exp(-exp(ν)).
        theta_log: (h,), θ; the phase of λ is exp(θ).
        gamma_log: (h,), ln γ, the normalization of the input.
    """

    weight_re: Float[Array, "h d"]
    weight_im: Float[Array, "h d"]
    nu_log: Float[Array, " h"]
    theta_log: Float[Array, " h"]
    gamma_log: Float[Array, " h"]


class LRUState(NamedTuple):
    """Attributes: h (h,), complex; as one flat vector it is (Re h, Im h), n = 2h."""

    h: Complex[Array, " h"]


@public
def lru(
    input_size: int,
    hidden_size: int,
    *,
    r_min: float = 0.9,
    r_max: float = 0.999,
    max_phase: float = 2 * math.pi,
    dtype=None,
) -> Cell:
    """Returns a linear recurrent unit with its ring initialization.

    Args:
        input_size: d.
        hidden_size: h, the number of complex eigenvalues.
        r_min: the inner radius of the ring on which the eigenvalues start.
        r_max: the outer radius, at most 1.
        max_phase: phases are uniform in [0, max_phase].
        dtype: the real dtype of the parameters; the state has its complex counterpart. None is
            JAX's default float.

    Returns:
        `Cell` with `LRUParams` and `LRUState(h)`. At the start the eigenvalues are uniform on the
        ring (by area if max_phase is 2π), and γ = √(1 - |λ|²).

    Raises:
        ValueError: a size is not a whole number, 1 or more; 0 <= r_min <= r_max <= 1 does not
            hold; max_phase is outside [0, 2π]; the dtype is neither float32 nor float64.

    Notes:
        The output y = Re(C h) + D x is a readout, not part of the recurrence, and left to the
        model.

    Example:
        For any inputs, ``backward_norms`` gives lag · max ln |λ|.

        >>> unit = lg.cells.lru(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Orvieto et al. 2023 (arXiv:2303.06349), Section 3; Lemma 3.2 for the ring.
    """
    d, h = check_sizes(input_size, hidden_size)
    check_number(r_max, "r_max", 0.0, 1.0)
    check_number(r_min, "r_min", 0.0, r_max)
    check_number(max_phase, "max_phase", 0.0, 2 * math.pi)
    check_full_float(dtype, "dtype")

    @public
    def init(key: PRNGKeyArray) -> LRUParams:
        kind = resolve_dtype(dtype)
        key_b, key_radius, key_phase = jax.random.split(key, 3)
        re, im = jax.random.normal(key_b, (2, h, d), kind) / math.sqrt(2 * d)
        square = jax.random.uniform(key_radius, (h,), kind, r_min**2, r_max**2)
        log_radius = jnp.log(square) / 2
        phase = jax.random.uniform(key_phase, (h,), kind, 0.0, max_phase)
        # -expm1 keeps 1 - |λ|² exact where |λ| is close to 1.
        gamma_log = jnp.log(-jnp.expm1(2 * log_radius)) / 2
        return LRUParams(re, im, jnp.log(-log_radius), jnp.log(phase), gamma_log)

    def initial_state() -> LRUState:
        zeros = jnp.zeros(h, resolve_dtype(dtype))
        return LRUState(jax.lax.complex(zeros, zeros))

    return Cell(init, initial_state, lru_step, diagonal=True)


def lru_step(params: LRUParams, state: LRUState, x: Float[Array, " d"]) -> LRUState:
    """One step of the linear recurrent unit.

    Args:
        params: ν, θ, γ and B.
        state: h, (h,), complex.
        x: (d,), real.
    """
    eigenvalues = jnp.exp(jax.lax.complex(-jnp.exp(params.nu_log), jnp.exp(params.theta_log)))
    gamma = jnp.exp(params.gamma_log)
    driven = jax.lax.complex(gamma * (params.weight_re @ x), gamma * (params.weight_im @ x))
    return LRUState(eigenvalues * tag(state.h, "carry") + driven)
