"""Brightness, contrast, saturation, hue; grey, BGR and YUV."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

from minidl.data.transforms.base import (
    RandomlyApplied,
    RandomTransform,
    Transform,
    at_least,
    interval,
    rounded,
)
from minidl.errors import ArgumentError

__all__ = [
    "ColorJitter", "Grayscale", "RandomBrightness", "RandomContrast", "RandomGrayscale", "ToBGR",
    "ToYUV",
]  # fmt: skip

# How bright red, green and blue are: ITU-R BT.601
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class RandomBrightness(RandomTransform):
    """Pixels times a factor, one an image.

    amount: factors are uniform from 1 - amount (at least 0) to 1 + amount.
    """

    samples = ({"amount": 0.5},)
    errors = (({"amount": -1}, "amount must be 0 or more"),)

    def __init__(self, amount: float) -> None:
        self.amount = at_least(self._who, "amount", amount, 0)

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        return jittered(images, brightness=_factors(self.amount, len(images), rng))


class RandomContrast(RandomTransform):
    """Distances from the image's mean grey times a factor, one an image.

    amount: factors are uniform from 1 - amount (at least 0) to 1 + amount.
    Images of 3 channels (RGB), or of any number that is grey by their mean.
    """

    samples = ({"amount": 0.5},)
    errors = (({"amount": "much"}, "amount must be a finite number"),)

    def __init__(self, amount: float) -> None:
        self.amount = at_least(self._who, "amount", amount, 0)

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        return jittered(images, contrast=_factors(self.amount, len(images), rng))


class ColorJitter(RandomTransform):
    """Brightness, contrast, saturation and hue changed, in this order.

    brightness: of pixels.  contrast: of distances from the image's mean grey.  saturation: of
        distances from the pixel's grey. Factors are uniform from 1 - setting (at least 0) to
        1 + setting, or in the interval (low, high).
    hue: how far colours are turned around the circle, in shares of it, up to 0.5 either way or
        (low, high); the largest and smallest of a pixel's three numbers stay.
    Saturation and hue need RGB images (ShapeError). uint8 is rounded and clipped once, at the end.
    """

    samples = (
        {},
        {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4},
        {"brightness": (0.5, 0.8), "hue": 0.1},
        {"hue": (-0.5, 0.2)},
    )
    errors = (
        ({"contrast": -0.1}, "ColorJitter: contrast must be 0 or more, got -0.1"),
        ({"saturation": float("nan")}, "saturation must be a finite number"),
        ({"brightness": (-1, 1)}, r"brightness must be 0 or more, got \(-1, 1\)"),
        ({"brightness": (1, 0)}, r"brightness must be \(low, high\)"),
        ({"hue": 0.6}, "hue must be from -0.5 to 0.5, got 0.6"),
        ({"hue": -0.1}, "hue must be 0 or more, got -0.1"),
        ({"hue": (-0.6, 0)}, r"hue must be from -0.5 to 0.5, got \(-0.6, 0\)"),
    )

    def __init__(
        self,
        brightness: float | tuple[float, float] = 0,
        contrast: float | tuple[float, float] = 0,
        saturation: float | tuple[float, float] = 0,
        hue: float | tuple[float, float] = 0,
    ) -> None:
        self.brightness = self._factors("brightness", brightness)
        self.contrast = self._factors("contrast", contrast)
        self.saturation = self._factors("saturation", saturation)
        self.hue = self._turns(hue)
        if self.saturation != (1, 1) or self.hue != (0, 0):
            self.takes_channels = (3,)

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        drawn = {}
        for name, (low, high) in self.settings.items():
            amounts = rng.uniform(low, high, len(images)).astype(np.float32)
            if (low, high) != UNCHANGED[name]:
                drawn[name] = amounts
        return jittered(images, **drawn)

    def _factors(self, name: str, value: Any) -> tuple[float, float]:
        if not isinstance(value, tuple | list):
            amount = at_least(self._who, name, value, 0)
            return max(0.0, 1 - amount), 1 + amount
        low, high = interval(self._who, name, value)
        if low < 0:
            raise ArgumentError(f"{self._who}: {name} must be 0 or more, got {value!r}")
        return low, high

    def _turns(self, hue: Any) -> tuple[float, float]:
        if isinstance(hue, tuple | list):
            low, high = interval(self._who, "hue", hue)
        else:
            high = at_least(self._who, "hue", hue, 0)
            low = -high
        if low < -0.5 or high > 0.5:
            raise ArgumentError(f"{self._who}: hue must be from -0.5 to 0.5, got {hue!r}")
        return low, high


class Grayscale(Transform):
    """Grey images, of one channel or three.

    (N, H, W, 3) or (N, H, W, 1) -> (N, H, W, channels).
    Of RGB, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
    channels: 1, or 3 of the same, for networks that take colours.
    """

    takes_channels = (1, 3)
    samples = ({}, {"channels": 3})
    errors = (({"channels": 2}, "channels must be 1 or 3, got 2"),)

    def __init__(self, channels: int = 1) -> None:
        if channels not in (1, 3):
            raise ArgumentError(f"Grayscale: channels must be 1 or 3, got {channels!r}")
        self.channels = channels

    def apply(self, images: np.ndarray) -> np.ndarray:
        if images.shape[3] == 3:
            images = rounded(_grey(images), images.dtype)
        return images if self.channels == 1 else np.repeat(images, 3, axis=3)


class RandomGrayscale(RandomlyApplied):
    """Images made grey with probability `p`; their channels stay.

    (N, H, W, 3) or (N, H, W, 1). Grey as by `Grayscale`.
    """

    takes_channels = (1, 3)
    samples = ({}, {"p": 0.5})
    errors = (({"p": 2}, "p must be from 0 to 1"),)

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def change(self, images: np.ndarray) -> np.ndarray:
        return Grayscale(channels=images.shape[3]).apply(images)


class ToBGR(Transform):
    """Channels in the opposite order: RGB becomes BGR, and BGR becomes RGB."""

    takes_channels = (3,)
    samples = ({},)

    def apply(self, images: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(images[..., ::-1])


class ToYUV(Transform):
    """Brightness and two colour differences, float32 on the scale of the input.

    Y = 0.299 R + 0.587 G + 0.114 B
    U = 0.436 / 0.886 (B - Y), from -0.436 to 0.436 of the scale
    V = 0.615 / 0.701 (R - Y), from -0.615 to 0.615

    Source: ITU-R BT.601 for Y; U and V as in analogue PAL.
    """

    takes_channels = (3,)
    gives = np.float32
    samples = ({},)

    def apply(self, images: np.ndarray) -> np.ndarray:
        y = _grey(images)
        blue = np.float32(0.436 / 0.886) * (images[..., 2:] - y)
        red = np.float32(0.615 / 0.701) * (images[..., :1] - y)
        return np.concatenate([y, blue, red], axis=3)


def _grey(images: np.ndarray) -> np.ndarray:
    """(..., 3) -> (..., 1), float32. Sums in one order, whatever the number of images."""
    red, green, blue = (LUMA[c] * images[..., c : c + 1] for c in range(3))
    return red + green + blue


def _factors(amount: float, count: int, rng: Generator) -> np.ndarray:
    return rng.uniform(max(0.0, 1 - amount), 1 + amount, count).astype(np.float32)


def jittered(images: np.ndarray, **amounts: np.ndarray) -> np.ndarray:
    """Images changed in these ways, each by amounts (N,), image by image: they stay in the cache.

    brightness, contrast, saturation: factors.  hue: shares of the circle. In the order given.
    """
    changed = np.empty_like(images, order="C")
    for i, image in enumerate(images):
        pixels = image.astype(np.float32, order="C")  # a mean's bits depend on it
        for name, amount in amounts.items():
            CHANGES[name](pixels, amount[i])
        changed[i] = rounded(pixels, images.dtype)
    return changed


def _brighten(pixels: np.ndarray, factor: np.ndarray) -> None:
    pixels *= factor


def _add_contrast(pixels: np.ndarray, factor: np.ndarray) -> None:
    grey = _grey(pixels) if pixels.shape[2] == 3 else pixels
    _stretch(pixels, grey.mean(dtype=np.float64).astype(np.float32), factor)


def _saturate(pixels: np.ndarray, factor: np.ndarray) -> None:
    _stretch(pixels, _grey(pixels), factor)


def _stretch(pixels: np.ndarray, middle: np.ndarray, factor: np.ndarray) -> None:
    """Multiply distances from the middle, in place."""
    pixels -= middle
    pixels *= factor
    pixels += middle


def _turn_hue(pixels: np.ndarray, turn: np.ndarray) -> None:
    """Turn the hue of RGB pixels (H, W, 3), in place.

    Source: A. R. Smith 1978, "Color gamut transform pairs", written with the largest number and its
    distance to the smallest, so that it holds on every scale.
    """
    red, green, blue = (pixels[..., c] for c in range(3))
    high = pixels.max(axis=2)
    distance = high - pixels.min(axis=2)
    safe = np.where(distance > 0, distance, np.float32(1))
    sixths = np.where(
        high == red, (green - blue) / safe,
        np.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    ) + np.float32(6) * turn  # fmt: skip
    for c, place in enumerate((5, 3, 1)):
        k = (place + sixths) % 6
        pixels[..., c] = high - distance * np.minimum(k, 4 - k).clip(0, 1)


CHANGES: dict[str, Callable[[np.ndarray, np.ndarray], None]] = {
    "brightness": _brighten, "contrast": _add_contrast, "saturation": _saturate, "hue": _turn_hue,
}  # fmt: skip
UNCHANGED = {"brightness": (1, 1), "contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
