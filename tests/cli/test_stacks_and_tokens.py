"""Files of several networks, of which one reads another, and of networks that read tokens."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from commands import refused, run

import lstmgrad as lg
from lstmgrad.cli._shared.sequences import read_numbers
from lstmgrad.cli._shared.tables import Reading
from lstmgrad.cli._shared.tokens import read_inputs
from lstmgrad.cli._shared.weights import Weights, load_weights

D, V = 3, 6
TOKENS = np.array([5, 0, 3, 3, 1, 2, 0])


def network(prefix, reads, units, layers=1, gates=4, seed=0):
    """Random weights under PyTorch's names."""
    generator, tensors = np.random.default_rng(seed), {}
    for layer in range(layers):
        width = units if layer else reads
        shapes = {"weight_ih": (gates * units, width), "weight_hh": (gates * units, units)}
        for name, shape in {**shapes, "bias_ih": (gates * units,)}.items():
            tensors[f"{prefix}.{name}_l{layer}"] = generator.normal(size=shape).astype(np.float32)
    return tensors


STACKED = network("low", D, 2) | network("high", 2, 4, layers=2, seed=1)
LANGUAGE = network("rnn", D, 4, gates=3) | {
    "encoder.weight": np.random.default_rng(2).normal(size=(V, D)).astype(np.float32),
    "decoder.weight": np.random.default_rng(3).normal(size=(V, 4)).astype(np.float32),
    "decoder.bias": np.zeros(V, np.float32),
    "features.weight": np.ones((5, D), np.float32),
    "features.bias": np.ones(5, np.float32),
}


def write(tmp_path, tensors):
    path = tmp_path / "net.safetensors"
    path.write_bytes(safetensors.numpy.save(tensors))
    return path


@pytest.fixture
def language(tmp_path):
    source = Weights(write(tmp_path, LANGUAGE))
    return source, load_weights(source, "float64")


def test_networks_are_stacked_in_the_order_of_their_prefixes(tmp_path):
    path = write(tmp_path, STACKED)
    loaded = load_weights(Weights(path, prefix=["low", "high."]), "float64")
    models = [
        lg.interop.from_torch(STACKED, prefix="low"),
        *(lg.interop.from_torch(STACKED, prefix="high", layer=layer) for layer in (0, 1)),
    ]
    known = lg.interop.stack(models)
    inputs = jnp.asarray(np.random.default_rng(4).normal(size=(5, D)))
    start = jax.tree.map(jnp.float64, known.state)
    ours, theirs = (
        lg.unroll(known.step, jax.tree.map(jnp.float64, params), start, inputs).states
        for params in (loaded.model.params, known.params)
    )
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert loaded.model.step is known.step
    assert loaded.described() == "3 layers of 2, 4 and 4 units, 3 inputs; float32"
    # Parameters go back to where they came from.
    changed = jax.tree.map(lambda leaf: 2 * np.asarray(leaf), loaded.model.params)
    tensors = loaded.tensors
    for prefix, part in loaded.parts_of(changed):
        tensors = lg.interop.to_torch(part, tensors, prefix=prefix)
    for name, tensor in STACKED.items():
        np.testing.assert_array_equal(tensors[name], 2 * tensor)


@pytest.mark.slow
def test_a_stack_is_measured_from_its_top_to_its_bottom(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(5).normal(size=(6, D)))
    tensors = network("low", D, 2) | network("high", 2, 4, seed=1)
    given = ["--weights", str(write(tmp_path, tensors)), "--input", str(tmp_path / "x.npy")]
    given += ["--prefix", "low", "--prefix", "high", "--dtype", "float64", "--length", "6"]
    found = run(tmp_path / "out", "compare", *given)
    assert (found.code, found.err) == (0, "")
    assert "LSTM; 2 layers of 2 and 4 units, 3 inputs" in found.out
    loaded = load_weights(Weights(Path(given[1]), prefix=("low", "high")), "float64")
    chain = lg.chain(loaded.model, jnp.load(tmp_path / "x.npy"))
    truth = np.linalg.norm(np.asarray(lg.jacobian(chain, of="h1", wrt="h0")), 2)
    (row,) = [row for row in found.json("compare.json")["rows"] if row["wrt"] != row["part"]][:1]
    np.testing.assert_allclose(10 ** row["log10_norm"]["6"], truth, rtol=1e-9)


