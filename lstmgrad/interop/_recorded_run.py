"""The run of one recurrent layer, or of a stack of layers: what a recording gives.

`t` counts in the order in which the layer reads: a reverse direction has x_1 at the end of the
sequence. The states, the cell's among them, are those of the chain, which runs the model once more
in JAX.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstmgrad._chains.base import StoredChain
from lstmgrad._chains.implicit import chain
from lstmgrad._model import Model
from lstmgrad._types import State
from lstmgrad.interop._model import stack
from lstmgrad.interop._torch import make_model


class RecordedRun:
    """Sequences that a recurrent layer ran over.

    All methods take the index of a sequence, in the batch's own order. None is all of them, on axis
    0, padded behind their ends to the longest, with inputs and cotangents of zero there: no step
    there adds to a gradient. `backward_norms` and `forward_norms` take ``length=``.

    Attributes:
        name: of the module.
        lengths: T of each sequence.

    Example:
        >>> import torch
        >>> net = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(2, 3, batch_first=True)})
        >>> with lg.interop.record(net) as recording:
        ...     output, last = net["lstm"](torch.ones(4, 6, 2))
        >>> run = recording["lstm"]
        >>> run.lengths, run.chain(0).trajectory.states.h.shape
        ((6, 6, 6, 6), (7, 3))
    """

    def __init__(self, name: str, sides: tuple[Any, ...]):
        self.name = name
        self.lengths: tuple[int, ...] = sides[0].lengths
        self._sides = sides

    @functools.cached_property
    def _model(self) -> Model:
        models = [make_model(side.leaves, side.activation) for side in self._sides]
        return models[0] if len(models) == 1 else stack(models)

    def model(self, sequence: int | None = None) -> Model:
        """Returns the layer as a model that starts where the sequence did.

        Args:
            sequence: its index, or None for all, with a batch axis in front of the states alone.

        Returns:
            `Model`, of the cell in JAX with the weights of the module.

        Raises:
            ValueError: there is no such sequence.

        Example:
            >>> run.model(0).state.h.shape, run.model().state.h.shape
            ((3,), (4, 3))
        """
        self._check(sequence)
        return self._model._replace(state=self._state([s.start for s in self._sides], sequence))

    def inputs(self, sequence: int | None = None) -> jax.Array:
        """Returns what the layer read, (T, d), as it got it: after embeddings, layers and dropout.

        Args:
            sequence: its index, or None for all.

        Returns:
            (T, d), or (sequences, T, d).

        Raises:
            ValueError: there is no such sequence.

        Example:
            >>> run.inputs(0).shape, run.inputs().shape
            ((6, 2), (4, 6, 2))
        """
        self._check(sequence)
        inputs = jnp.asarray(self._sides[0].inputs)
        return inputs if sequence is None else inputs[sequence, : self.lengths[sequence]]

    def cotangents(self, sequence: int | None = None) -> State:
        """Returns ∂L/∂s_t at every t, from outside the recurrence: what `adjoint` takes.

        Args:
            sequence: its index, or None for all.

        Returns:
            A pytree like the states, T+1 on axis 0: outputs, last states, layers above, attention,
            whatever the loss looks at. The first is zero: the start is an input here.

        Raises:
            ValueError: there was no backward pass in the block; there is no such sequence.

        Example:
            >>> with lg.interop.record(net) as recording:
            ...     net["lstm"](torch.ones(4, 6, 2))[0].sum().backward()
            >>> recording["lstm"].cotangents(0).h[1:].min().item()  # a sum of all outputs
            1.0
        """
        self._check(sequence)
        found = [side.cotangents for side in self._sides]
        if None in found:
            raise ValueError(
                f"cotangents: expected a backward pass through {self.name!r} in the block, but "
                "there was none. Call loss.backward() before the block ends."
            )
        end = None if sequence is None else self.lengths[sequence] + 1
        return self._state(found, sequence, end)

    def chain(self, sequence: int | None = None) -> StoredChain:
        """Returns the chain of step Jacobians along the run.

        Args:
            sequence: its index, or None for all, as `jax.vmap` of `chain` gives it.

        Returns:
            The chain of a model, which every analysis takes.

        Raises:
            ValueError: there is no such sequence.

        Example:
            >>> len(run.chain(0)), run.chain().batch_shape
            (6, (4,))
        """
        model, inputs = self.model(sequence), self.inputs(sequence)
        if sequence is not None:
            return chain(model, inputs)
        return jax.vmap(lambda state, xs: chain(model._replace(state=state), xs))(
            model.state, inputs
        )

    def _state(self, layers: Any, sequence: int | None, end: int | None = None) -> State:
        """Parts of all layers as a state, of one sequence or of all."""
        parts = [jnp.asarray(part) for layer in layers for part in layer]
        if sequence is not None:
            parts = [part[sequence] if end is None else part[sequence, :end] for part in parts]
        return type(self._model.state)(*parts)

    def _check(self, sequence: Any) -> None:
        """One of the sequences, or all."""
        count = len(self.lengths)
        known = isinstance(sequence, int | np.integer) and not isinstance(sequence, bool)
        if sequence is not None and not (known and 0 <= sequence < count):
            raise ValueError(
                f"sequence: expected one of 0 to {count - 1}, or None for all, but got "
                f"{sequence!r}."
            )

    def __repr__(self) -> str:
        """The name, how many sequences, and how long."""
        low, high = min(self.lengths), max(self.lengths)
        steps = f"{low} to {high} steps" if low < high else f"{low} steps"
        back = "no cotangents" if self._sides[0].cotangents is None else "cotangents"
        return f"RecordedRun({self.name!r}, {len(self.lengths)} sequences of {steps}, {back})"
