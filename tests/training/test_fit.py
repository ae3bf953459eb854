"""Training on a task: against Adam and the loss in NumPy, one network against many, refusals."""

import contextlib
import io
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lstmgrad as lg
from lstmgrad.training._progress import progress_bar

DELAY, STEPS, SIZE = 4, 5, 3
TASK = lg.tasks.delayed_recall(symbols=2, noise=1)
CELL = lg.cells.rnn(TASK.input_size, 3)
KEYS = jax.random.split(jax.random.key(0), 2)
HOW: Any = {"delay": DELAY, "steps": STEPS, "batch_size": SIZE, "every": 2}


@pytest.fixture(scope="module")
def pair() -> lg.training.Fit:
    """Two networks, five steps, a report every two."""
    return lg.training.fit(CELL.model(jax.vmap(CELL.init)(KEYS)), TASK, KEYS, **HOW)


def loss_in_numpy(leaves: list[np.ndarray], batch: Any) -> tuple[float, float]:
    """The mean cross-entropy and accuracy at the last step, from the definition of the RNN."""
    weight_ih, weight_hh, bias, weight, offset = leaves
    losses, scores = [], []
    for x, y in zip(np.asarray(batch.inputs), np.asarray(batch.targets)[:, -1], strict=True):
        h = np.zeros(3)
        for row in x:
            h = np.tanh(weight_ih @ row + weight_hh @ h + bias)
        logits = weight @ h + offset
        losses.append(np.log(np.exp(logits).sum()) - logits[y])
        scores.append(np.argmax(logits) == y)
    return float(np.mean(losses)), float(np.mean(scores))


