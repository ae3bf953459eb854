"""Long loops that a file keeps: a run that was killed goes on where it was."""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstmgrad._archive import load, save
from lstmgrad._calls import public
from lstmgrad._leaves import shown
from lstmgrad._progress import check_progress


@public
def resume(
    update: Callable[[Any, Any], Any],
    start: Any,
    items: Iterable[Any],
    *,
    path: str | os.PathLike[str],
    progress: Callable[[int, int], object] | None = None,
) -> Any:
    """Returns what a loop over items ends with, going on from the file where an earlier run ended.

    ``state = update(state, item)`` for each item, and after each of them the state is saved. Where
    the file exists, the items that it has seen are left out. Every item begins with the state as it
    is read from the file, exact to the bit: the digits are those of a run that was never killed.

    Args:
        update: a function of the state so far and the next item. It has to give the same result
            for the same arguments, as functions of JAX do.
        start: the state before the first item.
        items: what the loop goes over: stretches of a long sequence, random keys, files.
        path: the file of the state, in a folder that exists. It stays when the loop is done, and
            another call returns what it holds.
        progress: called as ``progress(done, total)``, once at the start and after every item; None
            shows nothing. ``lambda done, total: print(f"{done} of {total}", flush=True)`` is one.

    Returns:
        The state after the last item; `start` if there is no item.

    Raises:
        ValueError: a state that `save` cannot keep; a file that another loop has written: over
            other items, or of another kind.
        FileNotFoundError: the folder of the file does not exist.

    Notes:
        One write of the state per item; make items long enough, some seconds or more. The file is
        written whole or not at all, so it may be killed at any time. Whether items are the same is
        told by a checksum of their arrays, numbers and texts.

    Example:
        Exponents along a million steps, a state of which is saved after every stretch:

        ```python
        def more(state, inputs):
            start = cell.initial_state() if state is None else state.model_state
            chain = lg.stream(cell.step, params, start, inputs)
            return lg.lyapunov_spectrum(chain, state, num_exponents=8).state


        state = lg.resume(more, None, jnp.split(inputs, 100), path="exponents.npz")
        state.log_sums / state.num_steps  # the exponents, in nats per step
        ```

        And a reading for each of many seeds, in a dict that grows:

        ```python
        def with_one(found, seed):
            params = cell.init(jax.random.key(seed))
            return found | {str(seed): lg.backward_norms(lg.chain(cell.model(params), inputs))}


        profiles = lg.resume(with_one, {}, range(1000), path="profiles.npz")
        ```

        >>> def add(total, item):
        ...     return total + item
        >>> lg.resume(add, np.zeros(2), np.ones((3, 2)), path="sum.npz").tolist()
        [3.0, 3.0]
    """
    if not callable(update):
        raise ValueError(
            f"update: expected a function of a state and an item, but got {shown(update)}."
        )
    check_progress(progress)
    items = list(items)
    total, marks = len(items), _marks(items)
    state, done = start, 0
    if Path(path).exists():
        state, done = _read(path, marks)
    if progress is not None:
        progress(done, total)
    for index in range(done, total):
        state = update(state, items[index])
        save(path, {"state": state, "done": np.asarray(index + 1), "marks": marks})
        # As it is read again: a run that goes on from the file begins with nothing else.
        state = load(path)["state"]
        if progress is not None:
            progress(index + 1, total)
    return state


def _marks(items: list[Any]) -> np.ndarray:
    """A checksum of every item, (items, 8) bytes."""
    found = np.zeros((len(items), 8), np.uint8)
    for row, item in zip(found, items, strict=True):
        checksum = hashlib.sha256(str(jax.tree.structure(item)).encode())
        for leaf in jax.tree.leaves(item):
            checksum.update(_bytes_of(leaf))
        row[:] = np.frombuffer(checksum.digest()[:8], np.uint8)
    return found


def _bytes_of(leaf: Any) -> bytes:
    """What two equal leaves share, and others do not, where that can be told."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        array = np.asarray(leaf)
        return f"{array.dtype}{array.shape}".encode() + array.tobytes()
    if isinstance(leaf, str | bytes | int | float | complex | os.PathLike):
        return repr(leaf).encode()
    return type(leaf).__qualname__.encode()


def _read(path: Any, marks: np.ndarray) -> tuple[Any, int]:
    """The state in the file, and how many of the items it has seen."""
    found = load(path)
    if not isinstance(found, dict) or set(found) != {"state", "done", "marks"}:
        raise ValueError(
            f"path: expected a file that resume wrote, but '{path}' is another result. Name "
            "another file."
        )
    done = int(found["done"])
    if not np.array_equal(np.asarray(found["marks"])[:done], marks[:done]):
        raise ValueError(
            f"path: expected the state of a loop over these items, but '{path}' has seen {done} "
            "others. Name another file, or delete this one."
        )
    return found["state"], done
