"""A frame on its way through a whole chain: where it starts, and what the sweep leaves."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from lstmgrad._chains.base import Chain
from lstmgrad._chains.sweeps import read_nothing, sweep_forward
from lstmgrad._checks import check_array, check_count
from lstmgrad._leaves import shown
from lstmgrad._numeric.frame import orthonormal, probed
from lstmgrad._numeric.frame_errors import Displacement
from lstmgrad._numeric.renewal import Sums, renewal
from lstmgrad._numeric.scaled import Scaled, scaled
from lstmgrad._progress import Meter
from lstmgrad._spectra.copied import Swept
from lstmgrad._spectra.end import End
from lstmgrad._spectra.records import LyapunovState


class Plan(NamedTuple):
    """How a chain is swept.

    Attributes:
        counted: how many steps count.
        burn_in: steps before them.
        cell: steps of one sum.
        interval: steps between re-orthogonalizations, or None.
        length: of a padded sequence, or None.
        meter: told on the way, or None.
    """

    counted: Int[Array, ""]
    burn_in: int
    cell: int
    interval: int | None
    length: Any
    meter: Meter | None


def swept_whole(chain: Chain, plan: Plan) -> Swept:
    """What a sweep of all exponents leaves."""
    end = swept(chain, starting_state(chain, None, None), plan)
    return Swept(end.frame, end.cells, end.roundings, end.displaced.inside, end.faded)


def swept(chain: Chain, state: LyapunovState, plan: Plan) -> End:
    """Sweeps a frame through a chain."""
    counted, burn_in, cell, interval, length, meter = plan
    most = len(chain) - burn_in
    end = counted + burn_in
    renew = renewal(chain.layout.dtype, end, burn_in, cell, interval)
    if length is not None:
        renew = _until(end, renew)
    zero = jnp.zeros((), jnp.int32)
    cells = jnp.zeros((math.ceil(most / cell), *state.log_sums.shape), state.log_sums.dtype)
    rate = jnp.full((), jnp.inf, cells.dtype)  # unknown: the first interval is one step
    roundings = jnp.zeros_like(state.roundings)
    displaced = Displacement(state.displaced, None if state.stray is None else state.strayed)
    sums: Any = Sums(zero, zero, rate, cells, roundings, displaced, state.faded)
    block = probed(Scaled(state.frame.T, zero), state.stray)
    carry = sums if length is None else (sums, block)
    ((model_state, block), carry), _ = sweep_forward(
        chain, block, read_nothing, carry, renew=renew, meter=meter
    )
    sums = carry if length is None else carry[0]
    count = len(sums.roundings)
    stray = None if state.stray is None else block.mantissa[count + 1]
    frame = block.mantissa[:count].T
    return End(frame, sums.cells, sums.roundings, sums.displaced, stray, sums.faded, model_state)


def _until(end: Int[Array, ""], renew: Callable) -> Callable:
    """The renewal up to a time, from which on the frame and the sums stay as they are.

    Args:
        end: the last time that counts.
        renew: from `renewal`, which makes the frame orthonormal there.
    """

    def held(carry: tuple[Sums, Scaled], block: Scaled) -> tuple[tuple[Sums, Scaled], Scaled]:
        sums, before = carry
        past = sums.time >= end

        def chosen(old: Any, new: Any) -> Any:
            return jax.tree.map(lambda old, new: jnp.where(past, old, new), old, new)

        after, block = renew(sums, chosen(before, block))
        block = chosen(before, block)
        return (chosen(sums, after), block), block

    return held


def starting_state(chain: Chain, start: Any, num_exponents: int | None) -> LyapunovState:
    """The state to start from.

    Args:
        chain: whose tangents the frame holds.
        start: a state, a frame (n, m), or None.
        num_exponents: m, or None.
    """
    size, dtype = chain.layout.size, chain.layout.dtype
    if isinstance(start, LyapunovState):
        _check_frame(start.frame.shape, start.frame.dtype, size, dtype, num_exponents)
        return start
    if start is None:
        count = (
            size
            if num_exponents is None
            else check_count(num_exponents, "num_exponents", most=size, limit="n")
        )
        if count == size:
            start = jnp.eye(size, dtype=dtype)
        else:
            start = jax.random.normal(jax.random.key(0), (size, count), dtype)
    check_array(start, "start")
    frame = jnp.asarray(start)
    _check_frame(frame.shape, frame.dtype, size, dtype, num_exponents)
    block, _, growths = orthonormal(scaled(frame.T))
    zeros = jnp.zeros_like(growths)
    whole = len(zeros) == size
    return LyapunovState(
        frame=block.mantissa.T,
        num_steps=jnp.zeros((), jnp.int32),
        log_sums=zeros,
        variances=zeros,
        roundings=zeros,
        displaced=jnp.zeros((len(zeros), len(zeros)), zeros.dtype),
        strayed=None if whole else zeros,
        stray=None if whole else jnp.zeros(size, dtype),
        faded=jnp.zeros(size, bool),
        model_state=None,
    )


def _check_frame(
    shape: tuple, dtype: Any, size: int, expected_dtype: Any, num_exponents: Any
) -> None:
    """A frame is (n, m) with m <= n, m the number of exponents where that is given, too."""
    if len(shape) != 2 or shape[0] != size or not 1 <= shape[1] <= size or dtype != expected_dtype:
        raise ValueError(
            f"start: expected a frame {expected_dtype}[n,m], its columns in the flat state of size "
            f"n = {size} and 1 <= m <= n, but got {dtype}[{','.join(map(str, shape))}]."
        )
    if num_exponents not in (None, shape[1]):
        raise ValueError(
            f"num_exponents: expected {shape[1]}, the columns of the start, or None, but got "
            f"{shown(num_exponents)}."
        )
