"""Crops against Pillow and by what they must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minidl.data.transforms import (
    CenterCrop,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    ResizeShort,
    TenCrop,
)  # fmt: skip


def pictures(n, h, w, c=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), np.uint8)


def numbered(h, w):
    """One image whose pixels are (row, column)."""
    return np.stack(np.mgrid[:h, :w], axis=2).astype(np.float32)[None]


def cut(image, left, top, w, h):
    """By Pillow."""
    return np.asarray(Image.fromarray(image).crop((left, top, left + w, top + h)))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 5), st.integers(0, 5))
def test_center_crop(h, w, more_h, more_w):
    images = pictures(2, h + more_h, w + more_w)
    result = CenterCrop((h, w))(images)
    for image, middle in zip(images, result, strict=True):
        np.testing.assert_array_equal(middle, cut(image, more_w // 2, more_h // 2, w, h))


def test_random_crop_reaches_every_place_alike():
    images = numbered(5, 7).repeat(4000, axis=0)
    result = RandomCrop((3, 4))(images, np.random.default_rng(0))
    corners = result[:, 0, 0].astype(int)
    np.testing.assert_array_equal(result, corners[:, None, None] + numbered(3, 4))
    places, counts = np.unique(corners, axis=0, return_counts=True)
    assert len(places) == 3 * 4
    expected = len(images) / 12
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_random_crop_pads_with_zeros():
    images = 1 + pictures(50, 4, 4) // 2
    result = RandomCrop(4, padding=2)(images, np.random.default_rng(0))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for image, patch in zip(padded, result, strict=True):
        rest = [cut(image, x, y, 4, 4) for x in range(5) for y in range(5)]
        assert any(np.array_equal(patch, one) for one in rest)
    assert (result == 0).any()
    np.testing.assert_array_equal(RandomCrop(4, padding=2)(images), images)
    padded = RandomCrop(6, padding=((1, 1), (2, 2)))(images[:, :, :2])
    np.testing.assert_array_equal(padded[:, 1:5, 2:4], images[:, :, :2])


def test_ten_crop():
    images = pictures(2, 7, 8)
    result = TenCrop((4, 5))(images)
    for i, image in enumerate(images):
        five = [cut(image, *place, 5, 4) for place in [(0, 0), (3, 0), (0, 3), (3, 3), (1, 1)]]
        mirrored = [
            np.asarray(Image.fromarray(view).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
            for view in five
        ]
        np.testing.assert_array_equal(result[10 * i : 10 * i + 10], five + mirrored)


def test_resized_crop_of_everything_is_resize():
    images = pictures(2, 20, 30)
    everything = RandomResizedCrop(8, scale=(1, 1), ratio=(1.5, 1.5))
    result = everything(images, np.random.default_rng(0))
    np.testing.assert_array_equal(result, Resize((8, 8))(images))


def test_resized_crop_keeps_to_area_and_aspect():
    """Read off a ramp: its steps tell how large the part was, its middle where."""
    h, w, size = 60, 90, 4
    scale, ratio = (0.1, 0.6), (0.5, 1.8)
    images = numbered(h, w).repeat(400, axis=0)
    result = RandomResizedCrop(size, scale, ratio)(images, np.random.default_rng(0))
    result = result.astype(np.float64)
    heights = size * (result[:, 2, 1, 0] - result[:, 1, 1, 0])
    widths = size * (result[:, 1, 2, 1] - result[:, 1, 1, 1])
    areas, aspects = heights * widths / (h * w), widths / heights
    assert areas.min() > 0.095
    assert areas.max() < 0.62
    assert areas.max() - areas.min() > 0.4
    assert aspects.min() > 0.47
    assert aspects.max() < 1.9
    assert aspects.max() - aspects.min() > 1
    for axis, (length, part) in enumerate([(h, heights), (w, widths)]):
        np.testing.assert_allclose(part, np.rint(part), atol=0.2)  # Pillow's weights are rounded
        start = result[:, 1:3, 1:3, axis].mean(axis=(1, 2)) + 0.5 - part / 2
        assert start.min() > -0.2
        assert (start + part).max() < length + 0.2
        assert start.max() - start.min() > length / 3


@pytest.mark.parametrize("high", [False, True])
def test_resized_crop_where_nothing_fits(high):
    images = pictures(2, 10, 100)
    images = images.swapaxes(1, 2) if high else images
    never = RandomResizedCrop(10, scale=(0.9, 1), ratio=(1, 1))
    result = never(images, np.random.default_rng(0))
    np.testing.assert_array_equal(result, CenterCrop(10)(images))


def test_resized_crop_in_evaluation():
    images = pictures(2, 20, 31)
    result = RandomResizedCrop(8)(images)
    np.testing.assert_array_equal(result, CenterCrop(8)(ResizeShort(8)(images)))
