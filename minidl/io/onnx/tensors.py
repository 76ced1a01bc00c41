"""Tensors of ONNX files: their numbers stand in the file, or in another beside it."""

import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minidl.errors import FileFormatError
from minidl.io.protobuf import BYTES, EIGHT, FOUR, VARINT, fields, signed, text, whole_numbers

__all__ = ["TYPES", "External", "entry", "read_tensor"]

MOST_AXES = 32
BFLOAT16 = 16
TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"), 2: np.dtype("u1"), 3: np.dtype("i1"), 4: np.dtype("<u2"),
    5: np.dtype("<i2"), 6: np.dtype("<i4"), 7: np.dtype("<i8"), 9: np.dtype("?"),
    10: np.dtype("<f2"), 11: np.dtype("<f8"), 12: np.dtype("<u4"), 13: np.dtype("<u8"),
    BFLOAT16: np.dtype("<u2"),
}  # fmt: skip
NAMES = {
    8: "text", 14: "complex numbers", 15: "complex numbers", 17: "8-bit floats",
    18: "8-bit floats", 19: "8-bit floats", 20: "8-bit floats", 21: "4-bit integers",
    22: "4-bit integers", 23: "4-bit floats", 24: "8-bit floats", 25: "2-bit integers",
    26: "2-bit integers",
}  # fmt: skip
FLOATS, INT32S, INT64S, DOUBLES, UINT64S, RAW = 4, 5, 7, 10, 11, 9
DIGITS = re.compile("[0-9]{1,18}")


class External:
    """The files beside a model that its tensors may stand in.

    left: bytes that tensors may still take in memory.  hollow: whether tensors without numbers
    are of zeros.
    """

    def __init__(self, where: str, folder: Path | None, left: int, hollow: bool) -> None:
        self.where, self.folder, self.left, self.hollow = where, folder, left, hollow

    def take(self, count: int, name: str) -> None:
        """Count bytes of memory before they are taken."""
        self.left -= count
        if self.left < 0:
            raise FileFormatError(
                f"{self.where}: with tensor {name!r:.80} its tensors take more memory than "
                "max_bytes allows"
            )

    def read(self, entries: dict[str, str], size: int, name: str) -> bytes:
        """Return the `size` bytes that `entries` (location, offset, length) point to."""
        location = entries.get("location", "")
        what = f"{self.where}: tensor {name!r:.80} stands in another file, {location!r:.120}"
        parts = Path(location).parts
        bad = not parts or Path(location).is_absolute() or ".." in parts or "\0" in location
        if bad or "\\" in location or ":" in location:
            raise FileFormatError(f"{what}: only files beside the model are read")
        offset, length = (entries.get(key, default) for key, default in (
            ("offset", "0"), ("length", str(size))
        ))  # fmt: skip
        if not DIGITS.fullmatch(offset) or not DIGITS.fullmatch(length) or int(length) != size:
            raise FileFormatError(
                f"{what}, at {offset!r:.40} with {length!r:.40} bytes: its shape wants {size:,}"
            )
        if self.folder is None:
            raise FileFormatError(f"{what}: there is no folder that it could stand in")
        path = self.folder
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise FileFormatError(f"{what}, which is a link: only real files are read")
        if not path.exists():
            raise FileFormatError(f"{what}, which isn't there: put it beside the model")
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or int(offset) + size > status.st_size:
                raise FileFormatError(
                    f"{what}: expected {size:,} bytes at byte {offset}, the file has "
                    f"{status.st_size:,}"
                )
            file.seek(int(offset))
            found = file.read(size)
        if len(found) != size:
            raise FileFormatError(f"{what}: it ended while it was read")
        return found


