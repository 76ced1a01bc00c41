"""Activations, losses and upsampling against torch.nn: forward and gradients."""

import numpy as np
import pytest
from torch_compare import both_dtypes, compare, on_planes, torch

from minidl import nn

REDUCTIONS = ("mean", "sum", "none")


def normal(*shape: int, dtype: type, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@both_dtypes
@pytest.mark.parametrize(
    ("layer", "module"),
    [
        (nn.Identity(), torch.nn.Identity()),
        (nn.ReLU(), torch.nn.ReLU()),
        (nn.ReLU6(), torch.nn.ReLU6()),
        (nn.LeakyReLU(), torch.nn.LeakyReLU()),
        (nn.LeakyReLU(0.3), torch.nn.LeakyReLU(0.3)),
        (nn.ELU(), torch.nn.ELU()),
        (nn.ELU(0.5), torch.nn.ELU(0.5)),
        (nn.Sigmoid(), torch.nn.Sigmoid()),
        (nn.Tanh(), torch.nn.Tanh()),
        (nn.Softmax(), torch.nn.Softmax(-1)),
        (nn.Softmax(1), torch.nn.Softmax(1)),
        (nn.LogSoftmax(), torch.nn.LogSoftmax(-1)),
        (nn.LogSoftmax(0), torch.nn.LogSoftmax(0)),
        (nn.Flatten(), torch.nn.Flatten()),
    ],
    ids=lambda value: repr(value) if isinstance(value, nn.Module) else "",
)
@pytest.mark.parametrize("scale", [1, 10])
def test_activation(layer, module, scale, dtype):
    x = normal(4, 3, 5, dtype=dtype) * dtype(scale)
    x[0, 0] = [0, 6, -0.0, 1, -1]  # at the kinks too
    compare(layer, module, [x])


@both_dtypes
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("ignored", [None, 2, -100])
@pytest.mark.parametrize("scale", [1, 50])
def test_cross_entropy_of_labels(reduction, weighted, smoothing, ignored, scale, dtype):
    logits = normal(6, 4, dtype=dtype) * dtype(scale)
    labels = np.array([0, 3, 2, 1, 2, 3])
    if ignored == -100:
        labels[[1, 4]] = -100
    weight = np.array([0.5, 2.0, 1.0, 0.1], dtype) if weighted else None
    loss = nn.CrossEntropyLoss(
        weight, label_smoothing=smoothing, ignore_index=ignored, reduction=reduction
    )
    oracle = torch.nn.CrossEntropyLoss(
        None if weight is None else torch.tensor(weight),
        ignore_index=-100 if ignored is None else ignored,
        label_smoothing=smoothing,
        reduction=reduction,
    )
    compare(loss, oracle, [logits, labels])


@both_dtypes
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_probabilities(reduction, weighted, smoothing, dtype):
    logits = normal(6, 4, dtype=dtype)
    target = np.exp(normal(6, 4, dtype=dtype, seed=1))
    target /= target.sum(axis=1, keepdims=True)
    weight = np.array([0.5, 2.0, 1.0, 0.1], dtype) if weighted else None
    loss = nn.CrossEntropyLoss(weight, label_smoothing=smoothing, reduction=reduction)
    oracle = torch.nn.CrossEntropyLoss(
        None if weight is None else torch.tensor(weight),
        label_smoothing=smoothing,
        reduction=reduction,
    )
    compare(loss, oracle, [logits, target])


@both_dtypes
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5, 3), (1,), (2, 3, 2, 2)])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("BCEWithLogitsLoss", {}),
        ("MSELoss", {}),
        ("L1Loss", {}),
        ("HuberLoss", {}),
        ("HuberLoss", {"delta": 0.3}),
    ],
)
def test_loss_of_pairs(name, settings, shape, reduction, dtype):
    prediction, target = normal(*shape, dtype=dtype) * 3, normal(*shape, dtype=dtype, seed=1)
    if name == "BCEWithLogitsLoss":
        target = 1 / (1 + np.exp(-target))
    loss = getattr(nn, name)(**settings, reduction=reduction)
    oracle = getattr(torch.nn, name)(**settings, reduction=reduction)
    compare(loss, oracle, [prediction, target])


@both_dtypes
def test_losses_of_large_logits_stay_finite(dtype):
    logits = np.array([[1000.0, -1000.0], [-1000.0, 1000.0]], dtype)
    compare(nn.CrossEntropyLoss(), torch.nn.CrossEntropyLoss(), [logits, np.array([1, 1])])
    target = np.array([[0.0, 1.0], [0.25, 1.0]], dtype)
    compare(nn.BCEWithLogitsLoss(), torch.nn.BCEWithLogitsLoss(), [logits, target])


@both_dtypes
@pytest.mark.parametrize("scale", [1, 2, 3, (1, 3), 1.5, (2.5, 1.75), 0.5, (0.6, 2)])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "corners"])
@pytest.mark.parametrize("size", [(4, 5), (1, 3), (7, 2)])
def test_upsample(scale, mode, size, dtype):
    scales = scale if isinstance(scale, tuple) else (scale, scale)
    if any(n * s < 1 for n, s in zip(size, scales, strict=True)):
        size = (4, 5)
    corners = mode == "corners"
    name = "nearest" if mode == "nearest" else "bilinear"
    layer = nn.Upsample(scale_factor=scale, mode=name, align_corners=corners)
    module = torch.nn.Upsample(
        scale_factor=scales, mode=name, align_corners=corners if name == "bilinear" else None
    )
    compare(layer, on_planes(module), [normal(2, *size, 3, dtype=dtype)])


@both_dtypes
@pytest.mark.parametrize("padding", [0, 2, (1, 3), ((1, 0), (2, 4))])
def test_zero_padding(padding, dtype):
    (top, bottom), (left, right) = {
        0: ((0, 0), (0, 0)), 2: ((2, 2), (2, 2)), (1, 3): ((1, 1), (3, 3)),
    }.get(padding, padding)  # fmt: skip
    module = torch.nn.ZeroPad2d((left, right, top, bottom))
    compare(nn.ZeroPad2d(padding), on_planes(module), [normal(2, 3, 4, 2, dtype=dtype)])


@both_dtypes
@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_dropout_without_chance(p, training, dtype):
    layer, module = nn.Dropout(p).train(training), torch.nn.Dropout(p).train(training)
    compare(layer, module, [normal(3, 4, dtype=dtype)])
