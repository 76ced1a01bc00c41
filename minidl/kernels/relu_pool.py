"""ReLU and 2x2 max-pooling in one pass. Shapes and names as in `minidl.reference.relu_pool`."""

import numpy as np

from minidl.geometry import Pair
from minidl.kernels._jit import kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty

OFF = 4  # the index of a window that ReLU has put to 0


@kernel
def _pool(part, x, y, indices):
    _, oh, ow, c = y.shape
    image, p = part // oh, part % oh
    for q in range(ow):
        first, second = x[image, 2 * p, 2 * q], x[image, 2 * p, 2 * q + 1]
        third, fourth = x[image, 2 * p + 1, 2 * q], x[image, 2 * p + 1, 2 * q + 1]
        target, place = y[image, p, q], indices[image, p, q]
        for k in range(c):
            best, index = first[k], 0
            v = second[k]
            better = v > best or v != v  # a NaN beats all
            best, index = (v, 1) if better else (best, index)
            v = third[k]
            better = v > best or v != v
            best, index = (v, 2) if better else (best, index)
            v = fourth[k]
            better = v > best or v != v
            best, index = (v, 3) if better else (best, index)
            target[k] = x.dtype.type(0) if best <= 0 else best
            place[k] = OFF if best <= 0 else index


@kernel
def _unpool(part, dy, indices, dx):
    _, h, w, c = dx.shape
    _, oh, ow, _ = dy.shape
    pairs = (h + 1) // 2  # of rows; the last may be a single one, that no window reaches
    nothing = dx.dtype.type(0)
    image, p = part // pairs, part % pairs
    if p == oh:
        dx[image, 2 * p] = nothing
    else:
        upper, lower = dx[image, 2 * p].reshape(-1), dx[image, 2 * p + 1].reshape(-1)
        source, places = dy[image, p].reshape(-1), indices[image, p].reshape(-1)
        for q in range(ow):
            left, right = 2 * q * c, (2 * q + 1) * c
            for k in range(c):
                g, place = source[q * c + k], places[q * c + k]
                upper[left + k] = g if place == 0 else nothing
                upper[right + k] = g if place == 1 else nothing
                lower[left + k] = g if place == 2 else nothing
                lower[right + k] = g if place == 3 else nothing
        for k in range(2 * ow * c, w * c):
            upper[k] = nothing
            lower[k] = nothing


def relu_max_pool(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """relu(x) pooled, and which of each window it was."""
    n, h, w, c = x.shape
    y = empty((n, h // 2, w // 2, c), x.dtype)
    indices = empty(y.shape, np.uint8)
    _pool(sized(n * (h // 2), x.size), contiguous(x), y, indices)
    return y, indices


def relu_max_pool_grad(dy: np.ndarray, indices: np.ndarray, size: Pair) -> np.ndarray:
    """Return the gradient of relu_max_pool for x, images of `size`."""
    dx = empty((len(dy), *size, dy.shape[3]), dy.dtype)
    pairs = (size[0] + 1) // 2
    _unpool(sized(len(dy) * pairs, dx.size), contiguous(dy), indices, dx)
    return dx
