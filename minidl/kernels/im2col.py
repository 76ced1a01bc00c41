"""Convolution as a matrix product over unrolled windows, a few images at a time.

Shapes and names as in the twin, `minidl.reference.im2col`.
"""

import numpy as np
from numba import prange

from minidl.geometry import Padding, Pair, corner, output_size
from minidl.kernels._jit import kernel
from minidl.kernels.gemm import matmul

COLUMN_NUMBERS = 1 << 22  # unrolled at a time: 16 MB of float32


@kernel
def _unroll(x, channel, stride, padding, dilation, columns):
    """columns[n, p, q] = the window of x at (p, q), its channels from `channel` on.

    A window's row of kw pixels of all channels lies in one piece in x, if it isn't dilated: there
    it is copied in one piece.
    """
    n, h, w, channels = x.shape
    _, oh, ow, kh, kw, c = columns.shape
    in_one_piece = c == channels and dilation[1] == 1
    rows = x.reshape(n, h, w * channels)
    windows = columns.reshape(n, oh, ow, kh, kw * c)
    for row in prange(n * oh):
        image, p = row // oh, row % oh
        for i in range(kh):
            y = p * stride[0] + i * dilation[0] - padding[0]
            for q in range(ow):
                target = windows[image, p, q, i]
                left = q * stride[1] - padding[1]
                if not 0 <= y < h:
                    target[:] = 0
                elif in_one_piece and left >= 0 and left + kw <= w:
                    source = rows[image, y, left * c : (left + kw) * c]
                    for k in range(kw * c):
                        target[k] = source[k]
                else:
                    for j in range(kw):
                        z = left + j * dilation[1]
                        for k in range(c):
                            inside = 0 <= z < w
                            target[j * c + k] = x[image, y, z, channel + k] if inside else 0


@kernel
def _roll(columns, channel, stride, padding, dilation, x):
    """x[..., channel:] = the transpose of _unroll; a thread has a whole image to itself."""
    n, h, w, channels = x.shape
    _, oh, ow, kh, kw, c = columns.shape
    in_one_piece = c == channels and dilation[1] == 1
    rows = x.reshape(n, h, w * channels)
    windows = columns.reshape(n, oh, ow, kh, kw * c)
    for image in prange(n):
        x[image, :, :, channel : channel + c] = 0
        for p in range(oh):
            for i in range(kh):
                y = p * stride[0] + i * dilation[0] - padding[0]
                if not 0 <= y < h:
                    continue
                for q in range(ow):
                    source = windows[image, p, q, i]
                    left = q * stride[1] - padding[1]
                    if in_one_piece and left >= 0 and left + kw <= w:
                        target = rows[image, y, left * c : (left + kw) * c]
                        for k in range(kw * c):
                            target[k] += source[k]
                    else:
                        for j in range(kw):
                            z = left + j * dilation[1]
                            if 0 <= z < w:
                                for k in range(c):
                                    x[image, y, z, channel + k] += source[j * c + k]


def im2col(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> np.ndarray:
    """The windows of x, one a row: (N, OH, OW, kh, kw, C)."""
    n, h, w, c = x.shape
    size = output_size("im2col", (h, w), kernel_size, stride, padding, dilation)
    columns = np.empty((n, *size, *kernel_size, c), x.dtype)
    _unroll(np.ascontiguousarray(x), 0, stride, corner(padding), dilation, columns)
    return columns


def col2im(
    columns: np.ndarray, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> np.ndarray:
    """The transpose of im2col: every window added back where it came from. (N, H, W, C)."""
    x = np.empty((columns.shape[0], *input_size, columns.shape[5]), columns.dtype)
    _roll(np.ascontiguousarray(columns), 0, stride, corner(padding), dilation, x)
    return x


def _batches(images: int, numbers_an_image: int) -> list[slice]:
    """The batch in slices whose columns fit COLUMN_NUMBERS."""
    step = max(1, COLUMN_NUMBERS // max(1, numbers_an_image))
    return [slice(n, min(images, n + step)) for n in range(0, images, step)]


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """The convolution of x with weight: unroll, then multiply. (N, OH, OW, K)."""
    n, h, w, _ = x.shape
    kh, kw, c, k = weight.shape  # c = C/groups
    oh, ow = output_size("conv2d", (h, w), (kh, kw), stride, padding, dilation)
    x = np.ascontiguousarray(x)
    y = np.empty((n, oh, ow, k), x.dtype)
    for group, outputs in enumerate(_parts(k, groups)):
        matrix = weight[..., outputs].reshape(kh * kw * c, k // groups)
        for batch in _batches(n, oh * ow * kh * kw * c):
            columns = np.empty((batch.stop - batch.start, oh, ow, kh, kw, c), x.dtype)
            _unroll(x[batch], group * c, stride, corner(padding), dilation, columns)
            product = matmul(columns.reshape(-1, kh * kw * c), matrix)  # (N*OH*OW, K/groups)
            y[batch, ..., outputs] = product.reshape(-1, oh, ow, k // groups)
    return y


def conv2d_input_grad(
    dy: np.ndarray,
    weight: np.ndarray,
    input_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """The gradient of conv2d for x: multiply by the transposed weights, then roll up."""
    n, oh, ow, k = dy.shape
    kh, kw, c, _ = weight.shape
    x = np.empty((n, *input_size, c * groups), dy.dtype)
    for group, outputs in enumerate(_parts(k, groups)):
        matrix = weight[..., outputs].reshape(kh * kw * c, k // groups)
        for batch in _batches(n, oh * ow * kh * kw * c):
            part = dy[batch, ..., outputs].reshape(-1, k // groups)  # (N*OH*OW, K/groups)
            columns = matmul(part, matrix.T).reshape(-1, oh, ow, kh, kw, c)
            _roll(columns, group * c, stride, corner(padding), dilation, x[batch])
    return x


def conv2d_weight_grad(
    x: np.ndarray,
    dy: np.ndarray,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """The gradient of conv2d for weight: the unrolled windows, transposed, times dy."""
    n, oh, ow, k = dy.shape
    (kh, kw), c = kernel_size, x.shape[3] // groups
    x = np.ascontiguousarray(x)
    weight = np.zeros((kh, kw, c, k), x.dtype)
    for group, outputs in enumerate(_parts(k, groups)):
        for batch in _batches(n, oh * ow * kh * kw * c):
            columns = np.empty((batch.stop - batch.start, oh, ow, kh, kw, c), x.dtype)
            _unroll(x[batch], group * c, stride, corner(padding), dilation, columns)
            part = dy[batch, ..., outputs].reshape(-1, k // groups)  # (N*OH*OW, K/groups)
            product = matmul(columns.reshape(-1, kh * kw * c).T, part)
            weight[..., outputs] += product.reshape(kh, kw, c, k // groups)
    return weight


def _parts(channels: int, groups: int) -> list[slice]:
    """The output channels of each group."""
    size = channels // groups
    return [slice(g * size, (g + 1) * size) for g in range(groups)]
