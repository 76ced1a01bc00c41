"""Colours against Pillow and float64."""

import colorsys

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from minidl.data.transforms import (
    ColorJitter,
    Grayscale,
    RandomBrightness,
    RandomContrast,
    RandomGrayscale,
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


def turned(image, turn):
    """The hue of an RGB image from 0 to 1 turned, by the standard library."""
    hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(-1, 3).astype(float)]
    rgb = [colorsys.hsv_to_rgb((h + turn) % 1, s, v) for h, s, v in hsv]
    return np.array(rgb).reshape(image.shape)


@pytest.mark.parametrize("turn", [-0.5, -0.3, -0.01, 0.2, 1 / 3, 0.5])
def test_hue_is_colorsyss(turn):
    images = pictures() / np.float32(255)
    images[0, 0, :4] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.2], [0, 0.7, 0.7]]  # greys and ties
    jitter = ColorJitter(hue=(turn, turn))
    expected = np.stack([turned(image, turn) for image in images])
    np.testing.assert_allclose(jitter(images, generator()), expected, atol=2e-6)
    np.testing.assert_allclose(jitter(images * 255, generator()), expected * 255, atol=5e-4)
    again = jitter(pictures(), generator())
    expected = [turned(image / np.float32(255), turn) * 255 for image in pictures()]
    np.testing.assert_allclose(again, expected, atol=0.5001)


@pytest.mark.parametrize("turn", [-0.2, 0.4])
def test_hue_is_pillows(turn):
    """As torchvision turns it: by bytes of hue, so that its colours are coarser."""
    image = np.array(Image.radial_gradient("L").resize((40, 30)))
    image = np.stack([image, 255 - image, np.roll(image, 9, axis=1)], axis=2)
    hsv = np.array(Image.fromarray(image).convert("HSV"))
    hsv[..., 0] += np.uint8(round(turn * 255) % 256)
    expected = np.asarray(Image.fromarray(hsv, mode="HSV").convert("RGB")).astype(int)
    result = ColorJitter(hue=(turn, turn))(image[None], generator())[0]
    np.testing.assert_allclose(result, expected, atol=12)
    assert np.abs(result - expected).mean() < 3


def test_hues_keep_to_their_interval():
    red = np.full((500, 1, 1, 3), [1, 0, 0], np.float32)
    for setting, (low, high) in {0.1: (-0.1, 0.1), (-0.3, 0.2): (-0.3, 0.2)}.items():
        result = ColorJitter(hue=setting)(red, generator()).reshape(-1, 3).astype(float)
        turns = np.array([colorsys.rgb_to_hsv(*pixel)[0] for pixel in result])
        turns -= turns > 0.5
        assert low - 1e-6 <= turns.min() < low + 0.02
        assert high - 0.02 < turns.max() <= high + 1e-6


def test_an_interval_of_factors():
    ones = np.ones((500, 1, 1, 3), np.float32)
    factors = ColorJitter(brightness=(0.2, 0.5))(ones, generator())
    assert 0.2 <= factors.min() < 0.21
    assert 0.49 < factors.max() <= 0.5


def test_some_images_become_grey():
    images = pictures(500, 2, 3)
    result = RandomGrayscale()(images, generator())
    grey = Grayscale(channels=3)(images)
    chosen = (result == grey).all(axis=(1, 2, 3))
    assert 30 < chosen.sum() < 70
    np.testing.assert_array_equal(result[~chosen], images[~chosen])
    np.testing.assert_array_equal(RandomGrayscale(1)(images, generator()), grey)


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
