"""Damages files of weights, and reads them: `python tests/fuzz/files.py --cases 10000`.

    python tests/fuzz/files.py --cases 10000 --seed 1                # of every format
    python tests/fuzz/files.py --cases 500 --only keras --seed 7     # of one, by other draws

A damaged file may still be read, or is refused by one sentence. Anything else is printed with what
draws it again: another error, code that is run, a file elsewhere that is touched, more than 10
seconds, much more memory than the file, the end of the process. Files are read in a process of
their own, so that its end ends nothing else.
"""

import argparse
import codecs
import dataclasses
import functools
import io
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Iterator

import numpy as np

SECONDS = 10
"""That one file may take."""

H = 3

SLACK = 2**21
"""Bytes that reading takes beside twice the file."""

LIBRARIES = (sys.prefix, sys.base_prefix)
"""Where modules lie that are imported late."""

FORBIDDEN = re.compile(
    r"os\.(?:system|exec|posix_spawn|fork|startfile|mkdir|remove|rename|rmdir|link|symlink|chmod)"
    r"|subprocess\.|pickle\.|marshal\.|socket\.|shutil\.|ctypes\.(?:dlopen|dlsym)|exec|compile"
)
"""Audit events that mean that something in a file has been run."""


@dataclasses.dataclass
class Format:
    """How files of one format are read, and what they are called."""

    suffix: str
    read: str


FORMATS = {
    "safetensors": Format(".safetensors", "from_torch"),
    "index": Format(".safetensors.index.json", "from_torch"),
    "archive": Format(".pt", "from_torch"),
    "legacy": Format(".pth", "from_torch"),
    "torchscript": Format(".jit", "from_torch"),
    "onnx": Format(".onnx", "from_onnx"),
    "keras": Format(".keras", "from_keras"),
    "h5": Format(".h5", "from_keras"),
    "msgpack": Format(".msgpack", "from_linen"),
}


# -- whole files -----------------------------------------------------------------------------------


def write_seeds(folder: pathlib.Path) -> None:
    """Whole files of every format, and pickles that would run something, under format/number."""
    import pickle

    import safetensors.numpy

    source = pathlib.Path(__file__).parents[1] / "interop" / "data" / "torch_files.npz"
    with np.load(source) as arrays:
        stored = dict(arrays)
    torch = {name[5:]: stored[name].tobytes() for name in stored if name[:5] == "file/"}
    weights = {name[6:]: stored[name] for name in stored if name[:10] == "plain/weig"}
    tensors = safetensors.numpy.save(weights)
    index = json.dumps({"weight_map": dict.fromkeys(weights, "model.safetensors")}).encode()
    named: dict[str, list[bytes]] = {name: [] for name in FORMATS}
    for name, data in torch.items():
        kinds = {"onnx": "onnx", "lega": "legacy", "scri": "torchscript", "trac": "torchscript"}
        named[kinds.get(name[:4], "archive")].append(data)
    for protocol in (0, 2, 4):
        code = pickle.dumps({"weight_ih_l0": Malicious()}, protocol=protocol)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("model/data.pkl", code)
        named["archive"].append(buffer.getvalue())
        named["legacy"].append(code)
    named["safetensors"].append(tensors)
    named["index"].append(index)
    named["keras"], named["h5"] = keras_seeds(folder)
    named["msgpack"] = flax_seeds()
    for name, files in named.items():
        for number, data in enumerate(files):
            (folder / f"{name}-{number}").write_bytes(data)
    (folder / "model.safetensors").write_bytes(tensors)


class Malicious:
    """Pickled, it makes a folder when it is read."""

    def __reduce__(self):
        import os

        return os.mkdir, ("was-run",)


