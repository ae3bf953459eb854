"""What every result is: a record of arrays that prints, and that says itself in a few numbers.

A record declares what is its own: its main array and how many axes that has for one sequence, and
for one sequence the headline, the table and the numbers. A batch, or a record inside a compiled
program, has no numbers to show and prints its shapes.
"""

import abc
import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, dataclass_transform

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lstmgrad._calls import public
from lstmgrad._html import as_html
from lstmgrad._labeled import Axes, Labeled, labeled
from lstmgrad._leaves import type_name
from lstmgrad._writing import WIDTH, aligned


@dataclass_transform(field_specifiers=(dataclasses.field, eqx.field))
class _Listed(type(eqx.Module)):
    """Classes that list their public names alone, so that help() shows nothing else."""

    def __dir__(cls) -> list[str]:  # pyright: ignore[reportSelfClsParameterName]
        return [name for name in super().__dir__() if not name.startswith("_")]

    @property
    def __signature__(cls) -> inspect.Signature:
        """The names of the fields; their docstring says what they are."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
        return inspect.Signature([inspect.Parameter(field.name, kind) for field in fields])


class Result(eqx.Module, metaclass=_Listed):
    """A result: arrays with names, which print, and which `save` keeps in a file."""

    _main: ClassVar[tuple[str, int]]
    """The array that says how large the result is, and its number of axes for one sequence."""

    _axes: ClassVar[Axes]
    """The names of the axes of its arrays; the first array heads a table."""

    _picture: ClassVar[Callable[[Any], bytes | None]] = staticmethod(lambda result: None)
    """Draws a small PNG. What draws lies above results, so the face of the package sets it."""

    @abc.abstractmethod
    def _subject(self) -> str:
        """What was measured, and of how much: from static fields and shapes alone."""

    @abc.abstractmethod
    def _headline(self) -> str:
        """The number that a person asks for first."""

    @abc.abstractmethod
    def _table(self) -> tuple[list[str], list[list[str]]]:
        """The heads of the columns, and the rows."""

    @abc.abstractmethod
    def _numbers(self) -> dict[str, Any]:
        """The result in a few numbers by name."""

    def _hidden(self) -> np.ndarray:
        """Where a number of the main array is only the most that it may be."""
        return np.zeros(np.shape(getattr(self, type(self)._main[0])), bool)

    def _there(self) -> np.ndarray:
        """Where the main array holds anything: not behind the end of a padded sequence."""
        return np.ones(np.shape(getattr(self, type(self)._main[0])), bool)

    def _points(self) -> tuple[str, Any]:
        """What the first axis of the main array counts, and where its entries lie."""
        field, axes = type(self)._main
        shape = np.shape(getattr(self, field))[-axes:] if axes else (1,)
        return "index", np.arange(shape[0])

    def __repr__(self) -> str:
        """One line: the kind, what was measured, and the headline or the shapes."""
        field, axes = type(self)._main
        array, here = getattr(self, field), on_host(self)
        if np.ndim(array) < axes or not hasattr(array, "dtype"):
            what = field  # JAX uses the record for something else than arrays
        elif batch := batch_shape(self):
            what = f"{self._subject()}, batch {batch}"
        elif here is None:
            what = f"{self._subject()}, {field} {type_name(array)}"
        else:
            with np.errstate(all="ignore"):
                what = f"{self._subject()}, {here._headline()}"
        line = f"{type(self).__name__}({what})"
        return line if len(line) <= WIDTH else f"{line[: WIDTH - 2]}…)"

    def __str__(self) -> str:
        """The line, and for one sequence a short table below it."""
        here = on_host(self)
        if here is None or batch_shape(self):
            return repr(self)
        with np.errstate(all="ignore"):
            heads, rows = here._table()
        return "\n".join([repr(self), *aligned(heads, rows)])

    def to_dataframe(self) -> Any:
        """Returns the result as a `pandas.DataFrame`, ``profile.to_dataframe().loc[50]``.

        A row for each lag, step or the like, the index; both axes of a map, and "member" for a
        batch. What is said of the whole result is in ``attrs``. Arrays along other axes are in
        `to_xarray` alone.

        Raises:
            ImportError: pandas is not installed.
            ValueError: the result is traced, or empty.

        Example:
            >>> lg.backward_norms(chain).to_dataframe().index.name
            'lag'
        """
        return self._labeled().to_dataframe()

    def to_xarray(self) -> Any:
        """Returns the result as an `xarray.Dataset`, ``found.to_xarray().sel(lag=50)``.

        All arrays along the names of their axes, "lag", "step", "time" and the like, and "member"
        for a batch; lags and times are coordinates.

        Raises:
            ImportError: xarray is not installed.
            ValueError: the result is traced, or empty.

        Example:
            >>> lg.backward_norms(chain).to_xarray().log_norms.dims
            ('lag',)
        """
        return self._labeled().to_xarray()

    def _labeled(self) -> Labeled:
        here = on_host(self)
        if here is None:
            raise ValueError(
                "result: expected numbers, but got a result that is traced or empty. Make the "
                "table outside jit and vmap, of one step or more."
            )
        with np.errstate(all="ignore"):
            return labeled(here, type(self)._axes, batch_shape(self))

    def _repr_html_(self) -> str:
        """The line, a small figure, and for one sequence a short table, for a notebook."""
        here, line = on_host(self), repr(self)
        if here is None:
            return as_html(line)
        with np.errstate(all="ignore"):
            table = None if batch_shape(self) else here._table()
        return as_html(line, table, type(self)._picture(here))


@public
def summary(result: Result) -> dict[str, float]:
    """Returns a result in a few numbers, flat and by name, as every logger takes them.

    Args:
        result: of one sequence, from any analysis.

    Returns:
        Python floats; logarithms are natural, and names with ``log_`` say so. NaN where the
        arithmetic does not resolve the number.

    Raises:
        ValueError: not a result, a batch of results, one inside a compiled function, or one of
            no steps.

    Example:
        ``lg.summary(lg.backward_norms(chain))["decay_rate"]``

        >>> sorted(lg.summary(lg.backward_norms(chain)))[:2]
        ['decay_rate', 'horizon']
    """
    if not isinstance(result, Result):
        raise ValueError(
            "result: expected what an analysis returns, such as backward_norms(chain), but got "
            f"{type(result).__name__}."
        )
    if batch := batch_shape(result):
        raise ValueError(
            f"result: expected that of one sequence, but got a batch of {batch}. Take its medians, "
            "summary(batch_summary(result)), or one member, "
            "jax.tree.map(lambda leaf: leaf[0], result)."
        )
    here = on_host(result)
    if here is None:
        raise ValueError(
            "result: expected numbers, but got a result that is traced or empty. Take the summary "
            "outside jit and vmap, of one step or more."
        )
    with np.errstate(all="ignore"):
        return {name: float(value) for name, value in here._numbers().items()}


def cut_at_length(result: Any) -> Any:
    """The record of a padded sequence without the lags that are longer than it.

    Args:
        result: of one sequence, with `lags` on axis 0 of all its arrays, and its `length`.
    """
    count = int(np.sum(result.lags <= result.length))
    cut = jax.tree.map(lambda leaf: leaf[:count] if np.ndim(leaf) else leaf, result)
    return eqx.tree_at(lambda result: result.length, cut, None)


def upper_bounds(errors: Any, values: Any) -> np.ndarray:
    """Where a logarithm is only the level below which the arithmetic sees nothing.

    One that missed its tolerance by a known, finite error is not one of them.

    Args:
        errors: of the logarithms, inf for such a level.
        values: the logarithms.
    """
    return np.isposinf(np.asarray(errors)) & np.isfinite(np.asarray(values))


def up_to_length(points: Any, length: Any) -> Any:
    """Which points there are in a padded sequence, or in each of a batch.

    Args:
        points: (*batch, L), lags or times.
        length: (*batch,), the last of them; None for no padding.
    """
    if length is None:
        return np.ones(np.shape(points), bool)
    return np.asarray(points) <= np.asarray(length)[..., None]


def batch_shape(result: Result) -> tuple[int, ...]:
    """The axes in front of those of one sequence.

    Args:
        result: of one sequence or of a batch.
    """
    field, axes = type(result)._main
    shape = np.shape(getattr(result, field))
    return tuple(shape[: len(shape) - axes])


def on_host(result: Result) -> Any:
    """The result with NumPy's arrays, so that nothing is compiled to print it.

    Args:
        result: of one sequence or of a batch.

    Returns:
        None where there are no numbers to print: in a compiled function, for shapes, where JAX uses
        the record for something else than arrays, and for no steps at all.
    """
    if np.size(getattr(result, type(result)._main[0])) == 0:
        return None
    if not _has_arrays(result):
        return None

    def fetched(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return np.asarray(leaf)
        return leaf

    try:
        return jax.tree.map(fetched, result)
    except (jax.errors.JAXTypeError, RuntimeError):  # traced; deleted, or on other hosts
        return None


def _has_arrays(result: Any) -> bool:
    """Whether there are arrays in all fields, but for those that may hold anything."""
    if not isinstance(result, Result):
        leaves = jax.tree.leaves(result, is_leaf=lambda leaf: leaf is None)
        return all(isinstance(leaf, jax.Array | np.ndarray | np.generic) for leaf in leaves)
    return all(
        _has_arrays(getattr(result, field.name))
        for field in dataclasses.fields(result)
        if not field.metadata.get("static", False) and field.type is not Any
    )
