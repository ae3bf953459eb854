"""Tensors in files of PyTorch: where their numbers lie, and how a pickle says so."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np


class Storage(NamedTuple):
    """Attributes: key, in the file; dtype of its items, None for bytes."""

    key: str
    dtype: np.dtype | None

    @property
    def size(self) -> int:
        """Bytes of an item."""
        return 1 if self.dtype is None else self.dtype.itemsize


class Tensor(NamedTuple):
    """A tensor whose numbers are not read yet.

    Attributes:
        storage: where its numbers are.
        dtype: of its items.
        offset: of its first item.
        shape: in items.
        strides: in items.
        quantizer: None, or scale, zero point and axis (None for one scale) of integers.
    """

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    quantizer: tuple[Any, Any, int | None] | None = None

    def read(self, data: bytes) -> np.ndarray:
        """Returns the numbers as they are stored.

        Args:
            data: the bytes of the storage.
        """
        count = len(data) // self.dtype.itemsize
        items = np.frombuffer(data, self.dtype, count)[self.offset :]
        sizes = zip(self.shape, self.strides, strict=True)
        last = sum((size - 1) * stride for size, stride in sizes)
        total = int(np.prod(self.shape, dtype=object))
        if total == 0:
            return np.zeros(self.shape, self.dtype)
        if last >= len(items) or total > len(items):
            raise ValueError("a tensor is larger than its storage")
        strides = [stride * self.dtype.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(items, self.shape, strides, writeable=False)


ITEMS = {
    "Float": "float32",
    "Double": "float64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "QInt8": "int8",
    "QUInt8": "uint8",
    "QInt32": "int32",
}
"""The dtype of a storage by its name in PyTorch, without its ending."""


def dtype_of(name: str) -> np.dtype:
    """Returns a dtype by its name in PyTorch, which is that of NumPy or of ml_dtypes.

    Args:
        name: without "torch.".

    Raises:
        ValueError: it is not the name of a dtype of numbers.
    """
    if not re.fullmatch(r"bool|half|double|float|(?:u?int|b?float|complex)\d+\w*", name):
        raise ValueError(f"no dtype {name}")
    name = {"half": "float16", "float": "float32", "double": "float64"}.get(name, name)
    return np.dtype(getattr(ml_dtypes, name, name))


def _plain(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
    del rest
    return _tensor(storage, storage.dtype, offset, shape, strides)


def _typed(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, *rest
) -> Tensor:
    del grad, hooks, rest
    return _tensor(storage, dtype_of(dtype.name), offset, shape, strides)


def _quantized(
    storage: Any, offset: Any, shape: Any, strides: Any, quantizer: Any, *rest: Any
) -> Tensor:
    del rest
    scheme, scale, zero, *axis = quantizer
    known = {"per_tensor_affine": None, "per_channel_affine": axis[0] if axis else None}
    bare = _tensor(storage, storage.dtype, offset, shape, strides)
    return bare._replace(quantizer=(scale, zero, known[scheme.name]))


def _tensor(storage: Any, dtype: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    numbers = [offset, *shape, *strides]
    if dtype is None or not all(
        isinstance(number, int) and 0 <= number < 2**62 for number in numbers
    ):
        raise ValueError("a tensor of negative size")
    return Tensor(storage, np.dtype(dtype), offset, tuple(shape), tuple(strides))


def _itself(value: Any, *rest: Any) -> Any:
    del rest
    return value


KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _plain,
    ("torch._utils", "_rebuild_tensor_v2"): _plain,
    ("torch._utils", "_rebuild_tensor_v3"): _typed,
    ("torch._utils", "_rebuild_qtensor"): _quantized,
    ("torch._utils", "_rebuild_parameter"): _itself,
    ("torch._utils", "_rebuild_parameter_with_state"): _itself,
    ("torch.jit._pickle", "build_tensorlist"): _itself,
    ("torch.jit._pickle", "build_intlist"): _itself,
    ("torch.jit._pickle", "build_doublelist"): _itself,
    ("torch.jit._pickle", "build_boollist"): _itself,
    ("torch.jit._pickle", "restore_type_tag"): _itself,
    ("collections", "OrderedDict"): lambda *_: {},
    ("collections", "defaultdict"): lambda *_: {},
}
"""Names that stand for functions of this file; every other one stays a name."""
