"""Files of weights: whole ones are read, others get one sentence, and nothing in them is run."""

import os
import pickle
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import lstmgrad as lg

WEIGHTS = {
    "weight_ih_l0": np.arange(24, dtype=np.float32).reshape(12, 2) / 24,
    "weight_hh_l0": np.arange(36, dtype=np.float32).reshape(12, 3) / 36,
}


class Malicious:
    """Pickled, it touches a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def trap(tmp_path):
    """A directory that must never come to be."""
    path = tmp_path / "was-run"
    yield path
    assert not path.exists()


def test_the_trap_works(tmp_path):
    pickle.loads(pickle.dumps(Malicious(tmp_path / "was-run")))
    assert (tmp_path / "was-run").exists()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16", "float8_e4m3fn"])
def test_safetensors(tmp_path, dtype):
    path = tmp_path / "model.safetensors"
    weights = {
        name: array.astype(getattr(ml_dtypes, dtype, dtype)) for name, array in WEIGHTS.items()
    }
    safetensors.numpy.save_file(weights, path)
    for source in (path, str(path)):
        params = lg.interop.from_torch(source).params
        assert params.weight_hh.dtype == ("float64" if dtype == "float64" else "float32")
        np.testing.assert_array_equal(params.weight_hh, weights["weight_hh_l0"].astype("float64"))


GOOD = safetensors.numpy.save(WEIGHTS)


def flipped(data: bytes) -> bytes:
    """One bit of the header is another."""
    return data[:9] + bytes([data[9] ^ 64]) + data[10:]


@pytest.mark.parametrize(
    "data",
    [b"", b"abc", GOOD[:12], GOOD[:-1], GOOD + b"0", flipped(GOOD), b"\xff" * 200],
    ids=["empty", "short", "header", "truncated", "too long", "flipped", "noise"],
)
def test_damaged_safetensors(tmp_path, data):
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    message = r"^source: expected an intact safetensors file .* model.safetensors is damaged"
    with pytest.raises(ValueError, match=message) as caught:
        lg.interop.from_torch(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_code_under_the_name_of_safetensors(tmp_path, trap, protocol):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps({"weight_ih_l0": Malicious(trap)}, protocol=protocol))
    with pytest.raises(ValueError, match=r"as its name says, but model.safetensors is a torch fi"):
        lg.interop.from_torch(path)


@pytest.mark.parametrize("low", [2, 3, 4, 5])
def test_a_length_that_begins_like_a_pickle(tmp_path, low):
    """The header of a safetensors file has 0x80 + 256 `low` bytes."""
    length, path = 0x80 + 256 * low, tmp_path / "model.safetensors"
    header = GOOD[8 : 8 + int.from_bytes(GOOD[:8], "little")]
    path.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + GOOD[8 + len(header) :])
    found, known = (lg.interop.from_torch(source).params for source in (path, WEIGHTS))
    jax.tree.map(np.testing.assert_array_equal, found, known)


def test_safetensors_under_the_name_of_torch(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(GOOD)
    with pytest.raises(ValueError, match=r"model.pt is a safetensors file.*end in .safetensors"):
        lg.interop.from_torch(path)


def test_other_names_and_no_file(tmp_path):
    message = r"ends in .safetensors, .pt, .pth, .bin, .ckpt, .* but got m.npz. NumPy reads it: lg"
    with pytest.raises(ValueError, match=message):
        lg.interop.from_torch(tmp_path / "m.npz")
    with pytest.raises(ValueError, match=r"got m\.onnx\. It is a model in ONNX: lg\.interop\.from"):
        lg.interop.from_torch(tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"got m\.txt\.$"):
        lg.interop.from_torch(tmp_path / "m.txt")
    with pytest.raises(FileNotFoundError, match=r"m\.pt"):
        lg.interop.from_torch(tmp_path / "m.pt")


def test_torch_writes_what_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(2, 3, num_layers=2)
    expected = lg.interop.from_torch(module).params
    for zipped in (True, False):
        for saved in (module.state_dict(), {"epoch": 1, "model": module.state_dict()}, module):
            path = tmp_path / "model.pth"
            torch.save(saved, path, _use_new_zipfile_serialization=zipped)
            got = lg.interop.from_torch(path).params
            for one, other in zip(sum(got, ()), sum(expected, ()), strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore:")
def test_live_modules_that_are_scripted_or_quantized():
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.LSTM(2, 3))
    expected = lg.interop.from_torch(net).params
    for live in (torch.jit.script(net), torch.jit.script(net).state_dict()):
        got = lg.interop.from_torch(live).params
        np.testing.assert_array_equal(got.weight_hh, expected.weight_hh)
    rectifier = torch.jit.script(torch.nn.Sequential(torch.nn.RNN(2, 3, nonlinearity="relu")))
    assert lg.interop.from_torch(rectifier).params.weight_hh.shape == (3, 3)
    quantized = torch.ao.quantization.quantize_dynamic(net, {torch.nn.LSTM})
    weight = quantized[0].get_weight()["weight_hh_l0"].dequantize().numpy()
    for live in (quantized, quantized.state_dict()):
        got = lg.interop.from_torch(live).params
        np.testing.assert_allclose(got.weight_hh, weight, rtol=1e-6)


def test_eight_bits_of_live_tensors():
    torch = pytest.importorskip("torch")
    weights = {name: torch.tensor(value).to(torch.float8_e4m3fn) for name, value in WEIGHTS.items()}
    got = lg.interop.from_torch(weights)
    np.testing.assert_array_equal(got.params.weight_ih, weights["weight_ih_l0"].float().numpy())
    assert lg.interop.to_torch(got.params, weights)["weight_ih_l0"].dtype == "float32"


MISSING = {
    "flax.linen": ("flax", lambda path: lg.interop.from_linen(None, None)),
    "flax.nnx": ("flax", lambda path: lg.interop.from_nnx(None)),
    "haiku": ("haiku", lambda path: lg.interop.from_haiku(dict, {})),
    "keras": ("keras", lambda path: lg.interop.from_keras(None)),
    "pyfive": ("keras", lambda path: lg.interop.from_keras(path / "m.keras")),
    "onnx": ("onnx", lambda path: lg.interop.from_onnx(path / "model.onnx")),
    "safetensors": ("safetensors", lambda path: lg.interop.from_torch(path / "m.safetensors")),
}


@pytest.mark.parametrize("module", MISSING)
def test_a_framework_that_is_missing_names_its_extra(module, monkeypatch, tmp_path):
    extra, call = MISSING[module]
    for name in list(sys.modules):
        if name == module.split(".")[0] or name.startswith(f"{module.split('.')[0]}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module.split(".")[0], None)
    (tmp_path / "m.safetensors").write_bytes(GOOD)
    with pytest.raises(ImportError, match=rf'pip install "lstmgrad\[{extra}\]"'):
        call(tmp_path)
