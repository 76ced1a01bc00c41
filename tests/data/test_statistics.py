"""Means and standard deviations, beside NumPy's in float64."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import class_folders, picture, save

from minidl.data import ArrayDataset
from minidl.data.folder import ImageFolder
from minidl.data.statistics import ChannelStatistics, channel_statistics
from minidl.errors import ArgumentError, DTypeError, ShapeError


@given(
    st.integers(0, 2**32),
    st.integers(1, 9),
    st.sampled_from([(4, 3, 3), (5, 1), (6,)]),
    st.sampled_from(["uint8", "float32", "float64", "int16"]),
    st.integers(1, 10),
)
def test_beside_numpy(seed, count, shape, dtype, batch):
    rng = np.random.default_rng(seed)
    if dtype in ("uint8", "int16"):
        images = rng.integers(0, 256, (count, *shape)).astype(dtype)
    else:
        images = (1000 + rng.standard_normal((count, *shape))).astype(dtype)
    mean, std = channel_statistics(ArrayDataset(images), batch)
    flat = images.reshape(-1, shape[-1]).astype(np.float64)
    assert mean.dtype == std.dtype == np.float64
    np.testing.assert_allclose(mean, flat.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(std, flat.std(axis=0), rtol=1e-9, atol=1e-9)


def test_bytes_are_summed_exactly():
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 3, 2)).astype(np.uint8)
    mean, std = channel_statistics(ArrayDataset(images), 3)
    for channel in range(2):
        values = [Fraction(int(v)) for v in images[..., channel].ravel()]
        exact = sum(values) / len(values)
        variance = sum((v - exact) ** 2 for v in values) / len(values)
        assert mean[channel] == float(exact)
        assert std[channel] == pytest.approx(float(variance) ** 0.5, rel=1e-15)


def test_large_means_lose_no_deviation():
    images = np.array([[1e8 + 1], [1e8 + 2], [1e8 + 3]] * 50)
    _, std = channel_statistics(ArrayDataset(images), 7)
    np.testing.assert_allclose(std, [np.sqrt(2 / 3)], rtol=1e-8)


def test_images_of_unequal_sizes(tmp_path):
    class_folders(tmp_path, {"a": 1, "b": 1})
    save(tmp_path / "a" / "large.png", picture(40, 30))
    data = ImageFolder(tmp_path)
    flat = np.concatenate([data[i][0].reshape(-1, 3) for i in range(3)])
    mean, std = channel_statistics(data, batch_size=1)
    np.testing.assert_allclose(mean, flat.mean(axis=0, dtype=float))
    np.testing.assert_allclose(std, flat.std(axis=0, dtype=float))


def test_results_between():
    statistics = ChannelStatistics(1)
    statistics.add(np.array([[1], [3]], np.uint8))
    assert [float(part[0]) for part in statistics.result()] == [2, 1]
    statistics.add(np.array([[5.0], [7.0]]))
    assert [float(part[0]) for part in statistics.result()] == [4, pytest.approx(5**0.5)]


def test_what_has_no_channels():
    with pytest.raises(ShapeError, match="got single numbers"):
        channel_statistics(ArrayDataset(np.arange(3)))
    with pytest.raises(DTypeError, match="expected a Dataset"):
        channel_statistics(np.zeros((3, 4)))
    with pytest.raises(ArgumentError, match="batch_size must be"):
        channel_statistics(ArrayDataset(np.zeros((3, 4))), 0)
