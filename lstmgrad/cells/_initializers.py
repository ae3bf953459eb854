"""Where a network starts: what decides how far its first gradients reach.

An initializer is ``initializer(key, shape, dtype) -> array``, as in `jax.nn.initializers`: for the
`recurrent_init` of a cell, or for a leaf of another framework. What concerns single gates takes the
parameters of a cell and returns them changed: `with_forget_bias` and `with_chrono_bias`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._checks import check_between, check_gated
from lstmgrad._types import Params
from lstmgrad.cells._cell import Initializer
from lstmgrad.cells._conv_lstm import ConvLSTMParams
from lstmgrad.cells._coupled import CoupledLSTMParams
from lstmgrad.cells._gru import GRUParams
from lstmgrad.cells._lstm import LSTMParams
from lstmgrad.cells._mgu import MGUParams
from lstmgrad.cells._minimal import MinGRUParams, MinLSTMParams
from lstmgrad.cells._peephole import PeepholeLSTMParams
from lstmgrad.cells._xlstm import MLSTMParams, SLSTMParams


def identity(scale: float = 1.0) -> Initializer:
    """Returns an initializer that gives ``scale * I``, for the recurrent weights of an IRNN.

    Args:
        scale: the factor on the identity.

    References:
        Le, Jaitly, Hinton 2015 (arXiv:1504.00941).
    """

    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype=None) -> Array:
        return scale * jnp.eye(*shape, dtype=dtype)

    return init


def orthogonal(gain: float = 1.0) -> Initializer:
    """Returns an initializer that gives ``gain`` times a random orthogonal matrix.

    Args:
        gain: every singular value, e.g. ``critical_gain(0.3)``.

    Notes:
        JAX's own, uniform over the orthogonal group. A cell takes it gate by gate.

    References:
        Saxe, McClelland & Ganguli 2014 (arXiv:1312.6120).
    """
    return jax.nn.initializers.orthogonal(gain)


def critical_gain(bias_std: float | int = 0.0) -> float:
    """Returns the gain of the recurrent weights at which a tanh network is critical.

    A perturbation of h' = tanh(U h + b), with U of entries N(0, σ²/h) or σ times orthogonal, grows
    in mean square by χ = σ² E[tanh'(√q z)²] a step, with z standard normal and q the variance of
    the drive, q = σ² E[tanh²(√q z)] + bias_std². The critical gain is the σ at which χ = 1.

    Args:
        bias_std: the standard deviation of all that is added to U h: of the biases, and of W x.

    Returns:
        σ, 1 for no bias and above 1 otherwise: what saturates tanh has to be made up for.

    Raises:
        ValueError: bias_std is not from 0 to 10.

    Notes:
        Of the limit of many units. For ``orthogonal(critical_gain(s))`` or
        ``jax.nn.initializers.variance_scaling(critical_gain(s) ** 2, "fan_in", "normal")``.
        Integrals by the trapezoidal rule, q by bisection: χ is 1 to about 1e-9.

    Example:
        ``critical_gain()`` is 1.

    References:
        Poole et al. 2016 (arXiv:1606.05340); Schoenholz et al. 2017
        (arXiv:1611.01232); for recurrent networks Chen, Pennington & Schoenholz 2018
        (arXiv:1806.05394).
    """
    variance = check_between(bias_std, 0.0, 10.0, "bias_std") ** 2
    if variance == 0:
        return 1.0
    z = np.linspace(-12.0, 12.0, 6001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])

    def gain_and_variance(q: float) -> tuple[float, float]:
        """σ² such that χ = 1 at the fixed point q, and the variance of the bias that belongs."""
        square = np.tanh(np.sqrt(q) * z) ** 2
        gain = 1 / float(density @ (1 - square) ** 2)
        return gain, q - gain * float(density @ square)

    low, high = variance, 1.0
    while gain_and_variance(high)[1] < variance:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        if gain_and_variance(middle)[1] < variance:
            low = middle
        else:
            high = middle
    return float(np.sqrt(gain_and_variance(low)[0]))


def chrono(max_lag: float | int) -> Initializer:
    """Returns the chrono initializer of a forget gate's bias, ln U([1, max_lag - 1]).

    A gate σ(ln u) = u/(1 + u) forgets with a time constant of about u steps, so that the units'
    memories are spread evenly up to max_lag. The bias of the input gate is its negative.

    Args:
        max_lag: T_max, the longest dependency expected, 2 or above.

    Returns:
        An initializer of the *effective* bias, the sum of all that the gate adds: for our cells use
        `with_chrono_bias`, for other frameworks see there.

    Raises:
        ValueError: max_lag is below 2.

    Example:
        ``chrono(2)`` gives zeros.

    References:
        Tallec & Ollivier 2018 (arXiv:1804.11188), Eq. 16.
    """
    most = check_between(max_lag, 2.0, float("inf"), "max_lag") - 1

    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype=None) -> Array:
        kind = jnp.zeros((), dtype).dtype
        return jnp.log(jax.random.uniform(key, shape, kind, 1.0, most))

    return init


class _Gates(NamedTuple):
    """Where the biases lie that say what is kept and what is written.

    Attributes:
        leaf: the field of the parameters.
        stacked: how many gates are stacked in it.
        kept: (position, sign) of the biases that set the share kept to σ(bias).
        written: (position, sign) of the input gate's, to which chrono gives the negative.
    """

    leaf: str
    stacked: int
    kept: tuple[tuple[int, int], ...]
    written: tuple[tuple[int, int], ...] = ()


_GATES: dict[type, _Gates] = {
    LSTMParams: _Gates("bias", 4, ((1, 1),), ((0, -1),)),
    PeepholeLSTMParams: _Gates("bias", 4, ((1, 1),), ((0, -1),)),
    ConvLSTMParams: _Gates("bias", 4, ((1, 1),), ((0, -1),)),
    SLSTMParams: _Gates("bias", 4, ((1, 1),), ((0, -1),)),
    MLSTMParams: _Gates("bias_gates", 2, ((1, 1),), ((0, -1),)),
    CoupledLSTMParams: _Gates("bias", 3, ((0, 1),)),
    GRUParams: _Gates("bias", 3, ((1, 1),)),
    # Their gate is the share that is replaced.
    MGUParams: _Gates("bias", 2, ((0, -1),)),
    MinGRUParams: _Gates("bias", 2, ((0, -1),)),
    # σ(b)/(σ(b) + σ(-b)) = σ(b): only both together set what is kept.
    MinLSTMParams: _Gates("bias", 3, ((1, 1), (0, -1))),
}


def with_forget_bias(params: Params, bias: float | int | Float[Array, " h"]) -> Params:
    """Returns the parameters with the bias of what is kept set to a value.

    With all weights zero a step then keeps the share σ(bias) of the state: the time constant is
    1 / ln(1 + exp(-bias)) steps.

    Args:
        params: of any cell with a forget gate, whatever it calls it: the LSTMs but that of 1997,
            the GRU, MGU, minGRU, minLSTM, sLSTM and mLSTM.
        bias: one number, or one a unit.

    Returns:
        The parameters, all else as it was. Where the gate is the share that is *replaced* (MGU,
        minGRU) its bias is -bias; the minLSTM, whose gates are normalized, gets bias and -bias.

    Raises:
        ValueError: parameters of a cell without a forget gate.

    Example:
        ``with_forget_bias(lstm(d, h).init(key), 3.0)`` is what ``lstm(d, h, forget_bias=3.0)``
        starts with.
    """
    check_gated(params, tuple(_GATES))
    return _set(params, _GATES[type(params)].kept, bias)


def with_chrono_bias(params: Params, key: PRNGKeyArray, max_lag: float | int) -> Params:
    """Returns the parameters with chrono biases, so that units remember from 1 to max_lag steps.

    b_f = ln U([1, max_lag - 1]) for each unit, and b_i = -b_f where there is an input gate.

    Args:
        params: as for `with_forget_bias`.
        key: random key.
        max_lag: T_max, the longest dependency expected, 2 or above.

    Returns:
        The parameters, all else as it was.

    Raises:
        ValueError: parameters of a cell without a forget gate; max_lag is below 2.

    Notes:
        In the cells of other frameworks, with ``b = chrono(max_lag)(key, (h,))``. It is the
        *effective* bias: where a gate has two, their sum.

        * PyTorch `LSTM`: ``bias_ih_l0`` and ``bias_hh_l0`` add, both (4h,) in the order i, f, g, o.
          Set [h:2h] of one to b and [:h] to -b, and both slices of the other to zero. `GRU`: order
          r, z, n, two biases likewise, z is the share kept: [h:2h] to b.
        * Equinox `LSTMCell`: ``bias``, (4h,), i, f, g, o, the only one. `GRUCell`: ``bias``, (3h,),
          r, z, n, z the share kept.
        * Flax `LSTMCell` and `OptimizedLSTMCell` of linen and `LSTMCell` of nnx: the bias of ``hf``
          to b, that of ``hi`` to -b, the only ones. `OptimizedLSTMCell` of nnx: the bias of
          ``dense_h``, (4h,), i, f, g, o. `GRUCell`: z is the share kept, the bias of ``iz`` in
          linen, [h:2h] of the bias of ``dense_i`` in nnx.
        * Haiku `LSTM`: ``b``, (4h,), in the order i, g, f, o, with 1 added to f at run time: set
          [2h:3h] to b - 1 and [:h] to -b. `GRU`: ``b``, (3h,), in the order z, r, a, z is the share
          *replaced*: set [:h] to -b.
        * Keras `LSTMCell`: ``bias``, (4h,), i, f, c, o; unit_forget_bias has put a 1 there, which b
          replaces. `GRUCell`: order z, r, h, z the share kept; ``bias`` has two rows that add
          where reset_after is set.

    Example:
        ``with_chrono_bias(params, key, 2)`` sets both biases to zero.

    References:
        Tallec & Ollivier 2018 (arXiv:1804.11188), Eq. 16.
    """
    check_gated(params, tuple(_GATES))
    gates = _GATES[type(params)]
    leaf = getattr(params, gates.leaf)
    bias = chrono(max_lag)(key, (leaf.shape[0] // gates.stacked,), leaf.dtype)
    return _set(params, gates.kept + gates.written, bias)


def _set(params: Params, places: tuple[tuple[int, int], ...], bias: float | int | Array) -> Params:
    gates = _GATES[type(params)]
    leaf = getattr(params, gates.leaf)
    units = leaf.shape[0] // gates.stacked
    for position, sign in places:
        block = slice(position * units, (position + 1) * units)
        leaf = leaf.at[block].set(sign * jnp.asarray(bias, leaf.dtype))
    return params._replace(**{gates.leaf: leaf})
