"""The adjoint: what every state of the run means to the loss.

A loss looks at the states directly, and at later states through earlier ones. With the direct part
ℓ_t (the loss differentiated with respect to each state as if no state depended on another), the
whole derivative follows backward in time,

    λ_T = ℓ_T,      λ_t = ℓ_t + λ_{t+1} J_{t+1},      λ_t = dL/ds_t.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lstmgrad._calls import public
from lstmgrad._chains.base import Chain, StoredChain, check_stored
from lstmgrad._chains.layout import Layout, layout_of, ravel
from lstmgrad._chains.padded import check_length, repeating_last
from lstmgrad._chains.sweeps import sweep_adjoint
from lstmgrad._chains.trajectory import Trajectory
from lstmgrad._checks import check_arrays, check_kind
from lstmgrad._compile import compiled, plain_options
from lstmgrad._leaves import shown, type_name
from lstmgrad._numeric.scaled import Scaled, add, scaled
from lstmgrad._progress import Meter
from lstmgrad._types import State


@public
def loss_cotangents(loss: Callable[[State], Array], trajectory: Trajectory) -> State:
    """Returns ∂L/∂s_t at every t for a loss on states, each state seen as independent.

    Args:
        loss: ``loss(states) -> scalar``, on states with T+1 on axis 0; a loss on outputs computes
            them from the states, as in ``lambda states: loss(readout @ states.h[-1])``.
        trajectory: where to differentiate.

    Returns:
        A pytree like `trajectory.states`, with None for leaves that are not differentiable: the
        cotangents that `adjoint` and `contributions` take.

    Raises:
        ValueError: the loss is not a real scalar.

    Example:
        ``loss_cotangents(lambda states: jnp.sum(states.h[-1]), trajectory)`` is 1 on h_T and zero
        elsewhere.

        >>> found = lg.loss_cotangents(lambda states: jnp.sum(states.h[-1]), chain.trajectory)
        >>> found.h[-1].tolist(), float(jnp.abs(found.h[:-1]).sum() + jnp.abs(found.c).sum())
        ([1.0, 1.0, 1.0], 0.0)
    """
    check_kind(trajectory, Trajectory, "trajectory")
    if not callable(loss):
        raise ValueError(
            f"loss: expected a function of the states, but got {shown(loss)}. Write it as "
            "lambda states: ..., with states like trajectory.states."
        )
    leaves, treedef = jax.tree.flatten(jax.tree.map(jnp.asarray, trajectory.states))
    moving = [index for index, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]

    def of_moving(values: list[Array]) -> Any:
        filled = list(leaves)
        for index, value in zip(moving, values, strict=True):
            filled[index] = value
        return loss(jax.tree.unflatten(treedef, filled))

    values = [leaves[index] for index in moving]
    _check_loss(jax.eval_shape(of_moving, values))
    found: list[Array | None] = [None] * len(leaves)
    for index, value in zip(moving, jax.grad(of_moving)(values), strict=True):
        found[index] = value
    return jax.tree.unflatten(treedef, found)


@plain_options
def adjoint(
    chain: Chain, cotangents: State, *, length: int | Int[Array, ""] | None = None
) -> Scaled:
    """Returns dL/ds_t for every t, through all later states.

    Args:
        chain: T factors that can be pulled back (not a stream).
        cotangents: ∂L/∂s_t at every t, as `loss_cotangents` or `jax.grad` of a loss with respect to
            `trajectory.states` gives them: a pytree like the states, T+1 on axis 0 of every leaf;
            or one array (T+1, n) of flat vectors.
        length: steps of the sequence, where its inputs are padded behind it to T: cotangents of
            later states are not looked at, and dL/ds_t is zero there. It may be traced, so a batch
            of unequal sequences is one compiled program.

    Returns:
        `Scaled` with one exponent per time: mantissa (T+1, n), exponent (T+1,); entry t is the flat
        dL/ds_t. ``.to_array()`` gives plain numbers, ``.log_abs()`` their logarithms.

    Raises:
        ValueError: the cotangents do not have the structure, the shapes or the dtype of T+1 states;
            a stream, a `length` that is not a whole number from 1 to T.

    Notes:
        T vjps of one vector; O(T n) memory; differentiable. For a complex part z = x + iy the flat
        vector has ∂L/∂x and ∂L/∂y, where `jax.grad` has ∂L/∂x - i ∂L/∂y.

    Example:
        ``adjoint(chain, cotangents).to_array()[0]`` is the gradient with respect to the start.

        >>> found = lg.adjoint(chain, cotangents).to_array()[0]
        >>> last = jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])  # of the sum of h_T
        >>> bool(jnp.allclose(found, last @ lg.jacobian(chain), atol=1e-5))
        True
    """
    return _adjoint(chain, cotangents, check_length(length, check_stored(chain)))


@compiled
def _adjoint(chain: Chain, cotangents: State, length: Any) -> Scaled:
    return pull_cotangents(*sources_of(chain, cotangents, length))


def sources_of(
    chain: Chain, cotangents: State, length: Any
) -> tuple[StoredChain, Float[Array, "times n"]]:
    """The chain and its cotangents as flat vectors, (T+1, n), without what lies in a padding.

    Args:
        chain: T factors that can be pulled back.
        cotangents: as `adjoint` takes them.
        length: steps of the sequence; None is all T.
    """
    chain = check_stored(chain)
    flat = flat_cotangents(cotangents, chain.layout, len(chain))
    if length is None:
        return chain, flat
    there = jnp.arange(len(flat), dtype=length.dtype) <= length
    return repeating_last(chain, length), jnp.where(there[:, None], flat, 0.0)


def pull_cotangents(
    chain: StoredChain, flat: Float[Array, "times n"], meter: Meter | None = None
) -> Scaled:
    """What `adjoint` returns, from cotangents as flat vectors.

    Args:
        chain: T factors.
        flat: (T+1, n).
        meter: told on the way; None tells nobody.
    """
    sources = jax.vmap(scaled)(flat)
    sources = Scaled(sources.mantissa[:, None], sources.exponent)
    earlier, last = (jax.tree.map(lambda leaf, s=s: leaf[s], sources) for s in (slice(-1), -1))
    first, later = sweep_adjoint(chain, last, earlier, add, lambda _, block: block, meter=meter)
    return jax.tree.map(
        lambda one, rest: jnp.concatenate([one[None], rest]),
        Scaled(first.mantissa[0], first.exponent),
        Scaled(later.mantissa[:, 0], later.exponent),
    )


def flat_cotangents(cotangents: State, layout: Layout, length: int) -> Float[Array, "times n"]:
    """The cotangents as flat vectors, one for each time.

    Args:
        cotangents: as `adjoint` takes them.
        layout: of the states.
        length: T.
    """
    leaves = _check_cotangents(cotangents, layout, length)
    if jnp.shape(leaves[0]) != (length + 1, layout.size):
        first = jax.tree.map(lambda leaf: leaf[0], eqx.filter(cotangents, eqx.is_inexact_array))
        _check_same_parts(layout_of(first).parts, layout.parts)
    leaves = [jnp.conj(leaf) if jnp.iscomplexobj(leaf) else jnp.asarray(leaf) for leaf in leaves]
    return jax.vmap(lambda one: ravel(one, layout.dtype))(leaves)


def _check_same_parts(parts: tuple, known: tuple) -> None:
    """Cotangents are of the parts that the state has, in the same order."""
    if parts != known:
        raise ValueError(
            f"cotangents: expected the parts of the state, {', '.join(map(repr, known))}, in this "
            f"order, but got {', '.join(map(repr, parts))}. Use the state's own type, or one "
            "array of flat vectors."
        )


def _check_cotangents(cotangents: Any, layout: Any, length: int) -> list[Any]:
    """One cotangent for every state, the start included; returns those of differentiable leaves."""
    if callable(cotangents):
        raise ValueError(
            f"cotangents: expected arrays, but got the function {shown(cotangents)}. "
            "loss_cotangents(loss, trajectory) makes them."
        )
    check_arrays(cotangents, "cotangents")
    leaves = [
        leaf
        for leaf in jax.tree.leaves(cotangents)
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    ]
    shapes = [jnp.shape(leaf) for leaf in leaves]
    numbers = sum(math.prod(jnp.shape(x)[1:]) * (1 + jnp.iscomplexobj(x)) for x in leaves)
    wanted = [(length + 1, *shape) for shape in layout.inexact_shapes]
    flat = [(length + 1, layout.size)]
    fits = all(layout.accepts(jnp.finfo(jnp.result_type(leaf)).dtype) for leaf in leaves)
    if shapes not in (wanted, flat) or numbers != layout.size or not fits:
        what = ", ".join(type_name(leaf) for leaf in jax.tree.leaves(cotangents)) or "no array"
        raise ValueError(
            f"cotangents: expected one for each of the T + 1 = {length + 1} states, in leaves like "
            f"theirs, of shapes {', '.join(map(str, wanted))}, or one flat array "
            f"{layout.dtype}[{length + 1},{layout.size}], but got {what}. "
            "loss_cotangents(loss, trajectory) makes them."
        )
    return leaves


def _check_loss(result: Any) -> None:
    """A loss is one real number."""
    leaves = jax.tree.leaves(result)
    if len(leaves) != 1 or leaves[0].shape or not jnp.issubdtype(leaves[0].dtype, jnp.floating):
        what = ", ".join(type_name(leaf) for leaf in leaves) or "nothing"
        raise ValueError(
            f"loss: expected a function of the states to one real number, but it returned {what}. "
            "Sum or average over time and outputs."
        )