@pytest.mark.parametrize(
    ("tensors", "options", "message"),
    [
        (STACKED, [], "'low.', because "),
        (
            STACKED,
            ["high", "low"],
            "expected 'low.' to read the 4 outputs of 'high.', but it",
        ),
        (STACKED, ["low", "low."], "expected each network once, but got 'low.' twice"),
        (STACKED, ["low", "other"], "but got 'other'"),
        (
            STACKED | network("gated", 4, 2, gates=3),
            ["low", "gated"],
            "networks of one kind to be stacked, but the first is LSTM and 'gated.' GRU; in Python",
        ),
        (
            STACKED | {f"{name}_reverse": tensor for name, tensor in network("low", D, 2).items()},
            ["low", "high"],
            "networks of one direction to be stacked, but 'low.' is bidirectional",
        ),
    ],
)
def test_stacks_that_are_refused(tmp_path, tensors, options, message):
    given = [word for name in options for word in ("--prefix", name)]
    message_of = refused(tmp_path, "compare", "--weights", str(write(tmp_path, tensors)), *given)
    assert message_of.startswith("--prefix: expected ")
    assert message.removeprefix("expected ") in message_of


def tokens_in(tmp_path, language, text, **options):
    path = tmp_path / "text.txt"
    path.write_text(text, "utf-8")
    source, loaded = language
    return read_inputs(path, Reading(), source._replace(**options), loaded)


@pytest.mark.parametrize(
    ("vocabulary", "text", "known"),
    [
        (["a", "b", "c", "d", "\n", "<unk>"], "abba\nx", [0, 1, 1, 0, 4, 5]),
        ({"the": 2, "cat": 0, "<eos>": 3, "sat": 5}, "the cat\nsat sat", [2, 0, 3, 5, 5, 3]),
        ("cat\nthe\n<unk>\n", "the  big cat\n", [1, 2, 0]),
        ("sorted", "fedcba", [5, 4, 3, 2, 1, 0]),
    ],
    ids=["characters", "words", "lines", "sorted"],
)
def test_a_text_is_read_by_its_vocabulary(tmp_path, language, vocabulary, text, known):
    if vocabulary != "sorted":
        lines = isinstance(vocabulary, str)
        file = tmp_path / ("vocabulary.txt" if lines else "vocabulary.json")
        file.write_text(vocabulary if lines else json.dumps(vocabulary))
        vocabulary = str(file)
    found = tokens_in(tmp_path, language, text, vocabulary=vocabulary)
    np.testing.assert_array_equal(found.rows, known)
    assert found.embedding is not None
    np.testing.assert_array_equal(found.embedding.vectors, LANGUAGE["encoder.weight"])
    unknown = found.notes == ("1 of them unknown, read as <unk>",)
    assert unknown == ("x" in text or "big" in text)


@pytest.mark.parametrize(
    ("text", "vocabulary", "message"),
    [
        (
            "abc",
            None,
            "--vocabulary: expected a file of the tokens in the order of the 6 rows of",
        ),
        (
            "abc",
            "sorted",
            "expected a text of 6 different characters, as encoder.weight has",
        ),
        ("abc", ["a", "b"], "which has no <unk>, but character 3 is 'c'"),
        ("abc", list("abcdefg"), "from 0 to 5, but got 7 tokens up to number 6"),
        ("abc", {"a": 9}, "from 0 to 5, but got 1 tokens up to number 9"),
        ("abc", [1, 2], "expected a JSON list of tokens, or an object with the number of every"),
        ("a", ["a"], "expected at least 2 characters, but it has 1"),
    ],
)
def test_texts_and_vocabularies_that_are_refused(tmp_path, text, vocabulary, message):
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "v.json").write_text(json.dumps(vocabulary))
    given = ["--weights", str(write(tmp_path, LANGUAGE)), "--input", str(tmp_path / "a.txt")]
    if vocabulary is not None:
        name = vocabulary if vocabulary == "sorted" else str(tmp_path / "v.json")
        given += ["--vocabulary", name]
    assert message in refused(tmp_path, "compare", *given)


