"""Overlaps of boxes. Shapes and names as in the twin, `minidl.reference.boxes`."""

import functools

import numpy as np

from minidl.kernels._jit import helper, kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty

STRICT: frozenset[str] = frozenset()  # each operation rounded as NumPy does: thresholds are exact
BOXES_A_PART = 1024

_strict = functools.partial(kernel, flags=STRICT)


@helper
def _area(boxes, i):
    return (boxes[i, 2] - boxes[i, 0]) * (boxes[i, 3] - boxes[i, 1])


@_strict
def _columns(part, boxes, columns):
    """Rows of x1, y1, x2, y2 and area."""
    for i in range(part * BOXES_A_PART, min(len(boxes), (part + 1) * BOXES_A_PART)):
        for k in range(4):
            columns[k, i] = boxes[i, k]
        columns[4, i] = _area(boxes, i)


@_strict
def _box_iou(i, boxes1, columns, y):
    x1, y1, x2, y2 = boxes1[i]
    area, line = _area(boxes1, i), y[i]
    lefts, tops, rights, bottoms, areas = columns
    zero = area - area
    for j in range(line.size):
        left = x1 if x1 > lefts[j] else lefts[j]
        top = y1 if y1 > tops[j] else tops[j]
        right = x2 if x2 < rights[j] else rights[j]
        bottom = y2 if y2 < bottoms[j] else bottoms[j]
        width = right - left if right > left else zero
        height = bottom - top if bottom > top else zero
        common = width * height
        union = area + areas[j] - common
        line[j] = common / union if union > zero else zero


def box_iou(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Return intersection over union of each pair, 0 for two boxes without an area."""
    y = empty((len(boxes1), len(boxes2)), boxes1.dtype)
    columns = empty((5, len(boxes2)), boxes1.dtype)
    boxes1, boxes2 = contiguous(boxes1), contiguous(boxes2)
    _columns(-_parts(boxes2), boxes2, columns)
    _box_iou(sized(len(boxes1), y.size), boxes1, columns, y)
    return y


def _parts(boxes: np.ndarray) -> int:
    return -(-len(boxes) // BOXES_A_PART)
