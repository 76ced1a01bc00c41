"""Convolution by the algorithm that suits its shape.

Shapes and names as in the twin, `minidl.reference.conv`. `choose.py` chooses.
"""

import numpy as np

from minidl.geometry import Padding, Pair, output_size
from minidl.kernels import choose, depthwise, direct, gemm, grouped, im2col, planar, winograd
from minidl.kernels.activation import activate
from minidl.kernels.copy import contiguous
from minidl.kernels.reduce import column_sums


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: str | None,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> np.ndarray:  # fmt: skip
    """activation(the convolution of x with weight + bias). (N, OH, OW, K)."""
    n, h, w, c = x.shape
    size = output_size("conv2d", (h, w), weight.shape[:2], stride, padding, dilation)
    algorithm = choose.algorithm(
        n, size, weight.shape, stride, padding, dilation, groups, x.itemsize
    )
    if algorithm == choose.GEMM:
        rows = contiguous(x).reshape(-1, c)  # (N*H*W, C)
        y = gemm.product(rows, weight[0, 0], bias, activation)
        return y.reshape(n, h, w, weight.shape[3])
    if algorithm == choose.WINOGRAD:
        return winograd.conv2d(x, weight, bias, activation, padding, choose.winograd_size())
    if algorithm == choose.DEPTHWISE:
        filters = _filters(weight, groups)
        return depthwise.depthwise_conv2d(x, filters, bias, activation, stride, padding, dilation)
    if algorithm == choose.PLANAR:
        return planar.conv2d(x, weight, bias, activation, stride, padding, dilation)
    if algorithm == choose.IM2COL:
        y = im2col.conv2d(x, weight, stride, padding, dilation, groups)
        return activate(y if bias is None else y + bias, activation)
    chosen = grouped if algorithm == choose.GROUPED else direct
    return chosen.conv2d(x, weight, bias, activation, stride, padding, dilation, groups)


def conv2d_input_grad(
    dy: np.ndarray, weight: np.ndarray, input_size: Pair,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> np.ndarray:  # fmt: skip
    """Return the gradient of conv2d for x: (N, *input_size, C)."""
    n, oh, ow, k = dy.shape
    algorithm = choose.algorithm(
        n, input_size, weight.shape, stride, padding, dilation, groups, dy.itemsize
    )
    if algorithm == choose.GEMM:
        rows = contiguous(dy).reshape(-1, k)  # (N*H*W, K)
        dx = gemm.matmul(rows, weight[0, 0].T)
        return dx.reshape(n, oh, ow, weight.shape[2])
    if algorithm == choose.WINOGRAD:
        m = choose.winograd_size()
        return winograd.conv2d_input_grad(dy, weight, input_size, padding, m)
    if algorithm == choose.DEPTHWISE:
        filters, settings = _filters(weight, groups), (stride, padding, dilation)
        return depthwise.depthwise_conv2d_input_grad(dy, filters, input_size, *settings)
    chosen = {choose.IM2COL: im2col, choose.GROUPED: grouped}.get(algorithm, direct)
    return chosen.conv2d_input_grad(dy, weight, input_size, stride, padding, dilation, groups)


def conv2d_weight_grad(
    x: np.ndarray, dy: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, *, with_bias: bool,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """The gradients of conv2d for weight and, if asked, bias: (kh, kw, C/groups, K), (K,)."""
    n, oh, ow, k = dy.shape
    shape = (*kernel_size, x.shape[3] // groups, k)
    algorithm = choose.algorithm(n, (oh, ow), shape, stride, padding, dilation, groups, x.itemsize)
    if algorithm == choose.DEPTHWISE:
        dw, db = depthwise.depthwise_conv2d_weight_grad(
            x, dy, kernel_size, stride, padding, dilation, with_bias=with_bias
        )
        return dw.reshape(shape), db  # (kh, kw, C, K/C) as (kh, kw, 1, K)
    if algorithm == choose.GEMM:
        pixels = contiguous(x).reshape(-1, x.shape[3])  # (N*H*W, C)
        product, db = gemm.weight_grad(pixels, contiguous(dy).reshape(-1, k), with_bias)
        return product.reshape(shape), db
    if algorithm == choose.WINOGRAD:
        dw = winograd.conv2d_weight_grad(x, dy, padding, choose.winograd_size())
    elif algorithm == choose.IM2COL:
        dw = im2col.conv2d_weight_grad(x, dy, kernel_size, stride, padding, dilation, groups)
    else:
        chosen = grouped if algorithm == choose.GROUPED else direct
        return chosen.conv2d_weight_grad(
            x, dy, kernel_size, stride, padding, dilation, groups, with_bias=with_bias
        )
    return dw, column_sums(dy) if with_bias else None


def _filters(weight: np.ndarray, groups: int) -> np.ndarray:
    """Weights (kh, kw, 1, K) of groups of one channel, as (kh, kw, C, K/C)."""
    kh, kw, _, k = weight.shape
    return contiguous(weight).reshape(kh, kw, groups, k // groups)
