"""One function a rule, one sentence a message: what was expected, what came, what to do.

Only what is known while tracing is checked here (structure, shape, dtype, range of a static
option). Values are never checked: a vanishing, exploding or NaN result is a result.
"""

import dataclasses
import math
import numbers
import operator
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from lstmgrad._types import Inputs, Params, State, StepFn


def leaf_name(path: Any) -> str:
    """The name of a pytree leaf as one would write it in code, `.h` or `['h'][0]`."""
    return jtu.keystr(path) or "the whole array"


def type_name(leaf: Any) -> str:
    """`float32[4,8]`, for messages."""
    return f"{jnp.result_type(leaf).name}[{','.join(map(str, jnp.shape(leaf)))}]"


def check_arrays(tree: Any, argument: str) -> None:
    """Every leaf is a number or an array of numbers."""
    for path, leaf in jtu.tree_leaves_with_path(tree):
        try:
            jnp.result_type(leaf)
        except TypeError:
            raise ValueError(
                f"{argument}: expected arrays, but leaf {leaf_name(path)} is {leaf!r}."
                f"{_unregistered(leaf)}"
            ) from None


def check_leaves(arguments: Mapping[str, Any]) -> None:
    """Every leaf is an array, or can be part of a key of the compilation cache."""
    for argument, tree in arguments.items():
        for path, leaf in jtu.tree_leaves_with_path(tree):
            try:
                hash(leaf if not hasattr(leaf, "dtype") else None)
            except TypeError:
                raise ValueError(
                    f"{argument}: expected arrays, or what can be hashed, but leaf "
                    f"{leaf_name(path)} is {leaf!r}.{_unregistered(leaf)}"
                ) from None


def _unregistered(leaf: Any) -> str:
    """What to do about a dataclass that JAX does not look into."""
    if not dataclasses.is_dataclass(leaf):
        return ""
    return (
        f" Make it a pytree: jax.tree_util.register_dataclass({type(leaf).__name__}), or a "
        "NamedTuple or eqx.Module instead."
    )


def check_state(state: State) -> None:
    """The state has something to differentiate, in one real dtype."""
    check_arrays(state, "state")
    leaves = jtu.tree_leaves_with_path(state)
    inexact = [
        (path, leaf) for path, leaf in leaves if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    ]
    if not inexact:
        what = ", ".join(f"{leaf_name(p)}: {type_name(x)}" for p, x in leaves) or "no leaf at all"
        raise ValueError(
            "state: expected at least one floating-point or complex leaf, because only those have "
            f"derivatives, but came {what}. Convert it, e.g. state.astype(jnp.float32)."
        )
    if not any(math.prod(jnp.shape(leaf)) for _, leaf in inexact):
        what = ", ".join(f"{leaf_name(p)}: {type_name(x)}" for p, x in inexact)
        raise ValueError(
            f"state: expected a number to differentiate, but all leaves are empty: {what}."
        )
    dtypes = {jnp.finfo(jnp.result_type(leaf)).dtype for _, leaf in inexact}
    if any(jnp.finfo(dtype).bits < 16 for dtype in dtypes):
        what = ", ".join(f"{leaf_name(p)}: {type_name(x)}" for p, x in inexact)
        raise ValueError(
            f"state: expected floats of 16 bits or more, but came {what}. Cast the state to one of "
            "them."
        )
    if len(dtypes) > 1:
        what = ", ".join(f"{leaf_name(p)}: {type_name(x)}" for p, x in inexact)
        raise ValueError(
            f"state: expected one floating-point precision in all leaves, but came {what}. "
            "Cast the state to one dtype."
        )


def check_time_axis(tree: Any, argument: str) -> int:
    """All leaves share a first axis, time, of length one or more; returns that length."""
    check_arrays(tree, argument)
    leaves = jtu.tree_leaves_with_path(tree)
    if not leaves:
        raise ValueError(
            f"{argument}: expected arrays with time as their first axis, but there is no array. "
            "A step without inputs still needs to know T: pass jnp.arange(T) and ignore it."
        )
    lengths = {}
    for path, leaf in leaves:
        shape = jnp.shape(leaf)
        if not shape:
            raise ValueError(
                f"{argument}: expected time as the first axis, but leaf {leaf_name(path)} is a "
                "scalar."
            )
        lengths.setdefault(shape[0], leaf_name(path))
    if len(lengths) > 1:
        what = ", ".join(f"{name} has {length}" for length, name in lengths.items())
        raise ValueError(
            f"{argument}: expected the same number of time steps in every leaf, but {what}."
        )
    (length,) = lengths
    if length == 0:
        raise ValueError(f"{argument}: expected at least one time step, but the length is 0.")
    return length


