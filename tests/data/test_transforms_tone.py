"""Tones against Pillow, blurs against sums in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from minidl.data.transforms import (
    GaussianBlur,
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomEqualize,
    RandomPosterize,
    RandomSolarize,
)  # fmt: skip
from minidl.errors import ShapeError

TABLES = {
    "autocontrast": (RandomAutocontrast(1), ImageOps.autocontrast),
    "equalize": (RandomEqualize(1), ImageOps.equalize),
    "posterize 1": (RandomPosterize(1, 1), lambda picture: ImageOps.posterize(picture, 1)),
    "posterize 4": (RandomPosterize(4, 1), lambda picture: ImageOps.posterize(picture, 4)),
    "posterize 8": (RandomPosterize(8, 1), lambda picture: ImageOps.posterize(picture, 8)),
    "solarize 0": (RandomSolarize(0, 1), lambda picture: ImageOps.solarize(picture, 0)),
    "solarize 99.5": (RandomSolarize(99.5, 1), lambda picture: ImageOps.solarize(picture, 99.5)),
    "solarize 256": (RandomSolarize(256, 1), lambda picture: ImageOps.solarize(picture, 256)),
}


def generator():
    return np.random.default_rng(0)


@pytest.mark.parametrize("name", TABLES)
@given(
    st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 3]),
    st.integers(0, 255), st.integers(0, 255), st.integers(0, 9),
)  # fmt: skip
def test_tables_are_pillows_to_the_bit(name, h, w, channels, one, other, seed):
    transform, pillows = TABLES[name]
    random = np.random.default_rng(seed)
    images = random.integers(min(one, other), max(one, other) + 1, (2, h, w, channels), np.uint8)
    if seed % 2:  # of few tones, one of them common
        images[..., : w // 2 + 1, :] = images[:, :1, :1]
    result = transform(images, generator())
    for image, changed in zip(images, result, strict=True):
        picture = Image.fromarray(image if channels == 3 else image[..., 0])
        expected = np.asarray(pillows(picture)).reshape(image.shape)
        np.testing.assert_array_equal(changed, expected)


@pytest.mark.parametrize("factor", [0, 0.3, 1, 1.9, 4])
@pytest.mark.parametrize("shape", [(9, 11, 3), (3, 3, 3), (2, 9, 3), (1, 1, 3), (9, 8, 1)])
def test_sharpness_is_pillows(factor, shape):
    images = np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)
    transform = RandomAdjustSharpness(factor, p=1)
    result = transform(images, generator())
    floats = transform(images.astype(np.float32), generator())
    np.testing.assert_array_equal(result, np.rint(floats).clip(0, 255))
    if shape[2] == 3 and min(shape[:2]) > 2:
        for image, changed in zip(images, result, strict=True):
            expected = ImageEnhance.Sharpness(Image.fromarray(image)).enhance(factor)
            # Pillow rounds the smoothed image, and cuts off what it computes
            np.testing.assert_allclose(
                changed.astype(int), np.asarray(expected), atol=1 + 0.5 * abs(1 - factor)
            )
    if factor == 1 or min(shape[:2]) < 3:
        np.testing.assert_array_equal(result, images)


def test_sharpness_in_float64():
    image = np.random.default_rng(0).normal(size=(1, 6, 7, 2)).astype(np.float32)
    result = RandomAdjustSharpness(1.7, p=1)(image, generator())
    expected, weights = image.astype(float), np.ones((3, 3))
    weights[1, 1] = 5
    for i, j in np.ndindex(4, 5):
        smooth = np.einsum("yx,yxc->c", weights / 13, image[0, i : i + 3, j : j + 3].astype(float))
        expected[0, i + 1, j + 1] = smooth + 1.7 * (image[0, i + 1, j + 1] - smooth)
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("kind", [RandomAutocontrast, RandomEqualize])
def test_each_image_has_its_turn(kind):
    images = np.random.default_rng(0).integers(50, 90, (400, 20, 20, 1), np.uint8)
    changed = (kind(0.3)(images, generator()) != images).any(axis=(1, 2, 3))
    assert 90 < changed.sum() < 150


# Blur


def blurred(image, size, sigma):
    """By the sum over all pixels near, in two dimensions at once; float64."""
    d = np.arange(size) - size // 2
    weights = np.exp(-(d[:, None] ** 2 + d**2) / (2 * sigma**2))
    weights /= weights.sum()
    h, w, _ = image.shape
    rows, columns = (np.abs(np.arange(n)[:, None] + d) for n in (h, w))
    rows, columns = (np.where(i < n, i, 2 * n - 2 - i) for i, n in ((rows, h), (columns, w)))
    near = image.astype(float)[rows[:, None, :, None], columns[None, :, None, :]]
    return np.einsum("hwyxc,yx->hwc", near, weights)


@pytest.mark.parametrize("size", [1, 3, 5, 9])
@pytest.mark.parametrize("sigma", [0.1, 0.8, 3])
def test_blur_in_float64(size, sigma):
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 8, 3), np.uint8)
    expected = np.stack([blurred(image, size, sigma) for image in images])
    floats = GaussianBlur(size, sigma)(images.astype(np.float32), generator())
    np.testing.assert_allclose(floats, expected, rtol=1e-5, atol=1e-3)
    bytes_ = GaussianBlur(size, sigma)(images, generator())
    np.testing.assert_allclose(bytes_, expected, atol=0.501)


def test_widths_keep_to_their_interval():
    """Known by what is left of a bright pixel: its row has the weights."""
    images = np.zeros((300, 31, 31, 1), np.float32)
    images[:, 15, 15] = 1
    row = GaussianBlur(31, sigma=(0.5, 2))(images, generator()).sum(axis=(1, 3))
    widths = np.sqrt((row * (np.arange(31) - 15) ** 2).sum(axis=1))
    # A sampled Gaussian has the variance of the other, but for those narrower than a pixel
    assert 0.45 < widths.min() < 0.55
    assert 1.97 < widths.max() <= 2.001
    assert abs(widths.mean() - 1.25) < 0.1


def test_a_blur_wider_than_the_image():
    with pytest.raises(ShapeError, match="GaussianBlur of 9 pixels needs images of at least 5"):
        GaussianBlur(9)(np.zeros((1, 4, 9, 3), np.uint8), generator())
