"""Files that PyTorch writes, read without it: its own numbers, or a sentence. Nothing is run."""

import contextlib
import io
import json
import os
import pickle
import re
import sys
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import torch_files
from torch_files import D, H

import lstmgrad as lg
from lstmgrad.interop._weights import read_tensors

STORED = torch_files.stored()
FILES = {
    name.removeprefix("file/"): STORED[name].tobytes()
    for name in STORED
    if name.startswith("file/")
}


def means(form):
    """The weights that PyTorch reads, by the end of their names."""
    start = f"{form}/"
    return {name.removeprefix(start): STORED[name] for name in STORED if start in name}


@pytest.fixture
def trap(tmp_path):
    """A directory that must never come to be."""
    path = tmp_path / "was-run"
    yield path
    assert not path.exists()


@pytest.fixture(autouse=True)
def without_torch(monkeypatch):
    """Nothing here may need PyTorch."""
    monkeypatch.setitem(sys.modules, "torch", None)


# By file: what it means, what its names start with, and the ending that it has in the wild.
FORMS = {
    "state_dict": ("plain", "rnn.", ".pt"),
    "legacy": ("plain", "rnn.", ".pth"),
    "lightning": ("plain", "state_dict.rnn.", ".ckpt"),
    "objects": ("plain", "state_dict.rnn.", ".ckpt"),
    "module": ("plain", "rnn.", ".bin"),
    "script": ("plain", "rnn.", ".jit"),
    "trace": ("plain", "rnn.", ".ts"),
    "float8": ("float8", "rnn.", ".pt"),
    "float64": ("plain", "rnn.", ".pth.tar"),
    "quantized": ("quantized", "rnn.", ".pt"),
    "quantized module": ("quantized", "rnn.", ".pt"),
    "quantized script": ("quantized", "rnn.", ".jit"),
    "quantized half": ("quantized half", "rnn.", ".pt"),
    "quantized both": ("quantized both", "0.", ".pt"),
    "quantized cell": ("quantized cell", "0.", ".pt"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_weights_that_torch_reads(form, tmp_path):
    meaning, prefix, end = FORMS[form]
    path = tmp_path / f"model{end}"
    path.write_bytes(FILES[form])
    tensors = read_tensors(path)
    expected = {name: value for name, value in means(meaning).items() if "out." not in name}
    found = {name.removeprefix(prefix): value for name, value in tensors.items() if prefix in name}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # A product of a scale and an integer, once rounded and once not.
        rtol = 1e-6 if meaning == "quantized" or meaning == "quantized both" else 0
        np.testing.assert_allclose(found[name].astype("float32"), value, rtol=rtol, atol=0)
    direction = "forward" if form == "quantized both" else None
    layer = 0 if form == "quantized both" else None
    model = lg.interop.from_torch(path, prefix=prefix, layer=layer, direction=direction)
    first = next(value for name, value in expected.items() if name.startswith("weight_ih"))
    np.testing.assert_allclose(model.params.weight_ih, first, rtol=1e-6)


@pytest.mark.parametrize("form", ["half", "bfloat16"])
def test_narrow_floats_are_widened(form, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(FILES[form])
    params = lg.interop.from_torch(path).params
    assert params.weight_hh.dtype == "float32"
    np.testing.assert_allclose(params.weight_hh, STORED["plain/weight_hh_l0"], rtol=2**-8)


def test_one_scale_for_each_row(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(FILES["quantized channels"])
    expected = STORED["quantized channels/weight_hh_l0"]
    np.testing.assert_allclose(lg.interop.from_torch(path).params.weight_hh, expected, rtol=1e-6)


@pytest.mark.parametrize("prefix", ["rnn", "rnn.", "state_dict.rnn"])
def test_the_end_of_a_prefix_is_enough(prefix, tmp_path):
    path = tmp_path / "model.ckpt"
    path.write_bytes(FILES["lightning"])
    lg.interop.from_torch(path, prefix=prefix)
    with pytest.raises(
        ValueError, match=r"prefix: expected one of 'state_dict\.rnn\.', but got 'n"
    ):
        lg.interop.from_torch(path, prefix="nn.")


# -- what nobody has written with good intent ------------------------------------------------------


class Malicious:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def archived(pickled: bytes, members=(), method=zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("model/data.pkl", pickled)
        for name, data in dict(members).items():
            archive.writestr(f"model/{name}", data)
    return buffer.getvalue()


@pytest.mark.parametrize("protocol", range(6))
def test_no_code_is_run(protocol, tmp_path, trap):
    path = tmp_path / "model.pt"
    weights = pickle.dumps({"weight_ih_l0": Malicious(trap)}, protocol=protocol)
    for data in (archived(weights), weights):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"^source: .*but") as caught:
            lg.interop.from_torch(path)
        assert "\n" not in str(caught.value)


def test_the_trap_works(tmp_path):
    pickle.loads(pickle.dumps(Malicious(tmp_path / "was-run")))
    assert (tmp_path / "was-run").exists()


def tensor(rebuilt: str, *, size="(12, 3)", strides="(3, 1)", offset="0", key="'0'") -> bytes:
    """A pickle of one weight whose tensor is described by hand, in the opcodes of protocol 0."""

    def integers(text):
        return b"(" + b"".join(b"L%sL\n" % part.strip().encode() for part in text) + b"t"

    split = [text.strip("()").split(",") for text in (size, strides)]
    return (
        b"(dVweight_hh_l0\nctorch._utils\n" + rebuilt.encode() + b"\n("
        b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nL36L\ntQL"
        + offset.encode()
        + b"L\n"
        + integers(split[0])
        + integers(split[1])
        + b"I00\n(dtRs."
    )


BAD = {
    "an expanded tensor": archived(
        tensor("_rebuild_tensor_v2", size="(900000, 900000)", strides="(0, 0)"),
        {"data/0": b"0" * 144},
    ),
    "beyond the storage": archived(
        tensor("_rebuild_tensor_v2", offset="1"), {"data/0": b"0" * 144}
    ),
    "a negative offset": archived(
        tensor("_rebuild_tensor_v2", offset="-1"), {"data/0": b"0" * 144}
    ),
    "no such storage": archived(tensor("_rebuild_tensor_v2")),
    "a bomb": archived(b"." * 10**7, method=zipfile.ZIP_DEFLATED),
    "no mark": archived(b"]e."),
    "an empty stack": archived(b"."),
    "a memo that is far": archived(b"\x80\x02]r\xff\xff\xff\xffh\x07."),
    "no end": archived(b"\x80\x02]"),
    "too long an integer": archived(b"\x80\x02\x8b\xff\xff\xff\x7f1."),
    "another archive": archived(b"N.").replace(b"data.pkl", b"dota.pkl"),
    "deep": archived(b"\x80\x02" + b"]" * 10**4 + b"a" * (10**4 - 1) + b"."),
    "deep dicts": archived(b"\x80\x02" + b"}U\x01a" * 10**4 + b"N" + b"s" * 10**4 + b"."),
    "itself": archived(b"\x80\x02}q\x00U\x01ah\x00s."),
    "a tree with shared leaves": archived(
        b"\x80\x02}q\x00"
        + b"".join(
            b"}(U\x01ah" + bytes([i]) + b"U\x01bh" + bytes([i]) + b"uq" + bytes([i + 1])
            for i in range(60)
        )
        + b"."
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_sentence_at_once(name, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(BAD[name])
    start = time.process_time()
    with pytest.raises(ValueError, match=r"^source: .*but") as caught:
        lg.interop.from_torch(path)
    assert "\n" not in str(caught.value)
    assert time.process_time() - start < 2


def test_a_tensor_by_hand_is_read(tmp_path):
    path = tmp_path / "model.pt"
    weights = np.arange(36, dtype="float32")
    path.write_bytes(archived(tensor("_rebuild_tensor_v2"), {"data/0": weights.tobytes()}))
    np.testing.assert_array_equal(read_tensors(path)["weight_hh_l0"], weights.reshape(12, 3))


def test_a_file_takes_no_more_than_twice_its_size(tmp_path):
    path, count = tmp_path / "model.pt", 2**20
    described = tensor("_rebuild_tensor_v2", size=f"({count}, 1)", strides="(1, 1)")
    path.write_bytes(archived(described, {"data/0": bytes(4 * count)}))
    read_tensors(path)
    tracemalloc.start()
    try:
        assert read_tensors(path)["weight_hh_l0"].shape == (count, 1)
        assert tracemalloc.get_traced_memory()[1] < 2 * path.stat().st_size
    finally:
        tracemalloc.stop()


def test_no_bytes_are_reserved_that_a_file_does_not_have(tmp_path):
    path, data = tmp_path / "model.pt", bytearray(FILES["state_dict"])
    for entry in [match.start() for match in re.finditer(b"PK\x01\x02", data)]:
        data[entry + 20 : entry + 24] = (2**26).to_bytes(4, "little")
    path.write_bytes(data)
    tracemalloc.start()
    try:
        # From Python 3.13 on, zipfile refuses entries that would overlap.
        with contextlib.suppress(ValueError):
            assert set(read_tensors(path)) >= {"rnn.weight_ih_l0", "rnn.weight_hh_l0"}
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_a_pickle_that_goes_on_and_on_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("lstmgrad.interop._torch_pickles.MOST_OPCODES", 100)
    path = tmp_path / "model.pt"
    path.write_bytes(FILES["state_dict"])
    with pytest.raises(ValueError, match=r"model.pt is damaged"):
        lg.interop.from_torch(path)


@pytest.mark.parametrize("cut", [0, 3, 300, 0.5, -100])
@pytest.mark.parametrize("form", ["state_dict", "legacy"])
def test_damaged_files(form, cut, tmp_path):
    path, whole = tmp_path / "model.pt", FILES[form]
    path.write_bytes(whole[: int(cut * len(whole)) if cut == 0.5 else cut])
    with pytest.raises(ValueError, match=r"^source: .* model.pt is damaged") as caught:
        lg.interop.from_torch(path)
    assert "\n" not in str(caught.value)


def test_one_tensor_is_no_network(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(
        archived(
            tensor("_rebuild_tensor_v2").replace(b"(dVweight_hh_l0\n", b"").replace(b"tRs.", b"tR.")
        )
    )
    with pytest.raises(ValueError, match="holds one Tensor, and neither a state_dict nor a module"):
        lg.interop.from_torch(path)


# -- several files, and folders --------------------------------------------------------------------

PLAIN = {f"lstm.{name}": value for name, value in means("plain").items() if "out." not in name}


def sharded(folder, places=None):
    """A model in two files, and the index beside them."""
    shards = {"model-1.safetensors": {}, "model-2.safetensors": {}}
    for index, (name, value) in enumerate(PLAIN.items()):
        shards[f"model-{1 + index % 2}.safetensors"][name] = value
    for file, tensors in shards.items():
        safetensors.numpy.save_file(tensors, folder / file)
    known = {name: file for file, tensors in shards.items() for name in tensors}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": known | (places or {})}))
    return index


def test_a_model_in_several_files(tmp_path):
    index = sharded(tmp_path)
    for source in (index, str(tmp_path)):
        params = lg.interop.from_torch(source).params
        np.testing.assert_array_equal(params.weight_hh, PLAIN["lstm.weight_hh_l0"])
        np.testing.assert_array_equal(params.weight_ih, PLAIN["lstm.weight_ih_l0"])


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"a": "../secret.safetensors"}, r"names beside it, but '\.\./secret\.safetensors' is not"),
        (
            {"a": "model-3.safetensors"},
            r"but 'model-3\.safetensors' is not there\. Fetch the whole",
        ),
        ({"a": "model-1.safetensors"}, r"expected a in model-1\.safetensors, as .* not there"),
        ({"a": "model.safetensors.index.json"}, r"index\.json' is not there"),
    ],
)
def test_an_index_that_does_not_fit(tmp_path, places, message):
    index = sharded(tmp_path, places)
    with pytest.raises(ValueError, match=message):
        lg.interop.from_torch(index)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10**4, '{"weight_map": 3}', "\xff"])
def test_what_is_no_index(tmp_path, text):
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=r"^source: expected an index with a weight_map"):
        lg.interop.from_torch(path)


def test_a_folder_without_weights(tmp_path):
    with pytest.raises(ValueError, match=r"^source: expected a folder with model\.safetensors, "):
        lg.interop.from_torch(tmp_path)


# -- packed weights --------------------------------------------------------------------------------


class Packed:
    """A packed object of PyTorch, as a record of its state."""

    def __init__(self, *state):
        self.state = state


def packed_cell(reads):
    arrays = [np.ones((4 * H, width), "float32") for width in (reads, H)]
    biases = [np.ones(4 * H, "float32")] * 2
    return Packed("quantized_dynamic", biases, [], [], [Packed(array, None) for array in arrays])


@pytest.mark.parametrize(
    ("reads", "ends"),
    [
        ([D], ["l0"]),
        ([D, H], ["l0", "l1"]),
        ([D, D], ["l0", "l0_reverse"]),
        ([H, H, H], ["l0", "l1", "l2"]),
        ([H, H, H, H], ["l0", "l1", "l2", "l3"]),
        ([H, H, 2 * H, 2 * H], ["l0", "l0_reverse", "l1", "l1_reverse"]),
    ],
)
def test_packed_layers_and_directions_are_told_by_what_they_read(reads, ends):
    stored = {
        f"rnn._all_weight_values.{i}.param": packed_cell(width) for i, width in enumerate(reads)
    }
    found = read_tensors(stored)
    assert {name for name in found if "weight_ih" in name} == {
        f"rnn.weight_ih_{end}" for end in ends
    }


def test_packed_layers_that_cannot_be_told_apart():
    stored = {f"_all_weight_values.{index}.param": packed_cell(H) for index in range(2)}
    with pytest.raises(ValueError, match="of the network may be two layers or two directions"):
        lg.interop.from_torch(stored)
    with pytest.raises(ValueError, match=r"packed ones of a\. are of another form"):
        lg.interop.from_torch({"a._all_weight_values.0.param": Packed("mkldnn")})


def test_integers_without_a_scale_are_refused():
    stored = means("plain") | {"weight_hh_l0": np.ones((12, 3), "int8")}
    with pytest.raises(
        ValueError, match=r"weight_hh_l0 is int8, .* Pass scale \* \(w - zero_point"
    ):
        lg.interop.from_torch(stored)


def test_tensors_are_left_out_by_name():
    stored = means("plain") | {"norm.weight": np.ones(3)}
    del stored["out.weight"], stored["out.bias"]
    with pytest.raises(ValueError, match=r"unused=\['norm\.weight'\]"):
        lg.interop.from_torch(stored)
    model = lg.interop.from_torch(stored, unused=["norm.weight"])
    np.testing.assert_array_equal(model.params.weight_hh, stored["weight_hh_l0"])
    written = lg.interop.to_torch(model.params, stored, unused=["norm.weight"])
    np.testing.assert_array_equal(written["norm.weight"], np.ones(3))
    with pytest.raises(ValueError, match=r"unused: expected names of tensors .*got 'norm\.bias'"):
        lg.interop.from_torch(stored, unused=["norm.bias"])
