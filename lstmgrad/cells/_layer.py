"""Feed-forward layers as steps: depth is time, and the weights of layer l are the input of step l.

A stack of L layers of width n is ``Model(step, None, LayerState(x))`` with `LayerParams` stacked
along axis 0 as its inputs. Everything that is measured along time is then measured along depth, and
the gradient with respect to the weights of layer l is the gradient with respect to an input.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._calls import public
from lstmgrad._checks import check_hashable
from lstmgrad._leaves import type_name
from lstmgrad._tag import tag
from lstmgrad._types import StepFn


class LayerParams(NamedTuple):
    """Attributes: weight (n, n) is W, bias (n,) is b; a stack has an axis L in front."""

    weight: Float[Array, "*L n n"]
    bias: Float[Array, "*L n"]


class LayerState(NamedTuple):
    """Attributes: h (n,), the output of a layer."""

    h: Float[Array, " n"]


@public
def plain_layer(activation: Callable[[Array], Array]) -> StepFn:
    """Returns the step h' = φ(W h + b), the same object for the same activation.

    Args:
        activation: φ, any element-wise function, e.g. `jax.nn.sigmoid`, `jnp.tanh`, `jax.nn.relu`.

    Returns:
        ``step(None, LayerState, LayerParams) -> LayerState``, with W h + b tagged "branch".

    Raises:
        ValueError: the activation cannot be hashed.

    Example:
        >>> layers = lg.cells.LayerParams(jnp.zeros((4, 2, 2)), jnp.zeros((4, 2)))  # L = 4
        >>> step = lg.cells.plain_layer(jnp.tanh)
        >>> lg.unroll(step, None, lg.cells.LayerState(jnp.ones(2)), layers).states.h[-1].tolist()
        [0.0, 0.0]
    """
    check_hashable(activation, "activation")
    return _plain(activation)


@public
def residual_layer(activation: Callable[[Array], Array]) -> StepFn:
    """Returns the step h' = h + φ(W h + b), the same object for the same activation.

    Args:
        activation: φ, any element-wise function.

    Returns:
        ``step(None, LayerState, LayerParams) -> LayerState``, with h tagged "skip" and W h + b
        tagged "branch": the skip is to depth what the cell state is to time.

    Raises:
        ValueError: the activation cannot be hashed.

    Example:
        >>> layers = lg.cells.LayerParams(jnp.zeros((4, 2, 2)), jnp.zeros((4, 2)))  # L = 4
        >>> step = lg.cells.residual_layer(jnp.tanh)
        >>> lg.unroll(step, None, lg.cells.LayerState(jnp.ones(2)), layers).states.h[-1].tolist()
        [1.0, 1.0]

    References:
        He et al. 2016 (arXiv:1603.05027), Eq. 3, without normalization.
    """
    check_hashable(activation, "activation")
    return _residual(activation)


@functools.cache
def _plain(activation: Callable[[Array], Array]) -> StepFn:
    def step(params: None, state: LayerState, layer: LayerParams) -> LayerState:
        return LayerState(_branch(activation, state, layer))

    return step


@functools.cache
def _residual(activation: Callable[[Array], Array]) -> StepFn:
    def step(params: None, state: LayerState, layer: LayerParams) -> LayerState:
        return LayerState(tag(state.h, "skip") + _branch(activation, state, layer))

    return step


def _branch(activation: Callable[[Array], Array], state: LayerState, layer: LayerParams) -> Array:
    return activation(tag(layer.weight @ state.h + layer.bias, "branch"))


@public
def stack_layers(
    weights: Sequence[Float[Array | np.ndarray, "_ _"]],
    biases: Sequence[Float[Array | np.ndarray, " _"]] | None = None,
) -> LayerParams:
    """Returns layers of any widths as one stack of layers of equal width, padded with zeros.

    A padded unit has no weights in or out, so it passes no gradient: the first rows and columns of
    every product of Jacobians are the product of the layers themselves.

    Args:
        weights: (n_l, n_{l-1}) for l = 1, ..., L.
        biases: (n_l,) each; None is zero.

    Returns:
        `LayerParams` of width n = max n_l. Pad the input in the same way: `layer_input`.

    Raises:
        ValueError: there are no layers; a weight is not a floating-point matrix, or does not fit
            the layer before it in width or dtype; a bias does not fit its layer.

    Notes:
        Takes L n² numbers, however narrow the layers. The value of a padded unit is φ(0), or in a
        residual layer what it was before: read the first n_l only. A `residual_layer` means
        h + φ(W h + b) only if all layers have the same width.

    Example:
        >>> lg.cells.stack_layers([jnp.ones((3, 2)), jnp.ones((1, 3))]).weight.shape
        (2, 3, 3)
    """
    weights = [jnp.asarray(weight) for weight in weights]
    if biases is None:
        biases = [jnp.zeros(weight.shape[0], weight.dtype) for weight in weights]
    biases = [jnp.asarray(bias) for bias in biases]
    width = _check_layers(weights, biases)
    return LayerParams(
        jnp.stack([_pad(weight, (width, width)) for weight in weights]),
        jnp.stack([_pad(bias, (width,)) for bias in biases]),
    )


def layer_input(x: Float[Array | np.ndarray, " n_0"], layers: LayerParams) -> LayerState:
    """Returns the state in front of the first layer: the input, padded with zeros.

    Args:
        x: (n_0,), at most as wide as the layers.
        layers: as `stack_layers` returns them.

    Returns:
        `LayerState` with h (n,): x, and zeros behind it.

    Raises:
        ValueError: the input is not a vector, is wider than the layers, or has another dtype.

    Example:
        >>> layers = lg.cells.stack_layers([jnp.ones((3, 2))])
        >>> lg.cells.layer_input(jnp.ones(2), layers).h.tolist()
        [1.0, 1.0, 0.0]
    """
    x, width = jnp.asarray(x), layers.bias.shape[-1]
    _check_input(x, width, layers.bias.dtype)
    return LayerState(_pad(x, (width,)))


def _pad(array: Array, shape: tuple[int, ...]) -> Array:
    return jnp.pad(array, [(0, new - old) for new, old in zip(shape, array.shape, strict=True)])


def _check_layers(weights: list[Array], biases: list[Array]) -> int:
    """The largest width, once the layers follow one another."""
    if not weights:
        raise ValueError("weights: expected at least one layer, but got none.")
    if len(biases) != len(weights):
        raise ValueError(
            f"biases: expected one for each of the {len(weights)} layers, but got {len(biases)}."
        )
    before, dtype = None, weights[0].dtype
    kind = dtype.name if jnp.issubdtype(dtype, jnp.floating) else "floating-point"
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        fits = weight.ndim == 2 and before in (None, weight.shape[1])
        if not fits or weight.dtype.name != kind:
            columns = "" if before is None else f" of {before} columns"
            raise ValueError(
                f"weights: expected a {kind} matrix{columns} in layer {index + 1}, one column for "
                f"each unit of the layer before, but got {type_name(weight)}."
            )
        before = weight.shape[0]
        if bias.shape != (before,) or bias.dtype != weight.dtype:
            raise ValueError(
                f"biases: expected {weight.dtype}[{before}] in layer {index + 1}, like its weight, "
                f"but got {type_name(bias)}."
            )
    return max(max(weight.shape) for weight in weights)


def _check_input(x: Array, width: int, dtype: Any) -> None:
    """A vector that is not wider than the layers, in their dtype."""
    if x.ndim != 1 or x.size > width or x.dtype != dtype:
        raise ValueError(
            f"x: expected a vector {dtype}[n] with n <= {width}, the width of the layers, but "
            f"got {x.dtype}{list(x.shape)}. For a batch, use jax.vmap."
        )
