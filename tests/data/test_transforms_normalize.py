"""Normalizing against float64, and what networks ask for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import models
from minidl.data.transforms import Normalize, SubtractMean, prepare
from minidl.errors import ShapeError
from minidl.models.sources import CAFFE, IMAGENET, SIGNED

numbers = st.floats(-2, 2)


@given(
    shape=st.tuples(st.integers(0, 3), *[st.integers(1, 40)] * 2, st.integers(1, 4)),
    dtype=st.sampled_from([np.uint8, np.float32]),
    scale=st.sampled_from([1.0, 127.5, 255.0]),
    each=st.booleans(),
    data=st.data(),
)
def test_normalize(shape, dtype, scale, each, data):
    channels = shape[3] if each else 1
    mean = data.draw(st.lists(numbers, min_size=channels, max_size=channels))
    std = data.draw(st.lists(st.floats(0.1, 3), min_size=channels, max_size=channels))
    images = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    transform = (
        Normalize(mean, std, scale=scale) if each else Normalize(mean[0], std[0], scale=scale)
    )
    expected = (images.astype(np.float64) / scale - mean) / std
    largest = 255 / scale / min(std) + 2 / min(std)
    np.testing.assert_allclose(transform(images), expected, atol=3e-7 * largest)


def test_images_of_more_than_a_part():
    images = np.random.default_rng(0).integers(0, 256, (3, 200, 301, 3), np.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = (images / 255.0 - mean) / std
    np.testing.assert_allclose(Normalize(mean, std)(images), expected, atol=2e-6)


@pytest.mark.parametrize("mean", [10.5, (1.0, 20.25, 100)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_subtract_mean(mean, dtype):
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3)).astype(dtype)
    np.testing.assert_array_equal(SubtractMean(mean)(images), images - np.float64(mean))


@pytest.mark.parametrize("image_format", [IMAGENET, CAFFE, SIGNED])
def test_prepare(image_format):
    images = np.random.default_rng(0).integers(0, 256, (2, 230, 228, 3), np.uint8)
    x = images
    for transform in prepare(image_format):
        x = transform(x, None)
    pixels = images[:, 3:227, 2:226].astype(np.float64)
    pixels = pixels[..., ::-1] if image_format.order == "BGR" else pixels
    expected = (pixels / image_format.scale - image_format.mean) / image_format.std
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, expected, atol=3e-5)


def test_prepare_small_images():
    small = models.ImageFormat(8, "RGB", 255.0, (0.5,) * 3, (0.5,) * 3)
    crop = prepare(small)[0]
    with pytest.raises(
        ShapeError, match="CenterCrop can't cut 8 x 8 pixels out of images of 7 x 9"
    ):
        crop(np.zeros((1, 7, 9, 3), np.uint8))