def keras_seeds(folder: pathlib.Path) -> tuple[list[bytes], list[bytes]]:
    """Models of Keras, one with a function of its own in it."""
    import os
    import warnings

    os.environ["KERAS_BACKEND"] = "jax"
    import jax

    with (
        warnings.catch_warnings(),
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
    ):
        warnings.simplefilter("ignore")
        import keras

        layers = keras.layers
        found: dict[str, list[bytes]] = {".keras": [], ".h5": []}
        for layer in (layers.LSTM(3), layers.Bidirectional(layers.GRU(3)), layers.SimpleRNN(3)):
            made = keras.Sequential([keras.Input((None, 2)), layer, layers.Lambda(lambda x: x)])
            for suffix, files in found.items():
                path = folder / f"seed{suffix}"
                made.save(path)
                files.append(path.read_bytes())
    return found[".keras"], found[".h5"]


def flax_seeds() -> list[bytes]:
    """Parameters of a cell, alone and inside a model."""
    import flax.serialization

    shapes = {f"i{gate}": {"kernel": (2, H)} for gate in "ifgo"}
    shapes |= {f"h{gate}": {"kernel": (H, H), "bias": (H,)} for gate in "ifgo"}
    params = {
        name: {leaf: np.ones(shape, "float32") for leaf, shape in leaves.items()}
        for name, leaves in shapes.items()
    }
    trees = [params, {"params": {"encoder": params}, "step": 3}]
    return [flax.serialization.msgpack_serialize(tree) for tree in trees]


# -- damage ----------------------------------------------------------------------------------------

EXTREMES = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0"]


def damage(rng: np.random.Generator, data: bytes, others: list[bytes]) -> bytes:
    """The data with a few mistakes, those of archives mostly inside their members."""
    if zipfile.is_zipfile(io.BytesIO(data)) and rng.random() < 0.7:
        inside = members_damaged(rng, data, others)
        if inside is not None:
            return inside
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(0, len(found) + 1))
        match int(rng.integers(0, 7)):
            case 0 if place < len(found):
                found[place] ^= 1 << int(rng.integers(0, 8))
            case 1 if place < len(found):
                found[place] = int(rng.integers(0, 256))
            case 2:
                del found[place : place + int(rng.integers(1, 40))]
            case 3:
                found[place:place] = bytes(rng.integers(0, 256, int(rng.integers(1, 9)), np.uint8))
            case 4:
                extreme = EXTREMES[int(rng.integers(0, len(EXTREMES)))]
                found[place : place + 4] = extreme * int(rng.integers(1, 3))
            case 5:
                other = others[int(rng.integers(0, len(others)))]
                start, count = int(rng.integers(0, len(other) + 1)), int(rng.integers(1, 200))
                found[place : place + count] = other[start : start + count]
            case 6 if rng.random() < 0.2:
                del found[place:]
    return bytes(found)


