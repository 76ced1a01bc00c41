"""Sums over neighbouring channels. Names as in the twin, `minidl.reference.window_sum`."""

import numpy as np

from minidl.kernels._jit import kernel
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty

ROWS_A_PART = 256


@kernel
def _window_sum(part, x, before, after, y):
    rows, columns = x.shape
    for r in range(part * ROWS_A_PART, min(rows, (part + 1) * ROWS_A_PART)):
        for c in range(columns):
            total = x[r, c]
            for k in range(max(0, c - before), min(columns, c + after + 1)):
                if k != c:
                    total += x[r, k]
            y[r, c] = total


def channel_window_sum(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """y[r, c] = sum of x[r, c - before : c + after + 1].  x: (R, C)."""
    x = contiguous(x)
    y = empty(x.shape, x.dtype)
    _window_sum(-(-len(x) // ROWS_A_PART), x, before, after, y)
    return y
