"""Convolution, bias, ReLU and 2x2 max-pooling in one."""

import numpy as np

from minidl.geometry import Padding, Pair, output_size
from minidl.reference.conv import conv2d, conv2d_input_grad, conv2d_weight_grad
from minidl.reference.relu_pool import relu_max_pool, relu_max_pool_grad


def conv2d_relu_max_pool(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
    *, with_indices: bool,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """relu(the convolution of x with weight + bias), pooled 2x2; and, if asked, the indices of
    relu_max_pool. (N, OH // 2, OW // 2, K), twice.
    """
    y, indices = relu_max_pool(conv2d(x, weight, bias, None, stride, padding, dilation, groups))
    return y, indices if with_indices else None


def conv2d_relu_max_pool_weight_grad(
    x: np.ndarray, dy: np.ndarray, indices: np.ndarray, kernel_size: Pair,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> tuple[np.ndarray, np.ndarray] | None:  # fmt: skip
    """Return the gradients for weight, (kh, kw, C/groups, K), and bias, (K,).

    The fast kernel says None to shapes that it leaves to the convolution's own gradient. It passes
    over pixels that were pooled away, even where they are NaN; here 0 * NaN is NaN.
    """
    size = output_size("conv2d", x.shape[1:3], kernel_size, stride, padding, dilation)
    dy = relu_max_pool_grad(dy, indices, size)
    return conv2d_weight_grad(  # type: ignore[return-value]
        x, dy, kernel_size, stride, padding, dilation, groups, with_bias=True
    )


def conv2d_relu_max_pool_input_grad(
    dy: np.ndarray, indices: np.ndarray, weight: np.ndarray, input_size: Pair,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> np.ndarray | None:  # fmt: skip
    """Return the gradient for x, (N, *input_size, C).

    The fast kernel says None to shapes that it leaves to the convolution's own gradient.
    """
    size = output_size("conv2d", input_size, weight.shape[:2], stride, padding, dilation)
    dy = relu_max_pool_grad(dy, indices, size)
    return conv2d_input_grad(dy, weight, input_size, stride, padding, dilation, groups)
