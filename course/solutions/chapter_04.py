"""Solutions of chapter 4, convolution."""

import numpy as np


def output_size(size, kernel, padding=0, stride=1):
    """Return at how many positions a window fits along an axis (section 4.1).

    size: of the axis, in pixels.  kernel: length of the window.  padding: zeros on each side.
    stride: pixels from one position to the next.  Returns a whole number.
    """
    return (size + 2 * padding - kernel) // stride + 1


def im2col(x, kh, kw, padding=0):
    """Return all windows of kh x kw pixels of x, unrolled (section 4.3).

    x: (N, H, W, C), padded with `padding` zeros on each side of H and of W.
    Returns (N, OH, OW, kh * kw * C): row of the window first, then its column, then the channel.
    """
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    n, height, width, channels = x.shape
    oh, ow = height - kh + 1, width - kw + 1
    columns = np.empty((n, oh, ow, kh, kw, channels), x.dtype)
    for i in range(kh):
        for j in range(kw):
            columns[:, :, :, i, j] = x[:, i : i + oh, j : j + ow]
    return columns.reshape(n, oh, ow, kh * kw * channels)


def winograd_f23(d, w):
    """Return the two outputs of a window of 3 weights on 4 inputs (section 4.5).

    d: four numbers.  w: three numbers.  Returns the tuple (d0 w0 + d1 w1 + d2 w2,
    d1 w0 + d2 w1 + d3 w2), with four multiplications of something of d by something of w.
    Sums, differences, and products with constants such as 0.5 don't count.
    """
    m1 = (d[0] - d[2]) * w[0]
    m2 = (d[1] + d[2]) * (0.5 * (w[0] + w[1] + w[2]))
    m3 = (d[2] - d[1]) * (0.5 * (w[0] - w[1] + w[2]))
    m4 = (d[1] - d[3]) * w[2]
    return m1 + m2 + m3, m2 - m3 - m4


def conv2d_backward(g, x, w, padding=0):
    """Return the gradients (dx, dw, db) of y = conv2d(x, w, padding) + b (sections 4.7, 4.8).

    x: (N, H, W, C), padded with `padding` zeros on each side of H and of W.  w: (kh, kw, C, K).
    g: (N, OH, OW, K), the gradient of y.  The stride is 1, padding less than kh and kw.
    Returns dx (N, H, W, C), dw (kh, kw, C, K) and db (K,).
    """
    (kh, kw), (oh, ow) = w.shape[:2], g.shape[1:3]
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    x = np.pad(x, around)
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i in range(kh):
        for j in range(kw):
            met = x[:, i : i + oh, j : j + ow]  # the pixels that w[i, j] met, (N, OH, OW, C)
            dw[i, j] = np.einsum("npqc,npqk->ck", met, g)
            dx[:, i : i + oh, j : j + ow] += g @ w[i, j].T  # outputs stamp their kernels
    inside = slice(padding, x.shape[1] - padding), slice(padding, x.shape[2] - padding)
    return dx[:, *inside], dw, g.sum(axis=(0, 1, 2))
