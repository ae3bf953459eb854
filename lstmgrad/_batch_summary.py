"""A batch of results as its medians and bands, with a count of the members behind each number."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._calls import public
from lstmgrad._labeled import Axes, Labeled, labeled
from lstmgrad._quantiles import BAND, quantiles
from lstmgrad._result import Result, batch_shape, on_host, summary
from lstmgrad._writing import chosen, number

LEVELS = (BAND[0], 0.25, 0.5, 0.75, BAND[1])
"""The quantiles of a batch summary."""

_MIDDLE = LEVELS.index(0.5)


class BatchSummary(Result):
    """Quantiles over a batch of results.

    A member that the arithmetic does not resolve counts as a bound, below which it may lie
    anywhere, and a quantile is resolved where it is the same wherever such members lie. None is a
    mean, so a member at ±inf moves it by a rank at most. Members that are NaN are left out, and
    `num_resolved` says so; those that ended before (``length=``) are no members there.

    Attributes:
        levels: (Q,), 0.1, 0.25, 0.5, 0.75, 0.9.
        points: (L,), the lags, steps or numbers that the first axis of `values` counts.
        values: (Q, L, ...), the quantiles of the main array of the results, at every point: of
            `log_norms` for norms, in the same unit. Without an interpolation: each is the value of
            a member. NaN where there is no member, or no bound.
        resolved: (Q, L, ...), whether each is known; where it is not, the value is the most that it
            may be.
        num_members: (L, ...), how many members there are.
        num_resolved: (L, ...), how many of them have a resolved value.
        numbers: by name, (Q,), the quantiles of the numbers that `summary` gives of each member,
            such as "horizon" and "decay_rate". A horizon that lies beyond its profile is anything
            from there on, inf beyond the longest.
        numbers_resolved: by name, (Q,), as `resolved`.
        num_known: by name, the number of members whose number is known.
        size: how many members the batch has.
        record: the name of their kind.
        subject: what was measured.
        quantity: the name of the main array.
        point: what the points count.

    Example:
        >>> batch = jnp.stack([inputs, -inputs, 2 * inputs])
        >>> profiles = jax.vmap(lambda one: lg.backward_norms(lg.chain(model, one)))(batch)
        >>> lg.batch_summary(profiles).numbers["horizon"].shape
        (5,)
    """

    levels: Float[Array | np.ndarray, " Q"]
    points: Int[Array | np.ndarray, " L"]
    values: Float[Array | np.ndarray, "Q *shape"]
    resolved: Bool[Array | np.ndarray, "Q *shape"]
    num_members: Int[Array | np.ndarray, "*shape"]
    num_resolved: Int[Array | np.ndarray, "*shape"]
    numbers: dict[str, Float[Array | np.ndarray, " Q"]]
    numbers_resolved: dict[str, Bool[Array | np.ndarray, " Q"]]
    num_known: dict[str, Int[Array | np.ndarray, ""]]
    size: int = eqx.field(static=True)
    record: str = eqx.field(static=True)
    subject: str = eqx.field(static=True)
    quantity: str = eqx.field(static=True)
    point: str = eqx.field(static=True)

    _main = ("levels", 1)
    _axes = Axes(
        {
            "values": "quantile point",
            "resolved": "quantile point",
            "num_members": "point",
            "num_resolved": "point",
            "numbers": "quantile",
            "numbers_resolved": "quantile",
        },
        quantile="levels",
        point="points",
    )

    @property
    def medians(self) -> Float[Array | np.ndarray, "*shape"]:
        """The quantiles at one half."""
        return self.values[_MIDDLE]

    def _labeled(self) -> Labeled:
        batch = batch_shape(self)
        axes = np.ndim(self.num_members) - len(batch)
        points = " ".join(["point", *(f"axis_{i}" for i in range(1, axes))][:axes])
        names = {
            field: own.replace("point", points).strip() for field, own in self._axes.arrays.items()
        }
        ticks = {axis: what for axis, what in self._axes.ticks.items() if axes or axis != "point"}
        with np.errstate(all="ignore"):
            return labeled(on_host(self), Axes(names, **ticks), batch)

    def _subject(self) -> str:
        return f"{self.size} x {self.record}, {self.subject}"

    def _headline(self) -> str:
        name = next((name for name in ("horizon", *self.numbers) if name in self.numbers), None)
        if name is None:
            return "no numbers"
        texts = _texts(self.numbers[name], self.numbers_resolved[name])
        low, middle, high = (texts[i] for i in (0, _MIDDLE, -1))
        return f"median {name.replace('_', ' ')} {middle} ({low} to {high})"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        heads = ["", *("median" if q == 0.5 else f"{100 * q:.0f} %" for q in LEVELS), "members"]
        rows = [
            [
                name,
                *_texts(found, self.numbers_resolved[name]),
                f"{self.num_known[name]} of {self.size}",
            ]
            for name, found in self.numbers.items()
        ]
        if np.ndim(self.values) == 2:
            for i in chosen(len(self.points)):
                texts = _texts(self.values[:, i], self.resolved[:, i])
                of = f"{self.num_resolved[i]} of {self.num_members[i]}"
                rows.append([f"{self.quantity}, {self.point} {self.points[i]}", *texts, of])
        return heads, rows

    def _numbers(self) -> dict[str, Any]:
        found: dict[str, Any] = {"num_members": self.size}
        for name, quantile in self.numbers.items():
            values = np.where(self.numbers_resolved[name], quantile, np.nan)
            found |= {
                f"median_{name}": values[_MIDDLE],
                f"low_{name}": values[0],
                f"high_{name}": values[-1],
                f"known_{name}": self.num_known[name],
            }
        return found


@public
def batch_summary(result: Result) -> BatchSummary:
    """Returns the medians and bands of a batch of results, and how many members are behind them.

    Args:
        result: from any analysis under `jax.vmap`: one or more axes of members in front.

    Returns:
        `BatchSummary`, which prints, and which `save` and `plot.batch_summary` take. Quantiles of
        the main array at every lag or step, and of every number of `summary`: horizons, rates.

    Raises:
        ValueError: not a result, the result of one sequence, a traced or empty one, or one whose
            points differ within the batch.

    Notes:
        On the host, in float64. Members of unequal length, from ``length=``, count up to their own
        ends: the median at a lag is that of the sequences that have it.

    Example:
        ```python
        profiles = jax.vmap(lambda chain, n: lg.backward_norms(chain, length=n))(chains, lengths)
        lg.batch_summary(profiles).numbers["horizon"]  # its 10 %, 25 %, 50 %, 75 %, 90 % quantiles
        ```

        >>> batch = jnp.stack([inputs, -inputs, 2 * inputs])
        >>> profiles = jax.vmap(lambda one: lg.backward_norms(lg.chain(model, one)))(batch)
        >>> lg.batch_summary(profiles).numbers["horizon"].shape
        (5,)
    """
    if not isinstance(result, Result):
        raise ValueError(
            "result: expected a batch of what an analysis returns, such as "
            f"jax.vmap(backward_norms)(chains), but got {type(result).__name__}."
        )
    batch, here = batch_shape(result), on_host(result)
    if not batch:
        raise ValueError(
            "result: expected a batch, with axes of members in front, but got the result of one "
            "sequence. Map the analysis, jax.vmap(lambda chain: backward_norms(chain))(chains), or "
            "take its numbers by summary(result)."
        )
    if here is None:
        raise ValueError(
            "result: expected numbers, but got a result that is traced or empty. Take the summary "
            "outside jit and vmap, of one step or more."
        )
    field, axes = type(result)._main
    point, points = here._points()
    points = _shared_points(np.asarray(points))
    with np.errstate(all="ignore"):
        values, hidden, there = (
            _members(array, axes) for array in (getattr(here, field), here._hidden(), here._there())
        )
        values = values.astype(np.float64)
        values = np.where(there, values, np.nan)
        found, known = quantiles(np.where(hidden, -np.inf, values), values, LEVELS)
    numbers, numbers_resolved, num_known = _numbers_of(_split(here, len(batch)))
    return BatchSummary(
        levels=np.asarray(LEVELS),
        points=points,
        values=found,
        resolved=known,
        num_members=np.sum(there, axis=0),
        num_resolved=np.sum(there & ~hidden & ~np.isnan(values), axis=0),
        numbers=numbers,
        numbers_resolved=numbers_resolved,
        num_known=num_known,
        size=len(values),
        record=type(result).__name__,
        subject=here._subject(),
        quantity=field,
        point=point,
    )


def _members(array: Any, axes: int) -> np.ndarray:
    """The array with all axes of the batch as one."""
    array = np.asarray(array)
    return array.reshape(-1, *array.shape[array.ndim - axes :])


def _shared_points(points: np.ndarray) -> np.ndarray:
    """The points, which are the same in all members."""
    points = points.reshape(-1, points.shape[-1])
    if (points != points[0]).any():
        raise ValueError(
            "result: expected the same lags or times in the whole batch, but they differ. Read all "
            "members at the same ones."
        )
    return points[0]


def _split(result: Any, axes: int) -> list[Any]:
    """The members, one by one."""
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[axes:]), result)
    count = len(jax.tree.leaves(flat)[0])
    return [jax.tree.map(lambda leaf, i=i: leaf[i], flat) for i in range(count)]


def _numbers_of(members: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """Quantiles of the numbers of the members, which are known, and how many know each of them."""
    found = [summary(member) for member in members]
    names = dict.fromkeys(name for each in found for name in each)
    numbers, resolved, num_known = {}, {}, {}
    for name in names:
        values = np.array([each.get(name, np.nan) for each in found])
        lows = values
        if name == "horizon":  # inf: beyond the lags of this member, which may be fewer
            ends = np.array([each["longest_lag"] for each in found])
            lows = np.where(np.isposinf(values) & (ends < ends.max()), ends, values)
        numbers[name], resolved[name] = quantiles(lows, values, LEVELS)
        num_known[name] = np.asarray(np.sum(lows == values))
    return numbers, resolved, num_known


def _texts(values: Any, resolved: Any) -> list[str]:
    """Quantiles for a table: the most that they may be, where they are not resolved."""
    pairs = zip(values, resolved, strict=True)
    return ["?" if np.isnan(x) else f"{'' if good else '<= '}{number(x)}" for x, good in pairs]
