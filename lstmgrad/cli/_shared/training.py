"""A cell with a linear readout, and its short training on predicting what comes next."""

import sys
import zlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lstmgrad as lg
from lstmgrad._chains.layout import layout_of
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.sequences import Sequence

WINDOW = 100
BATCH = 16
LEARNING_RATE = 3e-3
CLIP = 1.0
WIDEST = 4096
"""Numbers in a part, where that is more than its units: a matrix of 64 x 64."""


class Kind(NamedTuple):
    """A cell that can be compared.

    Attributes:
        title: its name in tables and figures.
        make: ``make(input_size, hidden_size, dtype=) -> Cell``.
        number: keeps the random stream of a cell the same, whichever cells run beside it.
        linearize: `lg.linearize`, or what gives the same chain for less.
        held: parts of its state without a derivative.
    """

    title: str
    make: Callable[..., lg.cells.Cell]
    number: int
    linearize: Callable[..., lg.Chain] = lg.linearize
    held: tuple[str, ...] = ()

    def parts(self, hidden: int) -> tuple[str, ...]:
        """The parts of its state whose norms are measured, each against itself.

        Args:
            hidden: hidden units.

        Raises:
            CommandError: a part has more numbers than an array of their square allows.
        """
        layout = layout_of(jax.eval_shape(self.make(1, hidden).initial_state))
        parts = tuple(str(part) for part in layout.parts if part not in self.held)
        sizes = {part: layout.block_size(part, "part") for part in parts}
        if self.linearize is lg.linearize and max(sizes.values()) > max(WIDEST, hidden):
            part = max(sizes, key=lambda part: sizes[part])
            raise CommandError(
                f"--hidden: expected less than {hidden} with {self.title}, whose {part} would have "
                f"{sizes[part]} numbers: its norms take an array of their square, and {WIDEST} "
                "numbers are allowed"
            )
        return parts


def _kinds() -> dict[str, Kind]:
    """All cells of the library, in its order."""
    titles = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
    numbers = {"rnn": 0, "gru": 1, "lstm": 2}
    diagonal = ("min_gru", "min_lstm", "lru", "rg_lru", "selective_ssm")
    stabilized = ("slstm", "mlstm")
    return {
        name: Kind(
            titles.get(name, name),
            make,
            # Of the name alone, so that it outlives a new cell in the registry.
            numbers.get(name, zlib.crc32(name.encode())),
            lg.linearize_diagonal if name in diagonal else lg.linearize,
            ("m",) if name in stabilized else (),
        )
        for name, make in lg.cells.registry().items()
    }


KINDS = _kinds()
"""What can be compared."""

CELLS = {name: KINDS[name] for name in ("rnn", "gru", "lstm")}
"""What is compared unless something else is asked for."""


class Params(NamedTuple):
    """Attributes: cell, its parameters; weight (d, ·) and bias (d,) of the readout of h."""

    cell: Any
    weight: jax.Array
    bias: jax.Array


class Model(NamedTuple):
    """Pure functions on `Params` and on rows of a sequence.

    Attributes:
        cell: the recurrent cell.
        init: ``init(key) -> Params``.
        encode: ``encode(rows) -> inputs``, one-hot where the rows are characters.
        loss: ``loss(params, rows) -> scalar``, of predicting each row from those before it, from
            the zero state: nats per character, or mean squared error.
    """

    cell: lg.cells.Cell
    init: Callable[[jax.Array], Params]
    encode: Callable[[jax.Array], jax.Array]
    loss: Callable[[Params, jax.Array], jax.Array]


