"""Non-maximum suppression. Shapes and names as in the twin, `minidl.reference.nms`.

Boxes are decided a block at a time: first among the block's own, one after another; then those that
stay suppress boxes of all later blocks, on all threads.
"""

import functools

import numpy as np

from minidl.kernels._jit import inlined, kernel, sized
from minidl.kernels.boxes import BOXES_A_PART, STRICT
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty

BLOCK = 256  # boxes: few enough that a block by itself takes little of the time
LATER_A_PART = 1024  # boxes: their coordinates fit in the first cache

_strict = functools.partial(kernel, flags=STRICT)
_inline = functools.partial(inlined, flags=STRICT)


@_strict
def _prepare(part, boxes, columns, dead):
    """Rows of x1, y1, x2, y2 and area; no box is dead."""
    for i in range(part * BOXES_A_PART, min(len(boxes), (part + 1) * BOXES_A_PART)):
        for k in range(4):
            columns[k, i] = boxes[i, k]
        columns[4, i] = (boxes[i, 2] - boxes[i, 0]) * (boxes[i, 3] - boxes[i, 1])
        dead[i] = 0


@_inline
def _suppress(i, first, last, columns, threshold, dead):
    """Mark the boxes from `first` to before `last` that overlap box i too much."""
    x1, y1, x2, y2, area = (
        columns[0, i], columns[1, i], columns[2, i], columns[3, i], columns[4, i],
    )  # fmt: skip
    lefts, tops = columns[0, first:last], columns[1, first:last]
    rights, bottoms = columns[2, first:last], columns[3, first:last]
    areas, marks, zero = columns[4, first:last], dead[first:last], area - area
    for j in range(marks.size):
        left = x1 if x1 > lefts[j] else lefts[j]
        top = y1 if y1 > tops[j] else tops[j]
        right = x2 if x2 < rights[j] else rights[j]
        bottom = y2 if y2 < bottoms[j] else bottoms[j]
        width = right - left if right > left else zero
        height = bottom - top if bottom > top else zero
        common = width * height
        over = common / (area + areas[j] - common) > threshold[0]  # false for 0 / 0
        marks[j] = 1 if over else marks[j]


@_strict
def _within(part, start, columns, threshold, dead):
    """Decide among the boxes of the block that begins at `start`."""
    end = min(dead.size, start + BLOCK)
    for i in range(start, end):
        if dead[i] == 0:
            _suppress(i, i + 1, end, columns, threshold, dead)


@_strict
def _later(part, start, columns, threshold, dead):
    """Mark the later boxes that those of the block suppress."""
    first = start + BLOCK + part * LATER_A_PART
    last = min(dead.size, first + LATER_A_PART)
    for i in range(start, start + BLOCK):
        if dead[i] == 0:
            _suppress(i, first, last, columns, threshold, dead)


@_strict
def _alive(part, dead, keep):
    for i in range(keep.size):
        keep[i] = dead[i] == 0


def nms(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """Return which boxes stay: those that no earlier one that stays overlaps too much."""
    n = len(boxes)
    columns, dead = empty((5, n), boxes.dtype), empty((n,), np.int32)
    keep = empty((n,), np.bool_)
    limit = np.array([_below(threshold, boxes.dtype)])
    parts = -(-n // BOXES_A_PART)
    _prepare(-parts, contiguous(boxes), columns, dead)
    for start in range(0, n, BLOCK):
        _within(-1, start, columns, limit, dead)
        left = n - start - BLOCK
        if left > 0:
            _later(sized(-(-left // LATER_A_PART), left * BLOCK), start, columns, limit, dead)
    _alive(-1, dead, keep)
    return keep


def _below(threshold: float, dtype: np.dtype) -> np.floating:
    """Return the largest number of the dtype that is no larger: what is above one is above both."""
    rounded = dtype.type(threshold)
    return rounded if float(rounded) <= threshold else np.nextafter(rounded, dtype.type(-1))
