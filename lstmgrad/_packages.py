"""Packages that only an extra brings: imported where they are needed, with the way to get them."""

import importlib
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """Returns a module of a package that is not always there, once that is installed.

    Args:
        module: its full name.
        extra: the extra of this package that brings it.
    """
    package = module.split(".")[0]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(
            f"{package} is not installed; the extra {extra} brings it: "
            f'pip install "lstmgrad[{extra}]", or pip install ".[{extra}]" in a checkout.',
            name=package,
        ) from None
    return importlib.import_module(module)
