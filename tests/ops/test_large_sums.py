"""Sums of millions of float32: as close to float64 as a few ones are.

Added one by one, 0.1s stop adding up at 2e6 (each is less than half a step of the sum): constants
show lost digits, where random signs would hide them.
"""

import numpy as np
import pytest

import minidl as md
from minidl import nn, ops

MANY = 3_000_000
RTOL = 8e-6
TENTH = np.float32(0.1)
EXACT = float(TENTH)


def tenths(*shape):
    return np.full(shape, TENTH)


def leaf(array):
    return md.from_numpy(array, requires_grad=True)


def close(found, exact, rtol=RTOL):
    found = np.asarray(getattr(found, "data", found))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=rtol)


@pytest.mark.parametrize("axis", [None, 0, (0, 2), 1, (1, 2), (0, 1)])
@pytest.mark.parametrize("shape", [(2, MANY, 1), (MANY, 2, 1), (MANY // 2, 2, 3), (3, 1, MANY)])
def test_reductions(shape, axis):
    x = tenths(*shape)
    axes = tuple(range(3)) if axis is None else np.atleast_1d(axis)
    count = np.prod([shape[a] for a in axes])
    close(ops.sum(x, axis=axis), EXACT * count)
    close(ops.mean(x, axis=axis), EXACT)
    close(ops.logsumexp(x, axis=axis), EXACT + np.log(count))
    assert np.abs(ops.var(x, axis=axis, correction=0)).max() < 1e-12


def test_softmax():
    x = tenths(MANY, 2)
    close(ops.softmax(x, axis=0), 1 / MANY)
    close(ops.log_softmax(x, axis=0), -np.log(MANY))


def test_losses():
    logits = np.zeros((MANY, 2), np.float32)
    labels = np.zeros(MANY, np.int64)
    close(ops.cross_entropy(logits, labels), np.log(2))
    close(ops.cross_entropy(logits, labels, weight=np.array([0.1, 3], np.float32)), np.log(2))
    close(ops.cross_entropy(tenths(1, MANY), np.array([5])), np.log(MANY))
    slopes = leaf(tenths(1, MANY))
    ops.cross_entropy(slopes, np.array([0])).backward()
    close(slopes.grad[0, 1:], 1 / MANY)
    close(ops.mse_loss(tenths(MANY), tenths(MANY) * 0), EXACT**2)
    close(ops.l1_loss(tenths(MANY), tenths(MANY) * 0, reduction="sum"), EXACT * MANY)


@pytest.mark.parametrize("window", [(1500, 1400), (MANY, 1), (1, MANY), (70_000, 5)])
@pytest.mark.parametrize("channels", [1, 3, 17])
def test_average_pooling(window, channels):
    if window[0] * window[1] * channels > 2e7:
        channels = 2
    x = tenths(1, *window, channels)
    close(ops.avg_pool2d(x, window), EXACT)
    close(ops.avg_pool2d(x, window, padding=((0, 0), (0, 0)), count_include_pad=True), EXACT)
    close(ops.global_avg_pool2d(x), EXACT)


def test_the_gradient_of_what_is_broadcast():
    for shape in ((2,), (1, 2), (MANY, 1), (1, 1), ()):
        bias = leaf(np.zeros(shape, np.float32))
        (md.from_numpy(tenths(MANY, 2)) * (bias + 1)).sum().backward()
        close(bias.grad, EXACT * MANY * 2 / bias.size if shape != (MANY, 1) else 2 * EXACT)


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (2, 3), (3, 16), (2, 40), (9, 17)])
def test_linear(inputs, outputs):
    rows = MANY // max(1, (inputs + outputs) // 8)
    x, weight, bias = tenths(rows, inputs), leaf(np.ones((inputs, outputs), np.float32)), leaf(
        np.zeros(outputs, np.float32)
    )  # fmt: skip
    (ops.linear(x, weight, bias) * TENTH).sum().backward()
    close(weight.grad, EXACT**2 * rows)
    close(bias.grad, EXACT * rows)


@pytest.mark.parametrize("columns", [1, 3, 16, 37])
@pytest.mark.parametrize("rows", [1, 3, 9])
def test_products_of_great_depth(rows, columns):
    depth = MANY // max(rows, columns)
    x, y = tenths(rows, depth), tenths(depth, columns)
    close(ops.matmul(x, y), EXACT**2 * depth)
    close(ops.matmul(x, np.asfortranarray(y)), EXACT**2 * depth)
    close(ops.linear(x, y, tenths(columns), activation="relu"), EXACT**2 * depth + EXACT)


def test_a_dot_product():
    close(ops.matmul(tenths(MANY), tenths(MANY)), EXACT**2 * MANY)


IMAGES = [(1, 1500, 1000), (40_000, 6, 6), (1500, 30, 33)]


@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "groups", "activation"),
    [
        (1, 1, 3, 1, None), (2, 1, 1, 1, None), (1, 2, 2, 1, "relu"), (2, 2, 3, 2, None),
        (2, 17, 1, 1, "relu"), (1, 5, 5, 1, None),
    ],
)  # fmt: skip
def test_convolution(images, inputs, outputs, kernel, groups, activation):
    x = tenths(*images, inputs)
    weight = leaf(np.ones((kernel, kernel, inputs // groups, outputs), np.float32))
    bias = leaf(np.ones(outputs, np.float32))
    y = ops.conv2d(x, weight, bias, groups=groups, activation=activation)
    count = np.prod(y.shape[:3])
    (y * TENTH).sum().backward()
    close(weight.grad, EXACT**2 * count, rtol=2e-5)  # rows of 1000 pixels are added one by one
    close(bias.grad, EXACT * count, rtol=RTOL)


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd", "winograd2"])
def test_every_algorithm(algorithm, monkeypatch):
    monkeypatch.setattr(md.config, "convolution", algorithm)
    x = tenths(6, 402, 402, 2)
    weight, bias = leaf(np.ones((3, 3, 2, 3), np.float32)), leaf(np.ones(3, np.float32))
    (ops.conv2d(x, weight, bias) * TENTH).sum().backward()
    close(weight.grad, EXACT**2 * 960_000, rtol=RTOL if "winograd" not in algorithm else 5e-5)
    close(bias.grad, EXACT * 960_000)


@pytest.mark.parametrize("images", IMAGES)
def test_convolution_and_pooling(images):
    x = tenths(*images, 1)
    weight, bias = leaf(np.ones((3, 3, 1, 2), np.float32)), leaf(np.ones(2, np.float32))
    y = ops.conv2d_relu_max_pool(x, weight, bias)
    count = np.prod(y.shape[:3])
    (y * TENTH).sum().backward()
    close(weight.grad, EXACT**2 * count, rtol=2e-5)  # rows of 1000 pixels are added one by one
    close(bias.grad, EXACT * count, rtol=RTOL)


def test_depthwise():
    x = tenths(2, 1000, 800, 2)
    weight, bias = leaf(np.ones((3, 3, 2, 1), np.float32)), leaf(np.ones(2, np.float32))
    y = ops.depthwise_conv2d(x, weight, bias)
    count = np.prod(y.shape[:3])
    (y * TENTH).sum().backward()
    close(weight.grad, EXACT**2 * count, rtol=2e-5)  # rows of 1000 pixels are added one by one
    close(bias.grad, EXACT * count, rtol=RTOL)


def test_batch_norm():
    x = tenths(MANY, 2)
    layer = nn.BatchNorm1d(2, momentum=1.0)
    layer(md.from_numpy(x))
    close(layer.running_mean, EXACT)
    assert np.abs(layer.running_var.data).max() < 1e-12
    x[::2] *= -1  # variance 0.01
    layer = nn.BatchNorm1d(2, eps=0.0, momentum=1.0)
    y = layer(md.from_numpy(x))
    close(layer.running_var, EXACT**2)
    (y * np.abs(x)).sum().backward()
    close(layer.bias.grad, EXACT * MANY)
    layer.eval().zero_grad()
    layer(md.from_numpy(tenths(MANY, 2))).sum().backward()
    close(layer.bias.grad, MANY)
    close(layer.weight.grad, MANY, rtol=1e-4)


def test_embedding():
    table = leaf(np.ones((3, 2), np.float32))
    words = np.zeros(MANY, np.int64)
    words[:10] = 2
    (ops.embedding(words, table) * TENTH).sum().backward()
    close(table.grad, [[EXACT * (MANY - 10)] * 2, [0, 0], [EXACT * 10] * 2])
    x = leaf(np.ones(3, np.float32))
    (x[words] * TENTH).sum().backward()
    close(x.grad, [EXACT * (MANY - 10), 0, EXACT * 10])