def test_a_column_of_tokens(tmp_path, language):
    np.save(tmp_path / "ids.npy", TOKENS)
    source, loaded = language
    found = read_inputs(tmp_path / "ids.npy", Reading(), source, loaded)
    np.testing.assert_array_equal(found.rows, TOKENS)
    assert found.summary == "7 tokens through encoder.weight"
    np.save(tmp_path / "x.npy", np.ones((4, D)))
    rows = read_inputs(tmp_path / "x.npy", Reading(), source, loaded)
    assert rows == read_numbers(tmp_path / "x.npy")._replace(rows=rows.rows)
    for values, message in (
        (np.array([0, 6]), r"from 0 to 5, the rows of encoder.weight, but got 6 in row 2"),
        (np.array([0.5, 1]), "but got 0.5 in row 1"),
    ):
        np.save(tmp_path / "ids.npy", values)
        with pytest.raises(Exception, match=message):
            read_inputs(tmp_path / "ids.npy", Reading(), source, loaded)
    named = source._replace(embedding="encoder")
    with pytest.raises(Exception, match="expected one column of tokens, because they go through"):
        read_inputs(tmp_path / "x.npy", Reading(), named, loaded)


def test_which_embedding(tmp_path):
    two = LANGUAGE | {"position.weight": np.ones((9, D), np.float32)}
    given = ["--weights", str(write(tmp_path, two)), "--input", str(tmp_path / "a.txt")]
    (tmp_path / "a.txt").write_text("fedcba")
    message = refused(tmp_path, "compare", *given, "--vocabulary", "sorted")
    known = "--embedding: expected one of 'encoder.weight', 'position.weight', because all of them"
    assert message.startswith(known)
    message = refused(tmp_path, "compare", *given, "--embedding", "decoder")
    known = "--embedding: expected the name of an embedding ('encoder.weight', 'position.weight'"
    assert message.startswith(known)
    source = Weights(Path(given[1]), embedding="encoder", vocabulary="sorted")
    found = read_inputs(tmp_path / "a.txt", Reading(), source, load_weights(source, "float32"))
    assert found.summary == "6 characters through encoder.weight"


def test_norms_of_a_language_model_on_its_text(tmp_path):
    """The norms are those over the rows of the embedding; the loss is that of the decoder."""
    np.savetxt(tmp_path / "ids.csv", TOKENS, fmt="%d")
    given = ["--weights", str(write(tmp_path, LANGUAGE)), "--input", str(tmp_path / "ids.csv")]
    found = run(tmp_path / "out", "compare", *given, "--dtype", "float64")
    assert (found.code, found.err) == (0, "")
    assert "7 tokens through encoder.weight\n" in found.out
    model = load_weights(Weights(Path(given[1])), "float64").model
    chain = lg.chain(model, jnp.asarray(LANGUAGE["encoder.weight"][TOKENS], jnp.float64))
    truth = np.linalg.norm(np.asarray(lg.jacobian(chain)), 2)
    last = found.arrays("compare.npz")["gru_h_trained"][-1]
    np.testing.assert_allclose(np.exp(last), truth, rtol=1e-9)


@pytest.mark.slow
def test_a_language_model_is_diagnosed_by_the_loss_of_its_own_decoder(tmp_path):
    np.savetxt(tmp_path / "ids.csv", np.tile(TOKENS, 9), fmt="%d")
    given = ["--weights", str(write(tmp_path, LANGUAGE)), "--input", str(tmp_path / "ids.csv")]
    found = run(tmp_path / "out", "diagnose", *given, "--loss", "next", "--length", "10")
    assert (found.code, found.err) == (0, "")
    assert "predicting the next token, by decoder.weight" in " ".join(found.out.split())
