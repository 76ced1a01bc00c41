"""Elementwise work on large arrays. Shapes and names as in `minidl.reference.elementwise`."""

import functools

import numpy as np
from numba import prange

from minidl.kernels._jit import EXACT, PART, kernel, sized


@functools.partial(kernel, flags=EXACT)
def _add(total, x):
    for part in prange((total.size + PART - 1) // PART):
        target, source = total[part * PART : (part + 1) * PART], x[part * PART : (part + 1) * PART]
        for i in range(target.size):
            target[i] += source[i]


def add_to(total: np.ndarray, x: np.ndarray) -> None:
    """total += x, of one shape and dtype."""
    if total.flags.c_contiguous and x.flags.c_contiguous:
        sized(_add, total.size)(total.reshape(-1), x.reshape(-1))
    else:
        total += x
