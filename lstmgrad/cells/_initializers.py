"""How a network starts, which decides how far its first gradients reach.

An initializer is ``initializer(key, shape, dtype) -> array``, as in `jax.nn.initializers`: for the
`recurrent_init` of a cell, or for a leaf of another framework. `with_forget_bias` and
`with_chrono_bias` set the bias of a gate: they take the parameters of a cell and return them
changed.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_number
from lstmgrad._leaves import dtype_of, shown
from lstmgrad._types import Params
from lstmgrad.cells._cell import ForgetGate, Initializer


@public
def identity(scale: float = 1.0) -> Initializer:
    """Returns an initializer that makes ``scale * I``, for the recurrent weights of an IRNN.

    Args:
        scale: the factor on the identity.

    Returns:
        ``initializer(key, shape, dtype) -> array``, like those of `jax.nn.initializers`; the key is
        not used.

    Raises:
        ValueError: the factor is not a number.

    Example:
        >>> lg.cells.identity(0.5)(jax.random.key(0), (2, 2), jnp.float32).tolist()
        [[0.5, 0.0], [0.0, 0.5]]

    References:
        Le, Jaitly, Hinton 2015 (arXiv:1504.00941).
    """
    _check_factor(scale, "scale")

    @public
    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype=None) -> Array:
        return scale * jnp.eye(*shape, dtype=dtype)

    return init


@public
def orthogonal(gain: float = 1.0) -> Initializer:
    """Returns an initializer that makes ``gain`` times a random orthogonal matrix.

    Args:
        gain: what every singular value is, e.g. ``lg.theory.critical_gain(0.3)``.

    Returns:
        ``initializer(key, shape, dtype) -> array``, like those of `jax.nn.initializers`.

    Raises:
        ValueError: the gain is not a number.

    Notes:
        JAX's own initializer, uniform over the orthogonal group. A cell calls it once per gate.

    Example:
        >>> matrix = lg.cells.orthogonal(0.5)(jax.random.key(0), (3, 3), jnp.float32)
        >>> bool(jnp.allclose(matrix @ matrix.T, 0.25 * jnp.eye(3), atol=1e-6))
        True

    References:
        Saxe, McClelland & Ganguli 2014 (arXiv:1312.6120).
    """
    _check_factor(gain, "gain")
    return jax.nn.initializers.orthogonal(gain)


@public
def chrono(max_lag: float | int) -> Initializer:
    """Returns the chrono initializer of a forget gate's bias, ln U([1, max_lag - 1]).

    A gate σ(ln u) = u/(1 + u) forgets with a time constant of about u steps, so the memories of the
    units are spread evenly up to max_lag. The input gate gets the negative of that bias.

    Args:
        max_lag: T_max, the longest dependency expected, 2 or above.

    Returns:
        An initializer of the *effective* bias, the sum of all the biases that the gate adds. For
        the cells of this package use `with_chrono_bias`, whose notes cover other frameworks.

    Raises:
        ValueError: max_lag is below 2.

    Example:
        ``chrono(2)`` makes zeros.

        >>> lg.cells.chrono(2)(jax.random.key(0), (3,), jnp.float32).tolist()
        [0.0, 0.0, 0.0]

    References:
        Tallec & Ollivier 2018 (arXiv:1804.11188), Eq. 16.
    """
    most = check_number(max_lag, "max_lag", 2.0) - 1

    @public
    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype=None) -> Array:
        kind = jnp.zeros((), dtype).dtype
        return jnp.log(jax.random.uniform(key, shape, kind, 1.0, most))

    return init


@public
def with_forget_bias(params: Params, bias: float | int | Float[Array, " h"]) -> Params:
    """Returns the parameters with the bias that says how much is kept set to a value.

    With all weights zero, a step then keeps the share σ(bias) of the state: the time constant is
    1 / ln(1 + exp(-bias)) steps.

    Args:
        params: the parameters of any cell with a forget gate, whatever the cell calls that gate,
            e.g. an LSTM, GRU or minGRU. Their class has an attribute `forget_gate`.
        bias: one number, or one per unit.

    Returns:
        The parameters, otherwise unchanged. If the gate is the share that is *replaced* (MGU,
        minGRU), its bias is -bias; the minLSTM, whose gates are normalized, gets bias and -bias.

    Raises:
        ValueError: parameters of a cell without a forget gate.

    Example:
        ``with_forget_bias(lstm(d, h).init(key), 3.0)`` is what ``lstm(d, h, forget_bias=3.0)``
        starts with.

        >>> lg.cells.with_forget_bias(model.params, 3.0).bias[3:6].tolist()
        [3.0, 3.0, 3.0]
    """
    gate = _forget_gate(params)
    return _set_bias(params, gate.kept, gate.replaced, bias)


@public
def with_chrono_bias(params: Params, key: PRNGKeyArray, max_lag: float | int) -> Params:
    """Returns the parameters with chrono biases, so that units remember from 1 to max_lag steps.

    b_f = ln U([1, max_lag - 1]) for each unit, and b_i = -b_f if there is an input gate.

    Args:
        params: as for `with_forget_bias`.
        key: random key.
        max_lag: T_max, the longest dependency expected, 2 or above.

    Returns:
        The parameters, otherwise unchanged.

    Raises:
        ValueError: parameters of a cell without a forget gate; max_lag is below 2.

    Notes:
        For the cells of other frameworks, draw ``b = chrono(max_lag)(key, (h,))``. It is the
        *effective* bias: if a gate has two biases, it is their sum.

        * PyTorch `LSTM`: ``bias_ih_l0`` and ``bias_hh_l0`` add up, both (4h,) in the order i, f, g,
          o. Set [h:2h] of one to b and [:h] to -b, and both slices of the other to zero. `GRU`: two
          biases in the order r, z, n, and z is the share kept: set [h:2h] to b.
        * Equinox `LSTMCell`: one ``bias``, (4h,), in the order i, f, g, o. `GRUCell`: ``bias``,
          (3h,), in the order r, z, n, and z is the share kept.
        * Flax `LSTMCell` and `OptimizedLSTMCell` of linen and `LSTMCell` of nnx: set the bias of
          ``hf`` to b and the one of ``hi`` to -b; there are no others. `OptimizedLSTMCell` of nnx:
          the bias of ``dense_h``, (4h,), in the order i, f, g, o. `GRUCell`: z is the share kept;
          set the bias of ``iz`` in linen, and [h:2h] of the bias of ``dense_i`` in nnx.
        * Haiku `LSTM`: ``b``, (4h,), in the order i, g, f, o, with 1 added to f at run time: set
          [2h:3h] to b - 1 and [:h] to -b. `GRU`: ``b``, (3h,), in the order z, r, a, and z is the
          share *replaced*: set [:h] to -b.
        * Keras `LSTMCell`: ``bias``, (4h,), in the order i, f, c, o; b replaces the 1 that
          unit_forget_bias has put there. `GRUCell`: in the order z, r, h, and z is the share kept;
          with reset_after, ``bias`` has two rows that add up.

    Example:
        ``with_chrono_bias(params, key, 2)`` sets both biases to zero.

        >>> params = lg.cells.with_chrono_bias(model.params, jax.random.key(0), 100)
        >>> bool(jnp.all(params.bias[3:6] <= jnp.log(99.0)))
        True

    References:
        Tallec & Ollivier 2018 (arXiv:1804.11188), Eq. 16.
    """
    gate = _forget_gate(params)
    leaf = getattr(params, gate.leaf)
    bias = chrono(max_lag)(key, (leaf.shape[0] // len(gate.order),), leaf.dtype)
    return _set_bias(params, gate.kept, gate.replaced + gate.written, bias)


def _check_factor(value: Any, argument: str) -> None:
    """One number, of any sign."""
    kind = dtype_of(value)
    if value is None or kind is None or isinstance(value, bool) or jnp.shape(value):
        raise ValueError(f"{argument}: expected a number, but got {shown(value)}.")


def _forget_gate(params: Params) -> ForgetGate:
    """Where the forget gate's biases lie, if the parameters have one."""
    gate = getattr(type(params), "forget_gate", None)
    if not isinstance(gate, ForgetGate):
        raise ValueError(
            "params: expected those of a cell with a forget gate, such as LSTMParams or GRUParams, "
            f"but got {type(params).__name__}. Other cells have no bias that says how long they "
            "remember."
        )
    return gate


def _set_bias(
    params: Params, gates: str, negative: str, bias: float | int | Float[Array, " h"]
) -> Params:
    """The parameters with one bias in some gates, and its negative in others."""
    where = _forget_gate(params)
    leaf = getattr(params, where.leaf)
    units = leaf.shape[0] // len(where.order)
    for letter in gates + negative:
        start = where.order.index(letter) * units
        value = jnp.asarray(bias, leaf.dtype)
        value = -value if letter in negative else value
        leaf = leaf.at[start : start + units].set(value)
    return params._replace(**{where.leaf: leaf})
