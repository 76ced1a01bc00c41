"""Rows added up by their numbers. Shapes and names as in the twin, `minidl.reference.scatter`.

The rows are put in the order of their numbers first, so that a part writes some rows of the result,
whole, and adds to each in the order in which x has them: threads never meet in a row.
"""

import numpy as np

from minidl.kernels._jit import PART, kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty

__all__ = ["added_rows"]

COLUMNS_A_PART = 4096


@kernel
def _sort(part, rows, ends, order):
    """order: the places in `rows` by the number there; those of number n end before ends[n]."""
    ends[:] = 0
    for i in range(rows.size):
        ends[rows[i]] += 1
    total = 0
    for n in range(ends.size):
        count = ends[n]
        ends[n] = total
        total += count
    for i in range(rows.size):
        order[ends[rows[i]]] = i
        ends[rows[i]] += 1


@kernel
def _add(part, x, order, ends, column_parts, rows_a_part, y):
    count, columns = y.shape
    first = part // column_parts * rows_a_part
    left = part % column_parts * COLUMNS_A_PART
    right = min(columns, left + COLUMNS_A_PART)
    sums = np.empty(right - left, np.float64)  # of float32 too: long sums lose digits
    for n in range(first, min(count, first + rows_a_part)):
        begin, end = ends[n - 1] if n > 0 else 0, ends[n]
        target = y[n, left:right]
        if end - begin == 0:
            for j in range(target.size):
                target[j] = 0
        elif end - begin == 1:
            source = x[order[begin], left:right]
            for j in range(target.size):
                target[j] = source[j]
        else:
            for j in range(sums.size):
                sums[j] = 0.0
            for k in range(begin, end):
                source = x[order[k], left:right]
                for j in range(sums.size):
                    sums[j] += source[j]
            for j in range(target.size):
                target[j] = sums[j]


def added_rows(x: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Return zeros (count, columns) to which row i of x was added at rows[i], for each i."""
    y = empty((count, x.shape[1]), x.dtype)
    ends, order = np.empty(count, np.int64), np.empty(len(rows), np.int64)
    _sort(-1, rows, ends, order)
    column_parts = -(-x.shape[1] // COLUMNS_A_PART)
    rows_a_part = max(1, PART // max(1, min(x.shape[1], COLUMNS_A_PART)))
    parts = -(-count // rows_a_part) * column_parts
    _add(sized(parts, y.size), contiguous(x), order, ends, column_parts, rows_a_part, y)
    return y
