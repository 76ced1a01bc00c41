"""Activations and their gradients. Shapes and names as in `minidl.reference.activation`."""

import numpy as np

from minidl.kernels._jit import PART, inlined, kernel, sized
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


@inlined
def rows_of(part, size, channels):
    """First and last of the rows of a part, about PART numbers."""
    count = max(1, PART // channels)
    return part * count, min(size // channels, (part + 1) * count)


@kernel
def _leak(part, numbers, x, weight, found):
    """found = numbers, times the weight of their channel where x isn't more than 0."""
    channels, nothing = weight.size, x.dtype.type(0)
    first, last = rows_of(part, x.size, channels)
    if channels == 1:
        for i in range(first, last):
            found[i] = numbers[i] if x[i] > nothing else numbers[i] * weight[0]
        return
    for row in range(first, last):
        tells = x[row * channels : (row + 1) * channels]
        source = numbers[row * channels : (row + 1) * channels]
        target = found[row * channels : (row + 1) * channels]
        for c in range(channels):
            target[c] = source[c] if tells[c] > nothing else source[c] * weight[c]


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


def prelu(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x, times the weight of its channel, (C,), or of all, (1,), where x isn't more than 0."""
    return prelu_grad(x, x, weight)  # a line through 0 on either side is its slope times x


def prelu_grad(dy: np.ndarray, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the gradient of `prelu` for x."""
    dy, x = contiguous(dy), contiguous(x)
    dx = empty(x.shape, x.dtype)
    _leak(_parts(x, weight), dy.reshape(-1), x.reshape(-1), contiguous(weight), dx.reshape(-1))
    return dx


def _parts(x: np.ndarray, weight: np.ndarray) -> int:
    channels = max(1, weight.size)  # there may be none
    rows = x.size // channels
    return sized(-(-rows // max(1, PART // channels)), x.size)
