"""The convolutional LSTM: a peephole LSTM with convolutions over an image in place of matrices.

    i, f = σ(W_· * x + U_· * h + p_· ⊙ c + b_·),    g = tanh(W_g * x + U_g * h + b_g)
    c' = f ⊙ c + i ⊙ g
    o = σ(W_o * x + U_o * h + p_o ⊙ c' + b_o),      h' = o ⊙ tanh c'

where * is a convolution over the pixels, and every channel and pixel has a peephole of its own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_count, resolve_dtype
from lstmgrad.cells._cell import Cell, ForgetGate, check_sizes, zero_state
from lstmgrad.cells._lstm import LSTMState
from lstmgrad.cells._peephole import peeping

_GLOROT = jax.nn.initializers.glorot_normal(in_axis=1, out_axis=0)


class ConvLSTMParams(NamedTuple):
    """Gates are stacked along axis 0 in the order i, f, g, o.

    Attributes:
        weight_ih: (4h, d, *kernel).
        weight_hh: (4h, h, *kernel).
        weight_ch: (3, h, *space), the peepholes p_i, p_f and p_o.
        bias: (4h,).
    """

    weight_ih: Float[Array, "4*h d *kernel"]
    weight_hh: Float[Array, "4*h h *kernel"]
    weight_ch: Float[Array, "3 h *space"]
    bias: Float[Array, " 4*h"]

    forget_gate = ForgetGate(order="ifgo", kept="f", written="i")


@public
def conv_lstm(
    input_size: int,
    hidden_size: int,
    *,
    space: tuple[int, ...] = (),
    kernel_size: int = 3,
    forget_bias: float = 1.0,
    dtype=None,
) -> Cell:
    """Returns a convolutional long short-term memory cell.

    Args:
        input_size: d, the channels of the input, an array (d, *space).
        hidden_size: h, the channels of the state.
        space: the shape of the image, (height, width) as in the paper, or of any rank. The default
            is a single pixel: inputs are (d,), and the cell is `peephole_lstm`.
        kernel_size: the extent of the kernel along each axis of the image. The image is padded with
            zeros, so it keeps its shape.
        forget_bias: the initial bias of the forget gate.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `ConvLSTMParams` (gate order i, f, g, o) and `LSTMState(h, c)`, each
        (h, *space). Kernels are Glorot normal gate by gate, peepholes zero.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        The flat state has n = 2 h · prod(space) coordinates.

    Example:
        With kernel_size=1, every pixel is a `peephole_lstm` of its own.

        >>> unit = lg.cells.conv_lstm(1, 2, space=(4, 4))
        >>> unit.initial_state().c.shape[0]
        2

    References:
        Shi et al. 2015 (arXiv:1506.04214), Eq. 3.
    """
    d, h = check_sizes(input_size, hidden_size)
    shape = tuple(check_count(size, "space") for size in space)
    kernel = (check_count(kernel_size, "kernel_size"),) * len(shape)

    @public
    def init(key: PRNGKeyArray) -> ConvLSTMParams:
        kind = resolve_dtype(dtype)

        def kernels(key: PRNGKeyArray, channels: int) -> Array:
            keys = jax.random.split(key, 4)
            return jnp.concatenate([_GLOROT(k, (h, channels, *kernel), kind) for k in keys])

        key_ih, key_hh = jax.random.split(key)
        return ConvLSTMParams(
            kernels(key_ih, d),
            kernels(key_hh, h),
            jnp.zeros((3, h, *shape), kind),
            jnp.zeros(4 * h, kind).at[h : 2 * h].set(forget_bias),
        )

    def initial_state() -> LSTMState:
        return zero_state(LSTMState, (h, *shape), dtype)

    return Cell(init, initial_state, conv_lstm_step)


def conv_lstm_step(
    params: ConvLSTMParams, state: LSTMState, x: Float[Array, "d *space"]
) -> LSTMState:
    """One step of the convolutional LSTM.

    Args:
        params: gates stacked in the order i, f, g, o.
        state: (h, c), each (h, *space).
        x: (d, *space).
    """
    bias = jnp.expand_dims(params.bias, tuple(range(1, x.ndim)))
    drive = _convolve(params.weight_ih, x) + _convolve(params.weight_hh, state.h) + bias
    return peeping(params.weight_ch, drive, state.c)


def _convolve(
    kernel: Float[Array, "out channels *kernel"], image: Float[Array, "channels *space"]
) -> Float[Array, "out *space"]:
    """The cross-correlation, which deep learning calls a convolution."""
    return jax.lax.conv(image[None], kernel, (1,) * (image.ndim - 1), "SAME")[0]
