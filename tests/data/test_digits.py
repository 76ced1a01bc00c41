"""The digits of UCI, as scikit-learn has them: split, scale and interpolation."""

import sys
from importlib.resources import files

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits

import minidl.random
from minidl.data import digits
from minidl.errors import ArgumentError


@pytest.fixture(scope="module")
def parts():
    return digits()


def test_shapes_and_types(parts):
    for part in parts:
        images, labels = part.arrays
        assert images.dtype == np.float32
        assert labels.dtype == np.int64
        assert images.shape == (len(labels), 32, 32, 1)
    assert len(parts[0]) + len(parts[1]) == 1797


def test_the_training_part_is_standardised_and_the_test_part_likewise(parts):
    train, test = (part.arrays[0].astype(np.float64) for part in parts)
    assert abs(train.mean()) < 1e-6
    assert abs(train.std() - 1) < 1e-6
    assert 0 < abs(test.mean()) < 0.05
    assert test.min() == train.min()  # the background is the same tone in both


def test_a_fifth_of_every_class_is_for_testing(parts):
    train, test = (np.bincount(part.arrays[1], minlength=10) for part in parts)
    np.testing.assert_array_equal(train + test, np.bincount(load_digits().target))
    np.testing.assert_allclose(test / (train + test), 0.2, atol=0.005)


def test_split_is_fixed_and_leaves_no_image_in_both(parts):
    minidl.random.manual_seed(123)
    for part, again in zip(parts, digits(), strict=True):
        for one, other in zip(part.arrays, again.arrays, strict=True):
            np.testing.assert_array_equal(one, other)
    originals = {image.tobytes() for image in load_digits().images}
    assert len(originals) == 1797  # so equal bytes mean the same item
    train, test = ({image.tobytes() for image in part.arrays[0]} for part in parts)
    assert not train & test


@pytest.mark.parametrize("size", [8, 16, 21, 32])
def test_interpolation_is_that_of_scipy(size):
    original, labels = load_digits(return_X_y=True)
    images = original.reshape(-1, 8, 8) / 16
    zoom = (1, size / 8, size / 8)
    zoomed = ndimage.zoom(images, zoom, order=1, mode="nearest", grid_mode=True)
    seen = dict.fromkeys(range(10), 0)
    expected = {"train": [], "test": []}
    for image, label in zip(zoomed, labels, strict=True):
        seen[label] += 1
        expected["train" if seen[label] % 5 else "test"].append(image)
    mean, deviation = np.mean(expected["train"]), np.std(expected["train"])
    for part, name in zip(digits(size), ("train", "test"), strict=True):
        standardised = (np.array(expected[name]) - mean) / deviation
        np.testing.assert_allclose(part.arrays[0][..., 0], standardised, atol=1e-5)


@pytest.mark.parametrize("size", [7, 0, -1, 8.0, True, None, (32, 32)])
def test_bad_sizes(size):
    with pytest.raises(ArgumentError, match="size must be a whole number from 8 up"):
        digits(size)


def test_they_come_with_minidl_and_name_their_licence(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert sum(map(len, digits(8))) == 1797
    notice = files("minidl.data").joinpath("uci_digits.txt").read_text(encoding="utf-8")
    assert "Alpaydin" in notice
    assert "CC BY 4.0" in notice
