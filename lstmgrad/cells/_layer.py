"""Feed-forward layers as steps: depth is time, and the weights of layer l are the input of step l.

A stack of L layers of width n is ``unroll(step, None, LayerState(x), layers)`` with `LayerParams`
stacked along axis 0. Everything that is measured along time is then measured along depth, and the
gradient with respect to the weights of layer l is that with respect to an input.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._checks import check_hashable, check_layer_input, check_layers
from lstmgrad._tag import tag
from lstmgrad._types import StepFn


class LayerParams(NamedTuple):
    """Attributes: weight (n, n) is W, bias (n,) is b; of a stack, with L in front."""

    weight: Float[Array, "*L n n"]
    bias: Float[Array, "*L n"]


class LayerState(NamedTuple):
    """Attributes: h (n,), the output of a layer."""

    h: Float[Array, " n"]


def plain_layer(activation: Callable[[Array], Array]) -> StepFn:
    """Returns the step h' = φ(W h + b), the same object for the same activation.

    Args:
        activation: φ, any element-wise function; `jax.nn.sigmoid`, `jnp.tanh`, `jax.nn.relu`.

    Returns:
        ``step(None, LayerState, LayerParams) -> LayerState``, with the tag "branch" on W h + b.

    Raises:
        ValueError: the activation cannot be hashed.
    """
    check_hashable(activation, "activation")
    return _plain(activation)


def residual_layer(activation: Callable[[Array], Array]) -> StepFn:
    """Returns the step h' = h + φ(W h + b), the same object for the same activation.

    Args:
        activation: φ, any element-wise function.

    Returns:
        ``step(None, LayerState, LayerParams) -> LayerState``, with the tags "skip" on h and
        "branch" on W h + b: the skip is to depth what the cell state is to time.

    Raises:
        ValueError: the activation cannot be hashed.

    References:
        He et al. 2016 (arXiv:1603.05027), Equation 3, without normalization.
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


def stack_layers(
    weights: Sequence[Float[Array | np.ndarray, "_ _"]],
    biases: Sequence[Float[Array | np.ndarray, " _"]] | None = None,
) -> LayerParams:
    """Returns layers of any widths as one stack of equal ones, filled up with zeros.

    A unit that is filled up has no weights in or out: it passes no gradient, and every product of
    Jacobians is that of the layers themselves, in the first rows and columns.

    Args:
        weights: (n_l, n_{l-1}) for l = 1, ..., L.
        biases: (n_l,) each; None is zero.

    Returns:
        `LayerParams` of width n = max n_l. Fill the input up likewise: `layer_input`.

    Raises:
        ValueError: no layers, a weight that is no floating-point matrix or does not fit the layer
            before it in width or dtype, a bias that does not fit its layer.

    Notes:
        L n² numbers, however narrow the layers. The value of a unit that is filled up is φ(0), in
        a residual layer what it was: read the first n_l only. A `residual_layer` needs layers of
        equal widths to mean h + φ(W h + b).
    """
    weights = [jnp.asarray(weight) for weight in weights]
    if biases is None:
        biases = [jnp.zeros(weight.shape[0], weight.dtype) for weight in weights]
    biases = [jnp.asarray(bias) for bias in biases]
    width = check_layers(weights, biases)
    return LayerParams(
        jnp.stack([_filled(weight, (width, width)) for weight in weights]),
        jnp.stack([_filled(bias, (width,)) for bias in biases]),
    )


def layer_input(x: Float[Array | np.ndarray, " n_0"], layers: LayerParams) -> LayerState:
    """Returns the state in front of the first layer: the input, filled up with zeros.

    Args:
        x: (n_0,), at most as wide as the layers.
        layers: as `stack_layers` gives them.

    Raises:
        ValueError: the input is no vector, of another dtype than the layers or wider.
    """
    x, width = jnp.asarray(x), layers.bias.shape[-1]
    check_layer_input(x.shape, x.dtype, width, layers.bias.dtype)
    return LayerState(_filled(x, (width,)))


def _filled(array: Array, shape: tuple[int, ...]) -> Array:
    return jnp.pad(array, [(0, new - old) for new, old in zip(shape, array.shape, strict=True)])
