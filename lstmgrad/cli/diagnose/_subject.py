"""What is diagnosed: a network, its sequences and its loss, from a file, a cell or a demo."""

import functools
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lstmgrad as lg
from lstmgrad._chains.layers import top_part
from lstmgrad.cli._shared.console import entry
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli._shared.parser import check_whole
from lstmgrad.cli._shared.tokens import read_inputs
from lstmgrad.cli._shared.weights import Loaded, Weights, load_weights
from lstmgrad.cli.diagnose._demos import DELAY, DEMOS
from lstmgrad.cli.diagnose._inputs import Batch, read_batch, read_targets
from lstmgrad.cli.diagnose._options import Options
from lstmgrad.training._readout import Readout, init_readout, part_vector

Loss = Callable[[Any, Any], jax.Array]
"""``loss(states, answer) -> scalar`` of one sequence, with the T+1 states."""

DEMO_SEQUENCES = 8
AT_RANDOM = "by a readout at random"


class Subject(NamedTuple):
    """What is diagnosed.

    Attributes:
        model: the network.
        inputs: (N, T, ...).
        loss: of one sequence; None for a readout at random of the last h.
        answers: what the loss is given besides the states, N on axis 0.
        lag: the steps to learn over; None is all of them.
        options: of the training, as `lg.diagnose` takes them.
        about: where it comes from, by name.
        loaded: the file that it was read from, or None.
    """

    model: lg.Model
    inputs: jax.Array
    loss: Loss | None
    answers: Any
    lag: int | None
    options: dict[str, Any]
    about: dict[str, str]
    loaded: Loaded | None = None

    def summary(self) -> list[str]:
        """Returns what it is, line by line."""
        lines = []
        for name, text in self.about.items():
            lines += entry(name.lower(), *textwrap.wrap(text, 69))
        return lines


def subject_of(options: Options) -> Subject:
    """Returns what the options name.

    Args:
        options: from `parse`.

    Raises:
        CommandError: a file cannot be used, or does not fit the network.
    """
    subject = _demo(options, options.demo) if options.demo is not None else _read(options)
    length = subject.inputs.shape[1]
    why = f"because a sequence has {length} steps"
    if options.lag is not None:
        check_whole(options.lag, "--lag", 1, most=length - 1, why=why)
    if options.truncation is not None:
        check_whole(options.truncation, "--truncation", 1, most=length, why=why)
    return subject


def _read(options: Options) -> Subject:
    """A network from a file of weights, or a cell, on what is read from a file."""
    dtype = jnp.dtype(options.dtype)
    assert options.input is not None
    read = functools.partial(
        read_batch,
        options.input,
        options.reading,
        length=options.length,
        most=options.sequences,
    )
    if options.source is not None:
        loaded = load_weights(options.source, options.dtype)
        batch = read(read=functools.partial(read_inputs, source=options.source, loaded=loaded))
        if batch.embedding is None:
            _check_width(options, options.source, batch.width, loaded.input_size)
        model, what = loaded.model, f"{KINDS[loaded.kind].title}; {loaded.described()}"
        about = {"Network": what, "Weights": str(options.source.weights)}
        if options.source.direction == "reverse":
            batch = batch._replace(rows=batch.rows[:, ::-1], after=None)
    else:
        loaded, name, batch = None, str(options.cells), read()
        cell = KINDS[name].make(batch.width, options.hidden, dtype=dtype)
        key = jax.random.fold_in(jax.random.key(options.seed), KINDS[name].number)
        model = cell.model(cell.init(key))
        about = {
            "Network": f"{KINDS[name].title} with {options.hidden} units, at initialization",
            "Seed": str(options.seed),
        }
    if batch.embedding is not None:
        inputs = jnp.asarray(batch.embedding.vectors[batch.rows], dtype)
    elif batch.rows.ndim == 2:
        inputs = jax.nn.one_hot(jnp.asarray(batch.rows, jnp.int32), batch.width, dtype=dtype)
    else:
        inputs = jnp.asarray(batch.rows, dtype)
    loss, answers, said = _loss(options, batch, model, loaded)
    about |= {"Input": batch.summary, "Loss": said, "Precision": options.dtype}
    return Subject(model, inputs, loss, answers, options.lag, _training(options), about, loaded)


def _training(options: Options) -> dict[str, Any]:
    return {
        "clip": options.clip,
        "truncation": options.truncation,
        "batch_size": options.batch,
        "sequences": options.budget,
    }


