"""Weights without a head, as Keras's include_top=False leaves them, and images of other sizes."""

import h5py
import numpy as np
import pytest

import minidl as md
from minidl import models
from minidl.errors import ArgumentError, StateError
from minidl.train.pretrained import pretrained

SQUEEZENET = "squeezenet11_imagenet/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"


def test_squeezenet(shared_data):
    """Its 25 kernels are named by their initializers, and the last convolution isn't there."""
    network = pretrained(shared_data / SQUEEZENET, "squeezenet1_1", None, None)
    assert network.image_format.order == "BGR"
    found = [p.data for p in network.features.parameters()]
    with h5py.File(shared_data / SQUEEZENET) as file:
        layers = [file[name] for name in file.attrs["layer_names"]]
        arrays = [layer[name][()] for layer in layers for name in layer.attrs["weight_names"]]
    assert len(found) == len(arrays) == 50
    for ours, theirs in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_body_of_another_network(shared_data):
    with pytest.raises(StateError, match=r"unexpected: fire2\.squeeze1x1"):
        pretrained(shared_data / SQUEEZENET, "resnet20", None, None)


@pytest.fixture
def weights(tmp_path):
    md.save_weights(models.create("lenet5", weights="mnist"), tmp_path / "fixed.h5")
    network = models.resnet20(num_classes=3)
    network.image_format = models.ImageFormat(32, "RGB", 255.0, (0.5,) * 3, (0.2,) * 3)
    md.save_weights(network, tmp_path / "any.h5")
    return tmp_path


def test_sizes(weights):
    assert pretrained(weights / "any.h5", None, None, 48).image_format.size == 48
    assert pretrained(weights / "fixed.h5", None, None, 32).image_format.size == 32
    with pytest.raises(ArgumentError, match=r"size=64: .*fixed\.h5 takes only 32"):
        pretrained(weights / "fixed.h5", None, None, 64)
    assert models.load(weights / "any.h5").smallest_size() == 1


def test_too_small_for_the_network(shared_data):
    with pytest.raises(
        ArgumentError, match="size=16: squeezenet1_1 takes images from 25 pixels up"
    ):
        pretrained(shared_data / SQUEEZENET, "squeezenet1_1", None, 16)
