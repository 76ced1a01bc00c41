"""The HDF5 files that minidl writes: sealed, so that damage is found before HDF5 sees it.

In front of the HDF5 structures stands a user block, which other programs pass over: a line of
text, a SHA-256, and a JSON list of the ranges that hold the numbers of plain datasets. The SHA-256
covers every byte of the file but those ranges. It is verified before the HDF5 library, whose
parser has had memory errors, opens the file. The numbers have checksums of their own: each
dataset's attribute `crc32` is the CRC-32 of its bytes (little-endian, C order), in hexadecimal.
"""

import contextlib
import hashlib
import itertools
import json
import math
import os
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from minidl.errors import FileFormatError, StateError
from minidl.io.atomic import atomic_write
from minidl.io.compose import Content, write_hdf5
from minidl.io.guarded import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_OBJECTS,
    Entry,
    GuardedFile,
    check_file,
    guarded,
)
from minidl.version import __version__

__all__ = ["Stored", "is_sealed", "open_sealed", "read_verified", "write_sealed"]

SIGNATURE = b"minidl sealed HDF5 file "
SEAL_VERSION = 1
PIECE = 2**20  # bytes hashed at a time
MAX_BLOCK = 2**24  # bytes of a user block: room for 400,000 datasets


# Writing


def write_sealed(
    path: str | os.PathLike[str],
    content: Content,
    format: tuple[str, int],
    compression: str | None = None,
) -> None:
    """Write `content` to `path`, atomically.

    format: its name and version.
    compression: None, or "gzip" for smaller files that take longer to write and to read.
    Raises StateError for arrays that aren't integers or floats of up to 64 bits, and OSError where
    the system refuses; either way an old file at `path` is left as it was.
    """
    _check_count(path, content)
    content.add("", format=format[0], format_version=format[1], minidl_version=__version__)
    for name, array in content.arrays.items():
        if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
            raise StateError(
                f"{os.fspath(path)} can hold integers and floats of up to 64 bits, but "
                f"{name.replace('/', '.')!r} is {array.dtype}: convert it, for example with "
                "model.astype(np.float32)"
            )
        plain = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        content.arrays[name] = plain

    def add_checksums() -> None:
        for name, array in content.arrays.items():
            content.add(name, crc32=_crc32(array))

    block = _block_size(len(content.arrays))
    with atomic_write(path) as temporary, open(temporary, "r+b") as file:
        ranges = write_hdf5(file, content, block, compression, add_checksums)
        _write_seal(file, ranges, block)


def _check_count(path: str | os.PathLike[str], content: Content) -> None:
    """Refuse to write what wouldn't be read."""
    parts = (name.split("/") for name in content.arrays)
    objects = {tuple(names[:i]) for names in parts for i in range(1, len(names) + 1)}
    deep = [names for names in objects if len(names) > MAX_DEPTH]
    if len(objects) > MAX_OBJECTS or deep:
        what = f"{len(objects)}" if not deep else f"{'.'.join(deep[0])!r:.60}, too deep"
        raise StateError(
            f"{os.fspath(path)} can hold {MAX_OBJECTS} groups and arrays, nested {MAX_DEPTH} deep, "
            f"got {what}"
        )


def _crc32(array: np.ndarray) -> str:
    """The CRC-32 of an array's bytes, in C order, as eight hexadecimal digits."""
    return f"{zlib.crc32(array.data):08x}"


# The seal


def _block_size(datasets: int) -> int:
    """The size of the user block: a power of two, from 512, with room for a range a dataset."""
    return max(512, 1 << (256 + 40 * datasets - 1).bit_length())


def _write_seal(file: BinaryIO, ranges: Sequence[Sequence[int]], size: int) -> None:
    """Fill the user block of a file that is complete but for it."""
    first = SIGNATURE + b"%d\n" % SEAL_VERSION
    length = len(first) + 2 * hashlib.sha256().digest_size + 1
    whole = os.fstat(file.fileno()).st_size
    listed = json.dumps({"block": size, "size": whole, "plain": ranges}, separators=(",", ":"))
    rest = f"{listed}\n".encode().ljust(size - length, b"\0")
    digest = _digest(file, first, rest, size, ranges)
    file.seek(0)
    file.write(first + digest.encode() + b"\n" + rest)


def _digest(
    file: BinaryIO, first: bytes, rest: bytes, block: int, ranges: Sequence[Sequence[int]]
) -> str:
    """The SHA-256 of the user block but for itself, and of what lies outside the ranges."""
    found = hashlib.sha256(first + rest)
    bounds = [(0, block), *((start, start + length) for start, length in ranges)]
    end = file.seek(0, os.SEEK_END)
    for (_, start), (stop, _) in itertools.pairwise([*bounds, (end, end)]):
        file.seek(start)
        while start < stop:
            piece = file.read(min(PIECE, stop - start))
            if not piece:
                break
            found.update(piece)
            start += len(piece)
    return found.hexdigest()


def is_sealed(start: bytes) -> bool:
    """Whether a file that starts so claims to be sealed."""
    return start.startswith(SIGNATURE)