def check_step(step: StepFn, params: Params, state: State, x: Inputs) -> None:
    """One abstract call of the step: the state comes back in the same structure and types."""
    try:
        # A closure, because the step and its parameters may hold leaves that are no arrays.
        after = jax.eval_shape(lambda state, x: step(params, state, x), state, x)
    except Exception as error:
        shapes = jax.tree.map(type_name, (state, x))
        error.add_note(
            f"raised by step(params, state, x) on a state {shapes[0]} and one step's input "
            f"{shapes[1]} (time axis removed; no batch axis: use jax.vmap around the call)"
        )
        raise
    before_def, after_def = jax.tree.structure(state), jax.tree.structure(after)
    if before_def != after_def:
        paths = [[leaf_name(p) for p, _ in jtu.tree_leaves_with_path(s)] for s in (state, after)]
        missing = [name for name in paths[0] if name not in paths[1]]
        new = [name for name in paths[1] if name not in paths[0]]
        leaves = [f"leaf {name} is missing" for name in missing]
        leaves += [f"leaf {name} is new" for name in new]
        what = f": {', '.join(leaves)}" if leaves else ""
        pair = isinstance(after, tuple) and before_def in map(jax.tree.structure, after)
        advice = " Return the state alone, without an output." if pair else ""
        raise ValueError(
            "step: expected it to return a state of the structure it was given, "
            f"{before_def}, but it returned {after_def}{what}.{advice}"
        )
    for (path, old), new in zip(
        jtu.tree_leaves_with_path(state), jax.tree.leaves(after), strict=True
    ):
        if type_name(old) != type_name(new):
            raise ValueError(
                f"step: expected state leaf {leaf_name(path)} to stay {type_name(old)}, but the "
                f"step returned {type_name(new)}. The state's shapes and dtypes must not change "
                "from step to step; cast the initial state, the parameters or the inputs."
            )


def check_trajectory(trajectory: Any) -> State:
    """T + 1 states to T inputs; returns the first state."""
    length = check_time_axis(trajectory.inputs, "trajectory.inputs")
    count = check_time_axis(trajectory.states, "trajectory.states")
    if count != length + 1:
        raise ValueError(
            f"trajectory: expected T + 1 = {length + 1} states, the start included, for T = "
            f"{length} inputs, but came {count}."
        )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], trajectory.states)


def check_stored(reversible: bool) -> None:
    """The chain keeps its factors."""
    if not reversible:
        raise ValueError(
            "chain: expected one that keeps its states, because factors at different times are "
            "needed at once or from the last to the first, but this chain is a stream. Push "
            "instead (forward_norms, push_forward, product), or keep the states: "
            "linearize(step, params, unroll(...))."
        )


def check_part(name: Any, known: tuple, argument: str) -> None:
    """The part of the state exists."""
    if name not in known or isinstance(name, bool):
        raise ValueError(
            f"{argument}: expected one of the state's parts {', '.join(map(repr, known))} or None "
            f"for the whole state, but came {name!r}."
        )


def check_count(value: Any, argument: str, least: int = 1) -> int:
    """A whole number, at least `least`; returns it as a Python int."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise ValueError(
            f"{argument}: expected a whole number, {least} or more, but came {value!r}."
        )
    return number


def check_positive(value: Any, argument: str) -> float:
    """A number above zero; returns it as a Python float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not float(value) > 0:
        raise ValueError(f"{argument}: expected a number above zero, but came {value!r}.")
    return float(value)


def check_between(value: Any, least: float, most: float, argument: str) -> float:
    """A number in [least, most]; returns it as a Python float."""
    known = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not known or not least <= float(value) <= most:
        raise ValueError(
            f"{argument}: expected a number from {least:g} to {most:g}, but came {value!r}."
        )
    return float(value)


def check_full_float(dtype: Any, argument: str) -> None:
    """A real dtype that has complex numbers and linear algebra."""
    kind = jnp.zeros((), dtype).dtype
    if kind not in (jnp.float32, jnp.float64):
        raise ValueError(
            f"{argument}: expected float32 or float64, because complex numbers and linear systems "
            f"need one of them, but came {kind}."
        )


