"""Affine warps of images. Shapes and names as in the twin, `minidl.reference.warp`."""

import math

import numpy as np

from minidl.kernels._jit import background, helper
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty


@helper
def _within(place, last):
    """Return a place along an axis, at most one beyond the pixels next to its ends; NaN too."""
    if not place > -2.0:
        return -2.0
    return min(place, last + 2.0)


@helper
def _pixel(image, row, column, c, fill, edge):
    h, w, _ = image.shape
    if edge:
        row, column = min(max(row, 0), h - 1), min(max(column, 0), w - 1)
    elif row < 0 or row >= h or column < 0 or column >= w:
        return fill
    return np.float64(image[row, column, c])


# In float64: what is slow is finding the pixels, and the same bits as the twin's are worth having
# where they are rounded to bytes.
@background
def _warp(line, x, matrices, fill, edge, whole, y):
    _, h, w, channels = x.shape
    kind = y.dtype.type
    image, i = x[line // h], line % h
    m, target = matrices[line // h], y[line // h, i]
    v = i + 0.5
    for j in range(w):
        u = j + 0.5
        column = _within(m[0, 0] * u + m[0, 1] * v + m[0, 2] - 0.5, w)
        row = _within(m[1, 0] * u + m[1, 1] * v + m[1, 2] - 0.5, h)
        left, top = math.floor(column), math.floor(row)
        across, down = column - left, row - top
        inside = left >= 0 and left + 1 < w and top >= 0 and top + 1 < h
        for c in range(channels):
            if inside:
                a, b = np.float64(image[top, left, c]), np.float64(image[top, left + 1, c])
                d = np.float64(image[top + 1, left, c])
                e = np.float64(image[top + 1, left + 1, c])
            else:
                a = _pixel(image, top, left, c, fill, edge)
                b = _pixel(image, top, left + 1, c, fill, edge)
                d = _pixel(image, top + 1, left, c, fill, edge)
                e = _pixel(image, top + 1, left + 1, c, fill, edge)
            upper, lower = a + (b - a) * across, d + (e - d) * across
            value = upper + (lower - upper) * down
            target[j, c] = kind(math.floor(value + 0.5)) if whole else kind(value)


def warp(x: np.ndarray, matrices: np.ndarray, fill: float | None) -> np.ndarray:
    """Images pulled through affine maps, by bilinear interpolation; dtype and size stay."""
    y = empty(x.shape, x.dtype)
    _warp(
        len(x) * x.shape[1], contiguous(x), np.ascontiguousarray(matrices, np.float64),
        0.0 if fill is None else float(fill), fill is None, x.dtype == np.uint8, y,
    )  # fmt: skip
    return y
