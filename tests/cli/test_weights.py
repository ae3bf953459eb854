"""The command line on a trained network of PyTorch, from a file of its weights."""

import json
import os
import pickle

import commands
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from registry import slow

import lstmgrad as lg

D, H, T = 2, 3, 15
INPUTS = np.random.default_rng(1).normal(size=(T, D))


def weights(gates, layers=1, reverse=False):
    """Random ones under PyTorch's names."""
    generator = np.random.default_rng(0)
    tensors = {}
    for layer in range(layers):
        for end in ("", "_reverse")[: 1 + reverse]:
            name = f"net.{{}}_l{layer}{end}"
            tensors[name.format("weight_ih")] = (gates * H, H if layer else D)
            tensors[name.format("weight_hh")] = (gates * H, H)
            tensors[name.format("bias_ih")] = tensors[name.format("bias_hh")] = (gates * H,)
    return {
        name: generator.normal(size=shape).astype(np.float32) for name, shape in tensors.items()
    }


def run(directory, content, *arguments):
    """(exit code, what was printed, the sentence of a refusal) for a file of the content."""
    directory.mkdir(exist_ok=True)
    np.save(directory / "data.npy", INPUTS)
    path = directory / "net.safetensors"
    path.write_bytes(content if isinstance(content, bytes) else safetensors.numpy.save(content))
    given = ["compare", "--weights", str(path), *arguments]
    if "--input" not in arguments:
        given += ["--input", str(directory / "data.npy")]
    found = commands.run(directory / "out", *given)
    return found.code, found.out, found.err


def table(directory):
    return json.loads((directory / "out" / "compare.json").read_text("utf-8"))


def expected(network, inputs, part, wrt=None, **options):
    """By the library, in double precision, whose biases were added up in single precision."""
    model = lg.interop.from_torch(network, **options)
    model = model._replace(
        params=jax.tree.map(jnp.float64, model.params), state=jax.tree.map(jnp.float64, model.state)
    )
    return lg.backward_norms(lg.chain(model, inputs), of=part, wrt=wrt or part).log_norms


def test_from_a_file_of_two_layers_to_the_norms_of_every_part(tmp_path):
    code, out, err = run(tmp_path, weights(4, layers=2), "--dtype", "float64")
    assert (code, err) == (0, "")
    assert "LSTM; 2 layers of 3 units, 2 inputs; float32, analyzed in float64" in out
    assert "15 rows of 2 columns, as they are, not standardized" in out
    assert "loss" not in out
    assert "As trained, the norm of the gradient" in " ".join(out.split())
    found = table(tmp_path)
    whole = [row for row in found["rows"] if row.get("through") is None]
    blocks = [(row["part"], row["wrt"]) for row in whole]
    assert blocks == [(s, s) for s in ("h0", "c0", "h1", "c1")] + [("h1", "h0"), ("c1", "c0")]
    table_rows = [line.split()[1] for line in out.splitlines() if line.startswith("LSTM ")]
    # Below each cell state, its additive path.
    assert table_rows == ["h0", "c0", "c0", "h1", "c1", "c1", "h1/h0", "c1/c0", "c0"]
    assert all(len(line) <= 80 for line in out.splitlines() if str(tmp_path) not in line)
    assert {row["cell"] for row in found["rows"]} == {"lstm"}
    assert (found["training_steps"], found["hidden"], found["length"]) == (None, H, T)
    assert found["weights"].endswith("net.safetensors")
    assert found["rows"][0]["loss"] is None
    # The numbers of the file as they are, not standardized.
    with np.load(tmp_path / "out" / "compare.npz") as file:
        norms = {name: file[name] for name in file}
    for part, wrt, name in (("c1", "c1", "c1"), ("c1", "c0", "c1_by_c0")):
        truth = expected(weights(4, layers=2), INPUTS, part, wrt)
        np.testing.assert_allclose(norms[f"lstm_{name}_trained"], truth, rtol=0, atol=1e-10)
    assert norms["lstm_c1_by_c0_trained"][0] == -np.inf
    assert (tmp_path / "out" / "compare.png").stat().st_size > 1000


def test_a_reverse_direction_reads_from_the_end(tmp_path):
    network = weights(3, reverse=True)
    options = ["--direction", "reverse", "--dtype", "float64", "--length", "5"]
    code, out, _ = run(tmp_path, network, *options)
    assert code == 0
    assert "as they are, not standardized, last row first" in out
    with np.load(tmp_path / "out" / "compare.npz") as file:
        norms = file["gru_h_trained"]
    truth = expected(network, INPUTS[::-1][:5], "h", direction="reverse")
    np.testing.assert_allclose(norms, truth, rtol=0, atol=1e-10)


