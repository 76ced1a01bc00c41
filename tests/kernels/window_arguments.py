"""Arguments of kernels over sliding windows, to compare them with their twins on."""

import numpy as np
from hypothesis import strategies as st

from minidl.errors import ShapeError
from minidl.geometry import output_size
from minidl.kernels.simd import LANES

dtypes = st.sampled_from([np.float32, np.float64])
sizes = st.integers(1, 9)


@st.composite
def windows(draw, dilated=True):
    """Image size, kernel, stride, padding, dilation and output size of a sliding window."""
    while True:
        kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
        stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if dilated else (1, 1)
        side = [st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)) for k in kernel]
        padding = draw(st.tuples(*side))
        image = draw(st.tuples(sizes, sizes))
        ceil_mode = not dilated and draw(st.booleans())
        try:
            size = output_size("test", image, kernel, stride, padding, dilation, ceil_mode)
        except ShapeError:
            continue
        return image, kernel, stride, padding, dilation, size


@st.composite
def wide_windows(draw):
    """The same for usual kernels over lines that several tiles fit in."""
    k, s = draw(st.sampled_from([2, 3, 5])), draw(st.integers(1, 2))
    image = draw(st.tuples(st.integers(5, 9), st.integers(12, 31)))
    padding = draw(st.tuples(*[st.tuples(st.integers(0, k - 1), st.integers(0, k - 1))] * 2))
    size = output_size("test", image, (k, k), (s, s), padding)
    return image, (k, k), (s, s), padding, (1, 1), size


channels = st.one_of(st.integers(1, 9), st.sampled_from([16, 35, 64, 80]))


class Numbers:
    """Arrays of one dtype from one seed."""

    def __init__(self, dtype, seed):
        self.dtype, self.random = dtype, np.random.default_rng(seed)

    def __call__(self, *shape):
        return self.random.standard_normal(shape).astype(self.dtype)


@st.composite
def conv_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    image, kernel, stride, padding, dilation, size = draw(windows())
    n, groups = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    c, k = draw(st.integers(1, 4)), groups * draw(st.sampled_from([1, 2, 3, 4, 6, 9]))
    x, y, w = (n, *image, c * groups), (n, *size, k), (*kernel, c, k)
    geometry = (stride, padding, dilation, groups)
    if name == "conv2d":
        return numbers(*x), numbers(*w), *geometry
    if name == "conv2d_input_grad":
        return numbers(*y), numbers(*w), image, *geometry
    return numbers(*x), numbers(*y), kernel, *geometry


