"""Elementwise work on large arrays. Shapes and names as in `minidl.reference.elementwise`."""

import functools
import math

import numpy as np

from minidl.kernels._jit import EXACT, PART, kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty


@functools.partial(kernel, flags=EXACT)
def _add(part, total, x):
    target, source = total[part * PART : (part + 1) * PART], x[part * PART : (part + 1) * PART]
    for i in range(target.size):
        target[i] += source[i]


@functools.partial(kernel, flags=EXACT)
def _sum(part, x, y, total):
    first, last = part * PART, min(x.size, (part + 1) * PART)
    a, b, target = x[first:last], y[first:last], total[first:last]
    for i in range(target.size):
        target[i] = a[i] + b[i]


@kernel
def _erf(part, x, y):
    source, target = x[part * PART : (part + 1) * PART], y[part * PART : (part + 1) * PART]
    for i in range(source.size):
        target[i] = math.erf(source[i])


def add_to(total: np.ndarray, x: np.ndarray) -> None:
    """total += x, of one shape and dtype; total is C-contiguous."""
    parts = sized(-(-total.size // PART), total.size)
    _add(parts, total.reshape(-1), contiguous(x).reshape(-1))


def add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x + y, of one shape and dtype."""
    total = empty(x.shape, x.dtype)
    parts = sized(-(-total.size // PART), total.size)
    _sum(parts, contiguous(x).reshape(-1), contiguous(y).reshape(-1), total.reshape(-1))
    return total


def erf(x: np.ndarray) -> np.ndarray:
    """Return the error function of each element."""
    x = contiguous(x)
    y = empty(x.shape, x.dtype)
    _erf(sized(-(-x.size // PART), x.size), x.reshape(-1), y.reshape(-1))
    return y
