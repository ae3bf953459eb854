"""Recordings of live PyTorch modules: what the recurrent layers inside did, and what came back.

The forward pass, the loss and the backward pass are the user's own. A recording gives each layer's
model, inputs and starting states as they were, and the derivative of that loss with respect to
every state as if no state depended on another: what `adjoint` and `contributions` take.
"""

from typing import Any, Literal

from lstmgrad._calls import public
from lstmgrad._checks import require
from lstmgrad.interop._checks import check_direction
from lstmgrad.interop._recorded_run import RecordedRun
from lstmgrad.interop._torch import check_layer


@public
def record(module: Any) -> "Recording":
    """Returns a recording of a live PyTorch module, to be filled in a `with` block.

    Args:
        module: any `nn.Module` with an `nn.LSTM`, `nn.GRU`, `nn.RNN`, or cells of theirs in a
            Python loop, anywhere inside.

    Returns:
        `Recording`; ``recording["encoder.lstm"]`` is the run of one of them.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: it is not a module, or none of these is inside.

    Notes:
        All results of the model are as without the block: outputs, losses, `.grad`, random
        numbers, `retain_grad`. Weights are recorded as the layers use them, so weight norm and
        other parametrizations are computed already; gradients are with respect to these.
        Several backward passes in a block add up. Without one (a validation batch, `no_grad`)
        there are models, inputs and states, but no cotangents. Not seen are layers under
        `torch.jit` and what runs on copies of the module (`DataParallel`); a loss that is scaled
        (`GradScaler`) is recorded as scaled. Nothing stays behind after the block, not after an
        exception either.

        In the block, one copy each of the inputs of every call, of its weights, and of what comes
        back to its outputs: for T steps, a batch B, d inputs and h units, T B (d + h) numbers and
        the weights, where the backward pass itself keeps about T B (d + 6 h) for an LSTM. A stack
        of layers is run once more when it is first read, layer by layer, to see what is inside.

    Example:
        ```python
        with lg.interop.record(net) as recording:
            loss = criterion(net(batch), labels)
            loss.backward()
        run = recording["encoder.lstm"]
        found = lg.contributions(run.chain(0), run.cotangents(0))  # of the first sequence
        ```
        Summed over all sequences, ``found.gradient.weight_hh`` is `weight_hh_l0.grad`.

        >>> import torch
        >>> net = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(2, 3, batch_first=True)})
        >>> with lg.interop.record(net) as recording:
        ...     net["lstm"](torch.ones(4, 6, 2))[0].sum().backward()
        >>> run = recording["lstm"]
        >>> run.inputs(0).shape, run.cotangents(0).c.shape
        ((6, 2), (7, 3))
    """
    return Recording(module)


