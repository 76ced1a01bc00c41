"""Plots: pictures that show what they say they do."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from minidl import models, nn
from minidl.analysis import (
    plot_activations,
    plot_filters,
    plot_receptive_fields,
    plot_saliency,
)
from minidl.errors import ArgumentError, ShapeError


def pictures(figure):
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


def test_filters_in_colour():
    layer = nn.Conv2d(3, 5, 4)
    shown = pictures(plot_filters(layer))
    assert len(shown) == 5
    for i, picture in enumerate(shown):
        weight = layer.weight.data[..., i]
        low, high = weight.min(), weight.max()
        np.testing.assert_allclose(picture, (weight - low) / (high - low), rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "count"),
    [(nn.Conv2d(6, 90, 3), 64), (nn.DepthwiseConv2d(7, 3, multiplier=2), 14),
     (nn.PointwiseConv2d(4, 9), 9),
     (nn.Conv2d(1, 1, 3), 1), (nn.ConvTranspose2d(2, 4, 3), 4)],
)  # fmt: skip
def test_filters_of_many_channels(layer, count, tmp_path):
    figure = plot_filters(layer)
    assert len(pictures(figure)) == count
    figure.savefig(tmp_path / "filters.png")
    with Image.open(tmp_path / "filters.png") as picture:
        assert picture.size[0] > 100
    assert len(pictures(plot_filters(layer, most=2))) == min(2, count)


def test_maps_of_an_image():
    model = models.lenet5()
    image = np.random.default_rng(0).standard_normal((32, 32, 1)).astype(np.float32)
    shown = pictures(plot_activations(model, image, "features.2"))
    maps = model.features[2](model.features[1](model.features[0](image[None]))).data[0]
    assert len(shown) == 16
    live = [i for i in range(16) if maps[..., i].max() > maps[..., i].min()]
    assert live
    for i in live:
        low, high = maps[..., i].min(), maps[..., i].max()
        expected = (maps[..., i] - low) / (high - low)
        np.testing.assert_allclose(shown[i], expected, rtol=1e-4, atol=1e-5)
    assert model.training


def test_a_dead_map_is_dark():
    layer = nn.Conv2d(1, 3, 1)
    layer.weight.data[...] = [0, 1, 0]
    layer.bias.data[...] = [0, 0, 5]  # the first and the last are the same everywhere
    image = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    shown = pictures(plot_activations(nn.Sequential(layer), image, "0"))
    for picture, expected in zip(shown, [0 * image, image / 11, 0 * image], strict=True):
        np.testing.assert_allclose(picture, expected[..., 0], rtol=1e-6)


def test_receptive_fields():
    figure = plot_receptive_fields(models.lenet5())
    bars = [round(bar.get_width()) for bar in figure.axes[0].patches]
    assert bars == [5, 6, 14, 16]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot_filters(nn.Linear(2, 2)), ArgumentError, "a convolution, got Linear"),
        (lambda: plot_filters(models.lenet5()), ArgumentError, "a convolution, got LeNet5"),
        (lambda: plot_filters(nn.Conv2d(1, 1, 1), most=0), ArgumentError, "most must be"),
        (lambda: plot_filters(nn.Conv2d(1, 1, 1), most=-1), ArgumentError, "most must be"),
        (lambda: plot_filters(nn.Conv2d(1, 1, 1), most=2.5), ArgumentError, "most must be"),
        (lambda: plot_activations(models.lenet5(), np.zeros((3, 32, 32, 1)), "features"),
         ShapeError, "expected one image"),
        (lambda: plot_activations(models.lenet5(), np.zeros((0, 32, 32, 1)), "features"),
         ShapeError, "expected one image"),
        (lambda: plot_activations(models.lenet5(), np.zeros((32, 32, 1), np.float32), "conv1"),
         ArgumentError, "no layer 'conv1'; there are features"),
        (lambda: plot_activations(models.lenet5(), np.zeros((32, 32, 1), np.float32), "classifier"),
         ShapeError, "classifier gives no maps"),
        (lambda: plot_activations(models.lenet5(), np.zeros((8, 8, 1), np.float32), "features"),
         ShapeError, "expected images of 32x32"),
    ],
)  # fmt: skip
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_without_matplotlib_it_says_what_to_install():
    code = """
import sys
sys.modules["matplotlib.figure"] = None
from minidl import nn
from minidl.analysis import plot_filters
try:
    plot_filters(nn.Conv2d(3, 2, 3))
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'minidl[plots]'" in run.stdout


def test_maps_over_an_image(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 9, 3), np.uint8)
    heat = np.zeros((12, 9), np.float32)
    heat[:3], heat[9:] = 2, -1
    figure = plot_saliency(image, {"Grad-CAM": heat, "nothing": np.zeros((12, 9))})
    figure.savefig(tmp_path / "saliency.png")
    first, second, third = figure.axes
    assert (second.get_title(), third.get_title()) == ("Grad-CAM", "nothing")
    over = second.images[1]
    assert first.images[0].get_array().shape == (12, 9, 3)
    np.testing.assert_allclose(over.get_alpha(), 0.75 * abs(heat) / 2)
    assert over.get_clim() == (-2, 2)
    assert not third.images[1].get_alpha().any()


def test_maps_of_another_size():
    with pytest.raises(ShapeError, match=r"maps of shape \(4, 4\), as the image, got \(2, 4\)"):
        plot_saliency(np.zeros((4, 4, 1)), {"map": np.zeros((2, 4))})
    with pytest.raises(ShapeError, match=r"expected an image"):
        plot_saliency(np.zeros((4, 4, 2)), {})
