"""Files that are read no further than they go."""

import io
from typing import BinaryIO


class Bounded:
    """A file that is never asked for more bytes than it has.

    A reader reserves what it asks for, and in a damaged file that is any number.
    """

    def __init__(self, file: BinaryIO):
        self.file = file
        self.size = file.seek(0, io.SEEK_END)
        file.seek(0)

    def read(self, size: int | None = -1) -> bytes:
        """Returns the next bytes, all that are left for a negative size or None."""
        left = max(self.size - self.file.tell(), 0)
        return self.file.read(left if size is None or size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place, and returns it."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """Returns the place."""
        return self.file.tell()

    def seekable(self) -> bool:
        """Returns that it can be gone to any place."""
        return True
