"""Files of results: held against the bits of what was saved, and against broken files."""

import collections
import json
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from result_records import RECORDS, contributions, norm_profile

import lstmgrad as lg

NAMES = (
    *("bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "bfloat16", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e5m2"),
)


def same(one: Any, other: Any) -> bool:
    """Equal in type, structure, dtype and every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, jax.Array) and jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
        words = (jax.random.key_data(key) for key in (one, other))
        return one.dtype == other.dtype and same(*words)
    if isinstance(one, jax.Array | np.ndarray):
        pair = [np.asarray(array) for array in (one, other)]
        kinds = {(str(array.dtype), array.shape, array.tobytes()) for array in pair}
        return len(kinds) == 1
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "__dict__"):
        return same(vars(one), vars(other))
    return repr(one) == repr(other)


def through(path: Path, result: Any) -> Any:
    lg.save(path, result)
    return lg.load(path)


def tree_through(path: Path, tree: Any) -> Any:
    return through(path, contributions(tree)).gradient


@pytest.mark.parametrize("kind", RECORDS)
def test_every_record_comes_back_to_the_bit(kind, tmp_path):
    record = RECORDS[kind]()
    back = through(tmp_path / "a.npz", record)
    assert same(back, record)
    assert jax.tree.structure(back) == jax.tree.structure(record)
    assert repr(back) == repr(record)


def test_scaled_comes_back_to_the_bit(tmp_path):
    value = lg.scaled(jnp.asarray([1.0, -3.0])) @ lg.scaled(jnp.eye(2))
    assert same(through(tmp_path / "a", value), value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (2, 3)])
def test_every_dtype_comes_back_to_the_bit(name, shape, tmp_path):
    """Random bits: among them NaNs of any payload, both zeros, and subnormal numbers."""
    dtype = np.dtype(getattr(jnp, name))
    count = int(np.prod(shape))
    raw = np.random.default_rng(count).integers(0, 256, count * dtype.itemsize, np.uint8)
    bits = raw % 2 if name == "bool_" else raw
    array = bits.view(dtype).reshape(shape)
    assert same(tree_through(tmp_path / "a", jnp.asarray(array)), jnp.asarray(array))
    assert same(tree_through(tmp_path / "a", array), jnp.asarray(array))


def test_what_numbers_are_special_for(tmp_path):
    floats = np.asarray([0x7FC00001, 0xFFC12345, 0x80000000, 1, 0x7F800000], np.uint32)
    array = floats.view(np.float32)
    assert np.asarray(tree_through(tmp_path / "a", array)).tobytes() == floats.tobytes()
    big_endian = np.asarray([1.5, -0.0], ">f8")
    assert same(tree_through(tmp_path / "a", big_endian), jnp.asarray([1.5, -0.0]))
    strided = np.arange(12.0).reshape(3, 4).T[::2]
    assert same(tree_through(tmp_path / "a", strided), jnp.asarray(strided))


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_typed_keys_come_back(impl, tmp_path):
    one = jax.random.key(7, impl=impl)
    assert same(tree_through(tmp_path / "a", one), one)
    stacked = jax.random.wrap_key_data(jnp.stack([jax.random.key_data(one)] * 3), impl=impl)
    assert same(tree_through(tmp_path / "a", stacked), stacked)


def test_float64_is_never_rounded(tmp_path):
    record = norm_profile()
    lg.save(tmp_path / "a", record)
    with jax.enable_x64(False):
        back = lg.load(tmp_path / "a")
    assert isinstance(back.log_norms, np.ndarray)
    assert back.log_norms.dtype == np.float64
    np.testing.assert_array_equal(back.log_norms, np.asarray(record.log_norms))


arrays = st.sampled_from(
    [jnp.float32(-0.0), jnp.zeros((0, 2)), jnp.arange(3), jnp.bfloat16(float("nan"))]
)
leaves = st.one_of(
    arrays,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
)
words, integers = st.text(max_size=5), st.integers()
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(words, inner, max_size=3),
        st.dictionaries(integers, inner, max_size=3),
        st.lists(inner, min_size=2, max_size=2).map(lambda pair: lg.cells.LSTMState(*pair)),
    ),
    max_leaves=8,
)


@given(tree=trees)
@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_tree_comes_back(tree, tmp_path):
    assert same(tree_through(tmp_path / "a", tree), tree)


class Foreign(NamedTuple):
    """A container that this package does not know."""

    gain: Any
    bias: Any


def test_containers_of_others_come_back_as_dicts(tmp_path):
    tree = Foreign(gain=jnp.ones(2), bias=[collections.OrderedDict(b=jnp.zeros(1), a=None)])
    expected = {"gain": jnp.ones(2), "bias": [{"b": jnp.zeros(1), "a": None}]}
    assert same(tree_through(tmp_path / "a", tree), expected)


def test_every_named_tuple_of_a_cell_is_known(tmp_path):
    for name, constructor in lg.cells.registry().items():
        cell = constructor(2, 4)
        shapes = jax.eval_shape(cell.init, jax.random.key(0))
        params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        state = jax.eval_shape(cell.initial_state)
        state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)
        back = tree_through(tmp_path / "a", (params, state))
        assert jax.tree.structure(back) == jax.tree.structure((params, state)), name


def test_numpy_alone_can_read_the_arrays(tmp_path):
    path = tmp_path / "a.npz"
    lg.save(path, norm_profile())
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["log_norms"], np.asarray(norm_profile().log_norms))
        about = json.loads(file["lstmgrad.json"])
    assert (about["format"], about["version"]) == ("lstmgrad result", 1)


def test_the_file_has_exactly_the_name_and_the_same_bytes_each_time(tmp_path):
    for name in ("plain", "a.npz", "b.tar.gz", "ünï"):
        lg.save(str(tmp_path / name), norm_profile())
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "a.npz", "b.tar.gz", "ünï"}
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    lg.save(tmp_path / "link", norm_profile())
    assert (tmp_path / "link").is_symlink()
    assert same(lg.load(tmp_path / "real"), norm_profile())


@pytest.mark.parametrize("broken", ["np.lib.format.write_array", "os.replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(broken, error, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    lg.save(path, norm_profile())
    before = path.read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise error

    owner = {"np": np.lib.format, "os": os}[broken.split(".")[0]]
    monkeypatch.setattr(owner, broken.split(".")[-1], fail)
    with pytest.raises(type(error)):
        lg.save(path, contributions())
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]
    assert path.read_bytes() == before


def test_a_result_that_cannot_be_saved_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.npz"
    lg.save(path, norm_profile())
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"leaf \.gradient\[1\] is of type object"):
        lg.save(path, contributions([jnp.ones(1), object()]))
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """A file that is cut, has bytes changed, moved or repeated, or is followed by others."""
    data, kind = bytearray(whole), rng.integers(5)
    at = int(rng.integers(len(data)))
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        for place in rng.integers(len(data), size=rng.integers(1, 9)):
            data[place] ^= int(rng.integers(1, 256))
        return bytes(data)
    end = at + int(rng.integers(1, 200))
    if kind == 2:
        return bytes(data[:at] + data[end:])
    if kind == 3:
        return bytes(data[:at] + data[at:end] * 2 + data[end:])
    return bytes(data[:at]) + rng.bytes(end - at) + bytes(data[end:])


def loaded(path: Path) -> tuple[Any, str]:
    """What is in a file, or what is said about it; no other error is caught."""
    try:
        return lg.load(path), ""
    except ValueError as error:
        return None, str(error)


def test_a_damaged_file_says_so_or_gives_what_was_saved(tmp_path):
    record = RECORDS["lyapunov_spectrum"]()
    path = tmp_path / "a.npz"
    lg.save(path, record)
    whole, refused = path.read_bytes(), 0
    for seed in range(400):
        path.write_bytes(damaged(whole, np.random.default_rng(seed)))
        back, message = loaded(path)
        assert same(back, record) or message.startswith("path: expected a "), f"seed {seed}"
        refused += back is None
    assert refused > 200


def rewritten(path: Path, change: Any) -> None:
    """Changes the text of a file, as somebody who knows the format would."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(members["lstmgrad.json"])
    about = change(about) or about
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (members | {"lstmgrad.json": json.dumps(about).encode()}).items():
            archive.writestr(name, data)


