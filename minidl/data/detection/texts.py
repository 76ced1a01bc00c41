"""Small text files, read whole."""

from pathlib import Path

from minidl.errors import FileFormatError

__all__ = ["read_lines"]

MOST_BYTES = 2**24


def read_lines(file: Path, expected: str) -> list[str]:
    """Return the lines of a file; raise FileFormatError where it is no text, or too large a one.

    expected: what errors say should be there, such as "a class in each line".
    """
    if file.stat().st_size > MOST_BYTES:
        raise FileFormatError(f"{file}: expected {expected}, in at most {MOST_BYTES:,} bytes")
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{file}: expected {expected}, in UTF-8: {error}") from error
