"""Files of weights: whole ones are read, others get one sentence, and nothing in them is run."""

import os
import pickle
import sys
import types
from typing import Any

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


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_safetensors(tmp_path, dtype):
    path = tmp_path / "model.safetensors"
    weights = {name: array.astype(dtype) for name, array in WEIGHTS.items()}
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


def test_safetensors_under_the_name_of_torch(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(GOOD)
    with pytest.raises(ValueError, match=r"model.pt is a safetensors file.*end in .safetensors"):
        lg.interop.from_torch(path)


def test_other_names_and_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"ends in .safetensors, .pt, .pth, .bin, but got m.npz"):
        lg.interop.from_torch(tmp_path / "m.npz")
    with pytest.raises(FileNotFoundError, match=r"m\.pt"):
        lg.interop.from_torch(tmp_path / "m.pt")


def test_torch_files(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(2, 3, num_layers=2)
    expected = lg.interop.from_torch(module).params
    for zipped in (True, False):
        for saved in (module.state_dict(), {"epoch": 1, "model": module.state_dict()}):
            path = tmp_path / "model.pth"
            torch.save(saved, path, _use_new_zipfile_serialization=zipped)
            got = lg.interop.from_torch(path).params
            for one, other in zip(sum(got, ()), sum(expected, ()), strict=True):
                np.testing.assert_array_equal(one, other)


def test_code_in_torch_files(tmp_path, trap):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    message = r"^source: expected an intact torch file of weights alone.*Nothing in it was run\.$"
    for zipped in (True, False):
        torch.save({"a": Malicious(trap)}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=message) as caught:
            lg.interop.from_torch(path)
        assert "\n" not in str(caught.value)
    for protocol in (2, 4, 5):
        path.write_bytes(pickle.dumps(Malicious(trap), protocol=protocol))
        with pytest.raises(ValueError, match=message):
            lg.interop.from_torch(path)
    torch.save(torch.nn.LSTM(2, 3), path)
    with pytest.raises(ValueError, match=r"holds Python objects; save the state_dict\(\)"):
        lg.interop.from_torch(path)
    torch.save(torch.ones(3), path)
    with pytest.raises(ValueError, match="holds one Tensor"):
        lg.interop.from_torch(path)


def test_damaged_torch_files(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    torch.save(torch.nn.LSTM(2, 3).state_dict(), path)
    whole = path.read_bytes()
    for data in (b"", b"abc", whole[:-100], whole[:300], whole[: len(whole) // 2], b"\x80\x02}"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"^source: .* model.pt is damaged") as caught:
            lg.interop.from_torch(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["1.13.1", "2.5.1+cpu", "2.6.0", "2.10.0+cu130"])
def test_a_reader_that_can_be_made_to_run_code_is_not_used(tmp_path, monkeypatch, version):
    read = []
    torch: Any = types.ModuleType("torch")
    torch.__version__ = version
    torch.load = lambda *path, **options: read.append(options) or WEIGHTS
    monkeypatch.setitem(sys.modules, "torch", torch)
    path = tmp_path / "model.pt"
    path.write_bytes(b"PK\x03\x04")
    if version in ("1.13.1", "2.5.1+cpu"):
        with pytest.raises(ValueError, match=r"expected PyTorch 2.6 or later to read the file"):
            lg.interop.from_torch(path)
        assert not read
    else:
        lg.interop.from_torch(path)
        assert read == [{"map_location": "cpu", "weights_only": True}]


MISSING = {
    "flax.linen": ("flax", lambda path: lg.interop.from_linen(None, None)),
    "flax.nnx": ("flax", lambda path: lg.interop.from_nnx(None)),
    "haiku": ("haiku", lambda path: lg.interop.from_haiku(dict, {})),
    "keras": ("keras", lambda path: lg.interop.from_keras(None)),
    "torch": ("torch", lambda path: lg.interop.from_torch(path / "model.pt")),
    "safetensors": ("safetensors", lambda path: lg.interop.from_torch(path / "m.safetensors")),
}


@pytest.mark.parametrize("module", MISSING)
def test_a_framework_that_is_missing_names_its_extra(module, monkeypatch, tmp_path):
    extra, call = MISSING[module]
    for name in list(sys.modules):
        if name == module.split(".")[0] or name.startswith(f"{module.split('.')[0]}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module.split(".")[0], None)
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04")
    (tmp_path / "m.safetensors").write_bytes(GOOD)
    with pytest.raises(ImportError, match=rf'pip install "lstmgrad\[{extra}\]"'):
        call(tmp_path)
