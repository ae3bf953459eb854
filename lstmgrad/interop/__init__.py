"""Models of other frameworks, each as one record: a step, parameters and a starting state.

A framework is imported when its function is called, and is not needed for the other functions.
"""

from lstmgrad.interop._equinox import from_equinox
from lstmgrad.interop._haiku import from_haiku
from lstmgrad.interop._keras import from_keras
from lstmgrad.interop._linen import from_linen
from lstmgrad.interop._model import (
    ClosedLoopParams,
    DenseParams,
    closed_loop,
    dense,
    stack,
)
from lstmgrad.interop._nnx import from_nnx
from lstmgrad.interop._onnx import from_onnx
from lstmgrad.interop._recorded_run import RecordedRun
from lstmgrad.interop._recording import Recording, record
from lstmgrad.interop._torch import ProjectedLSTMParams, from_torch
from lstmgrad.interop._torch_writing import to_torch
from lstmgrad.interop._transformers import from_transformers, layer_inputs

__all__ = [
    "ClosedLoopParams",
    "DenseParams",
    "ProjectedLSTMParams",
    "RecordedRun",
    "Recording",
    "closed_loop",
    "dense",
    "from_equinox",
    "from_haiku",
    "from_keras",
    "from_linen",
    "from_nnx",
    "from_onnx",
    "from_torch",
    "from_transformers",
    "layer_inputs",
    "record",
    "stack",
    "to_torch",
]
