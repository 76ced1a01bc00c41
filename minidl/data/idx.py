"""idx files, as MNIST's are: arrays of bytes, gzipped or not."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from minidl.errors import FileFormatError

__all__ = ["GZIP_ERRORS", "idx_axes", "read_idx"]

MOST_ITEMS = 1_000_000  # in a file; MNIST has 60,000, EMNIST 697,932
MOST_BYTES = 4 * 2**30
MOST_AXES = 4  # (N, H, W, C)
BYTES = 0x800  # the magic number of unsigned bytes, without the number of axes
GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)


def idx_axes(path: Path) -> int:
    """Return how many axes the array in an idx file of bytes has; 0 for any other file."""
    try:
        with _opened(path) as file:
            magic = int.from_bytes(file.read(4), "big")
    except GZIP_ERRORS:
        return 0
    return magic - BYTES if 1 <= magic - BYTES <= MOST_AXES else 0


def read_idx(path: Path, item: tuple[int, ...] | None = None) -> np.ndarray:
    """Return the bytes of an idx file as a uint8 array (N, *item).

    item: the shape that items must have; None for any.
    An idx file has 4 bytes for type and number of axes, 4 for each axis' length, then the data.
    Raises FileFormatError for other files and damaged ones.
    """
    axes = max(1, idx_axes(path)) if item is None else 1 + len(item)
    header = struct.Struct(f">{1 + axes}I")
    try:
        with _opened(path) as file:
            start = file.read(header.size)
            if len(start) < header.size:
                raise FileFormatError(
                    f"{path}: expected an idx file, found only {len(start)} bytes"
                )
            magic, count, *sizes = header.unpack(start)
            if magic != BYTES + axes:
                raise FileFormatError(
                    f"{path}: expected an idx file of bytes with {axes} axes "
                    f"(magic number {BYTES + axes}), found {magic}"
                )
            found, wanted = tuple(sizes), tuple(sizes) if item is None else item
            size = count * math.prod(found)
            if found != wanted or not 0 < count <= MOST_ITEMS or not 0 < size <= MOST_BYTES:
                raise FileFormatError(
                    f"{path}: expected items of shape {wanted}, at most {MOST_ITEMS}, "
                    f"found {count} of shape {found}"
                )
            data = file.read(size + 1)  # one more shows that the end is reached
    except GZIP_ERRORS as error:
        raise FileFormatError(f"{path}: the gzip file is damaged or truncated: {error}") from error
    if len(data) != size:
        there = f"only {len(data)}" if len(data) < size else "more"
        raise FileFormatError(f"{path}: expected {size} bytes of data, found {there}")
    return np.frombuffer(data, np.uint8).reshape(count, *found)


def _opened(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
