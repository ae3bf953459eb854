"""How XLA compiles the programs of a command, which takes longer than what they compute.

And what else a command sets for its process.
"""

import gc
import importlib.metadata
import os
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx

SAME_NUMBERS = {"xla_backend_optimization_level": 1}
"""Options of a compiler that takes half the time and changes no bit of random weights.

Without any optimization the last bits differ, and a training makes more of them.
"""

F = TypeVar("F", bound=Callable)

_filter_jit: Any = eqx.filter_jit  # whose type leaves out the options that it takes


def jit_quickly(function: F) -> F:
    """Returns the function, compiled without optimization, on its first call.

    For what runs for milliseconds, however bad its code; good code takes seconds to compile.

    Args:
        function: of arrays, and of other things that are static.
    """
    return _filter_jit(function, compiler_options={"xla_backend_optimization_level": 0})


def prefer_one_thread_each() -> None:
    """Lets each decomposition run in one thread, unless OpenBLAS has been told otherwise.

    Its threads wait for the next small matrix by spinning, on the cores that other cells could use:
    300 steps of the orthogonal RNN at 64 units took 94 s of two cores, and take 1 s of one. To be
    called before SciPy has been imported, which JAX does with its first decomposition.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def collect_garbage_rarely() -> None:
    """Leaves what has been imported out of garbage collection, and collects less often.

    Tracing a program makes objects by the hundred thousand, nearly all of them freed without it:
    the default thresholds took a sixth of the time of a command, and saved no memory.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def prefer_quick_compilation() -> None:
    """Sets XLA's flags for this process, unless there are some; before JAX has computed anything.

    The older way to write the code of a fused loop takes three quarters of the time to compile, and
    the loops of these commands run no slower. A version of XLA that no longer knows the flag ends
    the process, hence the bound.
    """
    major, minor, *_ = importlib.metadata.version("jaxlib").split(".")
    if (int(major), int(minor)) < (0, 11):
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
