"""A graph without its weights, as text: what a file of weights says of an imported network."""

import base64
import binascii
import math
import os
import zlib

import numpy as np

from minidl.errors import ArgumentError, FileFormatError
from minidl.io.onnx.messages import Model, parse_model
from minidl.io.onnx.tensors import TYPES
from minidl.io.protobuf import BYTES, VARINT, fields, signed, whole_numbers, written

__all__ = ["filled", "hollow"]

SMALL = 64  # numbers of a tensor that stays: a setting, not a weight
MOST_TEXT = 2**23  # bytes of a graph, unpacked
DATA = (4, 5, 7, 9, 10, 11, 13, 14)  # fields of a tensor's numbers
GRAPH, TENSORS, DOCUMENTATION = 7, 5, (6, 10, 14)


def hollow(path: str | os.PathLike[str]) -> str:
    """Return an ONNX file's graph, without the numbers of its weights, packed as text."""
    with open(path, "rb") as file:
        message = memoryview(file.read())
    where = os.fspath(path)
    found = bytearray()
    for number, kind, value in fields(message, where):
        if number == GRAPH and kind == BYTES:
            value = _graph(value, where)
        elif number in DOCUMENTATION:
            continue
        found += written(number, kind, value)
    return base64.b64encode(zlib.compress(bytes(found), 9)).decode()


def _graph(message: memoryview, where: str) -> bytes:
    found = bytearray()
    for number, kind, value in fields(message, where):
        if number == TENSORS and kind == BYTES and _is_weight(value, where):
            kept = [f for f in fields(value, where) if f[0] not in DATA]
            value = b"".join(written(*each) for each in kept)
        found += written(number, kind, value)
    return bytes(found)


def _is_weight(message: memoryview, where: str) -> bool:
    """Return whether a tensor is of more floats than a setting has."""
    dims: list[int] = []
    kind_of = 0
    for number, kind, value in fields(message, where):
        if number == 1:
            dims += map(signed, whole_numbers(kind, value, where, SMALL))
        elif number == 2 and kind == VARINT:
            kind_of = value
    return math.prod(dims) > SMALL and TYPES.get(kind_of, np.dtype(int)).kind == "f"


def filled(text: str, max_bytes: int) -> Model:
    """Return the model of a graph as `hollow` gives it, its weights being 0.

    max_bytes: of all weights. Raises ArgumentError for text that is none.
    """
    try:
        packed = base64.b64decode(text, validate=True)
        unpacker = zlib.decompressobj()
        message = unpacker.decompress(packed, MOST_TEXT)
        if not unpacker.eof:
            raise ValueError(f"it is cut off, or takes more than {MOST_TEXT:,} bytes")
        return parse_model(memoryview(message), "the graph", None, max_bytes, hollow=True)
    except (TypeError, binascii.Error, ValueError, zlib.error, FileFormatError) as error:
        raise ArgumentError(f"the graph of an ONNX file makes no sense: {error}") from error
