"""How XLA compiles the programs of a command, which takes longer than what they compute."""

import importlib.metadata
import os
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx

F = TypeVar("F", bound=Callable)

_filter_jit: Any = eqx.filter_jit  # whose type leaves out the options that it takes


def jit_quickly(function: F) -> F:
    """Returns the function, compiled without optimization, on its first call.

    For what runs for milliseconds, however bad its code; good code takes seconds to compile.

    Args:
        function: of arrays, and of other things that are static.
    """
    return _filter_jit(function, compiler_options={"xla_backend_optimization_level": 0})


def prefer_quick_compilation() -> None:
    """Sets XLA's flags for this process, unless there are some; before JAX has computed anything.

    The older way to write the code of a fused loop takes three quarters of the time to compile, and
    the loops of these commands run no slower. A version of XLA that no longer knows the flag ends
    the process, hence the bound.
    """
    major, minor, *_ = importlib.metadata.version("jaxlib").split(".")
    if (int(major), int(minor)) < (0, 11):
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
