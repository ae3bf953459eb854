"""A cell with a linear readout, and its short training on predicting what comes next."""

import textwrap
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lstmgrad as lg
from lstmgrad._chains.declared import linearize_as_declared
from lstmgrad.cli._shared.compiler import SAME_NUMBERS
from lstmgrad.cli._shared.console import entry
from lstmgrad.cli._shared.kinds import Kind
from lstmgrad.cli._shared.networks import DRAWING
from lstmgrad.cli._shared.sequences import Sequence
from lstmgrad.cli._shared.side_by_side import Report
from lstmgrad.training._fit import default_optimizer
from lstmgrad.training._progress import progress_bar

WINDOW = 100
BATCH = 16
INITIAL, TRAINED = "initial", "trained"


class Params(NamedTuple):
    """Parameters of a cell and of its readout.

    Attributes:
        cell: those of the cell.
        weight: (d, ·), of the readout of h.
        bias: (d,), of the readout of h.
    """

    cell: Any
    weight: jax.Array
    bias: jax.Array


class Readout(NamedTuple):
    """Pure functions on `Params` and on rows of a sequence.

    Attributes:
        kind: the kind of the cell.
        cell: the recurrent cell.
        rows: all rows of the sequence, in the dtype of the model or as characters.
        steps: the rows of each of its pieces, which no window leaves.
        init: ``init(key) -> Params``.
        encode: ``encode(rows) -> inputs``, one-hot where the rows are characters.
        loss: ``loss(params, rows) -> scalar``, the loss of predicting each row from those before
            it, from the zero state: nats per character, or mean squared error.
    """

    kind: Kind
    cell: lg.cells.Cell
    rows: jax.Array
    steps: int
    init: Callable[[jax.Array], Params]
    encode: Callable[[jax.Array], jax.Array]
    loss: Callable[[Params, jax.Array], jax.Array]


