"""Calls of the recurrent functions of PyTorch: what went in, and what a backward pass brought back.

What comes back to a result of a call of whole layers is the derivative of the loss from outside the
recurrence, because the recurrence is inside the call.

The state that a cell returns is also the one that its next call reads. That call gets an alias of
it: what comes back to the alias is the derivative through the next step. It is kept, zeros go
on, and it is added where the state itself gets its derivative, which is then from outside until it
is added. So the two are known apart without a difference, and the model's own backward pass has the
sum, as always. The same is done with what comes back to the c of a step from its own h, where
PyTorch computes h from the c that it returns: h and c are two parts of one state. Where the model
passes on another tensor of the same numbers (a clone, a view), what comes back to it passes, and is
subtracted.

This module needs PyTorch, and is imported by `record` alone.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class LayersCall:
    """One call of `torch.lstm`, `torch.gru`, `torch.rnn_tanh` or `torch.rnn_relu`.

    Attributes:
        function: its name.
        inputs: (T, B, d), or the data of packed sequences.
        sizes: the batch size at every step of packed sequences, or None.
        order: their `unsorted_indices`, or None.
        start: h_0, or h_0 and c_0, each (layers * directions, B, ·), in the order of the data.
        weights: of all layers and directions, as PyTorch orders them.
        options: (biases, layers, dropout, training, bidirectional).
        mixed: whether the call ran under autocast.
        random: the states of the generators before a call that drops outputs, otherwise None.
        outputs: (T, B, ·), what a call that drops outputs gave.
        cotangents: dL/d of "outputs", "h" and "c", as far as they are.
    """

    def __init__(self, function: str, args: tuple, order: Tensor | None):
        # (inputs, state, weights, ...), or (data, batch sizes, state, weights, ...)
        packed = not isinstance(args[3], bool)
        state, weights = args[2:4] if packed else args[1:3]
        self.function = function
        self.options = tuple(args[4:9] if packed else args[3:8])
        self._batch_first = not packed and args[8]
        self.inputs = self._time_first(_copied(args[0]))
        self.sizes, self.order = (args[1], order) if packed else (None, None)
        self.start = tuple(map(_copied, _parts(state)))
        self.weights = [_copied(weight) for weight in weights]
        self.mixed = torch.is_autocast_enabled(args[0].device.type)
        _, layers, dropout, training, _ = self.options
        drops = training and dropout > 0 and layers > 1
        self.random = random_states(args[0]) if drops else None
        self.outputs: Tensor | None = None
        self.cotangents: dict[str, Tensor] = {}
        self._listeners: list[Any] = []

    def heard(self, results: tuple) -> tuple:
        """Returns the results of the call, with a hook on each.

        Args:
            results: outputs, h_T and, of an LSTM, c_T.
        """
        if self.random is not None:
            self.outputs = self._time_first(_copied(results[0]))
        for name, result in zip(("outputs", "h", "c"), results, strict=False):
            if result.requires_grad:
                self._listeners.append(result.register_hook(self._listener(name)))
        return results

    def _listener(self, name: str) -> Callable[[Tensor], None]:
        def listen(found: Tensor) -> None:
            found = self._time_first(found) if name == "outputs" else found
            _add(self.cotangents, name, found)

        return listen

    def _time_first(self, tensor: Tensor) -> Tensor:
        return tensor.transpose(0, 1) if self._batch_first else tensor

    def close(self) -> None:
        """Takes the hooks away."""
        for listener in self._listeners:
            listener.remove()
        self._listeners.clear()


class CellPiece:
    """Calls of one cell, each from the state that the one before it returned.

    Attributes:
        function: the name of the function of one step.
        start: h_0, or h_0 and c_0, each (B, ·).
        weights: weight_ih, weight_hh, bias_ih, bias_hh; None if there are no biases.
        inputs: (B, d) of every call.
        cotangents: of every call, dL/d of "h" and "c" from outside, as far as they are.
        mixed: whether a call ran under autocast.
        changed: the first call that had other weights than the one before, or None.
    """

    def __init__(self, function: str, start: tuple, weights: list):
        self.function = function
        self.start = tuple(map(_copied, start))
        self.weights = [None if weight is None else _copied(weight) for weight in weights]
        self.inputs: list[Tensor] = []
        self.cotangents: list[dict[str, Tensor]] = []
        self.mixed = False
        self.changed: int | None = None
        self._last = [(weight, _version(weight)) for weight in weights]
        self._end: list[tuple[Tensor, int | None]] = []
        self._through: list[dict[str, Tensor]] = []
        self._inside: dict[int, Tensor] = {}
        self._is_alias: list[bool] = []
        self._listeners: list[Any] = []

    def ends_in(self, parts: tuple) -> bool:
        """Whether a state is the very tensors that the last call returned.

        Args:
            parts: h, or h and c.
        """
        ends = zip(parts, self._end, strict=False)
        return bool(self._end) and all(_is_still(part, end) for part, end in ends)

    def ends_like(self, parts: tuple) -> bool:
        """Whether a state has the numbers that the last call returned, and comes from there.

        Args:
            parts: h, or h and c.
        """
        for part, (end, _) in zip(parts, self._end, strict=False):
            detached = end.requires_grad and torch.is_grad_enabled() and part.grad_fn is None
            if detached or part.shape != end.shape or not torch.equal(part, end):
                return False
        return bool(self._end)

    def enter(self, x: Tensor, parts: tuple, weights: list) -> tuple:
        """Notes a call; returns the state that it gets.

        Args:
            x: (B, d).
            parts: h, or h and c.
            weights: as the cell uses them.
        """
        index = len(self.inputs)
        self.mixed |= torch.is_autocast_enabled(x.device.type)
        self._compare(weights)
        if index:
            self._is_alias.append(self.ends_in(parts))
            parts = tuple(
                self._aliased(part, name) for part, name in zip(parts, "hc", strict=False)
            )
        self.inputs.append(_copied(x))
        self.cotangents.append({})
        self._through.append({})
        return parts

    def leave(self, results: Any) -> Any:
        """Returns the results of a call, with a hook on each.

        Args:
            results: h, or h and c.
        """
        self._end = [(result, _version(result)) for result in _parts(results)]
        index = len(self.inputs) - 1
        for (result, _), name in zip(self._end, "hc", strict=False):
            if result.requires_grad:
                self._listeners.append(result.register_hook(self._from_outside(index, name)))
        if len(self._end) == 2:
            self._hold_inside(*(result for result, _ in self._end))
        return results

    def _hold_inside(self, h: Tensor, c: Tensor) -> None:
        """Keeps what comes back to c from the h of the same step, where h is computed from it."""
        index = len(self.inputs) - 1

        def listener(node: Any) -> Callable[[Any, Any], Any]:
            def keep(found: Any, _: Any) -> Any:
                found = list(found)
                for place, (target, _) in enumerate(node.next_functions):
                    if target is c.grad_fn and found[place] is not None:
                        self._inside[index] = self._inside.get(index, 0) + found[place]
                        found[place] = torch.zeros_like(found[place])
                return tuple(found)

            return keep

        if c.grad_fn is None or h.grad_fn is c.grad_fn:
            return
        for node in _nodes_near(h.grad_fn):
            if any(target is c.grad_fn for target, _ in node.next_functions):
                self._listeners.append(node.register_hook(listener(node)))

    def _aliased(self, part: Tensor, name: str) -> Tensor:
        """An alias of a part of the state, which keeps what comes back through the next step."""
        if not part.requires_grad:
            return part
        index, is_alias = len(self.inputs) - 1, self._is_alias[-1]

        def keep(found: Tensor) -> Tensor | None:
            self._through[index][name] = found
            return torch.zeros_like(found) if is_alias else None

        alias = part.view_as(part)
        self._listeners.append(alias.register_hook(keep))
        return alias

    def _from_outside(self, index: int, name: str) -> Callable[[Tensor], Tensor | None]:
        def listen(found: Tensor) -> Tensor | None:
            through = self._through[index].pop(name, None)
            held = through is not None and self._is_alias[index]
            outside = found if through is None or held else found - through
            _add(self.cotangents[index], name, outside)
            inside = self._inside.pop(index, None) if name == "c" else None
            back = [part for part in (through if held else None, inside) if part is not None]
            return sum(back, found) if back else None

        return listen

    def _compare(self, weights: list) -> None:
        """Notes whether the weights are those of the first call."""
        for known, last, weight in zip(self.weights, self._last, weights, strict=True):
            if known is None or self.changed is not None or _is_still(weight, last):
                continue
            if not torch.equal(known, weight):
                self.changed = len(self.inputs)
        self._last = [(weight, _version(weight)) for weight in weights]

    def close(self) -> None:
        """Takes the hooks away, and lets go of the graph."""
        for listener in self._listeners:
            listener.remove()
        for kept in (self._listeners, self._end, self._last, self._through, self._inside):
            kept.clear()


def random_states(tensor: Tensor) -> list[Tensor]:
    """Returns the state of the CPU's generator, and that of the tensor's own device.

    Args:
        tensor: on any device.
    """
    states = [torch.get_rng_state()]
    if tensor.device.type == "cuda":
        states.append(torch.cuda.get_rng_state(tensor.device))
    return states


def _nodes_near(node: Any, depth: int = 3) -> list[Any]:
    """The nodes of a graph from which the results of one step are computed last."""
    below = [target for target, _ in node.next_functions if target is not None]
    return [node] + [n for one in below for n in (_nodes_near(one, depth - 1) if depth else [])]


def _parts(state: Any) -> tuple:
    return tuple(state) if isinstance(state, tuple | list) else (state,)


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def _version(tensor: Tensor | None) -> int | None:
    """How often the tensor was written into, if it counts that."""
    return None if tensor is None or tensor.is_inference() else tensor._version


def _is_still(tensor: Tensor, known: tuple[Tensor, int | None]) -> bool:
    """Whether a tensor is the known one, and was not written into since."""
    return tensor is known[0] and _version(tensor) == known[1]


def _add(sums: dict[str, Tensor], name: str, found: Tensor) -> None:
    """Adds what one more backward pass brought."""
    sums[name] = sums[name] + found.detach() if name in sums else _copied(found)
