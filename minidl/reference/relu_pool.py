"""ReLU and 2x2 max-pooling of stride 2 in one: what follows the convolutions of LeNet or VGG.

x (N, H, W, C), y (N, H // 2, W // 2, C). A window's index says which of its four pixels, row by
row, was the first largest, or 4 if that is 0 or less: it is all that the gradient needs.
"""

import numpy as np

from minidl.geometry import Pair


def relu_max_pool(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """relu(x) pooled, and which of each window it was."""
    n, h, w, c = x.shape
    p, q = h // 2, w // 2
    windows = x[:, : 2 * p, : 2 * q].reshape(n, p, 2, q, 2, c)
    windows = windows.transpose(0, 1, 3, 5, 2, 4).reshape(n, p, q, c, 4)  # (.., C, 2*2)
    indices = windows.argmax(axis=-1)
    y = np.take_along_axis(windows, indices[..., None], axis=-1)[..., 0]
    return np.maximum(y, x.dtype.type(0)), np.where(y <= 0, 4, indices).astype(np.uint8)


def relu_max_pool_grad(dy: np.ndarray, indices: np.ndarray, size: Pair) -> np.ndarray:
    """Return the gradient of relu_max_pool for x, images of `size`."""
    n, p, q, c = dy.shape
    windows = np.where(indices[..., None] == np.arange(4), dy[..., None], dy.dtype.type(0))
    windows = windows.reshape(n, p, q, c, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    dx = np.zeros((n, *size, c), dy.dtype)
    dx[:, : 2 * p, : 2 * q] = windows.reshape(n, 2 * p, 2 * q, c)
    return dx
