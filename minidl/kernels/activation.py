"""Activations and their gradients. Shapes and names as in `minidl.reference.activation`."""

import numpy as np
from numba import prange

from minidl.kernels._jit import PART, kernel, sized
from minidl.kernels.memory import empty


@kernel
def _activate(x, ceiling, y):
    for part in prange((x.size + PART - 1) // PART):
        source = x[part * PART : (part + 1) * PART]
        target = y[part * PART : (part + 1) * PART]
        for i in range(source.size):
            number = source[i]
            number = x.dtype.type(0) if number <= 0 else number  # a NaN stays
            target[i] = ceiling if number > ceiling else number


@kernel
def _pass(dy, y, ceiling, dx):
    for part in prange((y.size + PART - 1) // PART):
        g = dy[part * PART : (part + 1) * PART]
        output = y[part * PART : (part + 1) * PART]
        target = dx[part * PART : (part + 1) * PART]
        for i in range(g.size):
            target[i] = g[i] if 0 < output[i] < ceiling else y.dtype.type(0)


def _ceiling(activation: str, dtype: np.dtype) -> np.floating:
    return dtype.type(np.inf if activation == "relu" else 6)


def activate(x: np.ndarray, activation: str | None) -> np.ndarray:
    """x, or relu(x), or relu6(x)."""
    if activation is None:
        return x
    x = np.ascontiguousarray(x)
    y = empty(x.shape, x.dtype)
    sized(_activate, x.size)(x.reshape(-1), _ceiling(activation, x.dtype), y.reshape(-1))
    return y


def activation_grad(dy: np.ndarray, y: np.ndarray, activation: str | None) -> np.ndarray:
    """The gradient of `activate` for x, from its output y."""
    if activation is None:
        return dy
    dy, y = np.ascontiguousarray(dy), np.ascontiguousarray(y)
    dx = empty(y.shape, y.dtype)
    sized(_pass, y.size)(
        dy.reshape(-1), y.reshape(-1), _ceiling(activation, y.dtype), dx.reshape(-1)
    )
    return dx
