"""Weights as Caffe wrote them: .caffemodel, layers with their arrays.

A NetParameter of caffe.proto: layers (field 100, or 2 in files of before 2014) with a name (1; 4),
a type (2; a number, 5) and blobs (7; 6). A blob has a shape (7, or num, channels, height and width,
1 to 4) and data (5; 8 as doubles). Kernels are (C_out, C_in / groups, H, W), matrices (out, in).
"""

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidl.errors import FileFormatError
from minidl.io.guarded import MAX_BYTES
from minidl.io.protobuf import BYTES, fields, floats, text, whole_numbers

__all__ = ["CaffeLayer", "read_caffemodel"]

LAYERS, OLD_LAYERS = 100, 2
MOST_LAYERS, MOST_BLOBS, MOST_AXES = 10_000, 64, 32
# Numbers of the types that have weights, in files of before 2014
OLD_TYPES = {4: "Convolution", 14: "InnerProduct", 39: "Deconvolution"}


class CaffeLayer(NamedTuple):
    """A layer with weights.

    type: Caffe's, such as "Convolution"; "" where an old file has a number that isn't known here.
    blobs: float32, as Caffe orders their axes: the kernel or matrix, then the bias.
    """

    name: str
    type: str
    blobs: list[np.ndarray]


def read_caffemodel(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> list[CaffeLayer]:
    """Return the layers of a .caffemodel that have weights, in the order of the file.

    Raises FileFormatError for what is none, is damaged, or is larger than `max_bytes`.
    """
    where, size = os.fspath(path), os.path.getsize(path)
    if size > max_bytes:
        raise FileFormatError(f"{where}: {size:,} bytes, more than max_bytes={max_bytes:,}")
    found: list[CaffeLayer] = []
    count = 0
    for number, kind, value in fields(memoryview(Path(path).read_bytes()), where):
        if number not in (LAYERS, OLD_LAYERS):
            continue
        count += 1
        if kind != BYTES or count > MOST_LAYERS:
            raise FileFormatError(f"{where}: expected at most {MOST_LAYERS:,} layers of a network")
        layer = _layer(value, number == OLD_LAYERS, where)
        if layer.blobs:
            found.append(layer)
    if not found:
        raise FileFormatError(f"{where}: expected a .caffemodel, found no layer with weights")
    return found


def _layer(message: memoryview, old: bool, where: str) -> CaffeLayer:
    names, types, blobs = (4, 5, 6) if old else (1, 2, 7)
    name, type_ = "", ""
    found: list[np.ndarray] = []
    for number, kind, value in fields(message, where):
        if number == names and kind == BYTES:
            name = text(value, where)
        elif number == types:
            type_ = text(value, where) if kind == BYTES else OLD_TYPES.get(value, "")
        elif number == blobs:
            if kind != BYTES or len(found) == MOST_BLOBS:
                raise FileFormatError(f"{where}: {name!r:.80} has no blobs where they should be")
            found.append(_blob(value, f"{where}: {name!r:.80}"))
    return CaffeLayer(name, type_, found)


def _blob(message: memoryview, where: str) -> np.ndarray:
    shape: list[int] | None = None
    old: dict[int, int] = {}
    data: list[np.ndarray] = []
    for number, kind, value in fields(message, where):
        if number in (1, 2, 3, 4) and isinstance(value, int):
            old[number] = value
        elif number in (5, 8):
            data.append(floats(kind, value, where, double=number == 8))
        elif number == 7 and kind == BYTES:
            shape = []
            for inner, inner_kind, each in fields(value, where):
                if inner == 1:
                    shape += whole_numbers(inner_kind, each, where, MOST_AXES)
    sides = [old.get(i, 1) for i in (1, 2, 3, 4)] if shape is None else shape
    numbers = np.concatenate(data) if data else np.zeros(0, np.float32)
    right = len(sides) <= MOST_AXES and max(sides, default=1) <= max(1, numbers.size)
    if not right or math.prod(sides) != numbers.size:
        raise FileFormatError(
            f"{where}: {numbers.size:,} numbers for an array of shape {tuple(sides)}"
        )
    return numbers.reshape(sides)