def read_tensor(
    message: Iterator[tuple[int, int, Any]], external: External
) -> tuple[str, np.ndarray]:
    """Return a tensor's name and its numbers, float16 and bfloat16 as float32."""
    where = external.where
    dims: list[int] = []
    name, type_, is_external = "", 0, False
    entries: dict[str, str] = {}
    data: list[tuple[int, int, Any]] = []
    for number, kind, value in message:
        if number == 1:
            dims += map(signed, whole_numbers(kind, value, where, MOST_AXES, "as a shape"))
        elif number == 2 and kind == VARINT:
            type_ = value
        elif number == 8:
            name = text(value, where)
        elif number == 13 and kind == BYTES:
            entries |= [entry(value, where)]
        elif number == 14:
            is_external = value == 1
        elif number in (FLOATS, INT32S, INT64S, DOUBLES, UINT64S, RAW):
            data.append((number, kind, value))
    what = f"{where}: tensor {name!r:.80}"
    if type_ not in TYPES:
        held = NAMES.get(type_, f"the unknown type {type_}")
        raise FileFormatError(f"{what} holds {held}, which minidl doesn't read")
    if len(dims) > MOST_AXES or any(n < 0 for n in dims):
        raise FileFormatError(f"{what} has the shape {dims!r:.80}")
    dtype, count = TYPES[type_], math.prod(dims)
    widened = type_ == BFLOAT16 or dtype == np.float16
    size = count * dtype.itemsize
    external.take(2 * size if widened else size, name)
    if external.hollow and not data and not is_external:
        array = np.zeros(count, dtype)
    elif is_external:
        array = np.frombuffer(external.read(entries, size, name), dtype)
    else:
        array = _numbers(data, dtype, count, what)
    if type_ == BFLOAT16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    elif widened:
        array = array.astype(np.float32)
    return name, array.astype(array.dtype.newbyteorder("="), copy=False).reshape(dims)


def _numbers(
    data: list[tuple[int, int, Any]], dtype: np.dtype[Any], count: int, what: str
) -> np.ndarray:
    """Return the (count,) numbers of a tensor that stand in the file."""
    expected = count * dtype.itemsize
    if any(number == RAW for number, _, _ in data):
        raw = data[-1][2]
        if len(data) != 1 or data[0][1] != BYTES or len(raw) != expected:
            raise FileFormatError(f"{what}: its shape wants {expected:,} bytes, it has others")
        if dtype.kind == "b" and raw and max(raw) > 1:
            raise FileFormatError(f"{what}: expected bytes of 0 and 1")
        return np.frombuffer(raw, dtype).copy()
    parts = [_part(number, kind, value, dtype, count, what) for number, kind, value in data]
    array = np.concatenate(parts) if parts else np.zeros(0, dtype)
    if array.size != count:
        raise FileFormatError(f"{what}: its shape wants {count:,} numbers, it has {array.size:,}")
    return array


def _part(
    number: int, kind: int, value: Any, dtype: np.dtype[Any], count: int, what: str
) -> np.ndarray:
    """Return the numbers of one field, of the type that the tensor is of."""
    if number in (FLOATS, DOUBLES):
        held = np.dtype("<f4" if number == FLOATS else "<f8")
        single = FOUR if number == FLOATS else EIGHT
        if held != dtype or kind not in (BYTES, single) or len(value) % held.itemsize:
            raise FileFormatError(f"{what}: its numbers aren't of its type")
        return np.frombuffer(value, held).copy()
    right = {INT32S: "iub" if dtype.itemsize <= 4 else "", INT64S: "i", UINT64S: "u"}[number]
    if dtype.kind not in right + "f" * (number == INT32S and dtype == np.float16):
        raise FileFormatError(f"{what}: its numbers aren't of its type")
    numbers = [signed(n) for n in whole_numbers(kind, value, what, count, "as numbers")]
    if dtype == np.float16:
        return np.array(numbers, np.int64).astype(np.uint16).view(np.float16)
    if number == UINT64S:
        return np.array([n % 2**64 for n in numbers], np.uint64).astype(dtype)
    return np.array(numbers, np.int64).astype(dtype)


def entry(message: memoryview, where: str) -> tuple[str, str]:
    """Return the name and the text of an entry, as of external data."""
    key = value = ""
    for number, _, part in fields(message, where):
        if number == 1:
            key = text(part, where)
        elif number == 2:
            value = text(part, where)
    return key, value