def _demo(options: Options, name: str) -> Subject:
    """A network with a planted fault, on delayed recall with a readout at random."""
    demo, dtype = DEMOS[name], jnp.dtype(options.dtype)
    task = lg.tasks.delayed_recall(dtype=dtype)
    keys = jax.random.split(jax.random.key(options.seed), 3)
    cell, params = demo.make(keys[0], task.input_size, dtype)
    examples = task.batch(keys[1], min(options.sequences, DEMO_SEQUENCES), DELAY)
    model = cell.model(params)
    readout = init_readout(keys[2], model.state, "h", task.output_size)

    def loss(states: Any, answer: tuple[jax.Array, jax.Array]) -> jax.Array:
        return task.loss(_said(readout, states, "h"), *answer)

    given = {key: value for key, value in _training(options).items() if value is not None}
    about = {
        "Network": f"{demo.what} ({name})",
        "Input": f"delayed recall over {DELAY} steps, {len(examples.inputs)} sequences",
        "Loss": "cross-entropy at the last step, of a readout at random",
        "Seed": str(options.seed),
        "Precision": options.dtype,
    }
    answers = examples.targets, examples.weights
    lag = DELAY if options.lag is None else options.lag
    return Subject(model, examples.inputs, loss, answers, lag, demo.options | given, about)


def _said(readout: Readout, states: Any, part: str) -> jax.Array:
    """What the readout says at every step, (T, o)."""
    return jax.vmap(lambda state: readout(part_vector(state, part)))(states)[1:]


def _loss(
    options: Options, batch: Batch, model: lg.Model, loaded: Loaded | None
) -> tuple[Loss | None, Any, str]:
    """The loss of one sequence, what it is given besides the states, and both in words."""
    part = top_part(model.state._fields, "h") or "h"
    key = jax.random.fold_in(jax.random.key(options.seed), 2**31 + 3)
    if options.targets is not None:
        targets = read_targets(options.targets, batch)
        classes = np.issubdtype(targets.dtype, np.integer)
        size = int(targets.max()) + 1 if classes else 1
        drawn = init_readout(key, model.state, part, size)
        readout, name = _readout(drawn, loaded, batch)
        return (
            _supervised(readout, part, classes=classes, last=targets.ndim == 1),
            jnp.asarray(targets, jnp.int32 if classes else options.dtype),
            f"{'cross-entropy' if classes else 'squared error'} "
            f"{'at the last step' if targets.ndim == 1 else 'at every step'} against "
            f"{options.targets}, {name}",
        )
    if options.loss == "next":
        if batch.after is None:
            raise CommandError(
                "--loss next: expected a row behind every sequence, but there is none left; choose "
                "a shorter --length"
            )
        symbolic = batch.rows.ndim == 2
        following = np.concatenate([batch.rows[:, 1:], batch.after[:, None]], axis=1)
        drawn = init_readout(key, model.state, part, batch.width)
        readout, name = _readout(drawn, loaded, batch) if symbolic else (drawn, AT_RANDOM)
        return (
            _supervised(readout, part, classes=symbolic, last=False),
            jnp.asarray(following, jnp.int32 if symbolic else options.dtype),
            f"predicting the next {batch.unit}, {name}",
        )
    if options.loss == "every":
        readout = init_readout(key, model.state, part, 1)
        return (
            lambda states, answer: jnp.sum(_said(readout, states, part)),
            jnp.zeros(len(batch.rows)),
            "a readout at random of every hidden state",
        )
    return None, None, "a readout at random of the last hidden state"


def _supervised(readout: Readout, part: str, *, classes: bool, last: bool) -> Loss:
    """The mean cross-entropy or squared error, at the last step or at every step."""

    def loss(states: Any, answer: jax.Array) -> jax.Array:
        said = _said(readout, states, part)
        said = said[-1] if last else said
        if classes:
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(said, answer))
        return jnp.mean(jnp.square(said - answer.reshape(said.shape)))

    return loss


def _readout(drawn: Readout, loaded: Loaded | None, batch: Batch) -> tuple[Readout, str]:
    """The one linear layer of the file that fits, or the one that was drawn; and its name."""
    found = []
    others = () if batch.embedding is None else (batch.embedding.name,)
    for name, tensor in ({} if loaded is None else loaded.tensors).items():
        shape = tuple(np.shape(tensor))
        recurrent = loaded is not None and loaded.holds(name)
        fits = len(shape) == 2 and shape[1] == drawn.weight.shape[1] and shape[0] >= len(drawn.bias)
        if name.endswith("weight") and fits and not recurrent and name not in others:
            found.append(name)
    if loaded is None or len(found) != 1:
        return drawn, AT_RANDOM
    dtype, (name,) = drawn.weight.dtype, found
    weight = jnp.asarray(np.asarray(loaded.tensors[name]), dtype)
    bias = loaded.tensors.get(f"{name.removesuffix('weight')}bias", np.zeros(len(weight)))
    return Readout(weight, jnp.asarray(np.asarray(bias), dtype)), f"by {name}"


def _check_width(options: Options, source: Weights, found: int, wanted: int) -> None:
    if found != wanted:
        raise CommandError(
            f"{options.input}: expected {wanted} columns, what {source.weights} reads, but it has "
            f"{found}"
        )