def _check_seal(file: BinaryIO, path: str) -> None:
    """Raise FileFormatError unless every byte but the datasets' own is as it was written."""

    def damaged(found: str) -> FileFormatError:
        return FileFormatError(
            f"{path}: the file is damaged, cut off, or was changed by another program since minidl "
            f"wrote it: {found}"
        )

    first = file.readline(len(SIGNATURE) + 20)
    version = first[len(SIGNATURE) :].strip()
    if not version.isdigit():
        raise damaged(f"its first line is {first!r}")
    if int(version) > SEAL_VERSION:
        raise FileFormatError(
            f"{path}: found a seal of version {int(version)}, expected at most {SEAL_VERSION}: a "
            "newer minidl wrote it; update minidl to read it"
        )
    digest = file.readline(100).strip().decode("ascii", "replace")
    listed = file.readline(MAX_BLOCK)
    try:
        seal = json.loads(listed)
        block, size, ranges = seal["block"], seal["size"], [(a, b) for a, b in seal["plain"]]
        numbers = [block, size, *itertools.chain.from_iterable(ranges)]
        if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged("the list in its user block can't be read") from error
    found_size = file.seek(0, os.SEEK_END)
    if size != found_size:
        raise damaged(f"it has {found_size} bytes, expected {size}")
    ends = [(0, block), *((start, start + length) for start, length in ranges), (size, size)]
    head = len(first) + len(digest) + 1
    if not head <= block <= MAX_BLOCK or any(a[1] > b[0] for a, b in itertools.pairwise(ends)):
        raise damaged("the ranges in its user block make no sense")
    file.seek(head)
    found = _digest(file, first, file.read(block - head), block, ranges)
    if found != digest:
        raise damaged(
            f"outside its datasets' numbers the SHA-256 is {found}, expected {digest:.64}"
        )


# Reading


@contextlib.contextmanager
def open_sealed(
    path: str | os.PathLike[str], formats: Mapping[str, int], max_bytes: int = MAX_BYTES
) -> Iterator[tuple[str, GuardedFile]]:
    """Open a file that minidl wrote: its format, and the file for guarded reading.

    formats: the newest version known of each format that is expected.
    max_bytes: the most that all its datasets together may take in memory.
    Raises FileFormatError for other files, damaged ones and newer versions, and OSError where the
    system refuses.
    """
    name = os.fspath(path)
    with check_file(Path(path)) as file:
        start = file.read(len(SIGNATURE))
        if not is_sealed(start):
            raise FileFormatError(
                f"{name}: expected a file that minidl wrote ({' or '.join(formats)}), found one "
                f"starting with {start[:8]!r}"
            )
        file.seek(0)
        _check_seal(file, name)
        # From here on HDF5 reads the very file that was verified, whatever takes its name now.
        before = os.fstat(file.fileno())
        with guarded(file, name, max_bytes) as opened:
            yield _format(opened, formats), opened
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise FileFormatError(f"{name}: another program changed the file while it was read")


def _format(file: GuardedFile, formats: Mapping[str, int]) -> str:
    found = file.attribute("format")
    if not isinstance(found, str) or found not in formats:
        raise FileFormatError(
            f"{file.path}: expected a file of the format {' or '.join(formats)}, found {found!r}"
        )
    version, newest = file.attribute("format_version"), formats[found]
    if not isinstance(version, int) or version < 1:
        raise FileFormatError(f"{file.path}: expected a format_version, found {version!r}")
    if version > newest:
        raise FileFormatError(
            f"{file.path}: found format_version {version} of {found}, expected at most {newest}: "
            "a newer minidl wrote it; update minidl to read it"
        )
    return found


class Stored:
    """A dataset of a sealed file that isn't read yet: what `load_state_dict` takes for an array.

    It is verified in small pieces, and then read to where it is wanted, so that a large network
    takes no second memory of its size.
    """

    def __init__(self, file: GuardedFile, name: str, entry: Entry) -> None:
        self.shape, self.dtype = entry.shape, entry.dtype
        self._file, self._name = file, name
        self._place = file.place(name)

    def verify(self) -> None:
        """Raise FileFormatError unless the bytes are those that were written."""
        if self._place is None:
            read_verified(self._file, self._name)
            return
        found = 0
        for piece in self._file.pieces(self._place, math.prod(self.shape) * self.dtype.itemsize):
            found = zlib.crc32(piece, found)
        _compare(self._file, self._name, f"{found:08x}")

    def read_into(self, out: np.ndarray) -> None:
        """Write the numbers into `out`, of the same shape."""
        alike = out.dtype == self.dtype and out.flags.c_contiguous
        if self._place is None or not alike or sys.byteorder != "little":
            out[...] = self._file.read(self._name)
        else:
            self._file.read_bytes(self._place, out)


def read_verified(file: GuardedFile, name: str) -> np.ndarray:
    """One dataset, once its bytes are known to be those that were written."""
    array = file.read(name)
    _compare(file, name, _crc32(np.asarray(array, array.dtype.newbyteorder("<"))))
    return array


def _compare(file: GuardedFile, name: str, found: str) -> None:
    """Raise FileFormatError unless `found` is the checksum in the file."""
    expected = file.attribute("crc32", of=name)
    if not isinstance(expected, str):
        raise FileFormatError(f"{file.path}: dataset {name!r} has no crc32 attribute")
    if found != expected:
        raise FileFormatError(
            f"{file.path}: dataset {name!r} is damaged: its bytes have CRC-32 {found}, expected "
            f"{expected!r:.20}"
        )