def test_training_is_adam_on_the_mean_loss_behind_a_clipping(pair):
    """Gradients by central differences, Adam and clipping by hand, in float64."""
    key = KEYS[1]
    start = lg.training.fit(CELL.model(CELL.init(key)), TASK, key, **{**HOW, "steps": 0})
    leaves = [np.array(leaf) for leaf in jax.tree.leaves((start.model.params, start.readout))]
    assert [leaf.shape for leaf in leaves] == [(3, 3), (3, 3), (3,), (2, 3), (2,)]
    moments = [[np.zeros_like(leaf), np.zeros_like(leaf)] for leaf in leaves]
    batches = jax.random.split(key)[1]
    losses, scores = [], []
    for step in range(STEPS):
        batch = TASK.batch(jax.random.fold_in(batches, step), SIZE, DELAY)
        loss, score = loss_in_numpy(leaves, batch)
        losses.append(loss)
        scores.append(score)
        gradients = [np.zeros_like(leaf) for leaf in leaves]
        for leaf, gradient in zip(leaves, gradients, strict=True):
            for place in np.ndindex(leaf.shape):
                value, shift = leaf[place], 1e-6
                ends = []
                for leaf[place] in (value + shift, value - shift):
                    ends.append(loss_in_numpy(leaves, batch)[0])
                leaf[place] = value
                gradient[place] = (ends[0] - ends[1]) / (2 * shift)
        norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
        for leaf, gradient, (mean, square) in zip(leaves, gradients, moments, strict=True):
            gradient /= max(1.0, norm)
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            unbiased = mean / (1 - 0.9 ** (step + 1)), square / (1 - 0.999 ** (step + 1))
            leaf -= 0.003 * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    found = jax.tree.map(lambda leaf: leaf[1], (pair.model.params, pair.readout))
    for got, expected in zip(jax.tree.leaves(found), leaves, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(pair.curve.steps[1], [2, 4, 5])
    for got, each in ((pair.curve.losses[1], losses), (pair.curve.scores[1], scores)):
        expected = [np.mean(each[:2]), np.mean(each[2:4]), each[4]]
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.slow
def test_one_network_is_the_member_of_a_batch(pair):
    alone = lg.training.fit(CELL.model(CELL.init(KEYS[0])), TASK, KEYS[0], **HOW)
    for one, both in zip(jax.tree.leaves(alone), jax.tree.leaves(pair), strict=True):
        if hasattr(one, "shape") and one.shape != both.shape:
            np.testing.assert_allclose(one, both[0], rtol=1e-10, atol=1e-14)
    assert alone.curve.losses.shape == (3,)
    inputs = TASK.batch(jax.random.key(5), 1, 9).inputs[0]
    states = np.asarray(lg.unroll(*alone.model, inputs).states.h[1:])
    expected = states @ np.asarray(alone.readout.weight).T + np.asarray(alone.readout.bias)
    np.testing.assert_allclose(alone.outputs(inputs), expected, rtol=1e-12)
    how: Any = {"delay": 6, "size": 8}
    members = [lg.training.evaluate(each, TASK, KEYS[0], **how) for each in (alone, pair)]
    np.testing.assert_allclose(members[0].loss, np.asarray(members[1].loss)[0], rtol=1e-10)
    assert np.shape(members[1].score) == (2,)
    assert np.shape(members[0].score) == ()


@pytest.mark.slow
def test_keys_of_the_older_kind_are_the_same_keys(pair):
    raw = jax.random.key_data(KEYS)
    again = lg.training.fit(CELL.model(jax.vmap(CELL.init)(KEYS)), TASK, raw, **HOW)
    np.testing.assert_array_equal(again.curve.losses, pair.curve.losses)
    alone = lg.training.fit(CELL.model(CELL.init(KEYS[0])), TASK, raw[0], **HOW)
    np.testing.assert_allclose(alone.curve.losses, pair.curve.losses[0], rtol=1e-10)


def test_evaluation_is_the_mean_over_fresh_sequences(pair):
    key = jax.random.key(8)
    found = lg.training.evaluate(pair, TASK, key, delay=6, size=50)
    batch = TASK.batch(key, 50, 6)
    for network in range(2):
        leaves = jax.tree.leaves((pair.model.params, pair.readout))
        loss, score = loss_in_numpy([np.asarray(leaf[network]) for leaf in leaves], batch)
        assert np.asarray(found.loss)[network] == pytest.approx(loss, rel=1e-10)
        assert np.asarray(found.score)[network] == pytest.approx(score)


@pytest.mark.slow
def test_a_task_that_can_be_learned_is_learned():
    task = lg.tasks.adding()
    cell = lg.cells.lstm(2, 8)
    found = lg.training.fit(
        cell.model(cell.init(KEYS[0])), task, KEYS[1], delay=3, steps=200, batch_size=32, every=50
    )
    assert found.curve.losses[-1] < 0.25 * task.baseline(3).loss
    assert (found.curve.task, found.curve.delay) == ("adding", 3)
    assert found.curve.baseline_loss == pytest.approx(1 / 6)
    assert "after 200 steps" in repr(found.curve)


@pytest.mark.slow
def test_another_optimizer_another_part_and_whole_numbers_beside():
    """Integers among the parameters are not trained; the readout may look at any part."""

    def step(params, state, x):
        return {"a": jnp.tanh(params["w"] @ state["a"] + params["v"] @ x), "b": 2 * state["a"]}

    params = {"w": jnp.eye(2), "v": jnp.ones((2, 3)), "count": jnp.arange(2)}
    model = lg.Model(step, params, {"a": jnp.zeros(2), "b": jnp.zeros(2)})
    how: Any = {**HOW, "read": "b"}
    found = lg.training.fit(model, TASK, KEYS[0], **how, optimizer=optax.sgd(0.5))
    adam = lg.training.fit(model, TASK, KEYS[0], **how)
    np.testing.assert_array_equal(found.model.params["count"], jnp.arange(2))
    assert np.abs(found.model.params["w"] - adam.model.params["w"]).max() > 1e-3
    assert found.readout.weight.shape == (2, 2)
    inputs = jnp.ones((4, 3))
    states = np.asarray(lg.unroll(*found.model, inputs).states["b"][1:])
    expected = states @ np.asarray(found.readout.weight).T + np.asarray(found.readout.bias)
    np.testing.assert_allclose(found.outputs(inputs), expected, rtol=1e-12)


def test_refusals():
    model = CELL.model(CELL.init(KEYS[0]))
    fit = lg.training.fit
    with pytest.raises(ValueError, match="model: expected parameters with 2 networks on axis 0"):
        fit(model, TASK, KEYS, delay=3)
    with pytest.raises(ValueError, match="delay: expected a whole number, 1 or more, but got 0"):
        fit(model, TASK, KEYS[0], delay=0)
    with pytest.raises(ValueError, match="steps: expected a whole number, 0 or more, but got -1"):
        fit(model, TASK, KEYS[0], delay=3, steps=-1)
    with pytest.raises(ValueError, match="read: expected one of the state's parts 'h' or None"):
        fit(model, TASK, KEYS[0], delay=3, read="c")


def test_refusals_of_kinds(as_installed):
    model: Any = CELL.model(CELL.init(KEYS[0]))
    with pytest.raises(ValueError, match="task: expected an lstmgrad Task, but got str"):
        lg.training.fit(model, "copy", KEYS[0], delay=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="fit: expected an lstmgrad Fit, but got Model"):
        lg.training.evaluate(model, TASK, KEYS[0], delay=3)


def test_progress_bar_only_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def shown(where: io.StringIO, title: str | None) -> str:
        with contextlib.redirect_stderr(where), progress_bar(3, title) as advance:
            for _ in range(3):
                advance(1)
        return where.getvalue()

    assert "RNN: " in shown(Terminal(), "RNN")
    assert shown(Terminal(), None) == ""
    assert shown(io.StringIO(), "RNN") == ""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert shown(Terminal(), "RNN") == ""


def test_reports_and_an_exception_in_one():
    found = []

    def report(count: int) -> None:
        found.append(count)
        if len(found) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lg.training.fit(CELL.model(CELL.init(KEYS[0])), TASK, KEYS[0], **HOW, report=report)
    assert found == [2, 2]


def test_truncation_in_chunks_and_a_clip_are_those_of_numpy():
    """One step of plain descent: the gradient from NumPy, by hand, with the state cut at K."""
    key, rate = KEYS[0], 0.5
    how: Any = {"delay": DELAY, "batch_size": SIZE, "every": 2}
    start = lg.training.fit(CELL.model(CELL.init(key)), TASK, key, steps=0, **how)
    batch = TASK.batch(jax.random.fold_in(jax.random.split(key)[1], 0), SIZE, DELAY)
    # A loss that looks at the last step alone, T = 5, in chunks of 3: two steps are seen.
    gradient = cut_gradient(start, batch, 3)
    norm = float(np.sqrt(sum((g**2).sum() for g in gradient)))
    model = CELL.model(jax.vmap(lambda _: CELL.init(key))(KEYS))
    same = jnp.stack([key, key])
    fit = lg.training.fit(
        model, TASK, same, steps=1, optimizer=SGD, truncation=[3, 5], clip=[norm / 4, 1e6], **how
    )
    before = [np.asarray(leaf) for leaf in jax.tree.leaves((start.model.params, start.readout))]
    after = [np.asarray(leaf) for leaf in jax.tree.leaves((fit.model.params, fit.readout))]
    for old, new, slope in zip(before, after, gradient, strict=True):
        np.testing.assert_allclose(new[0] - old, -rate * slope / 4, rtol=1e-6, atol=1e-12)
    whole = cut_gradient(start, batch, 5)
    for old, new, slope in zip(before, after, whole, strict=True):
        np.testing.assert_allclose(new[1] - old, -rate * slope, rtol=1e-6, atol=1e-12)
    assert not np.allclose(gradient[0], whole[0], rtol=1e-2)


SGD = optax.sgd(0.5)


def cut_gradient(start: lg.training.Fit, batch: Any, chunk: int) -> list[np.ndarray]:
    """Back-propagation through a plain network by hand, with the state detached every so often."""
    leaves = [np.asarray(x) for x in jax.tree.leaves((start.model.params, start.readout))]
    weight_ih, weight_hh, bias, weight, offset = leaves
    total = [np.zeros_like(leaf) for leaf in leaves]
    for x, y in zip(np.asarray(batch.inputs), np.asarray(batch.targets)[:, -1], strict=True):
        states = [np.zeros(3)]
        for row in x:
            states.append(np.tanh(weight_ih @ row + weight_hh @ states[-1] + bias))
        logits = weight @ states[-1] + offset
        error = np.exp(logits) / np.exp(logits).sum()
        error[y] -= 1
        total[3] += np.outer(error, states[-1])
        total[4] += error
        back = weight.T @ error
        for time in range(len(x), 0, -1):
            back = back * (1 - states[time] ** 2)
            total[0] += np.outer(back, x[time - 1])
            total[1] += np.outer(back, states[time - 1])
            total[2] += back
            if (time - 1) % chunk == 0:
                break
            back = weight_hh.T @ back
    return [slope / len(batch.inputs) for slope in total]


def test_limits_are_refused_by_name():
    model = CELL.model(jax.vmap(CELL.init)(KEYS))
    with pytest.raises(ValueError, match="truncation: expected a whole number"):
        lg.training.fit(model, TASK, KEYS, truncation=0, **HOW)
    with pytest.raises(ValueError, match="clip: expected a number above zero"):
        lg.training.fit(model, TASK, KEYS, clip=-1.0, **HOW)
    with pytest.raises(ValueError, match="one for each of 2 networks, but got 3"):
        lg.training.fit(model, TASK, KEYS, clip=[1.0, 2.0, 3.0], **HOW)
