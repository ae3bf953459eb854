"""How strongly the state depends on the parameters, beside how strongly it depends on the past.

    ds_t/dθ = J_t ds_{t-1}/dθ + ∂step/∂θ(s_{t-1}, x_t),      ds_0/dθ = 0

The parameters act at every step, and a network with a long memory adds all of that up: the norm of
ds_t/dθ grows with the memory though that of ds_t/ds_0 does not. Its square is the sum over all
directions of θ, or m/p of them: the mean of ‖ds_t/dθ z‖² over random signs z is ‖ds_t/dθ‖_F².
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._chains.base import Chain, check_stored, identity_rows, known_run
from lstmgrad._chains.blocks import block_between
from lstmgrad._chains.factors import in_single, nan_with
from lstmgrad._chains.modes import push_block
from lstmgrad._chains.padded import check_length, repeating_last
from lstmgrad._chains.sweeps import sweep_forward
from lstmgrad._checks import check_count, check_differentiable, check_not_empty
from lstmgrad._compile import compiled, plain_options
from lstmgrad._gradients.local import differentiable
from lstmgrad._labeled import Axes
from lstmgrad._numeric.rows import log_size, split
from lstmgrad._numeric.scaled import Scaled, add, scaled, widen
from lstmgrad._result import Result, up_to_length
from lstmgrad._types import Params, PartName
from lstmgrad._writing import chosen, number


class Sensitivity(Result):
    """How strongly the state depends on the parameters and on the start, over time.

    Attributes:
        times: (T+1,), t = 0, 1, ..., T.
        log_norms: (T+1,), ln ‖∂of_t/∂θ‖_F over all parameters; -inf where nothing depends on them,
            as at t = 0, NaN where the trajectory was NaN.
        errors: (T+1,), the standard error of each, in nats: zero where every direction of the
            parameters was read.
        leaf_log_norms: like the parameters, (T+1,) per leaf; None for leaves without a derivative.
        state_log_norms: (T+1,), ln ‖∂of_t/∂s_0‖_F, what is left of the start.
        of: the part of s_t, None for the whole state.
        length: the steps of the sequence, where it was padded to T (``length=``), otherwise None.
            Later times are NaN.

    Example:
        >>> lg.sensitivity(chain).state_log_norms.shape
        (7,)
    """

    times: Int[Array, "*batch times"]
    log_norms: Float[Array, "*batch times"]
    errors: Float[Array, "*batch times"]
    leaf_log_norms: Params
    state_log_norms: Float[Array, "*batch times"]
    of: PartName | None = eqx.field(static=True)
    length: Any = None  # none, or (*batch,)

    _main = ("log_norms", 1)
    _axes = Axes(
        {
            "log_norms": "time",
            "errors": "time",
            "state_log_norms": "time",
            "leaf_log_norms": "time",
        },
        time="times",
    )

    def _there(self) -> np.ndarray:
        return up_to_length(self.times, self.length)

    def _points(self) -> tuple[str, Any]:
        return "time", self.times

    def _subject(self) -> str:
        part = "s" if self.of is None else f"s[{self.of}]" if isinstance(self.of, int) else self.of
        return f"d{part}_t/dparams, T = {self.log_norms.shape[-1] - 1}"

    def _cut(self) -> "Sensitivity":
        """The times that there are, of one padded sequence."""
        count = int(self.length) + 1
        cut = jax.tree.map(lambda leaf: leaf[:count] if np.ndim(leaf) else leaf, self)
        return eqx.tree_at(lambda found: found.length, cut, None)

    def _headline(self) -> str:
        found = self._numbers()
        return (
            f"ln norm {number(found['log_norm'])}, of the start "
            f"{number(found['state_log_norm'])} at T"
        )

    def _table(self) -> tuple[list[str], list[list[str]]]:
        if self.length is not None:
            return self._cut()._table()
        rows = [
            [
                str(self.times[i]),
                number(self.log_norms[i]),
                number(self.errors[i], 2),
                number(self.state_log_norms[i]),
            ]
            for i in chosen(len(self.times))
        ]
        return ["t", "ln norm", "error", "ln norm of ds_t/ds_0"], rows

    def _numbers(self) -> dict[str, Any]:
        if self.length is not None:
            return self._cut()._numbers()
        return {
            "log_norm": self.log_norms[-1],
            "error": self.errors[-1],
            "largest_log_norm": np.max(self.log_norms),
            "state_log_norm": self.state_log_norms[-1],
            "largest_state_log_norm": np.max(self.state_log_norms),
        }


class _Probe(NamedTuple):
    """Directions of one leaf of the parameters.

    Attributes:
        place: of the leaf.
        directions: (m, *shape) of the leaf.
        complete: whether they are all directions that there are.
    """

    place: int
    directions: Array
    complete: bool


@plain_options
def sensitivity(
    chain: Chain,
    *,
    of: PartName | None = None,
    num_directions: int = 32,
    length: int | Int[Array, ""] | None = None,
) -> Sensitivity:
    """Returns how strongly the state depends on the parameters at every time.

    ‖∂of_t/∂θ‖_F, the square root of the sum of squares over all entries, where the parameters act
    at all steps up to t; beside it ‖∂of_t/∂s_0‖_F.

    Args:
        chain: of T steps of a model, from `chain` or `linearize`, of any declared structure, or a
            slice of such a chain.
        of: the part of s_t; None is the whole state.
        num_directions: directions of each leaf of the parameters that are carried along. A leaf of
            as many numbers or fewer is read exactly; of a larger one so many random directions,
            with a relative error of the norm of about 1/√(2 num_directions) at most.
        length: steps of the sequence, where its inputs are padded behind it to T: later times hold
            nothing (NaN). It may be traced, so a batch of unequal sequences is one compiled
            program.

    Returns:
        `Sensitivity`, time 0 first.

    Raises:
        ValueError: the chain does not know its model; no parameter has a derivative; an unknown
            part; no step; `num_directions` below 1; a `length` that is not a whole number from 1
            to T.

    Notes:
        T pushes of n + (leaves · num_directions) tangents, and as many jvps of the step with
        respect to its parameters; O(m n) memory beside the directions. The directions are the same
        in every call. Good for any T; a complex parameter counts as two real ones.

    Example:
        For s' = λ s + x with white x, the mean of ‖ds_t/dλ‖² tends to (1 + λ²)/(1 - λ²)³.

        >>> found = lg.sensitivity(chain, of="h")
        >>> found.log_norms.shape, float(found.log_norms[0])
        ((7,), -inf)

    References:
        Zucchet & Orvieto 2024, Recurrent neural networks: vanishing and exploding gradients are not
        the end of the story (arXiv:2405.21064), Section 2 and Equation 5, the curse of memory.
    """
    count = check_count(num_directions, "num_directions")
    return _sensitivity(chain, check_length(length, check_stored(chain)), of=of, count=count)


@compiled
def _sensitivity(chain: Chain, length: Any, *, of: Any, count: int) -> Sensitivity:
    steps = len(chain)
    known_run(chain)
    check_not_empty(steps)
    block = block_between(repeating_last(check_stored(chain), length), of, None)
    part, rows = block.chain, block.rows
    run = known_run(part)
    step, params = run.step.parts()
    moving, fixed = differentiable(params)
    check_differentiable(moving)
    leaves, treedef = jax.tree.flatten(moving)
    probes = [_probe_of(place, leaf, count) for place, leaf in enumerate(leaves) if leaf.size]

    def fresh(time: Array) -> Float[Array, "m n"]:
        """∂step/∂θ along every direction."""
        state, x = jax.tree.map(lambda leaf: leaf[time], run.factors)
        pushed = [_pushed(probe, leaves, state, x) for probe in probes]
        return jnp.concatenate(pushed).astype(part.layout.dtype)

    def _pushed(probe: _Probe, leaves: list[Array], state: Any, x: Any) -> Array:
        def after(leaf: Array) -> Float[Array, " n"]:
            moved = [*leaves[: probe.place], leaf, *leaves[probe.place + 1 :]]
            whole = eqx.combine(treedef.unflatten(moved), fixed)
            return part.layout.ravel(step(*in_single(step, whole, state, x)))

        with jax.default_matmul_precision("highest"):
            return nan_with(*push_block(after, leaves[probe.place], probe.directions))

    identity = identity_rows(part)
    size = len(identity)
    carried = sum(len(probe.directions) for probe in probes)
    start = split(scaled(jnp.concatenate([identity, jnp.zeros((carried, size), identity.dtype)])))

    def read(time: Array, block: Scaled) -> tuple[Array, Scaled, Array]:
        old = jax.tree.map(lambda leaf: leaf[size:], block)
        added = jax.vmap(add)(old, split(scaled(fresh(time))))
        block = jax.tree.map(lambda leaf, new: leaf.at[size:].set(new), block, added)
        return time + 1, block, _log_sizes(block, rows)

    _, logs = sweep_forward(part, start, read, jnp.zeros((), jnp.int32))
    logs = jnp.concatenate([_log_sizes(start, rows)[None], logs])
    bounds = np.cumsum([size, *(len(probe.directions) for probe in probes)])
    of_leaves: list[Array] = [jnp.full(steps + 1, -jnp.inf, logs.dtype) for _ in leaves]
    squares, variances = [], []
    for probe, first, last in zip(probes, bounds[:-1], bounds[1:], strict=True):
        square, variance = _square_of(logs[:, first:last], probe.complete)
        of_leaves[probe.place] = square / 2
        squares.append(square)
        variances.append(variance)
    total = jax.nn.logsumexp(jnp.stack(squares), axis=0)
    shares = jnp.exp(jnp.stack(squares) - jnp.where(total == -jnp.inf, 0.0, total)[None])
    errors = jnp.sqrt(jnp.sum(shares**2 * jnp.stack(variances), axis=0)) / 2
    state = jax.nn.logsumexp(2 * logs[:, :size], axis=1) / 2
    found = total / 2, errors, treedef.unflatten(of_leaves), state
    if length is not None:
        there = jnp.arange(steps + 1, dtype=length.dtype) <= length
        found = jax.tree.map(lambda leaf: jnp.where(there, leaf, jnp.nan), found)
    log_norms, errors, leaf_log_norms, state_log_norms = found
    return Sensitivity(
        times=jnp.arange(steps + 1),
        log_norms=log_norms,
        errors=errors,
        leaf_log_norms=leaf_log_norms,
        state_log_norms=state_log_norms,
        of=of,
        length=length,
    )


def _log_sizes(block: Scaled, part: slice) -> Float[Array, " m"]:
    """Ln of the norm of one part of every row; NaN where an entry is."""
    return jax.vmap(log_size)(Scaled(widen(block.mantissa[:, part]), block.exponent))


def _square_of(logs: Float[Array, "times m"], complete: bool) -> tuple[Array, Array]:
    """Ln of the sum or the estimated sum of squares, and the relative variance of that.

    Args:
        logs: ln of the norms along m directions.
        complete: whether these are all directions, each of them once.
    """
    total = jax.nn.logsumexp(2 * logs, axis=1)
    if complete:
        return total, jnp.zeros_like(total)
    count = logs.shape[1]
    mean = total - math.log(count)
    shares = jnp.exp(2 * logs - jnp.where(mean == -jnp.inf, 0.0, mean)[:, None])
    spread = jnp.sum((shares - 1) ** 2, axis=1) / (count * max(count - 1, 1))
    unknown = jnp.inf if count == 1 else spread
    return mean, jnp.where(mean == -jnp.inf, 0.0, unknown)


def _probe_of(place: int, leaf: Array, count: int) -> _Probe:
    """All directions of a leaf, or random ones of signs.

    Args:
        place: of the leaf.
        leaf: of the parameters.
        count: the largest number of directions.
    """
    turns = (1.0, 1j) if jnp.iscomplexobj(leaf) else (1.0,)
    numbers = leaf.size * len(turns)
    if numbers <= count:
        unit = np.eye(leaf.size)
        directions = np.concatenate([turn * unit for turn in turns])
    else:
        signs = np.random.default_rng(place).choice([-1.0, 1.0], (len(turns), count, leaf.size))
        directions = sum(turn * sign for turn, sign in zip(turns, signs, strict=True))
    shaped = np.reshape(directions, (-1, *leaf.shape))
    return _Probe(place, jnp.asarray(shaped, leaf.dtype), numbers <= count)
