"""Small text files: lines, and lists of the images of each part."""

from collections.abc import Callable, Iterable
from pathlib import Path

from minidl.data.parts import part_of
from minidl.errors import FileFormatError

__all__ = ["listed_parts", "read_lines"]

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


def listed_parts(files: Iterable[Path], key: Callable[[str], str]) -> dict[str, str]:
    """Return the part of each image that a list names, such as train.txt; others are passed over.

    key: what an image is called, of its line.
    Raises FileFormatError where an image is in the lists of two parts.
    """
    found: dict[str, str] = {}
    for file in files:
        part = part_of(file.stem)
        if part is None:
            continue
        for number, line in enumerate(read_lines(file, "an image in each line"), 1):
            name = key(line.strip())
            if name and found.setdefault(name, part) != part:
                raise FileFormatError(
                    f"{file}: line {number}: the image {name!r} is of the part {found[name]} too: "
                    "leave it in one list"
                )
    return found
