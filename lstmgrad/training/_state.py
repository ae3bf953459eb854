"""Where a training stands, to go on from, in this process or out of a file."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

from lstmgrad._checks import check_kind
from lstmgrad.tasks import Task
from lstmgrad.training._curve import TrainingCurve


class TrainingState(NamedTuple):
    """Where a training stands: `lg.save` keeps it, and `fit` goes on from it by ``start=``.

    Attributes:
        leaves: the arrays that change, with the networks on axis 0: those of the parameters and of
            the readout, then those of the optimizer.
        keys: the words of the random keys, one key for each network.
        curve: loss and score up to here, with the networks on axis 0.
        batch_size: sequences in a batch.

    Example:
        >>> task = lg.tasks.delayed_recall()
        >>> unit = lg.cells.rnn(task.input_size, 4)
        >>> short = unit.model(unit.init(jax.random.key(0)))
        >>> how = {"delay": 3, "steps": 2, "every": 1}
        >>> seen = []
        >>> fit = lg.training.fit(short, task, jax.random.key(1), observe=seen.append, **how)
        >>> again = lg.training.fit(short, task, jax.random.key(1), start=seen[0].state, **how)
        >>> bool(jnp.all(again.curve.losses == fit.curve.losses))  # digit for digit
        True
    """

    leaves: tuple[Any, ...]
    keys: UInt32[Array, "networks words"]
    curve: TrainingCurve
    batch_size: int

    @property
    def steps(self) -> int:
        """The training steps behind it."""
        done = np.asarray(self.curve.steps)
        return int(done[0, -1]) if done.size else 0


def words_of(keys: Array) -> Array:
    """The words of random keys, typed or of the older kind.

    Args:
        keys: (networks,) keys.
    """
    typed = jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(keys) if typed else keys


def resumed(start: Any, carry: Any, keys: Array, task: Task, how: tuple[int, int, int]) -> Any:
    """What the loop carries, as it was in the state to start from, once that fits the training.

    Args:
        start: what `fit` was given.
        carry: what the loop would carry at step 0.
        keys: of the networks.
        task: what is trained.
        how: the delay, the sequences in a batch, and the steps in all.
    """
    check_kind(start, TrainingState, "start")
    delay, size, steps = how
    known = (start.curve.task, start.curve.delay, start.batch_size)
    _check_same(known, (task.name, delay, size))
    _check_keys(np.asarray(start.keys), np.asarray(words_of(keys)))
    if start.steps > steps:
        raise ValueError(
            f"steps: expected at least the {start.steps} steps behind the state to start from, "
            f"but got {steps}. They are counted from the beginning."
        )
    leaves, treedef = jax.tree.flatten(carry)
    _check_leaves(start.leaves, leaves)
    return jax.tree.unflatten(treedef, [jnp.asarray(leaf) for leaf in start.leaves])


def _check_same(known: tuple[str, int, int], wanted: tuple[str, int, int]) -> None:
    """The batches to come are those that would have come."""
    if known != wanted:
        raise ValueError(
            "start: expected the state of a training on {} at delay {} in batches of {}, but got "
            "one on {} at delay {} in batches of {}. To train on something else, pass the model of "
            "the first fit.".format(*wanted, *known)
        )


def _check_keys(known: np.ndarray, wanted: np.ndarray) -> None:
    """The random keys are those of the training so far."""
    if known.shape != wanted.shape or (known != wanted).any():
        raise ValueError(
            "key: expected the key of the state to start from, but got another one. Pass the same "
            "key, so that the batches go on where they ended."
        )


def _check_leaves(known: tuple[Any, ...], wanted: list[Any]) -> None:
    """The state is one of the same model and the same optimizer."""
    shapes = [[(np.shape(leaf), jnp.result_type(leaf)) for leaf in one] for one in (known, wanted)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"start: expected {len(wanted)} arrays of the shapes that this model and this "
            f"optimizer have, but got {len(known)} of other shapes. Pass the model and the "
            "optimizer that the training began with."
        )
