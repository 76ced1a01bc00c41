"""Arguments to compare kernels with their twins on: one strategy for each family of kernels.

A strategy takes the name of a kernel in its family. A family that isn't in ARGUMENTS fails.
"""

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
    c, k = draw(st.integers(1, 4)), groups * draw(st.integers(1, 4))
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
    if name == "conv2d_relu_max_pool_weight_grad":
        return maxima_arguments(x, w, stride, more, (dilation[0], 1))
    bias = np.linspace(-1, 1, w.shape[3], dtype=w.dtype) if draw(st.booleans()) else None
    return x, w, bias, stride, more, dilation, groups


def maxima_arguments(x, w, stride, padding, dilation):
    """Of shapes whose weight gradient comes from the maxima alone."""
    from minidl.reference.conv_pool import conv2d_relu_max_pool

    x = x if len(x) else np.ones((1, *x.shape[1:]), x.dtype)
    x, geometry = x[..., :2], (stride, padding, dilation, 1)
    w = np.resize(w, (*w.shape[:2], x.shape[3], w.shape[3]))
    y, indices = conv2d_relu_max_pool(x, w, None, *geometry)
    return x, y + y.dtype.type(1), indices, w.shape[:2], *geometry


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
def activation_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    shape = draw(st.sampled_from([(0, 3), (7,), (5, 9, 3), (129, 257)]))
    x, activation = numbers(*shape) * numbers.dtype(5), draw(ACTIVATIONS)
    if name == "activate":
        return x, activation
    from minidl.reference.activation import activate

    return numbers(*shape), activate(x, activation), activation


@st.composite
def gate_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    n, c = draw(st.integers(0, 3)), draw(channels)
    shape = n, draw(st.sampled_from([0, 1, 7, 300])), c
    x, gate, activation = numbers(*shape), numbers(n, c), draw(ACTIVATIONS)
    if name == "channel_gate":
        return x, gate, numbers(*shape) if draw(st.booleans()) else None, activation
    return numbers(*shape), x, gate, np.clip(numbers(*shape), 0, 6), activation


@st.composite
def elementwise_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    size = draw(st.sampled_from([0, 1, 17, 16384, 40001]))
    return numbers(size), numbers(size)


@st.composite
def optim_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    size, some = draw(st.sampled_from([0, 1, 17, 16384, 40001])), draw(st.booleans())
    w, g, a, b = numbers(size), numbers(size), np.abs(numbers(size)), np.abs(numbers(size))
    decay, step = draw(st.sampled_from([0.0, 0.1])), draw(st.sampled_from([1, 7]))
    if name == "sgd":
        nesterov = some and draw(st.booleans())
        return w, g, a if some else None, nesterov, np.array([0.1, 0.9, 0.3, decay, step])
    if name == "ema":
        return w, g, np.array([0.9])
    if name == "adagrad":
        return w, g, a, np.array([0.1, 1e-3, decay])
    if name == "adadelta":
        return w, g, a, b, np.array([0.5, 0.9, 1e-3, decay])
    if name == "rmsprop":
        mean, buffer = a / 9 if some else None, numbers(size) if draw(st.booleans()) else None
        return w, g, a + 1, mean, buffer, np.array([0.1, 0.9, 1e-3, 0.9, decay])
    if name == "nadam":
        return w, g, numbers(size), a, np.array([0.1, 0.9, 0.99, 1e-3, 0.04, decay, step, 0.7])
    largest, decoupled = b if some else None, draw(st.booleans())
    return w, g, numbers(size), a, largest, decoupled, np.array([0.1, 0.9, 0.99, 1e-3, decay, step])


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
def column_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    image, kernel, stride, padding, dilation, size = draw(windows())
    n, c = draw(st.integers(0, 3)), draw(st.integers(1, 5))
    if name == "im2col":
        return numbers(n, *image, c), kernel, stride, padding, dilation
    return numbers(n, *size, *kernel, c), image, stride, padding, dilation


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


@st.composite
def norm_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    rows, c = draw(st.sampled_from([2, 3, 255, 256, 257, 600])), draw(st.integers(1, 9))
    c = draw(st.sampled_from([c, 16, 35, 48, 64, 80]))
    x = numbers(rows, c) + numbers.dtype(3)
    if name == "channel_window_sum":
        return x, draw(st.integers(0, 12)), draw(st.integers(0, 12))
    residual, activation = numbers(rows, c) if draw(st.booleans()) else None, draw(ACTIVATIONS)
    weight, bias = numbers(c), numbers(c)
    if name == "update_running":
        momentum = draw(st.sampled_from([0.0, 0.1, 1.0]))
        return weight, np.abs(bias), numbers(c), np.abs(numbers(c)), momentum, rows
    if name == "folded":
        weight, bias = (column if draw(st.booleans()) else None for column in (weight, bias))
        return weight, bias, numbers(c), np.abs(numbers(c)), draw(st.sampled_from([1e-5, 1.0]))
    if name == "batch_norm":
        return x, weight, bias, residual, activation, 1e-5
    if name == "scale_shift":
        return x, weight, bias, residual, activation
    from minidl.reference.norm import batch_norm

    y, mean, var = batch_norm(x, weight, bias, residual, activation, 1e-5)
    dy = numbers(rows, c)
    if residual is None:  # at a kink either side is right, and rounding decides
        dy[(np.abs(y) < 1e-4) | (np.abs(y - 6) < 1e-4)] = 0
    return dy, x, None if residual is None else y, weight, bias, mean, var, activation, 1e-5


