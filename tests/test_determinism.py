"""The same seed gives the same bits, whatever the number of threads."""

import hashlib
import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minidl as md
from minidl import kernels, models, nn, optim, reference
from minidl.geometry import output_size
from minidl.reference.conv_pool import conv2d_relu_max_pool
from minidl.reference.pool import max_pool2d

# Arguments of every kernel, large enough for several threads to have a part of the work.

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
        "channel_window_sum": (x, 2, 3),
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
    y, indices = conv2d_relu_max_pool(rgb, normal(3, 3, 3, OUTPUTS), None, *geometry)
    return {
        "conv2d_relu_max_pool": (x, w, normal(OUTPUTS), *geometry),
        "conv2d_relu_max_pool_weight_grad": (rgb, normal(*y.shape), indices, (3, 3), *geometry),
    }


def elementwise_cases():
    """Of the families whose kernels do the same to each number."""
    x, y = normal(ROWS, COLUMNS), normal(ROWS, COLUMNS)
    images = normal(IMAGES, *SIZE, OUTPUTS)
    indices = np.zeros((IMAGES, SIZE[0] // 2, SIZE[1] // 2, OUTPUTS), np.uint8)
    labels = np.arange(ROWS) % COLUMNS
    return {
        "activation": [{"activate": (x, "relu"), "activation_grad": (x, y, "relu6")}],
        "dropout": [{"dropout": (x, np.array([2**63 + 1], np.uint64), 0.3)}],
        "warp": [{"warp": (normal(3, 40, 50, 3), normal(3, 2, 3), None)}],
        "loss": [
            {
                "softmax_cross_entropy": (x, labels, np.abs(normal(ROWS)), None, 0.1),
                "scaled_rows": (x, normal(ROWS)),
            }
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
    "conv": [fused_conv_arguments((3, 3), (1, 1), (1, 1), 1)],
    "direct": [
        fused_conv_arguments((3, 3), (1, 1), (1, 1), 1),
        fused_conv_arguments((3, 2), (1, 2), (2, 1), 4),
    ],
    "winograd": [winograd_arguments(4, 9, 40, 33), winograd_arguments(2, 2, 3, 200)],
    "conv_pool": [conv_pool_arguments()],
    "optim": [optim_arguments()],
    "elementwise": [
        {"add_to": (normal(90_001), normal(90_001)), "add": (normal(90_001), normal(90_001))}
    ],
    "copy": [copy_arguments()],
    "fold": [fold_arguments()],
    "reduce": [
        {"sum_axis": (normal(3, ROWS, COLUMNS), 0.5)},
        {"sum_axis": (normal(1, 9 * ROWS, 1), 1.0)},
        {"sum_axis": (normal(ROWS, COLUMNS, 1), 1.0)},
        {"column_sums": (normal(3, ROWS, COLUMNS),)},
    ],
    **elementwise_cases(),
    "depthwise": [depthwise_arguments(1), depthwise_arguments(2)],
    "gate": [gate_arguments()],
    "grouped": [grouped_arguments()],
    "pool": [pool_arguments()],
    "norm": [norm_arguments()],
    "gemm": matmul_arguments(),
}


def digest(arrays):
    """A SHA-256 over dtypes, shapes and bytes."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def run_kernel(family, number, name):
    arguments = [
        a.copy("K") if isinstance(a, np.ndarray) else a for a in CASES[family][number][name]
    ]
    result = getattr(kernels.use(family), name)(*arguments)
    if result is None:  # it changed its arguments
        result = tuple(a for a in arguments if isinstance(a, np.ndarray))
    result = result if isinstance(result, tuple) else (result,)
    return digest([array for array in result if array is not None])


KERNELS = [
    (family, number, name)
    for family, cases in CASES.items()
    for number, arguments in enumerate(cases)
    for name in arguments
]


def eager(step):
    return step


def train_lenet(seed=0, steps=4, how=eager):
    """LeNet-5 with dropout in it, trained for some steps: weights, momenta and the losses.

    how: makes of the step what is called: `md.compile`, for one.
    """
    md.manual_seed(seed)
    whole = models.lenet5()
    model = nn.Sequential(whole.features, nn.Dropout(0.3), whole.classifier)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    @how
    def step(x, labels):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    losses = []
    for number in range(steps):
        random = np.random.default_rng(number)
        x = random.standard_normal((96, 32, 32, 1)).astype(np.float32)
        losses.append(step(x, random.integers(0, 10, 96)).data)
    momenta = [state["momentum_buffer"] for state in optimizer.state_dict()["state"].values()]
    return digest([*model.state_dict().values(), *momenta, *losses])


def train_with_batch_norm(how=eager):
    """Normalisation, depthwise, grouped and strided convolutions, both pools, upsampling."""
    md.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, padding="same", groups=2, bias=False),
        nn.BatchNorm2d(8, activation="relu"),
        nn.DepthwiseConv2d(8, 3, padding=1, multiplier=2),
        nn.MaxPool2d(3, 2, padding=1),
        nn.ConvTranspose2d(16, 8, 2, stride=2),
        nn.LocalResponseNorm(3),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.AvgPool2d(3, 2),
        nn.GlobalAvgPool2d(),
        nn.LayerNorm(8),
        nn.Linear(8, 5),
    )
    optimizer = optim.Adam(model.parameters())

    @how
    def step(x, labels):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    random = np.random.default_rng(0)
    for _ in range(3):
        x = random.standard_normal((16, 32, 32, 4)).astype(np.float32)
        step(x, random.integers(0, 5, 16))
    return digest([*model.state_dict().values(), *(p.grad for p in model.parameters())])


def all_digests():
    """Of everything above, by name: what a process with other threads must find too."""
    found = {" ".join(map(str, case)): run_kernel(*case) for case in KERNELS}
    found |= {"lenet": train_lenet(), "batch norm": train_with_batch_norm()}
    assert train_lenet(how=md.compile) == found["lenet"]
    assert train_with_batch_norm(how=md.compile) == found["batch norm"]
    return found


@pytest.fixture
def with_threads():
    """Call a function once for each number of threads: one, two, and all that there are."""
    most = md.config.num_threads

    def call(function):
        results = []
        for n in sorted({1, min(2, most), most}):
            md.set_num_threads(n)
            results += [function() for _ in range(1 if n == 1 else 3)]  # a race may win once
        return results

    yield call
    md.set_num_threads(most)


def test_every_kernel_has_a_case():
    public = set()
    twins = {module.name for module in pkgutil.iter_modules(reference.__path__)} | {
        "direct",
        "grouped",
    }
    for module in pkgutil.iter_modules(kernels.__path__):
        if module.name in twins:
            family = importlib.import_module(f"minidl.kernels.{module.name}")
            public |= {
                (module.name, name)
                for name, value in vars(family).items()
                if inspect.isfunction(value)
                and value.__module__ == family.__name__
                and not name.startswith("_")
            }
    assert {(family, name) for family, _, name in KERNELS} == public


@pytest.mark.parametrize(("family", "number", "name"), KERNELS)
def test_kernels_give_the_same_bits_on_any_number_of_threads(family, number, name, with_threads):
    assert len(set(with_threads(lambda: run_kernel(family, number, name)))) == 1


@pytest.mark.parametrize("train", [train_lenet, train_with_batch_norm])
def test_training_gives_the_same_bits_on_any_number_of_threads(train, with_threads):
    results = with_threads(train) + with_threads(lambda: train(how=md.compile))
    assert len(set(results)) == 1


def test_a_seed_decides_training():
    assert train_lenet(seed=3, steps=2) == train_lenet(seed=3, steps=2)
    assert train_lenet(seed=3, steps=2) != train_lenet(seed=4, steps=2)


OTHER_PROCESS = """
import json, sys
import minidl as md
threads = int(sys.argv[1])
sys.modules["minidl.config"]._cores = lambda: threads  # whatever there are
md.set_num_threads(threads)
import test_determinism
print(json.dumps(test_determinism.all_digests()))
"""


def test_fresh_processes_with_one_thread_and_with_four_find_the_same_bits():
    paths = [str(Path(__file__).parent), str(Path(md.__file__).parents[1])]
    settings = {"PYTHONPATH": os.pathsep.join(paths)}
    expected = all_digests()
    for threads in ("1", "4"):
        done = subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS, threads], env=os.environ | settings,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == expected
