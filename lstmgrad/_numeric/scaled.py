"""Numbers of unbounded range: value = mantissa · 2^exponent, one exponent per block.

A product of T step Jacobians has a size like exp(λT), which leaves float32 after about a hundred
steps. Splitting off a power of two after every factor is exact: multiplying by a power of two
rounds nothing, and exponents add as integers. The mantissa's largest entry lies in [1/2, 1), so
only entries more than the dtype's whole range below the largest one (2^-126 of it in float32) are
lost. int32 exponents last for 10^7 factors at the edge of float32 and proportionally longer for
ordinary ones.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._calls import public
from lstmgrad._leaves import dtype_of, shown, type_name

LOG_2 = 0.6931471805599453

LOWEST = -(2**30)
"""The exponent of zero: so low that a value stays as it is when zero is added to it."""


class Scaled(NamedTuple):
    """The array ``mantissa * 2.0**exponent``, in two parts because the value may fit no float.

    Attributes:
        mantissa: float array of any shape; its largest absolute entry lies in [1/2, 1), unless the
            value is zero or not finite.
        exponent: int32 scalar, shared by the whole array. If it has axes, the value is a batch, and
            these are the first axes of the mantissa, as from `jax.vmap` and `prefix_products`.

    Example:
        >>> tiny = lg.product(lg.DenseChain(jnp.broadcast_to(0.5 * jnp.eye(2), (1000, 2, 2))))
        >>> print(int(tiny.exponent) < -900, float(tiny.to_array().max()))
        True 0.0
    """

    mantissa: Float[Array, "..."]
    exponent: Int[Array, "..."]

    @jax.jit
    def __matmul__(self, other: "Scaled") -> "Scaled":
        """The matrix product, at the highest matmul precision of the device."""
        if self.exponent.ndim:
            return jax.vmap(Scaled.__matmul__)(self, other)
        product = jnp.matmul(self.mantissa, other.mantissa, precision="highest")
        return normalize(Scaled(product, self.exponent + other.exponent))

    @jax.jit
    def to_array(self) -> Float[Array, "..."]:
        """The value as a plain array; overflows to ±inf and underflows to 0 as floats do.

        Example:
            >>> lg.scaled(jnp.array([3.0, -0.5])).to_array().tolist()
            [3.0, -0.5]
        """
        if self.exponent.ndim:
            return jax.vmap(Scaled.to_array)(self)
        # At these bounds every nonzero entry of a normalized mantissa is already inf or 0, while
        # both factors of the shift are still finite: 0 · inf would be NaN.
        mantissa, exponent = normalize(self)
        finfo = jnp.finfo(mantissa.dtype)
        return shifted(mantissa, jnp.clip(exponent, 2 * finfo.minexp, 2 * (finfo.maxexp - 1)))

    @jax.jit
    def log_abs(self) -> Float[Array, "..."]:
        """The natural logarithm of every absolute entry; -inf where the value is zero.

        Example:
            >>> print(f"{float(tiny.log_abs().max()):.2f}")  # 1000 ln 0.5
            -693.15
        """
        if self.exponent.ndim:
            return jax.vmap(Scaled.log_abs)(self)
        return log_of(jnp.abs(self.mantissa), self.exponent)


@public
def scaled(array: Float[Array | np.ndarray, "..."]) -> Scaled:
    """Returns the array as a `Scaled`, without rounding; subnormal numbers count as zero.

    Args:
        array: float, of any shape; one exponent serves all of it.

    Raises:
        ValueError: not an array, or one of whole numbers.

    Example:
        >>> lg.scaled(jnp.array([6.0, 8.0])).to_array().tolist()
        [6.0, 8.0]
    """
    if array is None or (dtype_of(array) is None and not isinstance(array, list)):
        raise ValueError(f"array: expected an array, but got {shown(array)}.")
    mantissa = jnp.asarray(array)
    if not jnp.issubdtype(mantissa.dtype, jnp.inexact):
        raise ValueError(
            f"array: expected floats, but got {type_name(mantissa)}. Convert it, e.g. "
            "array.astype(jnp.float32)."
        )
    return normalize(Scaled(mantissa, jnp.zeros((), jnp.int32)))


def normalize(value: Scaled) -> Scaled:
    """The same value with the mantissa's largest entry in [1/2, 1); exact.

    Zero stays zero and keeps its exponent; a mantissa that holds an inf or NaN is left alone.
    """
    if value.exponent.ndim:
        return jax.vmap(normalize)(value)
    top = jax.lax.stop_gradient(jnp.max(jnp.abs(value.mantissa), initial=0.0))
    shift = exponent_above(top)
    return Scaled(shifted(value.mantissa, -shift), value.exponent + shift)


def add(one: Scaled, other: Scaled) -> Scaled:
    """The sum, with the mantissa's largest entry in [1/2, 1) unless the sum is zero or not finite.

    Entries more than the dtype's whole range below the largest one of both are lost.
    """
    exponent = jnp.maximum(exponent_of(one), exponent_of(other))
    total = lower(one, exponent) + lower(other, exponent)
    return normalize(Scaled(total, exponent))


def lower(value: Scaled, exponent: Int[Array, ""]) -> Float[Array, "..."]:
    """The mantissa of the same value with a larger exponent.

    Args:
        value: one block.
        exponent: the new one, at least `exponent_of(value)`.
    """
    return value.mantissa * power_below(exponent_of(value) - exponent, value.mantissa.dtype)


def power_below(exponent: Int[Array, "..."], dtype: Any) -> Float[Array, "..."]:
    """2^exponent for exponents of at most 0; zero where that is below the normal numbers.

    Args:
        exponent: any shape.
        dtype: of the result.
    """
    least = jnp.finfo(dtype).minexp
    power = power_of_two(jnp.maximum(exponent, least), dtype)
    return jnp.where(exponent < least, jnp.zeros((), dtype), power)


def exponent_of(value: Scaled) -> Int[Array, ""]:
    """The exponent; `LOWEST` for zero, whose own exponent means nothing."""
    return jnp.where(jnp.any(value.mantissa != 0), value.exponent, LOWEST)


def log_of(mantissa: Float[Array, "..."], exponent: Int[Array, ""]) -> Float[Array, "..."]:
    """ln(m · 2^e) for m >= 0, in the dtype of m; -inf for zero, with a slope of zero there.

    Args:
        mantissa: m, any shape.
        exponent: e, one for all.
    """
    # A slope of 1/0 would turn the slopes of the neighbors in the same array into 0 · inf = NaN.
    zero = mantissa == 0
    log = jnp.where(zero, -jnp.inf, jnp.log(jnp.where(zero, 1.0, mantissa)))
    return log + exponent.astype(log.dtype) * jnp.asarray(LOG_2, log.dtype)


def largest(
    array: Float[Array, "..."], axis: int | None = None, initial: float = -np.inf
) -> Float[Array, "..."]:
    """The largest entry, NaN where one is NaN, as `jnp.max` means to.

    On a CPU, that one leaves NaN out of arrays that are large enough for YNNPACK (jaxlib 0.10 to
    0.12, float32). A sum of sizes is NaN for nothing else.

    Args:
        array: any shape.
        axis: along which; None is all of it.
        initial: the least that is returned; what stands for an empty array.
    """
    sizes = jnp.sum(jnp.abs(jax.lax.stop_gradient(array)), axis=axis)
    return jnp.where(jnp.isnan(sizes), jnp.nan, jnp.max(array, axis=axis, initial=initial))


def norm_of(vector: Float[Array, " n"]) -> Float[Array, ""]:
    """The Euclidean norm, with a slope of zero at zero.

    Args:
        vector: with entries whose squares fit the dtype.
    """
    square = vector @ vector
    return jnp.where(square == 0, 0.0, jnp.sqrt(jnp.where(square == 0, 1.0, square)))


def widen(array: Float[Array, "..."]) -> Float[Array, "..."]:
    """The array in a dtype that LAPACK knows: half precision becomes float32.

    Args:
        array: any float array.
    """
    return array.astype(jnp.float32) if jnp.finfo(array.dtype).bits < 32 else array


def shifted(array: Float[Array, "..."], exponent: Int[Array, "..."]) -> Float[Array, "..."]:
    """Array · 2^exponent, in two factors so that neither leaves the normal numbers.

    2^-128 is subnormal in float32, and XLA flushes subnormal numbers to zero on most devices.
    """
    half = exponent >> 1
    return array * power_of_two(half, array.dtype) * power_of_two(exponent - half, array.dtype)


def exponent_above(array: Float[Array, "..."]) -> Int[Array, "..."]:
    """The e with 2^(e-1) <= |x| < 2^e of each entry, as `numpy.frexp`; 0 for 0, inf and NaN.

    Read off the bits: `jnp.frexp` is an order of magnitude more code, in every loop of a chain.

    Args:
        array: any shape; subnormal numbers count as zero where the device takes them for it.
    """
    wide = jax.lax.stop_gradient(widen(array))
    finfo, bits = jnp.finfo(wide.dtype), jax.lax.bitcast_convert_type(wide, _integer(wide.dtype))
    exponent = ((bits >> finfo.nmant) & (2**finfo.iexp - 1)).astype(jnp.int32) + finfo.minexp
    return jnp.where((wide != 0) & jnp.isfinite(wide), exponent, 0)


def power_of_two(exponent: Int[Array, "..."], dtype: Any) -> Float[Array, "..."]:
    """2^exponent, exactly, where it is a normal number of the dtype; see `exponent_above`.

    Args:
        exponent: int32, any shape.
        dtype: of the result.
    """
    wide = widen(jnp.zeros((), dtype)).dtype
    finfo = jnp.finfo(wide)
    bits = (exponent + (1 - finfo.minexp)).astype(_integer(wide)) << finfo.nmant
    return jax.lax.bitcast_convert_type(bits, wide).astype(dtype)


def _integer(dtype: Any) -> Any:
    """The integers with as many bits as a float of 32 or 64."""
    return jnp.int32 if jnp.finfo(dtype).bits == 32 else jnp.int64
