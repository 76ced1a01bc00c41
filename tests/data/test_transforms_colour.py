"""Colours against Pillow and float64."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from minidl.data.transforms import (
    ColorJitter,
    Grayscale,
    RandomBrightness,
    RandomContrast,
    ToBGR,
    ToYUV,
)  # fmt: skip

LUMA = np.array([0.299, 0.587, 0.114])


def pictures(n=8, h=9, w=11, c=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), np.uint8)


def generator(seed=0):
    return np.random.default_rng(seed)


def mean_grey(images):
    """(N, 1, 1, 1)"""
    grey = images.astype(np.float64) @ LUMA if images.shape[3] == 3 else images.mean(axis=3)
    return grey.mean(axis=(1, 2))[:, None, None, None]


KINDS = {
    "brightness": (RandomBrightness, lambda images: np.zeros((len(images), 1, 1, 1))),
    "contrast": (RandomContrast, mean_grey),
    "saturation": (None, lambda images: (images.astype(np.float64) @ LUMA)[..., None]),
}
ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
}


@pytest.mark.parametrize("amount", [0.3, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_one_factor_an_image(kind, amount):
    images = pictures().astype(np.float32)
    single, middle = KINDS[kind][0], KINDS[kind][1](images)
    result = ColorJitter(**{kind: amount})(images, generator())
    before, after = images - middle, result - middle
    factors = (before * after).sum(axis=(1, 2, 3)) / (before**2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(after, factors[:, None, None, None] * before, atol=1e-3)
    assert factors.min() >= max(0, 1 - amount) - 1e-5
    assert factors.max() <= 1 + amount + 1e-5
    assert len(set(factors.round(4))) == len(images)
    if single is not None:
        alone = single(amount)(np.repeat(images[:1], 500, axis=0), generator())
        spread = (alone - middle[:1]).std(axis=(1, 2, 3)) / before[:1].std()
        assert spread.min() < max(0, 1 - amount) + 0.1
        assert spread.max() > 1 + amount - 0.1
    for image, factor, bytes_ in zip(
        images, factors, ColorJitter(**{kind: amount})(pictures(), generator()), strict=True
    ):
        picture = Image.fromarray(image.astype(np.uint8))
        expected = np.asarray(ENHANCERS[kind](picture).enhance(factor))
        # Pillow rounds the grey and the mean first, and cuts off what it computes
        np.testing.assert_allclose(bytes_.astype(int), expected, atol=1 + factor)


def test_jitter_is_brightness_then_contrast_then_saturation():
    """Each factor from what the setting does alone: all three are drawn in any case."""
    images = pictures().astype(np.float32)
    expected = images.astype(np.float64)
    for kind, (_, middle_of) in KINDS.items():
        alone, middle = ColorJitter(**{kind: 0.5})(images, generator()), middle_of(images)
        before = images - middle
        factors = (before * (alone - middle)).sum(axis=(1, 2, 3)) / (before**2).sum(axis=(1, 2, 3))
        middle = middle_of(expected)
        expected = middle + factors[:, None, None, None] * (expected - middle)
    jitter = ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5)
    np.testing.assert_allclose(jitter(images, generator()), expected, atol=1e-2)


@pytest.mark.parametrize("transform", [RandomBrightness(0.9), RandomContrast(0.9),
                                       ColorJitter(0.5, 0.5, 0.5)])  # fmt: skip
def test_bytes_are_rounded_and_clipped_once(transform):
    images = pictures()
    floats = transform(images.astype(np.float32), generator())
    assert floats.min() < 0 or floats.max() > 255
    expected = np.rint(floats).clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(transform(images, generator()), expected)


def test_contrast_of_grey_images():
    images = pictures(c=1).astype(np.float32)
    result = RandomContrast(0.5)(images, generator())
    np.testing.assert_allclose(mean_grey(result), mean_grey(images), rtol=1e-5)
    assert len(set((result.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))).round(4))) == 8


def test_grey_is_pillows():
    images = pictures()
    result = Grayscale(channels=1)(images)
    for image, grey in zip(images, result, strict=True):
        expected = np.asarray(Image.fromarray(image).convert("L")).astype(int)
        np.testing.assert_allclose(grey[..., 0], expected, atol=1)
    np.testing.assert_array_equal(Grayscale(channels=3)(images), result.repeat(3, axis=3))
    floats = Grayscale(channels=1)(images.astype(np.float32))
    np.testing.assert_allclose(floats[..., 0], images.astype(np.float64) @ LUMA, rtol=1e-5)


def test_grey_images_stay_grey():
    images = pictures(c=1)
    np.testing.assert_array_equal(Grayscale(channels=1)(images), images)
    np.testing.assert_array_equal(Grayscale(channels=3)(images), images.repeat(3, axis=3))


def test_bgr():
    images = pictures()
    blue, green, red = (ToBGR()(images)[..., c] for c in range(3))
    np.testing.assert_array_equal(np.stack([red, green, blue], axis=3), images)


# As BT.601 is usually written down for U and V
YUV = [[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_yuv(dtype):
    images = pictures().astype(dtype)
    expected = images.astype(np.float64) @ np.array(YUV).T
    np.testing.assert_allclose(ToYUV()(images), expected, atol=255 * 2e-5)
