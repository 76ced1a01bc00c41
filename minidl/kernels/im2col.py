"""Convolution as a matrix product over unrolled windows, a few images at a time.

Shapes and names as in the twin, `minidl.reference.im2col`.
"""

import numpy as np

from minidl.geometry import Padding, Pair, corner, output_size
from minidl.kernels._jit import kernel
from minidl.kernels.copy import contiguous
from minidl.kernels.gemm import matmul

COLUMN_NUMBERS = 1 << 22  # unrolled at a time: 16 MB of float32
ROWS_A_PART = 64


@kernel
def _unroll(line, x, channel, stride, padding, dilation, columns):
    """columns[n, p, q] = the window of x at (p, q), its channels from `channel` on.

    A window's row of kw pixels of all channels lies in one piece in x, if it isn't dilated: there
    it is copied in one piece.
    """
    n, h, w, channels = x.shape
    _, oh, ow, kh, kw, c = columns.shape
    in_one_piece = c == channels and dilation[1] == 1
    rows = x.reshape(n, h, w * channels)
    windows = columns.reshape(n, oh, ow, kh, kw * c)
    image, p = line // oh, line % oh
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
def _roll(image, columns, channel, stride, padding, dilation, x):
    """x[..., channel:] = the transpose of _unroll; a thread has a whole image to itself."""
    n, h, w, channels = x.shape
    _, oh, ow, kh, kw, c = columns.shape
    in_one_piece = c == channels and dilation[1] == 1
    rows = x.reshape(n, h, w * channels)
    windows = columns.reshape(n, oh, ow, kh, kw * c)
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


@kernel
def _copy(part, x, x_first, y, y_first, width, adding):
    """y[:, y_first:] = x[:, x_first:], or added to it: `width` columns, ROWS_A_PART rows."""
    for row in range(part * ROWS_A_PART, min(len(x), (part + 1) * ROWS_A_PART)):
        source, target = x[row, x_first : x_first + width], y[row, y_first : y_first + width]
        for k in range(width):
            target[k] = target[k] + source[k] if adding else source[k]


@kernel
def _clear(part, x):
    x[part] = 0  # of the first axis


def im2col(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> np.ndarray:
    """Return the windows of x, one a row: (N, OH, OW, kh, kw, C)."""
    n, h, w, c = x.shape
    size = output_size("im2col", (h, w), kernel_size, stride, padding, dilation)
    shape = (*size, *kernel_size, c)
    columns = _unrolled(contiguous(x), 0, shape, stride, padding, dilation)
    return columns.reshape(n, *shape)


def col2im(
    columns: np.ndarray, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> np.ndarray:
    """Return the transpose of im2col: every window added back where it came from. (N, H, W, C)."""
    x = np.empty((columns.shape[0], *input_size, columns.shape[5]), columns.dtype)
    columns = contiguous(columns)
    _roll(len(x), columns, 0, stride, corner(padding), dilation, x)
    return x


def _taken(x: np.ndarray, columns: slice) -> np.ndarray:
    """Columns of the last axis, as rows: (N*OH*OW, K) -> (N*OH*OW, K/groups)."""
    x = contiguous(x).reshape(-1, x.shape[-1])
    width = columns.stop - columns.start
    if width == x.shape[1]:
        return x
    y = np.empty((len(x), width), x.dtype)
    _copy(-(-len(x) // ROWS_A_PART), x, columns.start, y, 0, width, False)
    return y


def _put(x: np.ndarray, y: np.ndarray, columns: slice, adding: bool = False) -> None:
    """Columns of y's last axis become x, or x is added to them: the reverse of `_taken`."""
    y = y.reshape(-1, y.shape[-1])  # (N*OH*OW, K)
    _copy(-(-len(x) // ROWS_A_PART), x, 0, y, columns.start, x.shape[1], adding)


def _unrolled(x, channel, shape, stride, padding, dilation) -> np.ndarray:
    """The windows of x, (OH, OW, kh, kw, C/groups) an image, as rows: (N*OH*OW, kh*kw*C/groups)."""
    oh, ow, kh, kw, c = shape
    columns = np.empty((len(x), *shape), x.dtype)
    _unroll(len(x) * oh, x, channel, stride, corner(padding), dilation, columns)
    return columns.reshape(len(x) * oh * ow, kh * kw * c)


def _batches(images: int, numbers_an_image: int) -> list[slice]:
    """Return the batch in slices whose columns fit COLUMN_NUMBERS."""
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
    """Return the convolution of x with weight: unroll, then multiply. (N, OH, OW, K)."""
    n, h, w, _ = x.shape
    kh, kw, c, k = weight.shape  # c = C/groups
    oh, ow = output_size("conv2d", (h, w), (kh, kw), stride, padding, dilation)
    x = contiguous(x)
    y = np.empty((n, oh, ow, k), x.dtype)
    for group, outputs in enumerate(_parts(k, groups)):
        matrix = _taken(weight, outputs)  # (kh*kw*C/groups, K/groups)
        for batch in _batches(n, oh * ow * kh * kw * c):
            columns = _unrolled(x[batch], group * c, (oh, ow, kh, kw, c), stride, padding, dilation)
            _put(matmul(columns, matrix), y[batch], outputs)
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
    """Return the gradient of conv2d for x: multiply by the transposed weights, then roll up."""
    n, oh, ow, k = dy.shape
    kh, kw, c, _ = weight.shape
    x = np.empty((n, *input_size, c * groups), dy.dtype)
    for group, outputs in enumerate(_parts(k, groups)):
        matrix = _taken(weight, outputs)  # (kh*kw*C/groups, K/groups)
        for batch in _batches(n, oh * ow * kh * kw * c):
            columns = matmul(_taken(dy[batch], outputs), matrix.T)  # (N*OH*OW, kh*kw*C/groups)
            columns = columns.reshape(-1, oh, ow, kh, kw, c)
            target = x[batch]
            _roll(len(target), columns, group * c, stride, corner(padding), dilation, target)
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
    """Return the gradient of conv2d for weight: the unrolled windows, transposed, times dy."""
    n, oh, ow, k = dy.shape
    (kh, kw), c = kernel_size, x.shape[3] // groups
    x = contiguous(x)
    weight = np.empty((kh, kw, c, k), x.dtype)
    _clear(kh, weight)
    for group, outputs in enumerate(_parts(k, groups)):
        for batch in _batches(n, oh * ow * kh * kw * c):
            columns = _unrolled(x[batch], group * c, (oh, ow, kh, kw, c), stride, padding, dilation)
            product = matmul(columns.T, _taken(dy[batch], outputs))  # (kh*kw*C/groups, K/groups)
            _put(product, weight, outputs, adding=True)
    return weight


def _parts(channels: int, groups: int) -> list[slice]:
    """Return the output channels of each group."""
    size = channels // groups
    return [slice(g * size, (g + 1) * size) for g in range(groups)]
