"""Sums over one axis. Shapes and names as in the twin, `minidl.reference.reduce`.

Parts of NUMBERS_A_SUM numbers are added in the arrays' own dtype, in vectors; the parts' sums in
float64. So a sum of many float32 is as exact as one of few.
"""

import functools
import math

import numpy as np

from minidl.kernels._jit import kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.simd import LANES, load, load_part, store, store_part, zeros

__all__ = ["column_sums", "sum_axis"]

NUMBERS_A_SUM = 256
COLUMNS_A_PART = 512


@functools.cache
def _partial(lanes):
    @kernel
    def partial_sums(part, x, sums, rows, columns, chunks):
        """sums[outer, chunk, :] = the sums of NUMBERS_A_SUM rows of x (outer, rows, columns)."""
        outer, chunk = part // chunks, part % chunks
        first, last = chunk * NUMBERS_A_SUM, min(rows, (chunk + 1) * NUMBERS_A_SUM)
        zero = zeros(x, 1, 1, lanes)
        for c in range(0, columns, lanes):
            acc, at = zero, (outer * rows) * columns + c
            if c + lanes <= columns:
                for row in range(first, last):
                    acc = acc + load(x, at + row * columns, (0,), zero)
                store(acc, sums, part * columns + c, (0,))
            else:
                for row in range(first, last):
                    acc = acc + load_part(x, at + row * columns, (0,), zero, columns - c)
                store_part(acc, sums, part * columns + c, (0,), columns - c)

    return partial_sums


_partials = {size: _partial(lanes) for size, lanes in LANES.items()}


@kernel
def _totals(part, sums, y, chunks, columns, fold, blocks, scale):
    """y[outer, column] = the sum over chunks, and over `fold` columns each, times scale."""
    outer, block = part // blocks, part % blocks
    kept = columns // fold
    for column in range(block * COLUMNS_A_PART, min(kept, (block + 1) * COLUMNS_A_PART)):
        total = 0.0
        for chunk in range(chunks):
            at = (outer * chunks + chunk) * columns + column * fold
            for k in range(fold):
                total += sums[at + k]
        y[outer * kept + column] = total * scale


def sum_axis(x: np.ndarray, scale: float) -> np.ndarray:
    """scale times the sums over the middle axis of x (outer, rows, columns): (outer, columns)."""
    outer, rows, columns = x.shape
    y = empty((outer, columns), x.dtype)
    if y.size == 0:
        return y
    fold = 1
    if columns == 1:  # the numbers of a row, read as so many columns, which are summed in the end
        fold = next(n for n in (16, 8, 4, 2, 1) if rows % n == 0)
    rows, columns = rows // fold, columns * fold
    chunks = max(1, -(-rows // NUMBERS_A_SUM))
    sums = empty((outer * chunks * columns,), x.dtype)
    work = x.size
    _partials[x.itemsize](
        sized(outer * chunks, work), x.reshape(-1), sums, rows, columns, chunks
    )  # fmt: skip
    blocks = -(-(columns // fold) // COLUMNS_A_PART)
    _totals(
        sized(outer * blocks, sums.size), sums, y.reshape(-1), chunks, columns, fold, blocks,
        float(scale),
    )  # fmt: skip
    return y


def column_sums(x: np.ndarray) -> np.ndarray:
    """The sums over all axes but the last, as of the gradient of a bias: (..., C) -> (C,)."""
    *rows, columns = x.shape
    return sum_axis(contiguous(x).reshape(1, math.prod(rows), columns), 1.0)[0]