def check_gated(params: Any, known: tuple[type, ...]) -> None:
    """Parameters of a cell whose forget gate has a bias."""
    if type(params) not in known:
        raise ValueError(
            "params: expected those of a cell with a forget gate, "
            f"{', '.join(kind.__name__ for kind in known)}, but came {type(params).__name__}. "
            "Other cells have no bias that says how long they remember."
        )


def check_not_negative(value: Any, argument: str) -> float:
    """Zero, or a number above it; returns it as a Python float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not float(value) >= 0:
        raise ValueError(f"{argument}: expected a number, 0 or above, but came {value!r}.")
    return float(value)


def check_longest(value: Any) -> float:
    """T_max of chrono initialization, above 2; returns it as a Python float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not float(value) > 2:
        raise ValueError(
            "longest: expected a number above 2, because forget biases are drawn from ln u with u "
            f"between 1 and longest - 1, but came {value!r}."
        )
    return float(value)


def check_matrix(value: Any, argument: str) -> np.ndarray:
    """A square matrix of numbers; returns it in float64."""
    shape = jnp.shape(value)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"{argument}: expected a square matrix, but came shape {shape}.")
    return np.asarray(value, np.float64)


def check_every(value: Any, length: int) -> int:
    """A spacing of 1 <= every <= T; returns it as a Python int."""
    number = check_count(value, "every")
    if number > max(length, 1):
        raise ValueError(f"every: expected at most T = {length}, but came {value!r}.")
    return number


def check_num_values(value: Any, most: int) -> int:
    """How many singular values to keep, 1 to min(n_of, n_wrt); all for None."""
    if value is None:
        return most
    number = check_count(value, "num_values")
    if number > most:
        raise ValueError(
            f"num_values: expected at most {most}, all that the block has, but came {value!r}."
        )
    return number


def check_length(value: Any, argument: str, length: int) -> int:
    """A number of steps from 1 to T; None is T."""
    number = length if value is None else check_count(value, argument)
    if number > length:
        raise ValueError(f"{argument}: expected at most T = {length}, but came {value!r}.")
    return number


def check_lags(values: Any, length: int) -> tuple[int, ...]:
    """Increasing lags in 0..T; returns them as Python ints."""
    try:
        lags = tuple(operator.index(value) for value in values)
    except TypeError:
        lags = ()
    if not lags or list(lags) != sorted(set(lags)) or lags[0] < 0 or lags[-1] > length:
        raise ValueError(
            f"lags: expected increasing whole numbers from 0 to T = {length}, but came {values!r}."
        )
    return lags


def check_burn_in(value: Any, length: int) -> int:
    """Steps that are not counted, and leave at least one that is; returns them as a Python int."""
    number = check_count(value, "burn_in", least=0)
    if number >= length:
        raise ValueError(
            f"burn_in: expected less than T = {length}, so that a step is left to count, but came "
            f"{value!r}."
        )
    return number


def check_ends(value: Any, length: int) -> int:
    """Steps at either end, with at least one between them; returns them as a Python int."""
    number = check_count(value, "burn_in", least=0)
    if 2 * number >= length:
        raise ValueError(
            f"burn_in: expected less than half of T = {length}, because as many steps are left out "
            f"at the end as at the beginning, but came {value!r}."
        )
    return number


def check_exponent_count(value: Any, size: int) -> int:
    """From 1 exponent to as many as the state has dimensions; returns it as a Python int."""
    number = check_count(value, "num_exponents")
    if number > size:
        raise ValueError(
            f"num_exponents: expected at most n = {size}, the flat size of the state, but came "
            f"{value!r}."
        )
    return number


def check_frame(
    shape: tuple, dtype: Any, size: int, expected_dtype: Any, num_exponents: Any
) -> None:
    """A frame is (n, m) with m <= n, m the number of exponents where that is given, too."""
    if len(shape) != 2 or shape[0] != size or not 1 <= shape[1] <= size or dtype != expected_dtype:
        raise ValueError(
            f"start: expected a frame {expected_dtype}[n,m], its columns in the flat state of size "
            f"n = {size} and 1 <= m <= n, but came {dtype}[{','.join(map(str, shape))}]."
        )
    if num_exponents not in (None, shape[1]):
        raise ValueError(
            f"num_exponents: expected {shape[1]}, the columns of the start, or None, but came "
            f"{num_exponents!r}."
        )


