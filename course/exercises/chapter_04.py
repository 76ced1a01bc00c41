"""Exercises of chapter 4, convolution. `python -m course.check 4` checks them."""


def output_size(size, kernel, padding=0, stride=1):
    """Return at how many positions a window fits along an axis (section 4.1).

    size: of the axis, in pixels.  kernel: length of the window.  padding: zeros on each side.
    stride: pixels from one position to the next.  Returns a whole number.
    """
    raise NotImplementedError


def im2col(x, kh, kw, padding=0):
    """Return all windows of kh x kw pixels of x, unrolled (section 4.3).

    x: (N, H, W, C), padded with `padding` zeros on each side of H and of W.
    Returns (N, OH, OW, kh * kw * C): row of the window first, then its column, then the channel.
    """
    raise NotImplementedError


def winograd_f23(d, w):
    """Return the two outputs of a window of 3 weights on 4 inputs (section 4.5).

    d: four numbers.  w: three numbers.  Returns the tuple (d0 w0 + d1 w1 + d2 w2,
    d1 w0 + d2 w1 + d3 w2), with four multiplications of something of d by something of w.
    Sums, differences, and products with constants such as 0.5 don't count.
    """
    raise NotImplementedError


def conv2d_backward(g, x, w, padding=0):
    """Return the gradients (dx, dw, db) of y = conv2d(x, w, padding) + b (sections 4.7, 4.8).

    x: (N, H, W, C), padded with `padding` zeros on each side of H and of W.  w: (kh, kw, C, K).
    g: (N, OH, OW, K), the gradient of y.  The stride is 1, padding less than kh and kw.
    Returns dx (N, H, W, C), dw (kh, kw, C, K) and db (K,).
    """
    raise NotImplementedError
