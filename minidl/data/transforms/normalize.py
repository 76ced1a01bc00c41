"""From pixels to the numbers that networks take."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.checks import real
from minidl.data.transforms.base import Transform
from minidl.errors import ArgumentError, ShapeError

__all__ = ["Normalize", "SubtractMean"]

AT_A_TIME = 64 * 1024  # numbers that stay in the cache between a multiplication and an addition


class Normalize(Transform):
    """`(images / scale - mean) / std`, float32.

    mean, std: a number, or one for each channel; std above 0.  scale: above 0; the 255 of uint8
    images brings them to 0..1.
    Raises ShapeError where the images have another number of channels.
    """

    gives = np.float32
    samples = ({"mean": 0.5, "std": 0.2}, {"mean": (1, 2, 3), "std": (1, 2, 4), "scale": 1})
    errors = (
        ({"mean": 0, "std": 0}, "scale and std must be above 0"),
        ({"mean": (), "std": 1}, "mean must be a number or one for each channel"),
        ({"mean": "0.5", "std": 1}, "mean must be a number or one for each channel"),
        ({"mean": 0, "std": 1, "scale": -1}, "scale and std must be above 0"),
    )

    def __init__(
        self, mean: float | Sequence[float], std: float | Sequence[float], *, scale: float = 255.0
    ) -> None:
        self.mean = _each(self._who, "mean", mean)
        self.std = _each(self._who, "std", std)
        self.scale = real(self._who, "scale", scale)
        if min(self.scale, *self.std) <= 0:
            raise ArgumentError(
                f"{self._who}: scale and std must be above 0, got {self.scale!r} and {std!r}"
            )

    def apply(self, images: np.ndarray) -> np.ndarray:
        _check_channels(self._who, images, mean=self.mean, std=self.std)
        std = np.array(self.std)
        return _scaled_and_shifted(images, 1 / (self.scale * std), -np.array(self.mean) / std)


class SubtractMean(Transform):
    """`images - mean`, float32.

    mean: a number, or one for each channel, on the images' own scale.
    Raises ShapeError where the images have another number of channels.
    """

    gives = np.float32
    samples = ({"mean": 100}, {"mean": (1.5, 2.5, 3.5)})
    errors = (({"mean": (1, None, 3)}, "mean must be a finite number, got None"),)

    def __init__(self, mean: float | Sequence[float]) -> None:
        self.mean = _each(self._who, "mean", mean)

    def apply(self, images: np.ndarray) -> np.ndarray:
        _check_channels(self._who, images, mean=self.mean)
        return _scaled_and_shifted(images, np.ones(1), -np.array(self.mean))


def _scaled_and_shifted(images: np.ndarray, gain: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """images * gain + shift, with gain and shift (C,) or (1,).

    A row of the image gets a row of each, so that NumPy's loops run over W * C numbers, not C.
    """
    n, h, w, c = images.shape
    gains, shifts = (np.tile(np.resize(a, c).astype(np.float32), w) for a in (gain, shift))
    rows = images.reshape(n * h, w * c)  # (N, H, W, C) -> (N*H, W*C)
    result = np.empty(rows.shape, np.float32)
    step = max(1, AT_A_TIME // (w * c))
    for first in range(0, n * h, step):
        part = result[first : first + step]
        np.multiply(rows[first : first + step], gains, out=part)
        part += shifts
    return result.reshape(images.shape)  # (N*H, W*C) -> (N, H, W, C)


def _each(who: str, name: str, value: Any) -> tuple[float, ...]:
    """Return one number, or one for each channel, as floats."""
    values = value if isinstance(value, Sequence | np.ndarray) else [value]
    if isinstance(value, str) or not len(values):
        raise ArgumentError(
            f"{who}: {name} must be a number or one for each channel, got {value!r}"
        )
    return tuple(real(who, name, number) for number in values)


def _check_channels(who: str, images: np.ndarray, **settings: tuple[float, ...]) -> None:
    for name, values in settings.items():
        if len(values) not in (1, images.shape[3]):
            raise ShapeError(
                f"{who} has a {name} for {len(values)} channels, but the images have "
                f"{images.shape[3]}: shape {images.shape}"
            )