@pytest.mark.parametrize("activation", [slow("tanh"), "relu"])
def test_the_activation_of_a_plain_network(tmp_path, activation):
    options = ["--activation", activation, "--dtype", "float64"]
    assert run(tmp_path, weights(1), *options)[0] == 0
    function = {"tanh": jnp.tanh, "relu": jax.nn.relu}[activation]
    with np.load(tmp_path / "out" / "compare.npz") as file:
        norms = file["rnn_h_trained"]
    truth = expected(weights(1), INPUTS, "h", activation=function)
    np.testing.assert_allclose(norms, truth, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_a_norm_below_the_range_of_float32_is_not_zero(tmp_path):
    # h reads h through weights that are tiny beside the way from c to c, which keeps c.
    network = weights(4)
    network["net.weight_hh_l0"] *= np.float32(3e-38)
    network["net.bias_ih_l0"][H : 2 * H] += 3
    code, out, _ = run(tmp_path, network)
    assert code == 0
    assert "is not resolved at lag 15 by float32 in LSTM h" in " ".join(out.split())
    assert "zero" not in out.partition("the norm of the gradient")[2]
    (row,) = [row for row in table(tmp_path)["rows"] if row["part"] == "h"]
    assert row["log10_norm"]["15"] is None
    assert row["decay_rate"] is None
    assert run(tmp_path, network, "--dtype", "float64")[0] == 0
    (row,) = [row for row in table(tmp_path)["rows"] if row["part"] == "h"]
    assert -41 < row["log10_norm"]["15"] < -38


LSTM = safetensors.numpy.save(weights(4))


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (LSTM[:-1], [], "--weights: expected an intact safetensors file of weights"),
        (b"", [], "net.safetensors is damaged"),
        ({"x": np.ones(2)}, [], "--weights: expected recurrent weights under PyTorch's names"),
        (weights(4) | {"b.weight_ih": np.ones(2)}, [], "weight_hh is missing"),
        (weights(1), [], "--activation: expected tanh or relu, because the weights of an nn.RNN"),
        (weights(4), ["--activation", "tanh"], "--activation: expected no such option, because an"),
        (
            weights(4),
            ["--layer", "1"],
            "--layer: expected a whole number from 0 to 0, because",
        ),
        (weights(4), ["--prefix", "other"], "--prefix: expected one of 'net.', but got 'other'"),
        (
            weights(4, reverse=True),
            [],
            "--direction: expected forward or reverse, because",
        ),
        (weights(4, reverse=True), [], "reads the sequence from its end\n"),
        (
            weights(4) | {f"b.{name}": w for name, w in weights(3).items()},
            [],
            "net.safetensors holds 2 recurrent networks, but it was left out",
        ),
        (weights(4), ["--train", "3"], "--train: expected no such option beside --weights"),
        (weights(4), ["--cells=gru"], "--cells: expected no such option beside --weights"),
        (weights(4), ["--length", "16"], "--length: expected a whole number from 1 to 15, because"),
        (
            weights(4),
            ["--input", "words.txt"],
            "words.txt: expected a file that ends in .csv, .tsv",
        ),
    ],
)
def test_refusals(tmp_path, content, arguments, message):
    code, out, err = run(tmp_path, content, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("lstmgrad: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "out").exists()


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_is_refused_and_not_run(tmp_path):
    code, _, err = run(tmp_path, pickle.dumps(Malicious(tmp_path / "was-run")))
    assert code == 2
    assert "as its name says, but net.safetensors is a torch file" in err
    assert not (tmp_path / "was-run").exists()


def test_code_in_a_torch_file_is_not_run(tmp_path):
    # With PyTorch or without it.
    np.save(tmp_path / "data.npy", INPUTS)
    for name, content in (
        ("net.pt", pickle.dumps(Malicious(tmp_path / "was-run"))),
        ("renamed.pt", LSTM),
        ("net.onnx", LSTM),
    ):
        (tmp_path / name).write_bytes(content)
        options = ["--weights", str(tmp_path / name), "--input", str(tmp_path / "data.npy")]
        message = commands.refused(tmp_path, "compare", *options)
        assert message.startswith("--weights: ")
        assert not (tmp_path / "was-run").exists()
    assert "expected a file that ends in .safetensors" in message


def test_other_columns_no_input_and_no_file(tmp_path):
    np.save(tmp_path / "three.npy", np.ones((5, 3)))
    _, _, err = run(tmp_path, LSTM, "--input", str(tmp_path / "three.npy"))
    assert f"expected 2 columns, what {tmp_path / 'net.safetensors'} reads, but it has 3" in err
    np.save(tmp_path / "large.npy", np.full((5, 2), 1e200))
    _, _, err = run(tmp_path, LSTM, "--input", str(tmp_path / "large.npy"))
    assert "expected numbers that float32 can hold" in err
    _, _, err = run(tmp_path, weights(4, layers=2), "--layer", "1")
    assert f"expected 3 columns, what layer 1 of {tmp_path / 'net.safetensors'} reads" in err
    for arguments, message in (
        (["--weights", str(tmp_path / "net.safetensors")], "--input: expected a .csv or .npy file"),
        (["--weights", str(tmp_path / "none.pt")], "none.pt: cannot be read: No such file"),
        (["--layer", "0"], "--layer: expected --weights, the file that it is about"),
    ):
        assert message in commands.refused(tmp_path, "compare", *arguments)
