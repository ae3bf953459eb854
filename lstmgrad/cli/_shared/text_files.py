"""Files as bytes and as text in UTF-8; one that cannot be read is refused in a sentence."""

import codecs
from pathlib import Path

from lstmgrad.cli._shared.error import CommandError


def content_of(path: Path) -> bytes:
    """Returns the bytes in a file.

    Args:
        path: the file.

    Raises:
        CommandError: the file is missing, a directory, or empty.
    """
    if path.is_dir():
        raise CommandError(f"{path}: expected a file, but it is a directory")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CommandError(f"{path}: there is no such file") from None
    except OSError as error:
        raise CommandError(f"{path}: cannot be read: {error.strerror}") from error
    if not content:
        raise CommandError(f"{path}: the file is empty")
    return content


def read_text(path: Path) -> str:
    """Returns the text in a file in UTF-8, whatever its ending.

    Args:
        path: the file.

    Raises:
        CommandError: the file is missing, a directory, empty, or not UTF-8.
    """
    return decode(path, content_of(path))


def decode(path: Path, content: bytes) -> str:
    """Returns the text of UTF-8 with or without a byte order mark, with any kind of line ends.

    Args:
        path: the file, for the message.
        content: its bytes.

    Raises:
        CommandError: the bytes are not UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The codec counts from behind the byte order mark.
        body = content.removeprefix(codecs.BOM_UTF8)
        before = _plain_line_ends(body[: error.start].decode("utf-8"))
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise CommandError(
            f"{path}, line {line}, column {column}: byte 0x{body[error.start]:02x} is not UTF-8; "
            "save the file in UTF-8"
        ) from None
    return _plain_line_ends(text)


def _plain_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
