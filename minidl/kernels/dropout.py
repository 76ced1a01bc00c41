"""Dropout. Shapes and names as in the twin, `minidl.reference.dropout`."""

import numpy as np
from numba import prange

from minidl.kernels._jit import PART, kernel, sized
from minidl.kernels.memory import empty
from minidl.reference.dropout import FIRST, GOLDEN, SECOND, _limit_and_scale


@kernel
def _dropout(x, seed, limit, scale, y):
    for part in prange((x.size + PART - 1) // PART):
        first = part * PART
        source, target = x[first : first + PART], y[first : first + PART]
        for i in range(source.size):
            z = seed + np.uint64(first + i + 1) * GOLDEN
            z = (z ^ (z >> np.uint64(30))) * FIRST
            z = (z ^ (z >> np.uint64(27))) * SECOND
            z = (z ^ (z >> np.uint64(31))) >> np.uint64(32)
            target[i] = source[i] * scale if z >= limit else x.dtype.type(0)


def dropout(x: np.ndarray, seed: int, p: float) -> np.ndarray:
    """x with a share p of its numbers put to 0 and the others multiplied by 1 / (1 - p)."""
    y = empty(x.shape, x.dtype)
    x = np.ascontiguousarray(x)  # also gives an array without axes one
    limit, scale = _limit_and_scale(p, x.dtype)
    sized(_dropout, x.size)(x.reshape(-1), np.uint64(seed), limit, scale, y.reshape(-1))
    return y
