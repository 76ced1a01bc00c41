"""Dropout. Shapes and names as in the twin, `minidl.reference.dropout`."""

import numpy as np

from minidl.constants.splitmix64 import FIRST, GOLDEN, SECOND
from minidl.kernels._jit import PART, kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty


@kernel
def _dropout(part, x, seed, limit, scale, y):
    first = part * PART
    source, target = x[first : first + PART], y[first : first + PART]
    start, least = seed[0], np.uint64(limit)
    factor, nothing = x.dtype.type(scale), x.dtype.type(0)
    for i in range(source.size):
        z = start + np.uint64(first + i + 1) * GOLDEN
        z = (z ^ (z >> np.uint64(30))) * FIRST
        z = (z ^ (z >> np.uint64(27))) * SECOND
        z = (z ^ (z >> np.uint64(31))) >> np.uint64(32)
        target[i] = source[i] * factor if z >= least else nothing


def dropout(x: np.ndarray, seed: np.ndarray, p: float) -> np.ndarray:
    """x with a share p of its numbers put to 0 and the others multiplied by 1 / (1 - p)."""
    y = empty(x.shape, x.dtype)
    x = contiguous(x)  # also gives an array without axes one
    limit, scale = round(p * 2**32), 1 / (1 - p) if p < 1 else 0.0
    parts = sized(-(-x.size // PART), x.size)
    _dropout(parts, x.reshape(-1), seed, limit, scale, y.reshape(-1))
    return y
