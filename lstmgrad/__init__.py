"""lstmgrad: where gradients go in recurrent networks, measured exactly."""

import importlib
from typing import TYPE_CHECKING, Any

from lstmgrad import cells
from lstmgrad._chain import Chain, DenseChain, ImplicitChain, StreamedChain, linearize, stream
from lstmgrad._norms import (
    NormMap,
    NormProfile,
    backward_norms,
    decay_rate,
    forward_norms,
    horizon,
    norm_map,
)
from lstmgrad._propagate import jacobian, product, pull_back, push_forward
from lstmgrad._scaled import Scaled, scaled
from lstmgrad._trajectory import Trajectory, unroll

if TYPE_CHECKING:
    from lstmgrad import plot

__version__ = "0.1.0"

__all__ = [
    "Chain",
    "DenseChain",
    "ImplicitChain",
    "NormMap",
    "NormProfile",
    "Scaled",
    "StreamedChain",
    "Trajectory",
    "__version__",
    "backward_norms",
    "cells",
    "decay_rate",
    "forward_norms",
    "horizon",
    "jacobian",
    "linearize",
    "norm_map",
    "plot",
    "product",
    "pull_back",
    "push_forward",
    "scaled",
    "stream",
    "unroll",
]


def __getattr__(name: str) -> Any:
    """Imports `plot`, and with it matplotlib, on first use."""
    if name == "plot":
        return importlib.import_module("lstmgrad.plot")
    raise AttributeError(f"module 'lstmgrad' has no attribute {name!r}")