@st.composite
def grouped_arguments(draw, name):
    """Groups of few channels, which together fill a vector at least."""
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    image, kernel, stride, padding, dilation, size = draw(windows())
    n, c = draw(st.integers(0, 2)), draw(st.sampled_from([s for s in (2, 4, 8) if s <= LANES[8]]))
    groups = -(-LANES[4] // c) + draw(st.integers(0, 3))
    x, y, w = (n, *image, c * groups), (n, *size, c * groups), (*kernel, c, c * groups)
    geometry = (stride, padding, dilation, groups)
    if name == "conv2d_input_grad":
        return numbers(*y), numbers(*w), image, *geometry
    if name == "conv2d_weight_grad":
        return numbers(*x), numbers(*y), kernel, *geometry, draw(st.booleans())
    bias = numbers(c * groups) if draw(st.booleans()) else None
    return numbers(*x), numbers(*w), bias, draw(ACTIVATIONS), *geometry


ACTIVATIONS = st.sampled_from([None, "relu", "relu6"])


@st.composite
def fused_conv_arguments(draw, name):
    """As conv_arguments, with bias and activation."""
    arguments = draw(conv_arguments(name))
    if name == "conv2d_input_grad":
        return arguments
    if name == "conv2d_weight_grad":
        return *arguments, draw(st.booleans())
    x, w, *geometry = arguments
    bias = np.linspace(-1, 1, w.shape[3], dtype=w.dtype) if draw(st.booleans()) else None
    return x, w, bias, draw(ACTIVATIONS), *geometry


@st.composite
def conv_pool_arguments(draw, name):
    x, w, *_, padding, dilation, groups = draw(conv_arguments("conv2d"))
    (top, bottom), (left, right) = padding  # at least a window of outputs
    more = ((top + 2 * dilation[0], bottom + 3), (left + 2 * dilation[1], right + 3))
    stride = draw(st.sampled_from([(1, 1), (2, 1)]))
    if name != "conv2d_relu_max_pool":
        return maxima_arguments(name, x, w, stride, more, (dilation[0], 1))
    bias = np.linspace(-1, 1, w.shape[3], dtype=w.dtype) if draw(st.booleans()) else None
    return x, w, bias, stride, more, dilation, groups, draw(st.booleans())


def maxima_arguments(name, x, w, stride, padding, dilation):
    """Of shapes whose gradients come from the maxima alone."""
    from minidl.reference.conv_pool import conv2d_relu_max_pool

    x = x if len(x) else np.ones((1, *x.shape[1:]), x.dtype)
    for_input = name == "conv2d_relu_max_pool_input_grad"
    steps = ((1, 1), padding, (1, 1)) if for_input else (stride, padding, dilation)
    x, geometry = x[..., :2], (*steps, 1)
    w = np.resize(w, (*w.shape[:2], x.shape[3], w.shape[3]))
    y, indices = conv2d_relu_max_pool(x, w, None, *geometry, with_indices=True)
    dy = y + y.dtype.type(1)
    if for_input:
        return dy, indices, w, x.shape[1:3], *geometry
    return x, dy, indices, w.shape[:2], *geometry


@st.composite
def relu_pool_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    n, c = draw(st.integers(0, 3)), draw(st.sampled_from([1, 3, 6, 16, 40]))
    h, w = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    x = np.round(numbers(n, h, w, c), 1)  # with ties
    if name == "relu_max_pool":
        return (x,)
    from minidl.reference.relu_pool import relu_max_pool

    y, indices = relu_max_pool(x)
    return numbers(*y.shape), indices, (h, w)


@st.composite
def winograd_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    n, c, k = draw(st.integers(0, 3)), draw(st.integers(1, 40)), draw(st.integers(1, 40))
    pad = st.tuples(st.integers(0, 2), st.integers(0, 2))
    (top, bottom), (left, right) = padding = draw(st.tuples(pad, pad))
    h, w = (draw(st.integers(max(1, 3 - sum(ends)), 13)) for ends in ((top, bottom), (left, right)))
    m = draw(st.sampled_from([2, 4]))
    x, y = (n, h, w, c), (n, h + top + bottom - 2, w + left + right - 2, k)
    if name == "conv2d":
        bias = numbers(k) if draw(st.booleans()) else None
        return numbers(*x), numbers(3, 3, c, k), bias, draw(ACTIVATIONS), padding, m
    if name == "conv2d_input_grad":
        return numbers(*y), numbers(3, 3, c, k), (h, w), padding, m
    return numbers(*x), numbers(*y), padding, m


@st.composite
def depthwise_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    image, kernel, stride, padding, dilation, size = draw(st.one_of(windows(), wide_windows()))
    n, c, m = draw(st.integers(0, 3)), draw(channels), draw(st.integers(1, 3))
    x, y, w = (n, *image, c), (n, *size, c * m), (*kernel, c, m)
    geometry = (stride, padding, dilation)
    if name == "depthwise_conv2d":
        bias = numbers(c * m) if draw(st.booleans()) else None
        return numbers(*x), numbers(*w), bias, draw(ACTIVATIONS), *geometry
    if name == "depthwise_conv2d_input_grad":
        return numbers(*y), numbers(*w), image, *geometry
    return numbers(*x), numbers(*y), kernel, *geometry, draw(st.booleans())


@st.composite
def pool_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    image, kernel, stride, padding, _, size = draw(
        st.one_of(windows(dilated=False), wide_windows())
    )
    n, c = draw(st.integers(0, 3)), draw(channels)
    x = np.round(numbers(n, *image, c), 1)  # with ties
    if name.startswith("avg"):
        tail = (draw(st.booleans()),)
        if name == "avg_pool2d":
            return x, kernel, stride, padding, size, *tail
        return numbers(n, *size, c), image, kernel, stride, padding, *tail
    if name == "max_pool2d":
        if x.size and draw(st.booleans()):
            x.flat[draw(st.integers(0, x.size - 1))] = np.nan
        return x, kernel, stride, padding, size
    from minidl.reference.pool import max_pool2d

    indices = max_pool2d(x, kernel, stride, padding, size)[1]
    if name == "max_pool2d_gather":
        return x, indices, kernel, stride, padding
    return numbers(*indices.shape), indices, image, kernel, stride, padding
