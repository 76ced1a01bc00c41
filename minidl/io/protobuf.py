"""Messages of Protocol Buffers, read without their schemas: numbered fields of four kinds.

Nothing is copied before its length is known to lie inside the message. Source:
https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from minidl.errors import FileFormatError

__all__ = ["fields", "floats", "outline", "signed", "text", "whole_numbers", "written"]

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5  # kinds of fields
LONGEST = 10  # bytes of a varint
SIZES = {EIGHT: 8, FOUR: 4}
MOST_FIELDS = 20_000  # of an outline


def fields(message: memoryview, where: str) -> Iterator[tuple[int, int, Any]]:
    """Yield (number, kind, value) of each field: a whole number, or the bytes that it takes.

    where: the file, for errors. Raises FileFormatError for what is no message.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at, where)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at, where)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = _varint(message, at, where)
        elif kind in SIZES:
            size = SIZES[kind]
        else:
            raise FileFormatError(f"{where}: a field of the unknown kind {kind} at byte {at}")
        if size > len(message) - at:
            raise FileFormatError(
                f"{where}: a field of {size:,} bytes where {len(message) - at:,} are left: the "
                "file is damaged or cut off"
            )
        yield number, kind, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int, where: str) -> tuple[int, int]:
    value = 0
    for i, byte in enumerate(message[at : at + LONGEST]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, at + i + 1
    raise FileFormatError(f"{where}: a number without end at byte {at}: the file is damaged")


def outline(file: BinaryIO, size: int) -> list[tuple[int, int]] | None:
    """Return the number and kind of each field of the message in a file, whose bytes aren't read.

    size: of the file, in bytes.  None for what is no message, and for one without fields.
    """
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        file.seek(at)
        start = memoryview(file.read(2 * LONGEST))
        try:
            key, used = _varint(start, 0, "")
            number, kind = key >> 3, key & 7
            if kind in (VARINT, BYTES):
                length, used = _varint(start, used, "")
            else:
                length = SIZES[kind]
        except (FileFormatError, KeyError):
            return None
        at += used + (0 if kind == VARINT else length)
        found.append((number, kind))
        if not number or at > size or len(found) > MOST_FIELDS:
            return None
    return found or None


def text(value: Any, where: str) -> str:
    """Return a field of bytes as text."""
    try:
        return bytes(value).decode()
    except (TypeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{where}: expected text in UTF-8: {error}") from error


def floats(kind: int, value: Any, where: str, double: bool = False) -> np.ndarray:
    """Return the numbers of a repeated field, packed or one of them, (N,) float32."""
    size = 8 if double else 4
    if kind not in (BYTES, EIGHT if double else FOUR) or len(value) % size:
        raise FileFormatError(f"{where}: expected numbers of {size} bytes each")
    return np.frombuffer(value, "<f8" if double else "<f4").astype(np.float32)


def whole_numbers(
    kind: int, value: Any, where: str, most: int, what: str = "where a shape was expected"
) -> list[int]:
    """Return the whole numbers of a repeated field, packed or one of them; at most `most`."""
    if kind == VARINT:
        return [value]
    found, at = [], 0
    while kind == BYTES and at < len(value):
        number, at = _varint(value, at, where)
        found.append(number)
        if len(found) > most:
            raise FileFormatError(f"{where}: more than {most} numbers {what}")
    return found


def written(number: int, kind: int, value: Any) -> bytes:
    """Return a field as `fields` gives it, in a message's bytes."""
    start = _as_varint(number << 3 | kind)
    if kind == VARINT:
        return start + _as_varint(value)
    return start + (_as_varint(len(value)) if kind == BYTES else b"") + bytes(value)


def _as_varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes(found) + bytes([number])


def signed(number: int) -> int:
    """Return the signed 64-bit number that a varint stands for."""
    number &= 2**64 - 1
    return number - 2**64 if number >= 2**63 else number
