"""Several sequences in one file, and the stretches that one long sequence is cut into."""

import io
from pathlib import Path

import numpy as np

from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.tables import Reading

NPY = ".npy"


def read_several(path: Path, reading: Reading) -> np.ndarray | None:
    """Returns (N, T, d), the sequences of a .npy file with three axes; None for other files.

    Args:
        path: the file.
        reading: what was asked for of a table, which such a file is not.

    Raises:
        CommandError: the array is empty, or not of finite numbers; `reading` asks for something.
    """
    if path.suffix.lower() != NPY or not path.is_file():
        return None
    try:
        array = read_array(path)
    except CommandError:  # what reads tables says what is wrong
        return None
    if array.ndim != 3:
        return None
    for option, given in reading._asdict().items():
        if given is not None:
            raise CommandError(
                f"--{option}: expected no such option beside {path}, which holds several "
                "sequences and not a table"
            )
    if 0 in array.shape or array.shape[1] < 2:
        raise CommandError(
            f"{path}: expected sequences of 2 steps or more, but its shape is {array.shape}"
        )
    if not np.isfinite(array).all():
        raise CommandError(f"{path}: expected finite numbers, but some are not")
    return array.astype(np.float64)


def read_array(path: Path) -> np.ndarray:
    """Returns the numbers of a .npy file of any shape.

    Args:
        path: the file.

    Raises:
        CommandError: it cannot be read, or is not one of real numbers.
    """
    try:
        content = io.BytesIO(path.read_bytes())
        array = np.lib.format.read_array(content, allow_pickle=False)
    except FileNotFoundError:
        raise CommandError(f"{path}: there is no such file") from None
    except OSError as error:
        raise CommandError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception:
        raise CommandError(
            f"{path}: it is not a complete NumPy array file of numbers (numpy.save)"
        ) from None
    if array.dtype.kind not in "biuf":
        raise CommandError(f"{path}: expected real numbers, but its dtype is {array.dtype}")
    return array


def spread(available: int, length: int, most: int) -> list[slice]:
    """Returns where stretches of one length lie in a longer sequence, evenly spread.

    Args:
        available: steps of the sequence.
        length: of a stretch.
        most: stretches at most: no more than fit side by side.
    """
    count = min(most, max(1, (available - 1) // length))
    last = max(0, available - length - 1)
    starts = [0] if count == 1 else np.linspace(0, last, count).astype(int).tolist()
    return [slice(start, start + length) for start in starts]