def build(kind: Kind, sequence: Sequence, hidden: int, dtype: Any) -> Model:
    """Returns the model of one cell for a sequence.

    Args:
        kind: which cell.
        sequence: gives the width and whether rows are characters.
        hidden: hidden units.
        dtype: of parameters, inputs and state.
    """
    width = sequence.width
    cell = kind.make(width, hidden, dtype=dtype)
    size = jax.eval_shape(lambda: _numbers(cell.initial_state().h)).size

    def init(key: jax.Array) -> Params:
        cell_key, readout_key = jax.random.split(key)
        weight = jax.nn.initializers.glorot_normal()(readout_key, (width, size), dtype)
        return Params(cell.init(cell_key), weight, jnp.zeros(width, dtype))

    def encode(rows: jax.Array) -> jax.Array:
        return jax.nn.one_hot(rows, width, dtype=dtype) if sequence.symbolic else rows

    def loss(params: Params, rows: jax.Array) -> jax.Array:
        trajectory = lg.unroll(cell.step, params.cell, cell.initial_state(), encode(rows[:-1]))
        hidden_states = trajectory.states.h[1:]
        predicted = jax.vmap(lambda h: params.weight @ _numbers(h) + params.bias)(hidden_states)
        if sequence.symbolic:
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(predicted, rows[1:]))
        return jnp.mean(jnp.square(predicted - rows[1:]))

    return Model(cell, init, encode, loss)


def train(
    model: Model, params: Params, rows: jax.Array, key: jax.Array, steps: int, title: str
) -> Params:
    """Returns the parameters after Adam on random windows, gradients clipped by norm.

    Args:
        model: from `build`.
        params: where to start.
        rows: the whole sequence.
        key: of the windows; step i uses the i-th fold of it.
        steps: how many.
        title: what the progress bar says.
    """
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(LEARNING_RATE))
    size = window_size(len(rows)) + 1
    last = len(rows) - size

    @jax.jit
    def step(params, state, rows, key, index):
        starts = jax.random.randint(
            jax.random.fold_in(key, index), (BATCH,), 0, last + 1, dtype=jnp.int32
        )
        loss, gradients = jax.value_and_grad(_mean_loss(model, size))(params, rows, starts)
        # Adam raises a float to an integer count, which strict promotion forbids.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    state = optimizer.init(params)
    for index in _with_progress(range(steps), title):
        params, state, loss = step(params, state, rows, key, jnp.asarray(index, jnp.uint32))
        # Steps are queued faster than they run: without waiting, the bar would be ahead of them
        # and Ctrl-C late.
        loss.block_until_ready()
    return params


def evaluator(model: Model, rows: jax.Array) -> Callable[[Params], jax.Array]:
    """Returns the compiled function from parameters to the mean loss over the sequence.

    The mean is over windows of the training length, evenly spread and at most 64 of them, so that
    it costs the same for a text of any length.

    Args:
        model: from `build`.
        rows: the whole sequence.
    """
    size = window_size(len(rows)) + 1
    last = len(rows) - size
    count = min(64, -(-last // size) + 1)
    starts = jnp.asarray(np.linspace(0, last, count).astype(np.int32))
    mean = jax.jit(_mean_loss(model, size))
    return lambda params: mean(params, rows, starts)


def window_size(count: int) -> int:
    """The characters or rows that one training window feeds to the cell.

    Args:
        count: rows in the sequence.
    """
    return min(WINDOW, count - 1)


def _numbers(h: jax.Array) -> jax.Array:
    """A hidden state as one real vector, whatever it is."""
    parts = (h.real, h.imag) if jnp.iscomplexobj(h) else (h,)
    return jnp.concatenate([part.reshape(-1) for part in parts])


def _mean_loss(model: Model, size: int) -> Callable[..., jax.Array]:
    def mean_loss(params: Params, rows: jax.Array, starts: jax.Array) -> jax.Array:
        def one(start: jax.Array) -> jax.Array:
            return model.loss(params, jax.lax.dynamic_slice_in_dim(rows, start, size))

        return jnp.mean(jax.vmap(one)(starts))

    return mean_loss


def _with_progress(steps: Iterable[int], title: str) -> Iterable[int]:
    """The steps, behind a progress bar if someone is watching and tqdm is there."""
    if not sys.stderr.isatty():
        return steps
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    return tqdm(steps, desc=title, unit="step", leave=False)
