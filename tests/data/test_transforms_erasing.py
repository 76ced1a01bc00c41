"""RandomErasing by what it must leave and take."""

import numpy as np
import pytest

from minidl.data.transforms import RandomErasing
from minidl.errors import ArgumentError, ShapeError


def generator(seed=0):
    return np.random.default_rng(seed)


def boxes(erased):
    """Top, left, height, width of each rectangle of True in (N, H, W), which must be one."""
    found = []
    for mask in erased:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        top, left, height, width = rows[0], columns[0], np.ptp(rows) + 1, np.ptp(columns) + 1
        assert mask.sum() == height * width
        found.append((top, left, height, width))
    return np.array(found)


def test_areas_and_aspects_keep_to_their_intervals():
    images = np.ones((3000, 60, 80, 3), np.float32)
    result = RandomErasing(1, scale=(0.05, 0.2), ratio=(0.5, 3))(images, generator())
    erased = result == 0
    assert (erased.all(axis=3) == erased.any(axis=3)).all()
    top, left, height, width = boxes(erased[..., 0]).T
    area, ratio = height * width / (60 * 80), height / width
    assert 0.045 < area.min() < 0.055
    assert 0.19 < area.max() < 0.21
    assert abs(area.mean() - 0.125) < 0.005
    assert 0.45 < ratio.min() < 0.55
    assert 2.7 < ratio.max() < 3.3
    assert abs(np.log(ratio).mean() - np.log(1.5) / 2) < 0.05  # uniform in its logarithm
    for place, free in ((top, 60 - height), (left, 80 - width)):
        assert place.min() == 0
        assert (place == free).any()
        assert abs((place / free).mean() - 0.5) < 0.03


def test_each_image_has_its_turn():
    images = np.ones((1000, 8, 8, 1), np.uint8)
    touched = (RandomErasing(0.3)(images, generator()) == 0).any(axis=(1, 2, 3))
    assert 230 < touched.sum() < 370


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_values(dtype):
    images = np.full((50, 9, 9, 3), 100, dtype)
    for value in (7, (1, 2, 3)):
        result = RandomErasing(1, value=value)(images, generator())
        erased = (result != 100).any(axis=3)
        assert erased.any(axis=(1, 2)).sum() > 40
        np.testing.assert_array_equal(result[erased], np.broadcast_to(value, (erased.sum(), 3)))


def test_noise():
    images = np.full((400, 20, 20, 3), 300, np.float32)
    result = RandomErasing(1, value="random")(images, generator())
    noise = result[result != 300]
    assert len(noise) > 10_000
    assert abs(noise.mean()) < 0.03
    assert abs(noise.std() - 1) < 0.03
    images = np.zeros((400, 20, 20, 3), np.uint8)
    erased = RandomErasing(1, value=1)(images, generator()).astype(bool)
    noise = RandomErasing(1, value="random")(images, generator())
    np.testing.assert_array_equal(noise[~erased], 0)
    counts = np.bincount(noise[erased], minlength=256)
    assert counts.min() > 0.5 * counts.mean()
    assert abs(noise[erased].mean() - 127.5) < 2


def test_what_never_fits_leaves_the_image():
    images = np.ones((20, 9, 9, 3), np.uint8)
    result = RandomErasing(1, scale=(1, 1), ratio=(1, 1))(images, generator())
    np.testing.assert_array_equal(result, images)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2)])
def test_small_images(shape):
    images = np.ones((200, *shape, 3), np.uint8)
    result = RandomErasing(1)(images, generator())
    assert result.any(axis=(1, 2, 3)).all()  # something is left


def test_bad_values():
    bytes_ = np.zeros((1, 4, 4, 3), np.uint8)
    for value in (256, -1, (0, 0, 300)):
        with pytest.raises(ArgumentError, match="value must be from 0 to 255 for uint8 images"):
            RandomErasing(value=value)(bytes_, generator())
        RandomErasing(value=value)(bytes_.astype(np.float32), generator())
    with pytest.raises(ShapeError, match="RandomErasing expected images of 2 channels, got 3"):
        RandomErasing(value=(1, 2))(bytes_, generator())