def check_exponents(exponents: Any) -> jax.Array:
    """At least one floating-point number on the last axis; returns the array."""
    array = jnp.asarray(exponents)
    if not jnp.issubdtype(array.dtype, jnp.floating) or not (array.ndim and array.shape[-1]):
        raise ValueError(
            "exponents: expected floating-point numbers on the last axis, as "
            f"lyapunov_spectrum(...).exponents has them, but came {array.dtype}{list(array.shape)}."
        )
    return array


def check_tolerance(value: Any) -> None:
    """A relative error: zero, or a number above it."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not float(value) >= 0:
        raise ValueError(f"rtol: expected a number, 0 or above, but came {value!r}.")


def check_slice(key: Any, length: int) -> slice:
    """`chain[k:t]` with 0 <= k <= t <= T; negative bounds count from the end, as in Python."""
    if not isinstance(key, slice):
        raise ValueError(
            f"chain[...]: expected a slice k:t, whose product is ds_t/ds_k, but came {key!r}; "
            "the single factor J_t is chain[t - 1 : t]."
        )
    if key.step not in (None, 1):
        raise ValueError(
            f"chain[k:t]: expected every factor from k to t, but came a step of {key.step!r}; "
            "a chain with factors left out is not a chain."
        )
    bounds = []
    for bound, default in ((key.start, 0), (key.stop, length)):
        try:
            number = default if bound is None else operator.index(bound)
        except TypeError:
            raise ValueError(
                f"chain[k:t]: expected whole numbers known at trace time, but came {bound!r}."
            ) from None
        number = number + length if number < 0 else number
        if not 0 <= number <= length:
            raise ValueError(
                f"chain[k:t]: expected 0 <= k <= t <= T = {length}, but came "
                f"[{key.start}:{key.stop}]."
            )
        bounds.append(number)
    start, stop = bounds
    if start > stop:
        raise ValueError(
            f"chain[k:t]: expected k <= t, because ds_t/ds_k runs forward in time, but came "
            f"[{key.start}:{key.stop}] of a chain with T = {length}."
        )
    return slice(start, stop)


def check_block(shape: tuple, dtype: Any, size: int, expected_dtype: Any, argument: str) -> None:
    """Tangents are (n,) or (n, m), cotangents (n,) or (m, n), in the chain's dtype."""
    axis = 0 if argument == "tangents" else -1
    wanted = "(n,) or (n, m)" if argument == "tangents" else "(n,) or (m, n)"
    if len(shape) not in (1, 2) or shape[axis] != size:
        raise ValueError(
            f"{argument}: expected shape {wanted} with n = {size}, the flat size of the state, "
            f"but came {shape}. For a batch, use jax.vmap."
        )
    if dtype != expected_dtype:
        raise ValueError(
            f"{argument}: expected dtype {expected_dtype}, the chain's, but came {dtype}. Cast it."
        )


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


