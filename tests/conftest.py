"""Strictness for the tests alone: the library itself changes no global switch."""

import gc
import os
import pathlib
from collections.abc import Iterator

os.environ["MPLBACKEND"] = "Agg"
os.environ["LSTMGRAD_CACHE"] = ""  # nothing is written into the user's own
# Two workers on two cores: threads of BLAS beside them only wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jaxlib.version
import jaxtyping
import numpy as np
import pytest

# Most of the time goes into compiling programs that run once, which is much quicker without
# optimization. With XLA_FLAGS set, to nothing even, they are compiled as for a user.
FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
# One piece of machine code per program: the programs are small, and no core is free for a second.
FLAGS += " --xla_cpu_parallel_codegen_split_count=1"
if jaxlib.version.__version_info__ < (0, 11):
    # The older way to write the code of a fused loop takes half the time. A version of XLA that no
    # longer knows it ends the process, hence the bound.
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", FLAGS)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Before the package is imported: every shape annotation is checked in every call.
jaxtyping.install_import_hook("lstmgrad", "checked.checked")

MAPS = pathlib.Path("/proc/self/maps")
MOST_MAPS = 45_000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases", type=int, help="at most so many cases of each test, from the first to the last"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out cases of a test that has more than `--cases`."""
    most = config.getoption("--cases")
    if most is None:
        return
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    chosen = set()
    for cases in tests.values():
        ends = np.linspace(0, len(cases) - 1, min(most, len(cases))).round().astype(int)
        chosen |= {cases[end].nodeid for end in ends}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in chosen])
    items[:] = [item for item in items if item.nodeid in chosen]


def pytest_collection_finish() -> None:
    """Spares the collector of garbage what stays to the end: modules, tests and their cases.

    Tracing makes so many objects that it would walk through all of them again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True, scope="module")
def few_programs() -> Iterator[None]:
    """Drops what has been compiled before it is too much.

    Every program keeps four memory maps or more. Linux allows a process 65 530 of them, and XLA
    dies of a segmentation fault when it gets no more. One module makes some thousands.
    """
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations unchecked, as for a user, so that the library's own message is what is seen."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