def members_damaged(rng: np.random.Generator, data: bytes, others: list[bytes]) -> bytes | None:
    """The archive with one member damaged, whole as an archive; None if it is not readable."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        names = [name for name in old.namelist() if re.search(r"pkl$|json$|h5$", name)]
        if not names:
            return None
        chosen = names[int(rng.integers(0, len(names)))]
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, damage(rng, content, others) if name == chosen else content)
    return buffer.getvalue()


# -- the process that reads ------------------------------------------------------------------------


class TooLongError(BaseException):
    """One file took longer than it may."""


def work(folder: pathlib.Path, name: str, seed: int, cases: range) -> None:
    """Reads damaged files, and prints lines of JSON: the number of each, and what became of it."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    import lstmgrad as lg

    form = FORMATS[name]
    read = getattr(lg.interop, form.read)
    if form.read == "from_linen":
        import flax.linen as nn

        read = functools.partial(read, nn.LSTMCell(H))
    seeds = sorted(folder.glob(f"{name}-*"))
    whole = [path.read_bytes() for path in seeds]
    place = pathlib.Path(tempfile.mkdtemp(dir=folder))
    (place / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    path = place / f"m{form.suffix}"
    events: list[str] = []
    watching = False

    def watch(event: str, arguments: tuple) -> None:
        if not watching:
            return
        elsewhere = (
            event == "open"
            and isinstance(arguments[0], str | bytes)
            and not str(arguments[0]).startswith((str(place), *LIBRARIES))
        )
        parsed = event == "compile" and arguments[1] == "<unknown>"  # ast.parse, which runs nothing
        if (FORBIDDEN.match(event) and not parsed) or elsewhere:
            events.append(f"{event} {str(arguments)[:80]}")

    def late(*_: object) -> None:
        raise TooLongError

    signal.signal(signal.SIGALRM, late)
    sys.addaudithook(watch)

    def verdict(size: int) -> str:
        nonlocal watching
        events.clear()
        signal.alarm(SECONDS)
        watching = True
        try:
            read(path)
            found = "read"
        except ValueError as error:
            text = str(error)
            good = re.match(r"[a-z_]+: expected ", text) and "\n" not in text
            found = "refused" if good else f"ValueError: {text}"
        except BaseException as error:
            found = f"{type(error).__name__}: {error}"
        finally:
            watching = False
            signal.alarm(0)
        peak = tracemalloc.get_traced_memory()[1]
        if peak > 2 * size + SLACK:
            found = f"{peak} bytes for a file of {size}"
        return f"ran {events[0]}" if events else found

    # Once around, so that what is imported late is imported; a name in an archive, and the text of
    # a configuration, may be in any of these.
    for text in ("cp437", "utf_16_le", "utf_16_be", "utf_32_le", "utf_32_be", "utf_8_sig"):
        codecs.lookup(text)
    for data in [*whole, *whole]:
        path.write_bytes(data)
        verdict(2**40)
    tracemalloc.start()
    for case in cases:
        rng = np.random.default_rng([seed, list(FORMATS).index(name), case])
        data = damage(rng, whole[int(rng.integers(0, len(whole)))], whole)
        path.write_bytes(data)
        print(json.dumps([case]), flush=True)
        tracemalloc.reset_peak()
        print(json.dumps([case, verdict(len(data))]), flush=True)
        tracemalloc.clear_traces()


def run(name: str, cases: int, seed: int, folder: pathlib.Path) -> Iterator[tuple[int, str]]:
    """(number, what became of it) for each case, through processes that may end."""
    first = 0
    while first < cases:
        command = [sys.executable, __file__, "--work", name, "--seed", str(seed)]
        command += ["--first", str(first), "--cases", str(cases), "--folder", str(folder)]
        begun = None
        quiet = subprocess.DEVNULL
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=quiet, text=True, cwd=folder
        ) as process:
            assert process.stdout is not None
            # A file that keeps the process from Python is ended from here.
            watch = threading.Timer(10 * SECONDS, process.kill)
            for line in process.stdout:
                watch.cancel()
                case, *verdict = json.loads(line)
                begun = None if verdict else case
                first = case + 1
                if verdict:
                    yield case, verdict[0]
                else:
                    watch = threading.Timer(2 * SECONDS, process.kill)
                    watch.start()
            watch.cancel()
        if begun is not None:
            yield begun, f"the process ended with {process.returncode}"
        elif first < cases:
            raise RuntimeError(f"the process that reads {name} ended with {process.returncode}")


def main() -> int:
    """Reads the command line, and prints counts and failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=1000, help="of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=FORMATS)
    parser.add_argument("--work", choices=FORMATS, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.folder, given.work, given.seed, range(given.first, given.cases))
        return 0
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        write_seeds(pathlib.Path(folder))
        for name in [given.only] if given.only else FORMATS:
            counts: Counter[str] = Counter()
            for case, verdict in run(name, given.cases, given.seed, pathlib.Path(folder)):
                counts[verdict if verdict in ("read", "refused") else "wrong"] += 1
                if verdict not in ("read", "refused"):
                    print(f"  {name} {case} of seed {given.seed}: {verdict}", flush=True)
            bad += counts["wrong"]
            print(f"{name:12} {dict(counts)}", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
