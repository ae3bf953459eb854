"""Chains, and what is pushed, pulled, tagged and read off them."""

import math
import operator
from typing import Any

import jax
import jax.numpy as jnp

from lstmgrad._checks._models import check_arrays
from lstmgrad._leaves import type_name


def check_kind(value: Any, kind: type, argument: str) -> None:
    """An object of the library's own."""
    if not isinstance(value, kind):
        raise ValueError(
            f"{argument}: expected a lstmgrad {kind.__name__}, but got {type(value).__name__}: "
            f"{_KINDS[kind.__name__]}."
        )


_KINDS = {
    "Chain": "chain(model, inputs) makes one",
    "Model": "cell.model(params) and the functions of lstmgrad.interop make one, and so does "
    "Model(step, params, state)",
    "Trajectory": "unroll(step, params, state, inputs) makes one",
    "NormProfile": "backward_norms and forward_norms make one",
    "Method": "Method.sequential, Method.parallel and Method.blocked(block_size) are the methods",
}


def check_stored(reversible: bool) -> None:
    """The chain keeps its factors."""
    if not reversible:
        raise ValueError(
            "chain: expected one that keeps its states, because factors at different times are "
            "needed at once or from the last to the first, but this chain is a stream. Push "
            "instead (forward_norms, push_forward, product), or keep the states: "
            "linearize(step, params, unroll(...))."
        )


def check_not_empty(length: int) -> None:
    """There is a step to look into."""
    if length == 0:
        raise ValueError("chain: expected at least one step, but got T = 0.")


def check_slice(key: Any, length: int) -> slice:
    """`chain[k:t]` with 0 <= k <= t <= T; negative bounds count from the end, as in Python."""
    if not isinstance(key, slice):
        raise ValueError(
            f"chain[...]: expected a slice k:t, whose product is ds_t/ds_k, but got {key!r}; "
            "the single factor J_t is chain[t - 1 : t]."
        )
    if key.step not in (None, 1):
        raise ValueError(
            f"chain[k:t]: expected every factor from k to t, but got a step of {key.step!r}; "
            "a chain with factors left out is not a chain."
        )
    bounds = []
    for bound, default in ((key.start, 0), (key.stop, length)):
        try:
            number = default if bound is None else operator.index(bound)
        except TypeError:
            raise ValueError(
                f"chain[k:t]: expected whole numbers known at trace time, but got {bound!r}."
            ) from None
        number = number + length if number < 0 else number
        if not 0 <= number <= length:
            raise ValueError(
                f"chain[k:t]: expected 0 <= k <= t <= T = {length}, but got "
                f"[{key.start}:{key.stop}]."
            )
        bounds.append(number)
    start, stop = bounds
    if start > stop:
        raise ValueError(
            f"chain[k:t]: expected k <= t, because ds_t/ds_k runs forward in time, but got "
            f"[{key.start}:{key.stop}] of a chain with T = {length}."
        )
    return slice(start, stop)


def check_part(name: Any, known: tuple, argument: str) -> None:
    """The part of the state exists."""
    if name not in known or isinstance(name, bool):
        raise ValueError(
            f"{argument}: expected one of the state's parts {', '.join(map(repr, known))} or None "
            f"for the whole state, but got {name!r}."
        )


def check_same_parts(parts: tuple, known: tuple) -> None:
    """Cotangents are of the parts that the state has, in the same order."""
    if parts != known:
        raise ValueError(
            f"cotangents: expected the parts of the state, {', '.join(map(repr, known))}, in this "
            f"order, but got {', '.join(map(repr, parts))}. Use the state's own type, or one "
            "array of flat vectors."
        )


def check_block(shape: tuple, dtype: Any, size: int, expected_dtype: Any, argument: str) -> None:
    """Tangents are (n,) or (n, m), cotangents (n,) or (m, n), in the chain's dtype."""
    axis = 0 if argument == "tangents" else -1
    wanted = "(n,) or (n, m)" if argument == "tangents" else "(n,) or (m, n)"
    if len(shape) not in (1, 2) or shape[axis] != size:
        raise ValueError(
            f"{argument}: expected shape {wanted} with n = {size}, the flat size of the state, "
            f"but got {shape}. For a batch, use jax.vmap."
        )
    if dtype != expected_dtype:
        raise ValueError(
            f"{argument}: expected dtype {expected_dtype}, the chain's, but got {dtype}. Cast it."
        )