CHANGES = {
    "a newer version": (
        lambda about: about.update(version=2),
        "holds one of version 2, which is newer than this package: it reads files up to version 1",
    ),
    "an unknown kind": (
        lambda about: about["result"].update(kind="Telepathy"),
        "holds 'Telepathy', which is not a record of this version of lstmgrad. Update lstmgrad",
    ),
    "a kind with other fields": (
        lambda about: about["result"]["fields"].update(more=None),
        "holds a NormProfile with the fields lags, .*, more, where this version",
    ),
    "a function": (lambda about: about["result"].update(kind="backward_norms"), "which is not a"),
    "a module": (lambda about: about["result"].update(kind="os.system"), "which is not a"),
    "a private class": (
        lambda about: about["result"].update(kind="cells._lstm.LSTMParams"),
        "which is not a",
    ),
    "no kind": (lambda about: about.pop("result"), "is damaged"),
    "a list": (
        lambda about: about.update(result={"list": [{"array": "lags"}]}),
        "is another kind of file",
    ),
    "another shape": (lambda about: about["arrays"]["lags"].update(shape=[1]), "is damaged"),
    "another dtype": (lambda about: about["arrays"]["lags"].update(dtype="float64"), "is damaged"),
    "a dtype of objects": (
        lambda about: about["arrays"]["lags"].update(dtype="object"),
        "is damaged",
    ),
    "an array in a static field": (
        lambda about: about["result"]["fields"].update(of={"array": "lags"}),
        "is damaged",
    ),
    "a missing array": (
        lambda about: about["result"]["fields"].update(lags={"array": "nothing"}),
        "is damaged",
    ),
    "another format": (lambda about: about.update(format="else"), "is another kind of file"),
    "no text": (lambda about: [1], "is damaged"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_fit_is_refused_in_a_sentence(change, tmp_path):
    path = tmp_path / "a.npz"
    lg.save(path, norm_profile())
    rewritten(path, CHANGES[change][0])
    with pytest.raises(ValueError, match=CHANGES[change][1]):
        lg.load(path)


def test_no_pickle_is_read(tmp_path):
    path = tmp_path / "a.npz"
    lg.save(path, norm_profile())
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(ran),)

    np.save(tmp_path / "bomb.npy", np.asarray([Bomb()], object), allow_pickle=True)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["lags.npy"] = (tmp_path / "bomb.npy").read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="is damaged"):
        lg.load(path)
    assert not ran.exists()


