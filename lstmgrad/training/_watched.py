"""What a monitor reads, in one compiled program: few vectors, few sequences, no large matrix."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._chains.base import StoredChain, check_stored
from lstmgrad._chains.implicit import chain as chain_of
from lstmgrad._chains.sweeps import sweep_backward, sweep_forward
from lstmgrad._chains.trajectory import unroll
from lstmgrad._compile import compiled
from lstmgrad._model import Model
from lstmgrad._norms.sketched import sketched_log_norms
from lstmgrad._numeric.scaled import Scaled, log_of, norm_of, scaled, widen
from lstmgrad._routes.additive import additive_paths, tags_of
from lstmgrad._routes.values import tagged_values
from lstmgrad._types import Params, PartName, State, StepFn

GATES = ("forget", "input", "output", "update", "reset")
"""Tags whose values are those of gates, from 0 to 1."""

LOW, HIGH = 0.1, 0.9
"""A gate below or above counts as saturated."""


class How(NamedTuple):
    """What is read, and how: all of it part of the key of the compilation cache."""

    step: StepFn
    loss: Callable[..., Array] | None
    recurrent: Callable[[Params], Params]
    lags: tuple[int, ...]
    parts: tuple[PartName, ...]
    sequences: int
    vectors: int


class Watched(NamedTuple):
    """Means over the sequences that were read.

    Attributes:
        log_norms: (L,) by part, lower bounds of ln ‖∂part_T/∂part_{T-lag}‖₂.
        log_path: (L,), ln of the additive path's norm; None without one.
        exponent: λ_1, nats per step.
        saturated: by gate, the shares below and above.
        gradient: `Gradient`; None without a loss.
    """

    log_norms: dict[PartName, Float[Array, " L"]]
    log_path: Float[Array, " L"] | None
    exponent: Float[Array, ""]
    saturated: dict[str, tuple[Array, Array]]
    gradient: Any


class Gradient(NamedTuple):
    """The gradient of the loss from the sequences that were read.

    Attributes:
        loss: their mean loss.
        norm: of the mean gradient of the whole batch: the root of the mean square over draws of it.
        signal_to_noise: ‖E g‖² / E ‖g - E g‖² of one sequence; its inverse is the batch at which
            both are alike. NaN for a single sequence.
        early_share: what the first quarter of the steps adds to the gradient of the weights of the
            recurrent part, ⟨g_early, g⟩/‖g‖².
    """

    loss: Float[Array, ""]
    norm: Float[Array, ""]
    signal_to_noise: Float[Array, ""]
    early_share: Float[Array, ""]


@compiled
def read(params: Params, start: State, batch: tuple, how: How) -> Watched:
    """Returns what is read of the first sequences of a batch.

    Args:
        params: all that is trained.
        start: the state that sequences start from.
        batch: inputs and whatever else the loss takes, sequences on axis 0.
        how: `How`.
    """
    size = jax.tree.leaves(batch)[0].shape[0]
    few = jax.tree.map(lambda leaf: leaf[: how.sequences], batch)
    weights = how.recurrent(params)

    def of_sequence(inputs: Any) -> tuple:
        chain = chain_of(Model(how.step, weights, start), inputs)
        assert isinstance(chain, StoredChain)
        log_norms = {
            part: sketched_log_norms(chain, how.lags, of=part, wrt=part, vectors=how.vectors)
            for part in how.parts
        }
        return log_norms, _log_path(chain, how.lags), _exponent(chain), _saturated(chain)

    means = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), jax.vmap(of_sequence)(few[0]))
    log_norms, log_path, exponent, saturated = means
    gradient = None if how.loss is None else _gradient(params, start, few, size, how)
    return Watched(log_norms, log_path, exponent, saturated, gradient)


def _log_path(chain: StoredChain, lags: tuple[int, ...]) -> Float[Array, " L"] | None:
    """The norm of the additive path by lag; NaN where it mixes units.

    A diagonal product is what it makes of a row of ones, and a row of random signs tells whether it
    is diagonal.
    """
    paths = additive_paths(chain)
    if len(paths) != 1:
        return None
    ((part, path),) = paths.items()
    path = check_stored(path[len(path) - lags[-1] :])
    columns = path.layout.block(part, "path")
    signs = np.sign(np.random.default_rng(0).standard_normal(columns.stop - columns.start))
    rows = jnp.zeros((2, path.layout.size), path.layout.dtype)
    rows = rows.at[0, columns].set(1).at[1, columns].set(jnp.asarray(signs, rows.dtype))

    def look(carry: None, block: Scaled) -> tuple[None, Scaled, Array]:
        ones, signed = widen(block.mantissa[:, columns])
        largest = jnp.max(jnp.abs(ones))
        apart = jnp.max(jnp.abs(ones - signed * jnp.asarray(signs, signed.dtype)))
        log = log_of(largest, block.exponent)
        return carry, block, jnp.where(apart <= 1e-2 * largest, log, jnp.nan)

    _, logs = sweep_backward(path, scaled(rows), look, None)
    return logs[jnp.asarray(lags) - 1]


def _exponent(chain: StoredChain) -> Float[Array, ""]:
    """The growth of one tangent per step, behind the first quarter of the steps."""
    burn_in = len(chain) // 4
    size, dtype = chain.layout.size, chain.layout.dtype
    tangent = jnp.asarray(np.random.default_rng(1).standard_normal((1, size)), dtype)

    def look(carry: None, block: Scaled) -> tuple[None, Scaled, Array]:
        return carry, block, log_of(norm_of(widen(block.mantissa[0])), block.exponent)

    start = scaled(tangent)
    _, logs = sweep_forward(chain, start, look, None)
    logs = jnp.concatenate([look(None, start)[2][None], logs])
    return (logs[-1] - logs[burn_in]) / (len(chain) - burn_in)


def _saturated(chain: StoredChain) -> dict[str, tuple[Array, Array]]:
    """The shares of low and of high values by gate; NaN where the values are not from 0 to 1."""
    if not set(tags_of(chain)) & set(GATES):
        return {}
    found = {}
    for name, values in tagged_values(chain).items():
        if name in GATES:
            values = widen(values)
            known = jnp.all((values >= 0) & (values <= 1))
            low, high = (jnp.mean(x.astype(values.dtype)) for x in (values < LOW, values > HIGH))
            found[name] = tuple(jnp.where(known, share, jnp.nan) for share in (low, high))
    return found


def _gradient(params: Params, start: State, batch: tuple, size: int, how: How) -> Gradient:
    """The gradient by sequence, and what the first steps add to it.

    The recurrent weights are used in two stretches, the early and the later steps, with a change of
    zero to each: the slopes with respect to these are the two parts of the gradient.
    """
    moving, fixed = eqx.partition(params, eqx.is_inexact_array)
    weights = eqx.filter(how.recurrent(params), eqx.is_inexact_array)
    none = jax.tree.map(jnp.zeros_like, weights)

    def loss(moving: Any, changes: tuple, sequence: tuple) -> Array:
        assert how.loss is not None
        inputs, *rest = sequence
        params = eqx.combine(moving, fixed)
        early = jax.tree.leaves(inputs)[0].shape[0] // 4
        here, stretches = start, []
        for change, piece in zip(changes, (slice(early), slice(early, None)), strict=True):
            used = eqx.apply_updates(how.recurrent(params), change)
            part = unroll(how.step, used, here, jax.tree.map(lambda x, p=piece: x[p], inputs))
            here = jax.tree.map(lambda x: x[-1], part.states)
            stretches.append(part.states)
        states = jax.tree.map(lambda one, two: jnp.concatenate([one, two[1:]]), *stretches)
        return how.loss(params, states, *rest)

    one = jax.value_and_grad(loss, argnums=(0, 1))
    losses, (gradients, (early, late)) = jax.vmap(one, (None, None, 0))(moving, (none, none), batch)
    count = len(losses)
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), gradients)
    square, each = _square(mean), _square(gradients) / count
    noise = (each - square) * (count / (count - 1)) if count > 1 else jnp.full_like(square, jnp.nan)
    signal = square - noise / count
    early, late = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), (early, late))
    whole = jax.tree.map(jnp.add, early, late)
    return Gradient(
        loss=jnp.mean(losses),
        norm=jnp.sqrt(square if count in (1, size) else jnp.maximum(signal, 0.0) + noise / size),
        signal_to_noise=jnp.maximum(signal, 0.0) / noise,
        early_share=_inner(early, whole) / _square(whole),
    )


def _square(tree: Any) -> Float[Array, ""]:
    return _inner(tree, tree)


def _inner(one: Any, other: Any) -> Float[Array, ""]:
    """The real inner product of two trees."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    parts = [jnp.sum(widen_real(jnp.conj(x) * y)) for x, y in pairs]
    return jnp.sum(jnp.stack(parts))


def widen_real(array: Array) -> Array:
    """The real part in float32 at least."""
    return widen(array.real)
