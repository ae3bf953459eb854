"""Strictness for the tests alone: the library itself changes no global switch."""

import os

os.environ["MPLBACKEND"] = "Agg"

import jax
import jaxtyping
import pytest

# Most of the time goes into compiling programs that run once, which is much quicker without
# optimization. With XLA_FLAGS set, to nothing even, they are compiled as for a user.
FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ.setdefault("XLA_FLAGS", FLAGS)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Before the package is imported: every shape annotation is checked in every call.
jaxtyping.install_import_hook("lstmgrad", "beartype.beartype")


@pytest.fixture
def as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations unchecked, as for a user, so that the library's own message is what is seen."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
