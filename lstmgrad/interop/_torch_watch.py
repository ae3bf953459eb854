"""Which recurrent functions of PyTorch a module calls while it runs.

Every `nn.LSTM`, `nn.GRU`, `nn.RNN` and every cell of theirs calls one function, `torch.lstm`,
`torch.lstm_cell`, ..., with its inputs and with the weights as they are used. A `TorchFunctionMode`
sees that call. It is on while the module's own forward runs, and off elsewhere.

This module needs PyTorch, and is imported by `record` alone.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch.nn import Module, RNNBase, RNNCellBase
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from lstmgrad.interop._torch_calls import CellPiece, LayersCall

LAYERS = ("lstm", "gru", "rnn_tanh", "rnn_relu")
CELLS = ("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")


class Log:
    """What one module did in a block.

    Attributes:
        kind: the name of its class.
        times: how often its forward ran.
        calls: of fused layers, and pieces of runs of cells, in the order in which they began.
    """

    def __init__(self, kind: str):
        self.kind, self.times = kind, 0
        self.calls: list[Any] = []

    def of_layers(self, func: Callable, args: tuple, order: Any) -> Any:
        """Calls a function of whole layers, and notes it.

        Args:
            func: `torch.lstm`, ...
            args: its arguments.
            order: the `unsorted_indices` of packed sequences.
        """
        call = LayersCall(func.__name__, args, order)
        self.calls.append(call)
        return call.heard(func(*args))

    def of_cell(self, func: Callable, args: tuple) -> Any:
        """Calls a function of one step, and notes it.

        Args:
            func: `torch.lstm_cell`, ...
            args: its arguments.
        """
        x, state, *weights = args
        several = isinstance(state, tuple | list)
        parts = tuple(state) if several else (state,)
        goes_on = [piece for piece in self.calls if piece.ends_in(parts)]
        if not goes_on and self.calls and self.calls[-1].ends_like(parts):
            goes_on = self.calls[-1:]
        if not goes_on:
            self.calls.append(CellPiece(func.__name__, parts, weights))
        piece = goes_on[-1] if goes_on else self.calls[-1]
        parts = piece.enter(x, parts, weights)
        return piece.leave(func(x, parts if several else parts[0], *weights))


class _Watch(TorchFunctionMode):
    """Hands the recurrent calls to a log, and lets all others pass."""

    def __init__(self, log: Log, order: Any):
        super().__init__()
        self.log, self.order = log, order

    def __torch_function__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in LAYERS:
            return self.log.of_layers(func, args, self.order)
        if name in CELLS:
            return self.log.of_cell(func, args)
        return func(*args, **(kwargs or {}))


def recurrent_modules(module: Any) -> dict[str, Any]:
    """Returns the recurrent modules of PyTorch in a module, by dotted name.

    Args:
        module: a live module.

    Raises:
        ValueError: it is not a module, or has none inside.
    """
    if not isinstance(module, Module):
        raise ValueError(
            f"module: expected a live torch.nn.Module, but got {type(module).__name__}. Weights "
            "alone have no run to record: from_torch takes a state_dict or a file."
        )
    found = {
        name: inside
        for name, inside in module.named_modules()
        if isinstance(inside, RNNBase | RNNCellBase)
    }
    if not found:
        raise ValueError(
            "module: expected an nn.LSTM, nn.GRU, nn.RNN or one of their cells inside, but "
            f"{type(module).__name__} has none that can be seen. For a recurrence of your own, "
            "write the step: any step(params, state, x) -> state will do."
        )
    return found


@contextlib.contextmanager
def watched(modules: dict[str, Any], logs: dict[str, Log]) -> Iterator[None]:
    """Notes what modules call, and leaves nothing behind, whatever happens.

    Args:
        modules: by name.
        logs: by the same names.
    """
    replaced = []
    try:
        for name, module in modules.items():
            replaced.append((module, vars(module).get("forward")))
            module.forward = _noting(module.forward, logs[name])
        yield
    finally:
        for module, own in replaced:
            del module.forward
            if own is not None:
                module.forward = own
        for log in logs.values():
            for call in log.calls:
                call.close()


def _noting(forward: Callable, log: Log) -> Callable:
    def run(*args: Any, **kwargs: Any) -> Any:
        log.times += 1
        packed = [x for x in (*args, *kwargs.values()) if isinstance(x, PackedSequence)]
        with _Watch(log, packed[0].unsorted_indices if packed else None):
            return forward(*args, **kwargs)

    return run
