"""Mean and standard deviation of a dataset's channels."""

import numpy as np

from minidl.checks import positive
from minidl.data.dataset import Dataset
from minidl.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["ChannelStatistics", "channel_statistics"]


class ChannelStatistics:
    """Means and standard deviations over all axes but the last, of arrays that come in turn.

    channels: the length of the last axis.
    Of uint8 each value is counted, so they are exact but for the last division and root. Other
    numbers are merged in float64.
    Source: T. Chan, G. Golub, R. LeVeque, "Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances", 1979, eq. 2.1.
    """

    def __init__(self, channels: int) -> None:
        self._counts = np.zeros((channels, 256), np.int64)  # how often each channel has each value
        self._number = 0
        self._mean = np.zeros(channels)
        self._squares = np.zeros(channels)  # sums of squared distances from the mean

    def add(self, array: np.ndarray) -> None:
        """Take in an array (..., C)."""
        flat = array.reshape(-1, array.shape[-1])  # (n, C)
        if array.dtype == np.uint8:
            for channel, counts in enumerate(self._counts):
                counts += np.bincount(flat[:, channel], minlength=256)
        elif len(flat):
            numbers = flat.astype(np.float64)
            mean = numbers.mean(axis=0)
            self._merge(len(flat), mean, np.square(numbers - mean).sum(axis=0))

    def _merge(self, number: int, mean: np.ndarray, squares: np.ndarray) -> None:
        both = self._number + number
        distance = mean - self._mean
        self._mean = self._mean + distance * (number / both)
        self._squares = self._squares + squares + distance**2 * (self._number * number / both)
        self._number = both

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (C,) and standard deviation (C,), float64, in the numbers' own units."""
        counted = int(self._counts[0].sum())
        if counted:
            values = np.arange(256)
            mean = (self._counts @ values) / counted
            distances = np.square(values - mean[:, np.newaxis])  # (C, 256)
            self._merge(counted, mean, (self._counts * distances).sum(axis=1))
            self._counts[...] = 0
        return self._mean.copy(), np.sqrt(self._squares / max(1, self._number))


def channel_statistics(dataset: Dataset, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel of a dataset's first arrays, in one pass.

    dataset: whose items begin with an array (..., C), such as an image (H, W, C).
    batch_size: items read at a time; 1 for images of unequal sizes.
    Gives (C,) and (C,), float64, in the pixels' units (0..255 for uint8); the deviation is that
    of all pixels (divided by their number).
    Raises DTypeError for what is no dataset, ArgumentError for an empty one, ShapeError for items
    without channels.
    """
    if not isinstance(dataset, Dataset):
        raise DTypeError(f"channel_statistics expected a Dataset, got {type(dataset).__name__}")
    batch_size = positive("channel_statistics", "batch_size", batch_size)
    if not len(dataset):
        raise ArgumentError("channel_statistics expected at least one item, got an empty dataset")
    statistics: ChannelStatistics | None = None
    for start in range(0, len(dataset), batch_size):
        images = dataset.batch(np.arange(start, min(start + batch_size, len(dataset))))[0]
        if images.ndim < 2:
            raise ShapeError("channel_statistics expected items (..., C), got single numbers")
        statistics = statistics or ChannelStatistics(images.shape[-1])
        statistics.add(images)
    assert statistics is not None  # there is an item
    return statistics.result()