def check_routes(routes: dict[str, Any], chain: Any) -> None:
    """There are routes, and each is of the chain's length and state."""
    check_stored(chain.reversible)
    if not isinstance(routes, dict) or not routes:
        raise ValueError(
            "routes: expected a dict of at least one chain by name, as routes(...) gives, but came "
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


def check_layers(weights: list[Any], biases: list[Any]) -> int:
    """Layers that follow one another; returns the largest width."""
    if not weights:
        raise ValueError("weights: expected at least one layer, but came none.")
    if len(biases) != len(weights):
        raise ValueError(
            f"biases: expected one for each of the {len(weights)} layers, but came {len(biases)}."
        )
    before, dtype = None, weights[0].dtype
    kind = dtype.name if jnp.issubdtype(dtype, jnp.floating) else "floating-point"
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        fits = weight.ndim == 2 and before in (None, weight.shape[1])
        if not fits or weight.dtype.name != kind:
            columns = "" if before is None else f" of {before} columns"
            raise ValueError(
                f"weights: expected a {kind} matrix{columns} in layer {index + 1}, one column for "
                f"each unit of the layer before, but came {type_name(weight)}."
            )
        before = weight.shape[0]
        if bias.shape != (before,) or bias.dtype != weight.dtype:
            raise ValueError(
                f"biases: expected {weight.dtype}[{before}] in layer {index + 1}, like its weight, "
                f"but came {type_name(bias)}."
            )
    return max(max(weight.shape) for weight in weights)


def check_layer_input(shape: tuple, dtype: Any, width: int, expected: Any) -> None:
    """A vector that is not wider than the layers."""
    if len(shape) != 1 or shape[0] > width or dtype != expected:
        raise ValueError(
            f"x: expected a vector {expected}[n] with n <= {width}, the width of the layers, but "
            f"came {dtype}{list(shape)}. For a batch, use jax.vmap."
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
            "bias: expected a lstmgrad TruncationBias or Contributions, but came "
            f"{type(value).__name__}: truncation_bias and contributions make them."
        )


def check_not_empty(length: int) -> None:
    """There is a step to look into."""
    if length == 0:
        raise ValueError("chain: expected at least one step, but came T = 0.")


def check_through(names: Any, known: list[str] | None, reserved: str) -> tuple[str, ...]:
    """Tags that a step can be split at; returns them in the order of the step."""
    wanted = (names,) if isinstance(names, str) else tuple(names)
    if wanted and known is None:
        raise ValueError(
            "through: expected no tags, because only a chain that linearize(step, params, "
            f"trajectory) made has a step to split, but came {names!r}."
        )
    for name in wanted:
        if name not in (known or ()) or name == reserved:
            what = ", ".join(map(repr, known or ())) or "none"
            raise ValueError(
                "through: expected tags of the step that are in no loop or custom derivative rule "
                f"and not called {reserved!r} ({what}), but came {name!r}."
            )
    return tuple(name for name in known or () if name in wanted)


def check_kind(value: Any, kind: type, argument: str) -> None:
    """An object of the library's own."""
    if not isinstance(value, kind):
        raise ValueError(
            f"{argument}: expected a lstmgrad {kind.__name__}, but came {type(value).__name__}: "
            f"{_KINDS[kind.__name__]}."
        )


_KINDS = {
    "Chain": "linearize(step, params, unroll(step, params, state, inputs)) makes one",
    "Trajectory": "unroll(step, params, state, inputs) makes one",
    "NormProfile": "backward_norms and forward_norms make one",
    "Method": "sequential, parallel and blocked(block_size) are the methods",
}


def check_vector(shape: tuple, dtype: Any, size: int, expected: Any, argument: str) -> None:
    """One flat vector in the chain's dtype."""
    if shape != (size,) or dtype != expected:
        raise ValueError(
            f"{argument}: expected {expected}[{size}], the flat state of the chain, but came "
            f"{dtype}{list(shape)}."
        )


def check_loss(result: Any) -> None:
    """A loss is one real number."""
    leaves = jax.tree.leaves(result)
    if len(leaves) != 1 or leaves[0].shape or not jnp.issubdtype(leaves[0].dtype, jnp.floating):
        what = ", ".join(type_name(leaf) for leaf in leaves) or "nothing"
        raise ValueError(
            f"loss: expected a function of the states to one real number, but it returned {what}. "
            "Sum or average over time and outputs."
        )


def check_differentiable(params: Any, inputs: Any) -> None:
    """There is a leaf that a gradient can be taken with respect to."""
    if not jax.tree.leaves((params, inputs)):
        raise ValueError(
            "params: expected a floating-point or complex array in the parameters or the inputs, "
            "to take a gradient with respect to, but there is none. Of a module that is its own "
            "step, pass the module as params: step = lambda module, state, x: module(state, x)."
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
            f"{layout.dtype}[{length + 1},{layout.size}], but came {what}. "
            "loss_cotangents(loss, trajectory) makes them."
        )
    return leaves


def check_same_parts(parts: tuple, known: tuple) -> None:
    """Cotangents are of the parts that the state has, in the same order."""
    if parts != known:
        raise ValueError(
            f"cotangents: expected the parts of the state, {', '.join(map(repr, known))}, in this "
            f"order, but came {', '.join(map(repr, parts))}. Use the state's own type, or one "
            "array of flat vectors."
        )


def check_scalar(shape: tuple, argument: str) -> None:
    """One number for the whole block."""
    if shape:
        raise ValueError(
            f"{argument}: expected one exponent for the whole block, but came shape {shape}. For a "
            "batch, use jax.vmap."
        )


def check_hashable(value: Any, argument: str) -> None:
    """A function that can be a key of the compilation cache."""
    if not callable(value):
        raise ValueError(f"{argument}: expected a function of an array, but came {value!r}.")
    try:
        hash(value)
    except TypeError:
        raise ValueError(
            f"{argument}: expected a function that can be hashed, so that the step is compiled "
            f"once, but came {value!r}. Define it once at module level."
        ) from None
