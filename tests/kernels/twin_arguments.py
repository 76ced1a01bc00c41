"""Arguments to compare kernels with their twins on: one strategy for each family of kernels.

A strategy takes the name of a kernel in its family. A family that isn't in ARGUMENTS fails.
"""

import numpy as np
from hypothesis import strategies as st
from recurrent_arguments import RECURRENT
from window_arguments import (
    ACTIVATIONS,
    Numbers,
    channels,
    conv_pool_arguments,
    depthwise_arguments,
    dtypes,
    fused_conv_arguments,
    grouped_arguments,
    pool_arguments,
    relu_pool_arguments,
    sizes,
    windows,
    winograd_arguments,
)

from minidl.kernels import go


@st.composite
def activation_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    shape = draw(st.sampled_from([(0, 3), (7,), (5, 9, 3), (129, 257)]))
    x, activation = numbers(*shape) * numbers.dtype(5), draw(ACTIVATIONS)
    if name.startswith("prelu"):
        weight = numbers(draw(st.sampled_from([1, shape[-1]])))
        return (x, weight) if name == "prelu" else (numbers(*shape), x, weight)
    if name == "activate":
        return x, activation
    from minidl.reference.activation import activate

    return numbers(*shape), activate(x, activation), activation


@st.composite
def smooth_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    shape = draw(st.sampled_from([(0, 3), (7,), (5, 9, 3), (129, 257)]))
    x = numbers(*shape) * numbers.dtype(draw(st.sampled_from([1, 5])))
    return (numbers(*shape), x) if name.endswith("_grad") else (x,)


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
    return (numbers(size),) if name == "erf" else (numbers(size), numbers(size))


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
def column_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    image, kernel, stride, padding, dilation, size = draw(windows())
    n, c = draw(st.integers(0, 3)), draw(st.integers(1, 5))
    if name == "im2col":
        return numbers(n, *image, c), kernel, stride, padding, dilation
    return numbers(n, *size, *kernel, c), image, stride, padding, dilation


@st.composite
def norm_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    rows, c = draw(st.sampled_from([2, 3, 255, 256, 257, 600])), draw(st.integers(1, 9))
    c = draw(st.sampled_from([c, 16, 35, 48, 64, 80]))
    x = numbers(rows, c) + numbers.dtype(3)
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
    if name == "scale_shift_grad":
        needs = tuple(draw(st.booleans()) for _ in range(4))
        return numbers(rows, c), x, numbers(rows, c), weight, activation, needs
    from minidl.reference.norm import batch_norm

    y, mean, var = batch_norm(x, weight, bias, residual, activation, 1e-5)
    dy = numbers(rows, c)
    if residual is None:  # at a kink either side is right, and rounding decides
        dy[(np.abs(y) < 1e-4) | (np.abs(y - 6) < 1e-4)] = 0
    return dy, x, None if residual is None else y, weight, bias, mean, var, activation, 1e-5


@st.composite
def window_sum_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    x = numbers(draw(st.sampled_from([2, 255, 257, 600])), draw(st.integers(1, 35)))
    return x, draw(st.integers(0, 12)), draw(st.integers(0, 12))


@st.composite
def gemm_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    lengths = st.sampled_from([0, 1, 2, 3, 5, 31, 32, 33, 64, 70, 257])
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
def go_arguments(draw, name):
    """A game of random moves, of which some are passes, and some illegal; or positions of one."""
    random = np.random.default_rng(draw(st.integers(0, 9999)))
    size = draw(st.integers(1, 7))
    setup = random.choice([0, 0, 0, 1], (size, size)) * draw(st.integers(0, 2))
    moves, colors = [], []
    for m in range(draw(st.integers(0, 2 * size**2))):
        moves.append(int(random.integers(size**2)) if random.random() < 0.95 else -1)
        colors.append(1 + m % 2 if random.random() < 0.9 else 1)
        if go.positions(np.array(moves), np.array(colors), setup)[3] >= 0 and m % 7:
            moves[-1] = -1
    boards, ages, kos, _ = go.positions(np.array(moves), np.array(colors), setup)
    if name == "positions":
        return np.array(moves, int), np.array(colors, int), setup
    some = random.integers(len(boards), size=3)
    turns = random.integers(1, 3, 3)
    if name == "legal":
        return boards[some], turns, kos[some]
    return boards[some], ages[some], turns, kos[some]


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


def boxes_within(numbers, count, size=100):
    """Boxes (count, 4), some of them points or lines."""
    corners = numbers.random.uniform(0, size, (count, 2))
    sides = numbers.random.uniform(0, size / 3, (count, 2)) * (numbers.random.random() < 0.9)
    return np.concatenate([corners, corners + sides], axis=1).astype(numbers.dtype)


@st.composite
def box_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    counts = st.sampled_from([0, 1, 7, 130])
    return boxes_within(numbers, draw(counts)), boxes_within(numbers, draw(counts))


@st.composite
def nms_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    count = draw(st.sampled_from([0, 1, 9, 255, 256, 257, 700, 1300]))
    return boxes_within(numbers, count), draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))


@st.composite
def roi_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    n, h, w = draw(st.integers(1, 3)), draw(sizes), draw(sizes)
    shape = n, h, w, draw(st.sampled_from([1, 5, 64, 70]))
    count = draw(st.sampled_from([0, 1, 5]))
    size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    images = numbers.random.integers(0, n, (count, 1))
    x, dy = numbers(*shape), numbers(count, *size, shape[3])
    if name.startswith("roi_align"):
        starts = numbers.random.uniform(-9, 9, (count, 2))
        bins = np.concatenate([starts, numbers.random.uniform(0, 4, (count, 2))], axis=1)
        places = np.concatenate([images, numbers.random.integers(0, 4, (count, 2))], axis=1)
        bins = bins.astype(numbers.dtype)
        return (x, bins, places, size) if name == "roi_align" else (dy, bins, places, shape)
    if name == "roi_pool":
        corners = numbers.random.integers(-9, 9, (count, 2))
        sides = numbers.random.integers(1, 9, (count, 2))
        return x, np.concatenate([images, corners, sides], axis=1), size
    indices = numbers.random.integers(-1, h * w, dy.shape).astype(np.int32)
    images = images[:, 0].copy()
    return (dy, indices, images, shape) if name.endswith("scatter") else (x, indices, images)


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
    "boxes": box_arguments,
    "copy": copy_arguments,
    "fold": fold_arguments,
    "reduce": reduce_arguments,
    "conv": fused_conv_arguments,
    "conv_pool": conv_pool_arguments,
    "direct": fused_conv_arguments,
    "dropout": dropout_arguments,
    "gate": gate_arguments,
    "go": go_arguments,
    "grouped": grouped_arguments,
    "elementwise": elementwise_arguments,
    "loss": loss_arguments,
    "relu_pool": relu_pool_arguments,
    "smooth": smooth_arguments,
    "optim": optim_arguments,
    "warp": warp_arguments,
    "winograd": winograd_arguments,
    "depthwise": depthwise_arguments,
    "gemm": gemm_arguments,
    "nms": nms_arguments,
    "norm": norm_arguments,
    "window_sum": window_sum_arguments,
    "roi": roi_arguments,
    "pool": pool_arguments,
    **RECURRENT,
}
