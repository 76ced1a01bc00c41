"""Arguments of every kernel, large enough for several threads to have a part of the work."""

import hashlib
import inspect

import numpy as np

from minidl import kernels
from minidl.geometry import output_size
from minidl.reference.conv_pool import conv2d_relu_max_pool
from minidl.reference.pool import max_pool2d
from minidl.reference.roi import roi_pool

IMAGES, SIZE, CHANNELS, OUTPUTS = 12, (33, 30), 12, 16
PADDING = ((1, 2), (0, 1))
ROWS, DEPTH, COLUMNS = 1003, 517, 75


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def window(kernel, stride, dilation=(1, 1)):
    """Settings of a sliding window, and the gradient of an output of OUTPUTS channels."""
    size = output_size("test", SIZE, kernel, stride, PADDING, dilation)
    return (stride, PADDING, dilation), normal(IMAGES, *size, OUTPUTS)


def conv_arguments(kernel, stride, dilation, groups):
    x, w = normal(IMAGES, *SIZE, CHANNELS), normal(*kernel, CHANNELS // groups, OUTPUTS)
    settings, dy = window(kernel, stride, dilation)
    return {
        "conv2d": (x, w, *settings, groups),
        "conv2d_input_grad": (dy, w, SIZE, *settings, groups),
        "conv2d_weight_grad": (x, dy, kernel, *settings, groups),
    }


def depthwise_arguments(multiplier):
    x, w = normal(IMAGES, *SIZE, OUTPUTS // multiplier), normal(3, 3, OUTPUTS // multiplier, 2)
    settings, dy = window((3, 3), (2, 1))
    return {
        "depthwise_conv2d": (x, w[..., :multiplier], normal(OUTPUTS), "relu", *settings),
        "depthwise_conv2d_input_grad": (dy, w[..., :multiplier], SIZE, *settings),
        "depthwise_conv2d_weight_grad": (x, dy, (3, 3), *settings, True),
    }


def grouped_arguments():
    x, w = normal(IMAGES, *SIZE, 32), normal(3, 3, 2, 32)  # groups of 2
    settings, dy = window((3, 3), (2, 1))
    dy = np.repeat(dy[..., :1], 32, 3) * normal(32)
    return {
        "conv2d": (x, w, normal(32), "relu", *settings, 16),
        "conv2d_input_grad": (dy, w, SIZE, *settings, 16),
        "conv2d_weight_grad": (x, dy, (3, 3), *settings, 16, True),
    }


def gate_arguments():
    x, gate = normal(IMAGES, 40, 33), normal(IMAGES, 33)
    y = np.maximum(normal(IMAGES, 40, 33), 0)
    return {
        "channel_gate": (x, gate, normal(IMAGES, 40, 33), "relu"),
        "channel_gate_grad": (normal(IMAGES, 40, 33), x, gate, y, "relu"),
    }


def boxes(count):
    corners = np.abs(normal(count, 2)) * 100
    return np.concatenate([corners, corners + np.abs(normal(count, 3)[:, :2]) * 30], axis=1)


def roi_arguments():
    """Regions that overlap, so that gradients meet in a pixel."""
    shape = (2, 40, 30, 150)
    x, dy = normal(*shape), normal(60, 5, 4, 150)
    images, points = np.arange(60) % 2, np.full((60, 2), 2)
    bins = np.abs(normal(60, 4)) * np.float32(5)
    places = np.concatenate([images[:, None], points], axis=1)
    sides = (bins * 5).astype(np.int64) + 1
    regions = np.concatenate([images[:, None], bins[:, :2].astype(np.int64), sides[:, 2:]], axis=1)
    indices = roi_pool(x, regions, (5, 4))[1]
    return {
        "roi_align": (x, bins, places, (5, 4)),
        "roi_align_grad": (dy, bins, places, shape),
        "roi_pool": (x, regions, (5, 4)),
        "roi_pool_scatter": (dy, indices, images, shape),
        "roi_pool_gather": (x, indices, images),
    }


def column_arguments():
    settings, dy = window((3, 2), (1, 1), (2, 1))
    columns = normal(*dy.shape[:3], 3, 2, CHANNELS)
    return {
        "im2col": (normal(IMAGES, *SIZE, CHANNELS), (3, 2), *settings),
        "col2im": (columns, SIZE, *settings),
    }


def pool_arguments():
    """Overlapping windows, so that gradients meet in an element."""
    x, geometry = normal(IMAGES, *SIZE, OUTPUTS), ((3, 3), (2, 2), PADDING)
    dy = window((3, 3), (2, 2))[1]
    size = dy.shape[1:3]
    indices = max_pool2d(x, *geometry, size)[1]
    return {
        "max_pool2d": (x, *geometry, size),
        "max_pool2d_scatter": (dy, indices, SIZE, *geometry),
        "max_pool2d_gather": (x, indices, *geometry),
        "avg_pool2d": (x, *geometry, size, False),
        "avg_pool2d_grad": (dy, SIZE, *geometry, True),
    }


def norm_arguments():
    x = normal(8 * ROWS, COLUMNS) + np.float32(3)
    mean, var = x.mean(axis=0), x.var(axis=0)
    weight, bias, residual = normal(COLUMNS), normal(COLUMNS), normal(8 * ROWS, COLUMNS)
    return {
        "batch_norm": (x, weight, bias, residual, "relu", 1e-5),
        "batch_norm_grad": (
            normal(8 * ROWS, COLUMNS), x, None, weight, bias, mean, var, "relu", 1e-5,
        ),
        "update_running": (weight, np.abs(bias), mean, var, 0.1, 8 * ROWS),
        "folded": (weight, bias, mean, var, 1e-5),
        "scale_shift": (x, weight, bias, residual, "relu6"),
        "scale_shift_grad": (residual, x, x, weight, "relu6", (True, True, True, True)),
    }  # fmt: skip


def matmul_arguments():
    return [
        {"matmul": (normal(ROWS, DEPTH), normal(DEPTH, COLUMNS))},
        {"matmul": (normal(DEPTH, ROWS).T, normal(COLUMNS, DEPTH).T)},
        {"matmul": (normal(7, 9000), normal(9000, 5))},  # few results, each a long sum
        {"product": (normal(ROWS, DEPTH), normal(DEPTH, COLUMNS), normal(COLUMNS), "relu")},
        {"matmul": (normal(5, DEPTH), normal(COLUMNS * 4, DEPTH).T)},  # b in a's place
        {"weight_grad": (normal(ROWS, DEPTH), normal(ROWS, COLUMNS), True)},
        {"weight_grad": (normal(300, DEPTH), normal(300, COLUMNS), True)},
    ]


def fused_conv_arguments(kernel, stride, dilation, groups):
    """As conv_arguments, with bias and activation."""
    found = conv_arguments(kernel, stride, dilation, groups)
    x, w, *settings = found["conv2d"]
    return {
        "conv2d": (x, w, normal(OUTPUTS), "relu", *settings),
        "conv2d_input_grad": found["conv2d_input_grad"],
        "conv2d_weight_grad": (*found["conv2d_weight_grad"], True),
    }


def winograd_arguments(m, images, channels, outputs):
    x, w, dy = (
        normal(images, 17, 15, channels), normal(3, 3, channels, outputs),
        normal(images, 17, 15, outputs),
    )  # fmt: skip
    padding = ((1, 1), (1, 1))
    return {
        "conv2d": (x, w, normal(outputs), "relu", padding, m),
        "conv2d_input_grad": (dy, w, (17, 15), padding, m),
        "conv2d_weight_grad": (x, dy, padding, m),
    }


def conv_pool_arguments():
    x, geometry = normal(IMAGES, *SIZE, CHANNELS), ((1, 1), PADDING, (1, 1), 1)
    w, rgb = normal(3, 3, CHANNELS, OUTPUTS), np.ascontiguousarray(x[..., :3])
    y, indices = conv2d_relu_max_pool(
        rgb, normal(3, 3, 3, OUTPUTS), None, *geometry, with_indices=True
    )
    return {
        "conv2d_relu_max_pool": (x, w, normal(OUTPUTS), *geometry, True),
        "conv2d_relu_max_pool_weight_grad": (rgb, normal(*y.shape), indices, (3, 3), *geometry),
        "conv2d_relu_max_pool_input_grad": (
            normal(*y.shape), indices, normal(3, 3, 3, OUTPUTS), SIZE, *geometry,
        ),
    }  # fmt: skip


FEW = (1, 1), PADDING, (1, 1), 1


def few_channels_arguments():
    x, w = normal(IMAGES, *SIZE, 1), normal(3, 3, 1, 3)
    return {"conv2d_relu_max_pool": (x, w, normal(3), *FEW, True)}


def elementwise_cases():
    """Of the families whose kernels do the same to each number."""
    x, y = normal(ROWS, COLUMNS), normal(ROWS, COLUMNS)
    images = normal(IMAGES, *SIZE, OUTPUTS)
    indices = np.zeros((IMAGES, SIZE[0] // 2, SIZE[1] // 2, OUTPUTS), np.uint8)
    labels = np.arange(ROWS) % COLUMNS
    return {
        "activation": [
            {"activate": (x, "relu"), "activation_grad": (x, y, "relu6")},
            {"prelu": (x, y[0]), "prelu_grad": (x, y, y[0])},
            {"prelu": (x, y[0, :1]), "prelu_grad": (x, y, y[0, :1])},
        ],
        "dropout": [{"dropout": (x, np.array([2**63 + 1], np.uint64), 0.3)}],
        "warp": [{"warp": (normal(3, 40, 50, 3), normal(3, 2, 3), None)}],
        "loss": [
            {
                "softmax_cross_entropy": (x, labels, np.abs(normal(ROWS)), None, 0.1),
                "scaled_rows": (x, normal(ROWS)),
            }
        ],
        "smooth": [
            dict.fromkeys(("silu", "gelu", "hardswish"), (x,))
            | dict.fromkeys(("silu_grad", "gelu_grad", "hardswish_grad"), (y, x))
        ],
        "relu_pool": [
            {
                "relu_max_pool": (images,),
                "relu_max_pool_grad": (normal(*indices.shape), indices, SIZE),
            }
        ],
    }


def optim_arguments():
    def arrays(count):
        return [np.abs(normal(40_001 + i)[:40_001]) for i in range(count)]

    return {
        "sgd": (*arrays(3), True, np.array([0.1, 0.9, 0.0, 0.1, 2])),
        "adagrad": (*arrays(3), np.array([0.1, 1e-3, 0.1])),
        "adadelta": (*arrays(4), np.array([0.5, 0.9, 1e-3, 0.1])),
        "rmsprop": (*arrays(5), np.array([0.1, 0.9, 1e-3, 0.9, 0.1])),
        "adam": (*arrays(5), False, np.array([0.1, 0.9, 0.99, 1e-3, 0.1, 3])),
        "nadam": (*arrays(4), np.array([0.1, 0.9, 0.99, 1e-3, 0.04, 0.1, 3, 0.7])),
        "ema": (*arrays(2), np.array([0.99])),
    }


def go_arguments():
    """A game of passes and free points, and positions of stones wherever they fall."""
    moves = np.random.default_rng(0).permutation(81)[:50]
    colors = 1 + np.arange(50) % 2
    boards = np.random.default_rng(1).choice([0, 0, 1, 2], (4, 9, 9)).astype(np.int8)
    turns, kos = np.array([1, 2, 1, 2]), np.full(4, -1)
    return {
        "positions": (moves, colors, np.zeros((9, 9), np.int8)),
        "legal": (boards, turns, kos),
        "planes": (boards, boards.astype(np.uint8), turns, kos),
    }


def recurrent_cases():
    """Sequences of different lengths, in both directions, and gradients of a table."""
    n, steps, size = 40, 5, 70
    lengths, y = 1 + np.arange(n) % steps, normal(n, steps, size)
    weight, h, wide = normal(size, 4 * size) / 8, normal(n, size), normal(n, steps, 4 * size)
    few, gates = (weight[:, : 3 * size], weight[:, :size]), np.abs(np.tanh(wide))
    return {
        "scatter": [{"added_rows": (normal(400, 300), np.arange(400) ** 2 % 90, 90)}],
        "recurrent": [{"entering": (y, h, lengths, True)}],
        "lstm": [
            {
                "lstm": (wide, weight, h, h, lengths, True, True),
                "lstm_grad": (y, h, h, gates, y, h, weight, lengths, False, True),
            }
        ],
        "gru": [
            {
                "gru": (wide[..., : 3 * size], few[0], normal(3 * size), h, lengths, False, True),
                "gru_grad": (y, h, gates, np.tanh(y), h, few[0], lengths, True, True),
            }
        ],
        "rnn": [
            {
                "rnn": (y, few[1], h, None, "tanh", True),
                "rnn_grad": (y, h, np.tanh(y), few[1], lengths, "relu", False, True),
            }
        ],
    }


def copy_arguments():
    x = normal(60, 70, 20)
    return {
        "copy_to": (np.empty((20, 60, 70), np.float32), x.transpose(2, 0, 1)),
        "copied": (x.transpose(1, 2, 0),),
        "contiguous": (x[:, ::2],),
        "fill": (np.empty((300, 200), np.float32), 1.5),
        "joined": ([x, x[:, :7], x], 1),
    }


def fold_arguments():
    weight = normal(3, 3, 100, 90)
    return {
        "folded_weight": (weight, normal(90)),
        "folded_bias": (normal(90), normal(91)[:90], normal(92)[:90]),
        "digest": (weight, np.zeros(9, np.int64), 1),
    }


CASES = {
    "im2col": [
        column_arguments(),
        conv_arguments((3, 3), (1, 1), (1, 1), 1),
        conv_arguments((5, 5), (2, 1), (1, 1), 1),
        conv_arguments((3, 2), (1, 2), (2, 1), 4),
        conv_arguments((1, 1), (1, 1), (1, 1), 1),
    ],
    "conv": [
        fused_conv_arguments((3, 3), (1, 1), (1, 1), 1),
        {"conv2d": (normal(IMAGES, *SIZE, 1), normal(3, 3, 1, 3), None, "relu", *FEW)},
    ],
    "direct": [
        fused_conv_arguments((3, 3), (1, 1), (1, 1), 1),
        fused_conv_arguments((3, 2), (1, 2), (2, 1), 4),
    ],
    "winograd": [winograd_arguments(4, 9, 40, 33), winograd_arguments(2, 2, 3, 200)],
    "conv_pool": [conv_pool_arguments(), few_channels_arguments()],
    "optim": [optim_arguments()],
    "elementwise": [
        {
            "add_to": (normal(90_001), normal(90_001)),
            "add": (normal(90_001), normal(90_001)),
            "erf": (normal(90_001),),
        }
    ],
    "copy": [copy_arguments()],
    "fold": [fold_arguments()],
    "boxes": [{"box_iou": (boxes(200), boxes(3000))}],
    "nms": [{"nms": (boxes(5000), 0.4)}],
    "roi": [roi_arguments()],
    "reduce": [
        {"sum_axis": (normal(3, ROWS, COLUMNS), 0.5)},
        {"sum_axis": (normal(1, 9 * ROWS, 1), 1.0)},
        {"sum_axis": (normal(ROWS, COLUMNS, 1), 1.0)},
        {"column_sums": (normal(3, ROWS, COLUMNS),)},
    ],
    **elementwise_cases(),
    **recurrent_cases(),
    "depthwise": [depthwise_arguments(1), depthwise_arguments(2)],
    "gate": [gate_arguments()],
    "go": [go_arguments()],
    "grouped": [grouped_arguments()],
    "pool": [pool_arguments()],
    "norm": [norm_arguments()],
    "window_sum": [{"channel_window_sum": (normal(8 * ROWS, COLUMNS), 2, 3)}],
    "gemm": matmul_arguments(),
}


def digest(arrays):
    """A SHA-256 over dtypes, shapes and bytes."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def call(kernel, arguments):
    """The kernel of arguments in the order of its signature, by name where it wants that."""
    parameters = inspect.signature(kernel).parameters.values()
    pairs = list(zip(parameters, arguments, strict=True))
    by_name = {p.name: a for p, a in pairs if p.kind is p.KEYWORD_ONLY}
    return kernel(*(a for p, a in pairs if p.kind is not p.KEYWORD_ONLY), **by_name)


def run_kernel(family, number, name):
    arguments = [
        a.copy("K") if isinstance(a, np.ndarray) else a for a in CASES[family][number][name]
    ]
    result = call(getattr(kernels.use(family), name), arguments)
    if result is None:  # it changed its arguments
        result = tuple(a for a in arguments if isinstance(a, np.ndarray))
    result = result if isinstance(result, tuple) else (result,)
    return digest([np.asarray(each) for each in result if each is not None])


KERNELS = [
    (family, number, name)
    for family, cases in CASES.items()
    for number, arguments in enumerate(cases)
    for name in arguments
]