@st.composite
def gemm_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    lengths = st.sampled_from([0, 1, 2, 3, 5, 31, 32, 33, 64, 70])
    rows, depth, columns = (
        draw(lengths),
        draw(st.sampled_from([1, 3, 4, 9, 255, 256, 262])),
        draw(lengths),
    )
    a = numbers(depth, rows).T if draw(st.booleans()) else numbers(rows, depth)
    b = numbers(columns, depth).T if draw(st.booleans()) else numbers(depth, columns)
    if name == "matmul":
        return a, b
    if name == "weight_grad":
        return a, numbers(rows, columns), draw(st.booleans())
    return a, b, numbers(columns) if draw(st.booleans()) else None, draw(ACTIVATIONS)


@st.composite
def loss_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    rows, classes = draw(st.sampled_from([0, 1, 5, 33, 300])), draw(st.sampled_from([1, 2, 7, 40]))
    if name == "scaled_rows":
        return numbers(rows, classes), numbers(draw(st.sampled_from([1, max(rows, 1)])))
    labels = numbers.random.integers(0, classes, rows)
    row_weights = np.abs(numbers(rows)) * (labels % 3 > 0)
    class_weights = np.abs(numbers(classes)) if draw(st.booleans()) else None
    logits = numbers(rows, classes) * numbers.dtype(draw(st.sampled_from([1, 30])))
    smoothing = draw(st.sampled_from([0.0, 0.1, 1.0]))
    return logits, labels, row_weights.astype(numbers.dtype), class_weights, smoothing


@st.composite
def dropout_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    shape = draw(st.sampled_from([(0, 3), (7,), (5, 9, 3), (129, 257)]))
    p = draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    return numbers(*shape), np.array([draw(st.integers(0, 2**64 - 1))], np.uint64), p


@st.composite
def warp_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    n, h, w, c = draw(st.integers(0, 3)), draw(sizes), draw(sizes), draw(st.integers(1, 4))
    matrices = numbers(n, 2, 3) * numbers.dtype([1, 1, draw(st.sampled_from([0, 9, 1e6]))])
    if draw(st.booleans()):  # by whole and half pixels
        matrices = np.round(2 * matrices) / 2
    x = numbers(n, h, w, c)
    if draw(st.booleans()):
        x = (x * 60 + 128).clip(0, 255).astype(np.uint8)
    return x, matrices, draw(st.sampled_from([None, 0.0, 99.5]))


@st.composite
def views(draw, shape, dtype):
    """An array of this shape whose numbers lie in another order, apart, or backwards."""
    order = draw(st.permutations(range(len(shape))))
    apart = [draw(st.sampled_from([1, 2])) for _ in shape]
    larger = [shape[axis] * apart[axis] for axis in order]
    array = np.random.default_rng(draw(st.integers(0, 9))).standard_normal(larger).astype(dtype)
    array = array.transpose(np.argsort(order))
    steps = [step * draw(st.sampled_from([1, -1])) for step in apart]
    return array[(..., *(slice(None, None, step) for step in steps))]


@st.composite
def copy_arguments(draw, name):
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=6)))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int64, np.uint8]))
    x = draw(views(shape, dtype))
    if name == "joined":
        shape, axis = (*shape[:3], 3), draw(st.integers(0, min(3, len(shape))))
        lengths = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
        parts = [(*shape[:axis], n, *shape[axis + 1 :]) for n in lengths]
        return [draw(views(part, dtype)) for part in parts], axis
    if name == "fill":
        return np.ascontiguousarray(x).reshape(shape), draw(st.integers(0, 9))
    if name != "copy_to":
        return (x,)
    lead = tuple(draw(st.lists(st.integers(0, 3), max_size=2)))
    return draw(views((*lead, *shape), dtype)), x


@st.composite
def reduce_arguments(draw, name):
    dtype = draw(dtypes)
    shape = draw(st.tuples(st.integers(0, 4), st.integers(1, 700), st.integers(0, 40)))
    x = np.random.default_rng(draw(st.integers(0, 9))).standard_normal(shape).astype(dtype)
    if name == "column_sums":
        return (x,)
    return x, draw(st.sampled_from([1.0, 0.125]))


@st.composite
def fold_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    columns = draw(st.sampled_from([1, 7, 64, 20000]))
    if name == "folded_weight":
        return numbers(3, draw(st.sampled_from([1, 5])), columns), numbers(columns)
    if name == "folded_bias":
        return numbers(columns), numbers(columns), numbers(columns)
    array = numbers(draw(st.sampled_from([1, 63, 64, 200, 32768, 40001])))
    return array.view(np.int32), np.zeros(8, np.int64), draw(st.integers(0, 4))


ARGUMENTS = {
    "activation": activation_arguments,
    "copy": copy_arguments,
    "fold": fold_arguments,
    "reduce": reduce_arguments,
    "conv": fused_conv_arguments,
    "conv_pool": conv_pool_arguments,
    "direct": fused_conv_arguments,
    "dropout": dropout_arguments,
    "gate": gate_arguments,
    "grouped": grouped_arguments,
    "elementwise": elementwise_arguments,
    "loss": loss_arguments,
    "relu_pool": relu_pool_arguments,
    "optim": optim_arguments,
    "warp": warp_arguments,
    "winograd": winograd_arguments,
    "depthwise": depthwise_arguments,
    "gemm": gemm_arguments,
    "norm": norm_arguments,
    "pool": pool_arguments,
}