def check_vector(shape: tuple, dtype: Any, size: int, expected: Any, argument: str) -> None:
    """One flat vector in the chain's dtype."""
    if shape != (size,) or dtype != expected:
        raise ValueError(
            f"{argument}: expected {expected}[{size}], the flat state of the chain, but got "
            f"{dtype}{list(shape)}."
        )


def check_scalar(shape: tuple, argument: str) -> None:
    """One number for the whole block."""
    if shape:
        raise ValueError(
            f"{argument}: expected one exponent for the whole block, but got shape {shape}. For a "
            "batch, use jax.vmap."
        )


def check_cotangents(cotangents: Any, layout: Any, length: int) -> list[Any]:
    """One cotangent for every state, the start included; returns those of differentiable leaves."""
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
    dtypes = {jnp.finfo(jnp.result_type(leaf)).dtype for leaf in leaves}
    if shapes not in (wanted, flat) or numbers != layout.size or dtypes != {layout.dtype}:
        what = ", ".join(type_name(leaf) for leaf in jax.tree.leaves(cotangents)) or "no array"
        raise ValueError(
            f"cotangents: expected one for each of the T + 1 = {length + 1} states, in leaves like "
            f"theirs, of shapes {', '.join(map(str, wanted))}, or one flat array "
            f"{layout.dtype}[{length + 1},{layout.size}], but got {what}. "
            "loss_cotangents(loss, trajectory) makes them."
        )
    return leaves


def check_tags(names: list[str], reserved: tuple[str, ...]) -> list[str]:
    """The step has tags, none of them with the name of a rest."""
    if not names:
        raise ValueError(
            "step: expected values marked with lstmgrad.tag(value, name), because routes are named "
            "after them, but the step has no tag."
        )
    for name in names:
        if name in reserved:
            raise ValueError(
                f"step: expected no tag of the name {name!r}, which is that of a rest; rename it."
            )
    return names


def check_through(names: Any, known: list[str] | None, reserved: str) -> tuple[str, ...]:
    """Tags that a step can be split at; returns them in the order of the step."""
    wanted = (names,) if isinstance(names, str) else tuple(names)
    if wanted and known is None:
        raise ValueError(
            "through: expected no tags, because only a chain that linearize(step, params, "
            f"trajectory) made has a step to split, but got {names!r}."
        )
    for name in wanted:
        if name not in (known or ()) or name == reserved:
            what = ", ".join(map(repr, known or ())) or "none"
            raise ValueError(
                "through: expected tags of the step that are in no loop or custom derivative rule "
                f"and not called {reserved!r} ({what}), but got {name!r}."
            )
    return tuple(name for name in known or () if name in wanted)


def check_routes(routes: dict[str, Any], chain: Any) -> None:
    """There are routes, and each is of the chain's length and state."""
    check_stored(chain.reversible)
    if not isinstance(routes, dict) or not routes:
        raise ValueError(
            "routes: expected a dict of at least one chain by name, as routes(...) gives, but got "
            f"{routes!r}."
        )
    check_not_empty(len(chain))
    for name, route in routes.items():
        ours, theirs = (len(chain), chain.layout), (len(route), route.layout)
        if ours != theirs:
            raise ValueError(
                f"routes: expected every route to be of the chain's T = {ours[0]} steps and state, "
                f"but {name!r} has T = {theirs[0]} and {theirs[1].size} coordinates "
                f"({ours[1].size} in the chain). Slice the routes like the chain."
            )


def check_plain_layers(layers: Any) -> Any:
    """The chain of a stack of plain layers; returns the layers."""
    if layers is None:
        raise ValueError(
            "chain: expected that of a stack of plain layers, linearize(step, None, unroll(step, "
            "None, state, layers)) with step = lg.cells.plain_layer(activation), because only "
            "those have a slope and a weight for all of the gradient; for others use gain_budget."
        )
    return layers


def check_residuals(known: bool, value: Any) -> None:
    """A record with residuals by truncation length."""
    if not known:
        raise ValueError(
            "bias: expected a lstmgrad TruncationBias or Contributions, but got "
            f"{type(value).__name__}: truncation_bias and contributions make them."
        )


def check_frame(
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
            f"{num_exponents!r}."
        )


def check_exponents(exponents: Any) -> jax.Array:
    """At least one floating-point number on the last axis; returns the array."""
    array = jnp.asarray(exponents)
    if not jnp.issubdtype(array.dtype, jnp.floating) or not (array.ndim and array.shape[-1]):
        raise ValueError(
            "exponents: expected floating-point numbers on the last axis, as "
            f"lyapunov_spectrum(...).exponents has them, but got {array.dtype}{list(array.shape)}."
        )
    return array
