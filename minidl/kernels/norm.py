"""Normalisation. Shapes and names as in the twin, `minidl.reference.norm`.

Sums over rows are taken in float64 part by part, then over the parts in order.
"""

import numpy as np
from numba import prange

from minidl.kernels._jit import kernel

ROWS_A_PART = 256

Arrays3 = tuple[np.ndarray, np.ndarray, np.ndarray]


@kernel
def _sums(x, parts):
    """parts[p] = the sum of the rows of part p."""
    rows, columns = x.shape
    for part in prange(parts.shape[0]):
        total = parts[part]
        total[:] = 0
        for r in range(part * ROWS_A_PART, min(rows, (part + 1) * ROWS_A_PART)):
            row = x[r]
            for c in range(columns):
                total[c] += row[c]


@kernel
def _squares(x, mean, parts):
    """parts[p] = the sum of (row - mean)**2 over part p."""
    rows, columns = x.shape
    for part in prange(parts.shape[0]):
        total = parts[part]
        total[:] = 0
        for r in range(part * ROWS_A_PART, min(rows, (part + 1) * ROWS_A_PART)):
            row = x[r]
            for c in range(columns):
                total[c] += (row[c] - mean[c]) ** 2


@kernel
def _products(dy, x, mean, parts):
    """parts[p] = the sums of dy and of dy * (x - mean) over part p."""
    rows, columns = x.shape
    for part in prange(parts.shape[0]):
        sums, products = parts[part, 0], parts[part, 1]
        sums[:] = 0
        products[:] = 0
        for r in range(part * ROWS_A_PART, min(rows, (part + 1) * ROWS_A_PART)):
            row, g = x[r], dy[r]
            for c in range(columns):
                sums[c] += g[c]
                products[c] += g[c] * (row[c] - mean[c])


@kernel
def _scale(x, mean, scale, bias, y):
    rows, columns = x.shape
    for r in prange(rows):
        for c in range(columns):
            y[r, c] = (x[r, c] - mean[c]) * scale[c] + bias[c]


@kernel
def _input_grad(dy, x, mean, scale, mean_dy, along_x, dx):
    rows, columns = x.shape
    for r in prange(rows):
        for c in range(columns):
            dx[r, c] = scale[c] * (dy[r, c] - mean_dy[c] - (x[r, c] - mean[c]) * along_x[c])


@kernel
def _window_sum(x, before, after, y):
    rows, columns = x.shape
    for r in prange(rows):
        for c in range(columns):
            total = x[r, c]
            for k in range(max(0, c - before), min(columns, c + after + 1)):
                if k != c:
                    total += x[r, k]
            y[r, c] = total


def _parts(x: np.ndarray, *shape: int) -> np.ndarray:
    return np.empty((-(-len(x) // ROWS_A_PART), *shape, x.shape[1]), np.float64)


def batch_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> Arrays3:
    """y = (x - mean) / sqrt(var + eps) * weight + bias; and each column's mean and (biased) var."""
    x = np.ascontiguousarray(x)
    parts = _parts(x)
    _sums(x, parts)
    mean = parts.sum(axis=0) / len(x)
    _squares(x, mean, parts)
    var = parts.sum(axis=0) / len(x)
    y = np.empty_like(x)
    scale = (weight / np.sqrt(var + eps)).astype(x.dtype)
    mean = mean.astype(x.dtype)
    _scale(x, mean, scale, bias, y)
    return y, mean, var.astype(x.dtype)


def batch_norm_grad(
    dy: np.ndarray, x: np.ndarray, weight: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> Arrays3:
    """The gradients of batch_norm for x, weight and bias."""
    dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
    parts = _parts(x, 2)
    _products(dy, x, mean, parts)
    dbias, product = parts.sum(axis=0)
    inv_std = 1 / np.sqrt(var.astype(np.float64) + eps)
    dx = np.empty_like(x)
    columns = (weight * inv_std, dbias / len(x), product * inv_std**2 / len(x))
    _input_grad(dy, x, mean, *(column.astype(x.dtype) for column in columns), dx)
    return dx, (product * inv_std).astype(x.dtype), dbias.astype(x.dtype)


def channel_window_sum(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """y[r, c] = sum of x[r, c - before : c + after + 1].  x: (R, C)."""
    y = np.empty_like(x, order="C")
    _window_sum(np.ascontiguousarray(x), before, after, y)
    return y
