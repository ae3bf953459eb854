"""The function `lg.diagnose`: what it takes, what it refuses, and that everything has a source."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg
from lstmgrad._chains.declared import linearize_as_declared
from lstmgrad.diagnosis._chunks import chunk_bias
from lstmgrad.diagnosis._readings import flat_of

N, T, D, H = 4, 12, 2, 3


def chains_of(models_differ: bool = False):
    cell = lg.cells.rnn(D, H)
    inputs = jax.random.normal(jax.random.key(1), (N, T, D))
    if models_differ:
        params = jax.vmap(cell.init)(jax.random.split(jax.random.key(0), N))
        return jax.vmap(lambda p, one: lg.chain(cell.model(p), one))(params, inputs)
    model = cell.model(cell.init(jax.random.key(0)))
    return jax.vmap(lambda one: lg.chain(model, one))(inputs)


def cotangents_of(chains):
    def of(chain):
        return lg.loss_cotangents(lambda states: jnp.sum(states.h**2), chain.trajectory)

    return jax.vmap(of)(chains)


@pytest.fixture(scope="module")
def found():
    chains = chains_of()
    return lg.diagnose(
        chains, cotangents_of(chains), lag=6, truncation=4, clip=1.0, batch_size=2, sequences=100
    )


def test_every_rule_that_applies_says_something(found):
    without = {"forget-gates", "saturated-output", "dead-units"}
    assert {finding.rule for finding in found} == set(lg.diagnosis.RULES) - without
    assert found.settings.loss == "given"
    assert found.settings.sequences == N
    assert found.settings.sizes == {"h": H}
    assert "jax" in found.settings.versions


def test_a_verdict_carries_its_evidence_and_its_source(found):
    for finding in found:
        assert finding.source
        assert finding.because
        assert finding.evidence
        for entry in finding.evidence.values():
            assert entry.text
            assert (entry.threshold is None) == (entry.basis == "")


def test_what_was_found_comes_first(found):
    order = [finding.verdict for finding in found]
    assert order == sorted(order, key=["found", "undecided", "clear"].index)
    assert found["truncation"].verdict == "found"
    assert found["truncation"].remedies[0].apply({"clip": 1.0})["truncation"] >= 7


def test_truncation_is_read_sliding_and_in_chunks(found):
    evidence = found["truncation"].evidence
    chains = chains_of()
    cotangents = cotangents_of(chains)
    bias = jax.vmap(lg.truncation_bias)(chains, cotangents).residuals[:, 4]
    assert evidence["bias_sliding"].value == pytest.approx(float(np.mean(bias)), abs=1e-9)
    # A chunk leaves out more than every loss's own steps do.
    assert evidence["bias_chunked"].value > evidence["bias_sliding"].value


def test_chunks_are_long_enough_from_where_all_longer_ones_are(found):
    """Every length is tried here, since T is small; the loss is looked at, at every step."""
    chains = chains_of()
    flat = flat_of(cotangents_of(chains), chains.layout, T)
    biases = np.asarray(chunk_bias(chains, flat, jnp.arange(1, T + 1)))
    finding = found["truncation"]
    for name, tolerance in (("half", 0.5), ("tenth", 0.1), ("hundredth", 0.01)):
        longest = [
            max((k + 1 for k in range(T) if row[k] > tolerance), default=0) for row in biases
        ]
        expected = np.mean([min(k + 1, T) for k in longest])
        assert finding.evidence[f"chunk_{name}"].value == pytest.approx(expected)
        assert finding.evidence[f"chunk_{name}"].value >= finding.evidence[f"length_{name}"].value
    chunks = finding.remedies[0]
    assert chunks.name == "chunk-length"
    steps = chunks.apply({})["truncation"]
    assert steps > found.settings.lag
    (bias,) = (p for p in chunks.predicted if p.reading == "bias_chunked")
    assert bias.value == pytest.approx(biases[:, steps - 1].mean(), abs=1e-12)
    assert bias.value <= 0.1


def test_a_diagnosis_goes_into_a_file_and_a_logger(found):
    text = json.dumps(found.plain(), allow_nan=False)
    assert json.loads(text)["settings"]["lag"] == 6
    flat = found.summary()
    assert all(isinstance(value, float) for value in flat.values())
    assert flat["truncation/steps"] == 4.0
    assert "truncation" in str(found)


def test_one_sequence_is_a_batch_of_one_whose_intervals_are_those_of_arithmetic():
    chains = chains_of()
    one = jax.tree.map(lambda leaf: leaf[0], chains)
    found = lg.diagnose(one)
    assert found.settings.sequences == 1
    assert found.settings.lag == T - 1
    assert found["reach"].evidence["log_share"].error == 0.0
    assert found["signal-to-noise"].verdict == "undecided"
    exponent = lg.lyapunov_spectrum(one, num_exponents=1, burn_in=T // 4)
    assert found["growth"].evidence["exponent"].value == pytest.approx(float(exponent.exponents[0]))


def test_refusals(as_installed):
    chains = chains_of()
    cell = lg.cells.rnn(D, H)
    with pytest.raises(ValueError, match="several models"):
        lg.diagnose(chains_of(models_differ=True))
    with pytest.raises(ValueError, match="one axis of sequences"):
        lg.diagnose(jax.tree.map(lambda leaf: leaf[None], chains))
    with pytest.raises(ValueError, match="keeps its states"):
        lg.diagnose(lg.DenseChain(jnp.ones((3, 2, 2))))
    with pytest.raises(ValueError, match="chain: expected"):
        lg.diagnose(cell)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="lag: expected"):
        lg.diagnose(chains, lag=T)
    with pytest.raises(ValueError, match="clip: expected"):
        lg.diagnose(chains, clip=0.0)
    with pytest.raises(ValueError, match="truncation: expected"):
        lg.diagnose(chains, truncation=T + 1)
    with pytest.raises(ValueError, match="batch_size: expected"):
        lg.diagnose(chains, batch_size=0)
    with pytest.raises(ValueError, match="cotangents: expected"):
        lg.diagnose(chains, jnp.ones((N, T, H)))


def test_a_horizon_beyond_the_sequence_is_no_infinity(found):
    assert math.isfinite(found["reach"].evidence["horizon"].value)


@pytest.mark.slow
@pytest.mark.parametrize("name", lg.cells.registry())
def test_every_cell_has_a_diagnosis(name):
    cell = lg.cells.registry()[name](3, 4)
    model = cell.model(cell.init(jax.random.key(0)))
    linearize = linearize_as_declared(cell)
    inputs = jax.random.normal(jax.random.key(1), (4, 12, 3))
    chains = jax.vmap(lambda one: lg.chain(model, one, linearize=linearize))(inputs)
    found = lg.diagnose(chains, lag=8)
    assert found["non-finite"].verdict == "clear"
    assert found["reach"].verdict == "clear"
    json.dumps(found.plain(), allow_nan=False)
    assert str(found)


@pytest.mark.slow
def test_a_diagnosis_on_a_task_is_that_of_its_loss():
    task, key = lg.tasks.delayed_recall(noise=1), jax.random.key(3)
    cell = lg.cells.rnn(task.input_size, H)
    model = cell.model(cell.init(key))
    found = lg.diagnosis.on_task(model, task, key, delay=6, sequences=N)
    _, second = jax.random.split(key)
    readout = lg.training.fit(model, task, key, delay=6, steps=0).readout
    inputs, targets, weights = task.batch(second, N, 6)

    def loss(params, x, target, weight):
        states = lg.unroll(*model._replace(params=params), x).states
        return task.loss(jax.vmap(readout)(states.h[1:]), target, weight)

    for index, (x, target, weight) in enumerate(zip(inputs, targets, weights, strict=True)):
        gradient = jax.grad(loss)(model.params, x, target, weight)
        size = math.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient)))
        read = found.readings.gradients.log_norms[index]
        assert read == pytest.approx(math.log(size), abs=1e-9)