def build(kind: Kind, sequence: Sequence, hidden: int, dtype: Any) -> Readout:
    """Returns the model of one cell for a sequence.

    Args:
        kind: which cell.
        sequence: what the model reads and predicts.
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

    step = cell.step
    if any(leaf.ndim > 1 for leaf in jax.tree.leaves(jax.eval_shape(cell.initial_state))):
        # What a step keeps for the way back is several times its matrix, and takes longer to write
        # and read than the step takes to run again.
        step = jax.checkpoint(step, prevent_cse=False)

    def loss(params: Params, rows: jax.Array) -> jax.Array:
        model = cell.model(params.cell)._replace(step=step)
        trajectory = lg.unroll(*model, encode(rows[:-1]))
        hidden_states = trajectory.states.h[1:]
        predicted = jax.vmap(lambda h: params.weight @ _numbers(h) + params.bias)(hidden_states)
        if sequence.symbolic:
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(predicted, rows[1:]))
        return jnp.mean(jnp.square(predicted - rows[1:]))

    rows = jnp.asarray(sequence.rows, jnp.int32 if sequence.symbolic else dtype)
    return Readout(kind, cell, rows, sequence.steps, init, encode, loss)


def chain_of(model: Readout, params: Params, rows: jax.Array) -> lg.Chain:
    """Returns the chain of step Jacobians of the cell along some rows.

    Args:
        model: from `build`.
        params: its parameters.
        rows: what it reads, from the zero state.
    """
    linearize = linearize_as_declared(model.cell)
    return lg.chain(model.cell.model(params.cell), model.encode(rows), linearize=linearize)


def initial(model: Readout, seed: int) -> tuple[Params, jax.Array]:
    """Returns random parameters, and the key of the training windows.

    Args:
        model: from `build`.
        seed: the same for all cells, which still differ in their numbers.
    """
    key = jax.random.fold_in(jax.random.key(seed), model.kind.number)
    init_key, train_key = jax.random.split(key)
    draw = jax.jit(model.init, compiler_options=SAME_NUMBERS).lower(init_key).compile()
    with DRAWING:
        return jax.block_until_ready(draw(init_key)), train_key


def train(
    model: Readout, params: Params, key: jax.Array, steps: int, *, report: Report | None = None
) -> Params:
    """Returns the parameters after Adam on random windows, with gradients clipped by their norm.

    Args:
        model: from `build`.
        params: where to start.
        key: of the windows; step i uses the i-th fold of it.
        steps: how many.
        report: called with 1 after each step.
    """
    optimizer = default_optimizer()
    rows, size = model.rows, window_size(model.steps) + 1
    windows = _windows(model, size)

    @jax.jit
    def step(params, state, rows, key, index):
        drawn = jax.random.randint(
            jax.random.fold_in(key, index), (BATCH,), 0, windows, dtype=jnp.int32
        )
        loss, gradients = jax.value_and_grad(_mean_loss(model, size))(params, rows, drawn)
        # Adam raises a float to an integer count, which strict promotion forbids.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    state = optimizer.init(params)
    with progress_bar(steps, model.kind.title) as advance:
        for index in range(steps):
            params, state, loss = step(params, state, rows, key, jnp.asarray(index, jnp.uint32))
            # Steps are queued faster than they run: without waiting, the bar would be ahead of
            # them and Ctrl-C late.
            loss.block_until_ready()
            advance(1)
            if report is not None:
                report(1)
    return params


def evaluator(model: Readout) -> Callable[[Params], jax.Array]:
    """Returns the compiled function from parameters to the mean loss over the sequence.

    The mean is over windows of the training length, evenly spread and at most 64 of them, so that
    it costs the same for a text of any length.

    Args:
        model: from `build`.
    """
    rows, size = model.rows, window_size(model.steps) + 1
    last = _windows(model, size) - 1
    pieces = len(rows) // model.steps
    count = min(64, pieces * (-(-(model.steps - size) // size) + 1))
    starts = jnp.asarray(np.linspace(0, last, count).astype(np.int32))
    mean = jax.jit(_mean_loss(model, size))
    return lambda params: mean(params, rows, starts)


def window_size(count: int) -> int:
    """Returns how many characters or rows one training window feeds to the cell.

    Args:
        count: rows in the sequence.
    """
    return min(WINDOW, count - 1)


def summary_of(kinds: Iterable[Kind], sequence: Sequence, how: Any, dtype: str) -> list[str]:
    """Returns what is trained on what, as lines of a summary.

    Args:
        kinds: the cells.
        sequence: what they predict.
        how: has `hidden`, units of each cell, `train`, training steps, and `seed`.
        dtype: of the models.
    """
    titles = ", ".join(kind.title for kind in kinds)
    model = f"{titles}; hidden size {how.hidden}, {dtype}, seed {how.seed}"
    windows = f"{BATCH} windows of {window_size(sequence.steps)} each"
    training = f"{how.train} steps of Adam on the next {sequence.unit}, {windows}"
    wrapped = textwrap.wrap(model, 69)
    return [*entry("model", *wrapped), *entry("training", training if how.train else "none")]


def stage_titles(steps: int) -> dict[str, str]:
    """Returns the stages of a training by name, each in words.

    Args:
        steps: training steps.
    """
    trained = {TRAINED: f"after {steps} training step{'' if steps == 1 else 's'}"} if steps else {}
    return {INITIAL: "at initialization", **trained}


def _numbers(h: jax.Array) -> jax.Array:
    """A hidden state of any shape as one real vector."""
    parts = (h.real, h.imag) if jnp.iscomplexobj(h) else (h,)
    return jnp.concatenate([part.reshape(-1) for part in parts])


def _windows(model: Readout, size: int) -> int:
    """How many windows of `size` rows there are, in all pieces together."""
    return len(model.rows) // model.steps * (model.steps - size + 1)


def _mean_loss(model: Readout, size: int) -> Callable[..., jax.Array]:
    each = model.steps - size + 1

    def mean_loss(params: Params, rows: jax.Array, windows: jax.Array) -> jax.Array:
        def one(window: jax.Array) -> jax.Array:
            start = window // each * model.steps + window % each
            return model.loss(params, jax.lax.dynamic_slice_in_dim(rows, start, size))

        return jnp.mean(jax.vmap(one)(windows))

    return mean_loss