class Recording:
    """What `record` returns: the runs of the recurrent layers of a module, by its name.

    Example:
        >>> import torch
        >>> net = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(2, 3, batch_first=True)})
        >>> with lg.interop.record(net) as recording:
        ...     output, last = net["lstm"](torch.ones(4, 6, 2))
        >>> recording.names
        ('lstm',)
    """

    def __init__(self, module: Any):
        require("torch", "torch")
        from lstmgrad.interop import _torch_watch

        self._modules = _torch_watch.recurrent_modules(module)
        self._logs = {
            name: _torch_watch.Log(type(inside).__name__) for name, inside in self._modules.items()
        }
        self._block: Any = _torch_watch.watched(self._modules, self._logs)
        self._sides: dict[tuple, Any] = {}

    def __enter__(self) -> "Recording":
        """Begins to record."""
        if self._block is None:
            raise ValueError("record: expected one block for each recording, but got a second one.")
        self._block.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Leaves the module as it was."""
        self._block.__exit__(*error)
        self._block = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the recurrent modules inside, as in ``module.named_modules()``."""
        return tuple(self._logs)

    def __getitem__(self, name: str) -> RecordedRun:
        """The run of one module: ``run(name)``."""
        return self.run(name)

    def run(
        self,
        name: str | None = None,
        *,
        layer: int | None = None,
        direction: Literal["forward", "reverse"] | None = None,
        call: int | None = None,
    ) -> RecordedRun:
        """Returns the run of a layer.

        Args:
            name: of the module, as in ``module.named_modules()``; None if there is only one.
            layer: one layer, counted from 0; None is all of them, stacked, as for `from_torch`.
            direction: "forward" or "reverse" for a bidirectional module, otherwise None.
            call: which call of a module that ran more than once, counted from 0. Steps of a cell
                are one call as long as each starts from the state that the one before returned.

        Raises:
            ValueError: an option is out of range, or missing; the module did not run, or not
                through PyTorch's own functions; its layers are not one recurrence (two directions,
                dropout between them) and none was chosen; the weights of a cell changed on the way.

        Example:
            >>> recording.run("lstm", layer=0).lengths
            (6, 6, 6, 6)
        """
        name = _check_name(name, list(self._logs))
        index = _check_call(call, self._logs[name], name)
        found = self._logs[name].calls[index]
        _check_readable(found, name)
        layers, drops, both = 1, False, False
        if hasattr(found, "options"):
            layers, both, drops = found.options[1], found.options[4], found.random is not None
        check_direction(direction, both, repr(name))
        check_layer(layer, layers, both)
        if layer is None and drops:
            raise ValueError(
                f"layer: expected one of 0 to {layers - 1}, because outputs are dropped between "
                "the layers, so the stack is not a recurrence of the same step, but got None. "
                "module.eval() records it without dropout."
            )
        key = name, index, layer is None
        if key not in self._sides:
            from lstmgrad.interop import _torch_replay

            self._sides[key] = _torch_replay.sides_of(found, stacked=layer is None)
        chosen = self._sides[key] if layer is None else [self._sides[key][layer]]
        return RecordedRun(name, tuple(sides[direction or "forward"] for sides in chosen))

    def __repr__(self) -> str:
        """A line for each module."""
        rows = [
            f"{name!r}: {log.kind}, ran {log.times} times, {len(log.calls)} calls recorded"
            for name, log in self._logs.items()
        ]
        return "\n".join(["Recording", *(f"  {row}" for row in rows)])


def _check_name(name: Any, known: list[str]) -> str:
    """One of the recurrent modules, or the only one."""
    what = ", ".join(map(repr, known))
    if name is None and len(known) == 1:
        return known[0]
    if name not in known:
        raise ValueError(
            f"name: expected one of {what}, the recurrent modules inside, but got {name!r}."
        )
    return name


def _check_call(call: Any, log: Any, name: str) -> int:
    """The index of a call that was recorded."""
    count = len(log.calls)
    if not log.times:
        raise ValueError(f"name: expected a module that ran in the block, but {name!r} did not.")
    if not count:
        raise ValueError(
            f"name: expected a module that runs as PyTorch's own, but the forward of {name!r}, "
            f"{log.kind}, is one of its own. Write its step: any step(params, state, x) -> state "
            "will do."
        )
    if call is None and count == 1:
        return 0
    if call is None and hasattr(log.calls[0], "inputs") and not hasattr(log.calls[0], "options"):
        raise ValueError(
            f"call: expected one of 0 to {count - 1}, because the steps of {name!r} are {count} "
            "runs, each from a state that is not what a step before it returned, but got None. If "
            "the model changes the state between steps (dropout, a mask, a norm), the cell alone "
            "is not its recurrence: write the whole step."
        )
    if isinstance(call, int) and not isinstance(call, bool) and 0 <= call < count:
        return call
    raise ValueError(
        f"call: expected one of 0 to {count - 1}, because {name!r} was called {count} times, but "
        f"got {call!r}."
    )


def _check_readable(call: Any, name: str) -> None:
    """The call was in the precision of its weights, and those stayed the same."""
    if call.mixed:
        raise ValueError(
            f"name: expected a call in the precision of the weights, but {name!r} ran under "
            "torch.autocast, which rounds them at every step. Leave autocast out of the block."
        )
    changed = getattr(call, "changed", None)
    if changed is not None:
        raise ValueError(
            f"name: expected the same weights at every step, but those of {name!r} changed before "
            f"step {changed + 1}, as under weight dropout or spectral norm in training. Record in "
            "module.eval(), or write the step."
        )