def test_other_files_and_places_are_named(tmp_path, as_installed):
    with pytest.raises(FileNotFoundError, match=r"path: expected a file that save wrote, but '.*'"):
        lg.load(tmp_path / "nothing.npz")
    with pytest.raises(IsADirectoryError, match=r"path: expected a file, but '.*' is a folder"):
        lg.load(tmp_path)
    with pytest.raises(IsADirectoryError, match=r"path: expected a file, but '.*' is a folder"):
        lg.save(tmp_path, norm_profile())
    with pytest.raises(FileNotFoundError, match="path: expected a file in a folder that exists"):
        lg.save(tmp_path / "no" / "a.npz", norm_profile())
    anything: list[Any] = [b"bytes", 3, None]
    for wrong in anything:
        with pytest.raises(ValueError, match="path: expected a str or a Path, but got"):
            lg.load(wrong)
        with pytest.raises(ValueError, match="path: expected a str or a Path, but got"):
            lg.save(wrong, norm_profile())
    np.savez(tmp_path / "theirs.npz", a=np.ones(2))
    (tmp_path / "text.npz").write_text("a,b\n1,2\n")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("theirs.npz", "text.npz", "empty.npz"):
        with pytest.raises(ValueError, match="is another kind of file"):
            lg.load(tmp_path / name)


@pytest.mark.parametrize(
    "wrong",
    [{"a": 1}, {}, {1: np.ones(2)}, [np.ones(2)], (1, 2), None, 2.0, Foreign(1, 2)],
    ids=repr,
)
def test_only_results_are_saved(wrong, tmp_path):
    with pytest.raises(ValueError, match="result: expected what an analysis returns, such as"):
        lg.save(tmp_path / "a", wrong)


def test_arrays_and_results_by_name_are_saved(tmp_path):
    cell = lg.cells.lstm(2, 3)
    model = cell.model(cell.init(jax.random.key(0)))
    chain = lg.chain(model, jnp.ones((4, 2)))
    path = tmp_path / "a.npz"
    runs = {"before": norm_profile(), "after": {"again": norm_profile()}}
    for found in (lg.tagged_values(chain), lg.log_abs_det(chain), lg.jacobian(chain), runs):
        lg.save(path, found)
        again = lg.load(path)
        assert jax.tree.structure(again) == jax.tree.structure(found)
        jax.tree.map(np.testing.assert_array_equal, again, found)
    lg.save(path, lg.tagged_values(chain))
    with np.load(path) as file:
        np.testing.assert_array_equal(file["forget"], lg.tagged_values(chain)["forget"])
    with pytest.raises(ValueError, match="numbers that JAX knows, but leaf the whole array is <U1"):
        lg.save(path, np.asarray(["a"]))


def test_leaves_that_cannot_be_kept_are_named(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(ValueError, match=r"leaf \.lags is traced: save outside jit and vmap"):
        jax.jit(lambda record: lg.save(path, record))(norm_profile())
    with pytest.raises(ValueError, match=r"numbers that JAX knows, but leaf \.gradient is <U1"):
        lg.save(path, contributions(np.asarray(["a"])))
    with pytest.raises(
        ValueError, match=r"strings or whole numbers as keys of dicts, but got 1\.5"
    ):
        lg.save(path, contributions({1.5: jnp.ones(1)}))
    gone = jnp.ones(2)
    gone.delete()
    with pytest.raises(
        ValueError, match=r"leaf \.gradient is not here to read: Array has been del"
    ):
        lg.save(path, contributions(gone))
    assert not path.exists()
