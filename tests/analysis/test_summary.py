"""Summaries: rows, totals, shares, the printed table, and shapes that make no sense."""

import re

import numpy as np
import pytest

import minidl as md
from minidl import models, nn
from minidl.errors import ArgumentError, DTypeError, ShapeError


def test_lenet5():
    found = md.summary(models.lenet5())
    assert found.input_shape == (1, 32, 32, 1)
    assert [(row.name, row.output_shape, row.parameters, row.mult_adds) for row in found.rows] == [
        ("features.0", (1, 28, 28, 6), 156, 117_600),
        ("features.1", (1, 14, 14, 6), 0, 0),
        ("features.2", (1, 10, 10, 16), 2_416, 240_000),
        ("features.3", (1, 5, 5, 16), 0, 0),
        ("features.4", (1, 400), 0, 0),
        ("classifier.0", (1, 120), 48_120, 48_000),
        ("classifier.1", (1, 84), 10_164, 10_080),
        ("classifier.2", (1, 10), 850, 840),
    ]
    assert (found.total.parameters, found.total.mult_adds) == (61_706, 416_520)
    assert found.total.activation_bytes == 4 * (4704 + 1176 + 1600 + 400 + 120 + 84 + 10)
    assert found.total.training_bytes > 0


def test_blocks_hold_the_sums_of_their_layers():
    found = md.summary(models.resnet20(), (2, 32, 32, 3))
    for field in ("parameters", "trainable", "mult_adds", "activation_bytes", "training_bytes"):
        leaves = sum(getattr(row, field) for row in found.rows)
        assert getattr(found.total, field) == leaves
    blocks = {row.name: row for row in found.blocks}
    parts = [row for row in found.rows if row.name.startswith("features.2.0.")]
    assert blocks["features.2.0"].mult_adds == sum(row.mult_adds for row in parts)
    assert found.total.output_shape == (2, 10)


def test_shares():
    shares = md.summary(models.vgg11(num_classes=10, input_size=32)).families()
    assert list(shares) == ["convolution", "linear", "normalization", "pooling", "other"]
    for column in ("parameters", "activation_bytes", "mult_adds", "seconds"):
        assert sum(part[column] for part in shares.values()) == pytest.approx(1)
    count = 9_220_480  # weights and biases of VGG-11's eight convolutions
    assert shares["convolution"]["parameters"] == pytest.approx(count / (count + 18_923_530))


class MyLinear(nn.Linear):
    pass


class conv(nn.Module):  # as a module of minidl.nn is called
    def __init__(self):
        self.weight = nn.Parameter(np.ones(3, np.float32))

    def forward(self, x):
        return x * self.weight


def test_shared_parameters_count_once():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight, second.bias = first.weight, first.bias
    found = md.summary(nn.Sequential(first, nn.Sequential(second), nn.Sequential(first)), (4,))
    assert found.total.parameters == 20
    assert [row.parameters for row in found.rows] == [20, 0, 0]
    assert [row.parameters for row in found.blocks] == [0, 0]
    assert found.families()["linear"]["parameters"] == 1


def test_families_of_layers():
    found = md.summary(nn.Sequential(MyLinear(3, 3), conv()), (3,)).families()
    assert found["linear"]["parameters"] == pytest.approx(12 / 15)
    assert md.summary(nn.Conv2d(3, 4, 3), (8, 8, 3)).families()["convolution"]["parameters"] == 1


def test_the_table():
    model = models.resnet18(num_classes=10)
    model.features.freeze()
    text = str(md.summary(model, (64, 64, 3), depth=2))
    lines = text.splitlines()
    assert lines[0] == (
        "resnet18 on an input of 1 x 64 x 64 x 3; 5,130 of 11,181,642 parameters are trained"
    )
    rows = lines[4 : lines.index("") + 20]
    assert re.match(r"features Sequential +2 x 2 x 512 +11,176,512 ", rows[0])
    assert re.match(r"  1 Sequential +16 x 16 x 64 +147,968 +37,748,736 ", rows[2])
    assert not any("BasicBlock" in line for line in lines)
    widths = {len(line) for line in lines[2:13]}
    assert len(widths) == 1
    assert any(line.startswith("total ") for line in lines)


def test_layers_are_named_by_their_place_in_the_block():
    """Also within modules that don't run themselves, where the last part would say too little."""

    class Parallel(nn.Module):
        def __init__(self):
            self.branches = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])

        def forward(self, x):
            return self.branches[0](x) + self.branches[1](x)

    text = str(md.summary(nn.Sequential(Parallel()), (2,)))
    assert re.search(r"^0 Parallel ", text, re.M)
    assert re.search(r"^  branches\.0 Linear ", text, re.M)
    assert re.search(r"^  branches\.1 Linear ", text, re.M)


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (nn.Linear(4, 2), (4,), (1, 4)),
        (nn.Linear(4, 2), (3, 4), (3, 4)),
        (nn.LSTM(4, 2), (2, 5, 4), (2, 5, 4)),
        (nn.Sequential(nn.Conv2d(3, 2, 1)), [8, 6, 3], (1, 8, 6, 3)),
        (nn.Sequential(nn.ReLU()), (2, 2), (2, 2)),
        (nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2)), (2, 7), (2, 7)),
        (models.resnet20().astype(np.float64), None, (1, 32, 32, 3)),
    ],
)
def test_input_shapes(model, shape, expected):
    found = md.summary(model, shape)
    assert found.input_shape == expected
    assert str(found)


def test_training_that_cannot_be_tried():
    """One value a channel."""
    found = md.summary(nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4)), (1, 2, 2, 3))
    assert found.total.training_bytes is None
    assert " - " in str(found)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: md.summary(nn.Linear(2, 2)), ArgumentError, "give an input_shape"),
        (lambda: md.summary(nn.Linear(2, 2), ()), ArgumentError, "whole numbers from 1 up"),
        (lambda: md.summary(nn.Linear(2, 2), (0, 2)), ArgumentError, "whole numbers from 1 up"),
        (lambda: md.summary(nn.Linear(2, 2), (1.5, 2)), ArgumentError, "whole numbers from 1 up"),
        (lambda: md.summary(nn.Linear(2, 2), "12"), ArgumentError, "whole numbers from 1 up"),
        (lambda: md.summary(nn.Linear(2, 2), 2), ArgumentError, "whole numbers from 1 up"),
        (lambda: md.summary(nn.Linear(2, 2), (2,), 0), ArgumentError, "depth must be"),
        (lambda: md.summary("resnet18"), DTypeError, "expected a module first, got str"),
        (lambda: md.summary(nn.Linear(2, 2), (3, 4)), ShapeError, "expected 2 features"),
        (lambda: md.summary(models.nin(), (20, 20, 3)), ShapeError, "at least 55x55"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
