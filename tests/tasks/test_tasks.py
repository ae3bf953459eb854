"""Tasks, held against their definitions in NumPy, and baselines against what no memory can do."""

import functools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

DELAYS = {
    "delayed_recall": 7,
    "copy": 5,
    "selective_copy": 6,
    "adding": 9,
    "temporal_order": 29,
    "delayed_xor": 5,
    "sequential_digits": 2,
}
every_task = pytest.mark.parametrize("name", DELAYS)
MANY = 2000


@functools.cache
def drawn(name: str) -> tuple[lg.tasks.Task, lg.tasks.Examples]:
    """Many sequences of a task, as NumPy arrays."""
    if name == "sequential_digits":
        pytest.importorskip("sklearn")
    task = lg.tasks.registry()[name]()
    batch = jax.jit(task.batch, static_argnums=(1, 2))
    return task, jax.tree.map(np.asarray, batch(jax.random.key(3), MANY, DELAYS[name]))


def digits() -> tuple[np.ndarray, np.ndarray]:
    """All pictures, from 0 to 1, and their digits."""
    datasets = pytest.importorskip("sklearn.datasets")
    pictures, labels = datasets.load_digits(return_X_y=True)
    return pictures / 16, labels


def answer(name: str, x: np.ndarray) -> np.ndarray:
    """The targets at the steps that count, from the inputs of one sequence, by the definition."""
    match name:
        case "delayed_recall":
            return np.array([np.argmax(x[0, :4])])
        case "copy":
            symbols = np.argmax(x[:10], axis=1)
            return np.concatenate([np.zeros(len(x) - 10, int), symbols])
        case "selective_copy":
            shown = np.argmax(x, axis=1)
            return shown[(shown > 0) & (shown < 9)] - 1
        case "adding":
            return np.array([np.sum(x[x[:, 1] == 1, 0])])
        case "temporal_order":
            shown = np.argmax(x, axis=1)
            first, second = shown[shown >= 4] - 4
            return np.array([2 * first + second])
        case "delayed_xor":
            bits, delay = x[:, 0].astype(int), len(x) // 2
            return np.array([bits[t - delay] ^ bits[t - delay // 2] for t in range(delay, len(x))])
        case _:
            pictures, labels = digits()
            (found,) = np.flatnonzero((pictures == x[:64, 0]).all(axis=1))
            assert found % 5 != 0  # every fifth is kept for testing
            return labels[[found]]


@every_task
def test_targets_follow_from_the_inputs(name):
    task, (inputs, targets, weights) = drawn(name)
    delay = DELAYS[name]
    length = {
        "copy": delay + 20,
        "selective_copy": delay + 20,
        "delayed_xor": 2 * delay,
        "sequential_digits": 64 + delay,
    }.get(name, delay + 1)
    assert inputs.shape == (MANY, length, task.input_size)
    assert targets.shape == weights.shape == (MANY, length)
    assert inputs.dtype == weights.dtype == np.float64
    assert set(np.unique(weights)) <= {0.0, 1.0}
    for x, y, w in zip(inputs[:50], targets, weights, strict=False):
        np.testing.assert_allclose(y[w == 1], answer(name, x), rtol=1e-12)


def test_what_the_inputs_look_like():
    _, (x, _, _) = drawn("delayed_recall")
    assert (x[:, 0, 4:] == 0).all()
    assert (x[:, 1:, :4] == 0).all()
    assert (x[:, 0, :4].sum(axis=1) == 1).all()
    assert np.mean(x[:, 1:, 4:]) == pytest.approx(0, abs=4 / math.sqrt(MANY * 56))
    assert np.var(x[:, 1:, 4:]) == pytest.approx(1, abs=4 * math.sqrt(2 / (MANY * 56)))
    _, (x, _, _) = drawn("copy")
    assert (np.argmax(x, axis=2)[:, 10:] == np.eye(1, 15, 4) * 9).all()  # the mark after 5 steps
    _, (x, _, _) = drawn("selective_copy")
    shown = np.argmax(x, axis=2)
    assert ((shown[:, :16] > 0).sum(axis=1) == 10).all()
    assert (shown[:, 16:] == 9).all()
    places = np.unique(np.argmax(shown > 0, axis=1))
    assert len(places) > 3
    _, (x, _, _) = drawn("adding")
    marks = x[:, :, 1]
    assert (marks[:, :4].sum(axis=1) == 1).all()
    assert (marks[:, 4:9].sum(axis=1) == 1).all()
    assert (marks[:, 9] == 0).all()
    assert (marks.sum(axis=0)[:9] > 0).all()
    _, (x, _, _) = drawn("temporal_order")
    places = np.argwhere(np.argmax(x, axis=2) >= 4)[:, 1].reshape(-1, 2)
    assert set(np.unique(places[:, 0])) == {3, 4, 5}
    assert set(np.unique(places[:, 1])) == {12, 13, 14}


@every_task
def test_loss_and_score_are_those_of_their_definition(name):
    task, (_, targets, weights) = drawn(name)
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(*targets.shape, task.output_size))
    if name == "adding":
        outputs = 1 + 0.2 * outputs
    losses, scores = (
        np.asarray(jax.jit(jax.vmap(measure))(outputs, jnp.asarray(targets), jnp.asarray(weights)))
        for measure in (task.loss, task.score)
    )
    for o, y, w, loss, score in zip(outputs, targets, weights, losses, scores, strict=True):
        counted = w == 1
        o, y = o[counted], y[counted]
        if name == "adding":
            each, right = (o[:, 0] - y) ** 2, np.abs(o[:, 0] - y) < 0.08
        else:
            each = np.log(np.exp(o).sum(axis=1)) - o[np.arange(len(y)), y]
            right = np.argmax(o, axis=1) == y
            right = right[y > 0] if name == "copy" else right
        assert loss == pytest.approx(np.mean(each), rel=1e-10)
        assert score == pytest.approx(np.mean(right), rel=1e-10)


T18 = {
    "delayed_recall": (math.log(4), 1 / 4),
    "copy": (10 * math.log(8) / 25, 1 / 8),
    "selective_copy": (math.log(8), 1 / 8),
    "adding": (1 / 6, 1 - 0.92**2),
    "temporal_order": (math.log(4), 1 / 4),
    "delayed_xor": (math.log(2), 1 / 2),
}


@every_task
def test_a_model_without_memory_gets_the_baseline(name):
    """The best answer by the step alone; and linear regression on the input of that step."""
    task, (inputs, targets, weights) = drawn(name)
    baseline = task.baseline(DELAYS[name])
    if name in T18:
        assert baseline == pytest.approx(T18[name], rel=1e-12)
    if name == "adding":
        outputs = np.ones((*targets.shape, 1))
    else:
        classes = np.arange(task.output_size)
        shares = np.mean(targets[:, :, None] == classes, axis=0)
        if name == "sequential_digits":
            labels = digits()[1][np.arange(1797) % 5 != 0]
            shares[-1] = np.mean(labels[:, None] == classes, axis=0)
        elif name != "copy":
            shares[:] = 1 / task.output_size
        else:
            shares[-10:] = np.where(classes > 0, 1 / 8, 1e-300)
        outputs = np.broadcast_to(np.log(shares + 1e-300), (*targets.shape, task.output_size))
    measured = [
        np.asarray(jax.jit(jax.vmap(measure))(outputs, jnp.asarray(targets), jnp.asarray(weights)))
        for measure in (task.loss, task.score)
    ]
    for values, expected in zip(measured, baseline, strict=True):
        error = float(np.std(values)) / math.sqrt(MANY)
        assert np.mean(values) == pytest.approx(expected, abs=4 * error + 1e-12)
    # What the last input says of the answer there, learned on one half and tried on the other.
    x, y, half = inputs[:, -1], targets[:, -1], MANY // 2
    x = np.column_stack([x, np.ones(MANY)])
    wanted = y[:, None] if name == "adding" else np.eye(task.output_size)[y]
    said = x[half:] @ np.linalg.lstsq(x[:half], wanted[:half], rcond=None)[0]
    if name == "adding":
        right = np.abs(said[:, 0] - y[half:]) < 0.08
    else:
        right = np.argmax(said, axis=1) == y[half:]
    # A little worse than the best one, which knows the shares.
    error = math.sqrt(baseline.score * (1 - baseline.score) / half)
    assert baseline.score - 0.05 - 4 * error < np.mean(right) < baseline.score + 4 * error


def test_keys_and_dtypes():
    task = lg.tasks.delayed_recall(dtype=jnp.float32)
    assert task is lg.tasks.delayed_recall(dtype=jnp.float32)
    assert task != lg.tasks.delayed_recall()
    batches = [task.batch(jax.random.key(seed), 3, 4) for seed in (0, 0, 1)]
    assert batches[0].inputs.dtype == batches[0].weights.dtype == jnp.float32
    assert batches[0].targets.dtype == jnp.int32
    np.testing.assert_array_equal(batches[0].inputs, batches[1].inputs)
    assert (batches[0].inputs != batches[2].inputs).any()
    assert lg.tasks.delayed_recall(symbols=6, noise=2).input_size == 8
    assert {make().name for name, make in lg.tasks.registry().items() if name in T18} == set(T18)


def test_the_digits_that_are_kept_for_testing():
    pictures, labels = digits()
    task = lg.tasks.sequential_digits("test")
    x, y, _ = jax.tree.map(np.asarray, task.batch(jax.random.key(0), 40, 1))
    for picture, digit in zip(x[:, :64, 0], y[:, -1], strict=True):
        found = np.flatnonzero((pictures == picture).all(axis=1))
        assert (found % 5 == 0).all()
        assert (labels[found] == digit).all()


def test_refusals(monkeypatch):
    task = lg.tasks.temporal_order()
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"delay: expected a whole number, 9 or more, but got 8\."):
        task.batch(key, 2, 8)
    with pytest.raises(ValueError, match=r"delay: expected a whole number, 9 or more, but got 0\."):
        task.baseline(0)
    with pytest.raises(ValueError, match=r"size: expected a whole number, 1 or more, but got 0\."):
        task.batch(key, 0, 20)
    with pytest.raises(ValueError, match=r"symbols: expected a whole number, 2 or more, but got 1"):
        lg.tasks.copy(symbols=1)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"sklearn is not installed; the extra digits brings it"):
        lg.tasks.sequential_digits(dtype=jnp.float16)


def test_an_unknown_part_of_the_digits(as_installed):
    with pytest.raises(ValueError, match='part: expected "train" or "test", but got \'all\''):
        lg.tasks.sequential_digits("all")  # pyright: ignore[reportArgumentType]
