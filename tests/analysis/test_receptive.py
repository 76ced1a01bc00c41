"""Receptive fields, against published ones and against what really depends on what."""

import math

import numpy as np
import pytest

import minidl as md
from minidl import models, nn
from minidl.analysis import receptive_fields
from minidl.errors import ArgumentError
from minidl.models.blocks import Branches
from minidl.nn import init

# Araujo et al. 2019, "Computing Receptive Fields of Convolutional Neural Networks", table 1
PUBLISHED = {"alexnet": 195, "vgg16": 212}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_ones(name):
    with init.skipped():
        model = models.create(name)
    for parameter in model.parameters():
        parameter.data[...] = 0
    fields = receptive_fields(model)
    last = [field for field in fields if math.isfinite(field.size[0])][-1]
    assert last.size == (PUBLISHED[name],) * 2
    assert last.stride == (32, 32)


def dependence(model, x, layer, row, column):
    """The rows and columns of x that a value of a layer's maps depends on, by its gradient."""
    maps = []
    with dict(model.named_modules())[layer].register_forward_hook(
        lambda module, inputs, output: maps.append(output)
    ):
        model(x)
    maps[0][0, row, column].sum().backward()
    # Winograd's transforms leave rounding errors beside what is touched.
    touched = np.any(np.abs(x.grad[0]) > 1e-5 * np.abs(x.grad).max(), axis=2)
    rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        (nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.AvgPool2d(2), nn.Conv2d(3, 2, 3)), "2"),
        (nn.Sequential(nn.Conv2d(2, 3, (5, 1), 2, padding=(2, 0)), nn.Conv2d(3, 2, 3, 1, 1)), "1"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, dilation=2), nn.DepthwiseConv2d(2, 3, 2)), "1"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, 2, "same"), nn.Conv2d(2, 2, 3, padding="same")), "1"),
        (models.resnet20(in_channels=2), "features.2.0.conv2.norm"),
        (
            nn.Sequential(
                Branches(nn.Conv2d(2, 2, 3, 2, 1), nn.Conv2d(2, 2, 5, 2, 2)), nn.Conv2d(4, 2, 3)
            ),
            "1",
        ),
    ],
)
def test_what_a_gradient_says(model, layer):
    size = 127 if isinstance(model, models.Network) else 30
    for p in model.parameters():
        p.data[...] = np.abs(p.data) + 0.01  # so that no ReLU cuts off what is seen
    x = md.tensor(np.ones((1, size, size - 3, 2), np.float32), requires_grad=True)
    field = next(f for f in receptive_fields(model.eval(), x.shape) if f.name == layer)
    row, column = (8, 7) if isinstance(model, models.Network) else (5, 4)
    top, bottom, left, right = dependence(model, x, layer, row, column)
    assert (bottom - top, right - left) == field.size
    start = [s + i * t for s, i, t in zip(field.start, (row, column), field.stride, strict=True)]
    assert start == [top, left]


class Every(nn.Module):
    """Every second pixel, then a convolution."""

    def __init__(self):
        self.conv = nn.Conv2d(2, 2, 3)

    def forward(self, x):
        return self.conv(x[:, ::2, ::2])


class Joined(nn.Module):
    """Two convolutions that look to different sides."""

    def __init__(self):
        self.up = nn.Conv2d(2, 2, 3, padding=((2, 0), (2, 0)))
        self.down = nn.Conv2d(2, 2, 3, padding=((0, 2), (0, 2)))
        self.last = nn.ReLU()

    def forward(self, x):
        return self.last(self.up(x) + self.down(x))


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (nn.Sequential(nn.ZeroPad2d(2), nn.Conv2d(2, 2, 5)), ((5, 5), (1, 1), (-2, -2))),
        (Every(), ((5, 5), (2, 2), (0, 0))),
        (Joined(), ((5, 5), (1, 1), (-2, -2))),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.Linear(2, 4)), ((3, 3), (1, 1), (0, 0))),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.Flatten()), ((math.inf,) * 2, (1, 1), (0, 0))),
    ],
)
def test_what_stands_between_convolutions(model, field):
    last = receptive_fields(model, (12, 12, 2))[-1]
    assert (last.size, last.stride, last.start) == field


@pytest.mark.parametrize("layer", [nn.Upsample(scale_factor=2), nn.ConvTranspose2d(2, 2, 3, 2)])
def test_layers_that_make_maps_larger_are_refused(layer):
    with pytest.raises(ArgumentError, match="makes maps larger"):
        receptive_fields(nn.Sequential(nn.Conv2d(2, 2, 3), layer), (12, 12, 2))


def test_linear_layers_and_means_see_everything():
    fields = {f.name: f.size for f in receptive_fields(models.lenet5())}
    assert fields["features.3"] == (16, 16)
    assert fields["classifier.0"] == (math.inf, math.inf)
    fields = {f.name: f.size for f in receptive_fields(models.se_resnet50(), (64, 64, 3))}
    assert fields["features.1.0.excite.squeeze"] == (math.inf, math.inf)
