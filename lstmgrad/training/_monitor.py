"""Numbers that say how gradients fare, cheap enough to be logged all through a training."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lstmgrad._calls import public
from lstmgrad._chains.layout import layout_of
from lstmgrad._checks import check_count, check_kind, check_positive
from lstmgrad._leaves import shown
from lstmgrad._model import Model
from lstmgrad._types import Params, PartName, State
from lstmgrad.tasks import Task
from lstmgrad.training._readout import part_vector
from lstmgrad.training._watched import How, Watched, read

Loss = Callable[..., Any]
"""``loss(params, states, *rest) -> scalar`` for one sequence, with T+1 states on axis 0."""


@public
def monitor(
    model: Model,
    loss: Loss | Task | None = None,
    *,
    recurrent: Callable[[Params], Params] | None = None,
    lags: Sequence[int] | None = None,
    parts: Sequence[PartName] | None = None,
    sequences: int = 4,
    vectors: int = 4,
    threshold: float = 1e-3,
) -> Callable[[Params, Any], dict[str, float]]:
    """Returns a function from parameters and a batch to a flat dict of numbers, for any logger.

    Args:
        model: its step and its starting state; the parameters are given at every reading.
        loss: ``loss(params, states, *rest) -> scalar`` of one sequence, with the T+1 states and
            what the batch has behind its inputs; or a `Task`, for what `fit` trains with a
            readout of h; None leaves
            the numbers of the gradient out.
        recurrent: from all parameters to those of the model; None: they are the model's, or with a
            `Task` the first of the pair (parameters, readout).
        lags: increasing whole numbers, from 1 to T; None is 1, 3, 10, 30, ... and T.
        parts: the parts of the state whose norms are read; None is all of them.
        sequences: how many of a batch are read, the first ones.
        vectors: random vectors for each norm.
        threshold: the norm below which a gradient counts as lost, for the horizon.

    Returns:
        ``watch(params, batch) -> dict``, with Python floats under names that do not change:

        - ``log_norm/h/30``: ln ‖∂h_T/∂h_{T-30}‖₂ by part and lag, means over the sequences. Lower
          bounds from a few random vectors: the norm itself at long lags, and up to 0.6 nats below
          it where many directions fare alike; `lg.backward_norms` gives proved ones.
        - ``log_norm/path/30``: the same through the additive path alone, exact; where a step marks
          one with the tag "cell" or "carry".
        - ``horizon/h``: the lag from which the norm stays below `threshold`, between the lags along
          straight lines; inf beyond the longest one.
        - ``largest_exponent``: growth of a tangent in nats per step, after a quarter of the steps.
        - ``saturation/forget/low`` and ``/high``: the shares of the values of a gate below 0.1 and
          above 0.9.
        - with a loss: ``loss``, ``gradient_norm`` (of the mean over the whole batch, estimated from
          the sequences read), ``signal_to_noise`` (of one sequence: ‖E g‖² / E ‖g - E g‖²), and
          ``share_of_first_quarter`` of the steps in the gradient of the recurrent weights. What
          underflows or overflows in training does so here.

        The batch is ``(inputs, *rest)``, like `Examples`, or inputs alone in anything but a tuple;
        sequences on axis 0.

    Raises:
        ValueError: not a model; lags that do not increase, or beyond T; an unknown part; a number
            that is not whole or too small.

    Notes:
        Compiled once for a kind of model and a shape of the batch, so that models of one kind made
        anew at every reading, as `lg.interop` does, share it. For an LSTM with h = 128, T = 200 and
        the default options a reading takes about as long as a step of its training on 32 sequences
        (see tests/benchmarks/monitor.py).

    Example:
        ```python
        watch = lg.training.monitor(model, task)
        rows, batch = [], task.batch(key, 32, 99)

        def observe(now):
            rows.append({"step": now.steps} | watch((now.fit.model.params, now.fit.readout), batch))

        lg.training.fit(model, task, key, delay=99, every=100, observe=observe)

        with open("gradients.csv", "w", newline="") as file:        # plain CSV
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)

        writer = tensorboardX.SummaryWriter()                         # TensorBoard
        for name, value in row.items():
            writer.add_scalar(name, value, step)

        run = wandb.init(mode="offline")                              # Weights & Biases
        run.log(row, step=step)

        lstm = torch.nn.LSTM(8, 128)                                  # a live PyTorch module
        watch = lg.training.monitor(lg.interop.from_torch(lstm))
        watch(lg.interop.from_torch(lstm).params, inputs)             # at every reading
        ```

        >>> watch = lg.training.monitor(model, lags=(1, 5))
        >>> sorted(watch(model.params, (inputs[None],)))[:2]
        ['horizon/c', 'horizon/h']

    References:
        Halko, Martinsson & Tropp 2011 (arXiv:0909.4061), for norms from random vectors. McCandlish
        et al. 2018 (arXiv:1812.06162), Appendix A, for the noise of a gradient.
    """
    check_kind(model, Model, "model")
    check_positive(threshold, "threshold")
    sequences, vectors = check_count(sequences, "sequences"), check_count(vectors, "vectors")
    layout = layout_of(model.state)
    chosen = layout.parts if parts is None else tuple(parts)
    for part in chosen:
        layout.block(part, "parts")
    if isinstance(loss, Task):
        loss, recurrent = _task_loss(loss), recurrent or _first
    wanted = None if lags is None else tuple(lags)
    kept = (model.step, loss, recurrent or _same)

    def watch(params: Params, batch: Any) -> dict[str, float]:
        given = tuple(batch) if isinstance(batch, tuple) else (batch,)
        length = jax.tree.leaves(given[0])[0].shape[1]
        at = _decades(length) if wanted is None else _check_lags(wanted, length)
        how = How(*kept, at, chosen, sequences, vectors)
        found = jax.device_get(read(params, model.state, given, how))
        return _flat(found, at, math.log(threshold))

    return watch


def _same(params: Params) -> Params:
    return params


def _first(params: Params) -> Params:
    return params[0]


@functools.cache
def _task_loss(task: Task) -> Loss:
    """The loss of a task for parameters that are a pair (of the model, readout of h)."""

    def loss(params: Any, states: State, targets: Any, weights: Any) -> Any:
        outputs = jax.vmap(lambda state: params[1](part_vector(state, "h")))(states)[1:]
        return task.loss(outputs, targets, weights)

    return loss


def _decades(length: int) -> tuple[int, ...]:
    """1, 3, 10, 30, ... below T, and T."""
    lags = {round(10 ** (place / 2)) for place in range(2 * len(str(length)))}
    return (*sorted(lag for lag in lags if lag < length), length)


def _check_lags(lags: tuple[int, ...], length: int) -> tuple[int, ...]:
    """Increasing whole numbers from 1 to T."""
    whole = all(isinstance(lag, int | np.integer) and not isinstance(lag, bool) for lag in lags)
    if (
        not lags
        or not whole
        or list(lags) != sorted(set(lags))
        or not 1 <= lags[0] <= lags[-1] <= length
    ):
        raise ValueError(
            f"lags: expected increasing whole numbers from 1 to T = {length}, but got "
            f"{shown(lags)}."
        )
    return tuple(int(lag) for lag in lags)


def _flat(found: Watched, lags: tuple[int, ...], limit: float) -> dict[str, float]:
    """The numbers by name."""
    flat = {}
    for part, logs in found.log_norms.items():
        flat |= {f"log_norm/{part}/{lag}": logs[place] for place, lag in enumerate(lags)}
        flat[f"horizon/{part}"] = _horizon(lags, logs, limit)
    if found.log_path is not None:
        flat |= {f"log_norm/path/{lag}": x for lag, x in zip(lags, found.log_path, strict=True)}
        flat["horizon/path"] = _horizon(lags, found.log_path, limit)
    flat["largest_exponent"] = found.exponent
    for gate, (low, high) in found.saturated.items():
        flat |= {f"saturation/{gate}/low": low, f"saturation/{gate}/high": high}
    if found.gradient is not None:
        names = ("loss", "gradient_norm", "signal_to_noise", "share_of_first_quarter")
        flat |= dict(zip(names, found.gradient, strict=True))
    return {name: float(value) for name, value in flat.items()}


def _horizon(lags: tuple[int, ...], logs: Any, limit: float) -> float:
    """The lag from which the norm stays below a limit, on straight lines between the lags."""
    steps, values = np.array([0, *lags], float), np.array([0.0, *np.asarray(logs, float)])
    if np.isnan(values).any():
        return math.nan
    last = int(np.flatnonzero(values >= limit)[-1]) if (values >= limit).any() else 0
    if last == len(lags):
        return math.inf
    high, low = values[last], values[last + 1]
    share = 0.0 if math.isinf(low) else (high - limit) / (high - low)
    return float(steps[last] + share * (steps[last + 1] - steps[last]))
