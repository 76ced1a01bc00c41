"""Activations and their gradients. Shapes and names as in `minidl.reference.activation`."""

import numpy as np

from minidl.kernels._jit import PART, kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty

CEILINGS = {"relu": np.nan, "relu6": 6.0}  # nothing compares with a NaN: no ceiling


@kernel
def _activate(part, x, ceiling, y):
    top, nothing = x.dtype.type(ceiling), x.dtype.type(0)
    source = x[part * PART : (part + 1) * PART]
    target = y[part * PART : (part + 1) * PART]
    for i in range(source.size):
        number = source[i]
        number = nothing if number <= 0 else number  # a NaN stays
        target[i] = top if number > top else number


@kernel
def _pass(part, dy, y, ceiling, dx):
    top, nothing = y.dtype.type(ceiling), y.dtype.type(0)
    g = dy[part * PART : (part + 1) * PART]
    output = y[part * PART : (part + 1) * PART]
    target = dx[part * PART : (part + 1) * PART]
    for i in range(g.size):
        flat = (output[i] <= 0) | (output[i] >= top)  # not where it is a NaN
        target[i] = nothing if flat else g[i]


def activate(x: np.ndarray, activation: str | None) -> np.ndarray:
    """x, or relu(x), or relu6(x)."""
    if activation is None:
        return x
    x = contiguous(x)
    y = empty(x.shape, x.dtype)
    parts = sized(-(-x.size // PART), x.size)
    _activate(parts, x.reshape(-1), CEILINGS[activation], y.reshape(-1))
    return y


def activation_grad(dy: np.ndarray, y: np.ndarray, activation: str | None) -> np.ndarray:
    """Return the gradient of `activate` for x, from its output y."""
    if activation is None:
        return dy
    dy, y = contiguous(dy), contiguous(y)
    dx = empty(y.shape, y.dtype)
    parts = sized(-(-y.size // PART), y.size)
    _pass(parts, dy.reshape(-1), y.reshape(-1), CEILINGS[activation], dx.reshape(-1))
    return dx
