"""Convolution, bias, ReLU and 2x2 max-pooling in one."""

import numpy as np

from minidl.geometry import Padding, Pair
from minidl.reference.conv import conv2d
from minidl.reference.relu_pool import relu_max_pool


def conv2d_relu_max_pool(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """relu(the convolution of x with weight + bias), pooled 2x2; and the indices of relu_max_pool.

    (N, OH // 2, OW // 2, K), twice.
    """
    return relu_max_pool(conv2d(x, weight, bias, None, stride, padding, dilation, groups))
