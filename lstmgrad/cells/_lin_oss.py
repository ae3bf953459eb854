"""Linear oscillatory state-space models (LinOSS): uncoupled, undamped oscillators that are driven.

    IM      z' = z + Δt (B x - A ⊙ h'),    h' = h + Δt z'        implicit: the oscillators lose
    IMEX    z' = z + Δt (B x - A ⊙ h),     h' = h + Δt z'        symplectic: they keep their energy

h is the position of each oscillator, which is also the output, z its velocity; A = ReLU(frequency)
is the square of its own frequency, and Δt = σ(time) is its own step. The step is linear, with the
same 2 x 2 block per oscillator at every time: its eigenvalues have the modulus 1/√(1 + Δt² A) with
IM, and 1 with IMEX as long as Δt² A <= 4.
"""

import functools
from typing import Literal, NamedTuple

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import resolve_dtype
from lstmgrad._leaves import shown
from lstmgrad._tag import tag
from lstmgrad._types import StepFn
from lstmgrad.cells._cell import GLOROT, Cell, check_sizes, init_stacked, zero_state
from lstmgrad.cells._oscillator import CoRNNState


class LinOSSParams(NamedTuple):
    """What drives the oscillators, and what they are.

    Attributes:
        weight_ih: (h, d), B.
        frequency: (h,), A = ReLU(frequency), the square of the frequency of each.
        time: (h,), Δt = σ(time).
    """

    weight_ih: Float[Array, "h d"]
    frequency: Float[Array, " h"]
    time: Float[Array, " h"]


@public
def lin_oss(
    input_size: int, hidden_size: int, *, scheme: Literal["IM", "IMEX"] = "IM", dtype=None
) -> Cell:
    """Returns the recurrence of a linear oscillatory state-space model.

    Args:
        input_size: d.
        hidden_size: h, the number of oscillators.
        scheme: "IM", the implicit step that forgets, or "IMEX", the implicit-explicit one that
            does not.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `LinOSSParams` and `CoRNNState(h, z)`. `frequency` and `time` are uniform in
        [0, 1].

    Raises:
        ValueError: a size is not a whole number, 1 or more; there is no such scheme.

    Notes:
        "position" and "velocity" are its routes. The output y = C h + D x is left to the model.
        The authors' code has a complex B, and so complex oscillators: their real and imaginary
        parts are two runs of this cell, with the same A and Δt.

    Example:
        With IMEX, the product of any number of steps has the determinant 1.

        >>> unit = lg.cells.lin_oss(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Rusch & Rus 2025 (arXiv:2410.03943), Section 2; Section 3 for the eigenvalues.
    """
    d, h = check_sizes(input_size, hidden_size)
    if scheme not in ("IM", "IMEX"):
        raise ValueError(f"scheme: expected 'IM' or 'IMEX', but got {shown(scheme)}.")

    @public
    def init(key: PRNGKeyArray) -> LinOSSParams:
        kind = resolve_dtype(dtype)
        key_ih, key_frequency, key_time = jax.random.split(key, 3)
        return LinOSSParams(
            init_stacked(GLOROT, key_ih, 1, (h, d), kind),
            jax.random.uniform(key_frequency, (h,), kind),
            jax.random.uniform(key_time, (h,), kind),
        )

    def initial_state() -> CoRNNState:
        return zero_state(CoRNNState, h, dtype)

    return Cell(init, initial_state, lin_oss_step(scheme))


@functools.cache
def lin_oss_step(scheme: str) -> StepFn:
    """The step of one scheme; the same object for the same one.

    Args:
        scheme: "IM" or "IMEX".
    """

    def step(params: LinOSSParams, state: CoRNNState, x: Float[Array, " d"]) -> CoRNNState:
        a, time = jax.nn.relu(params.frequency), jax.nn.sigmoid(params.time)
        h, z = tag(state.h, "position"), tag(state.z, "velocity")
        z = z + time * (params.weight_ih @ x - a * h)
        if scheme == "IM":
            z = z / (1 + time**2 * a)  # h' = h + Δt z' put in, and solved for z'
        return CoRNNState(h + time * z, z)

    return step
