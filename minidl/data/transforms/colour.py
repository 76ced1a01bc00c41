"""Brightness, contrast, saturation; grey, BGR and YUV."""

import numpy as np
from numpy.random import Generator

from minidl.data.transforms.base import RandomTransform, Transform, at_least, rounded
from minidl.errors import ArgumentError, ShapeError

__all__ = ["ColorJitter", "Grayscale", "RandomBrightness", "RandomContrast", "ToBGR", "ToYUV"]

# How bright red, green and blue are: ITU-R BT.601
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class RandomBrightness(RandomTransform):
    """Each image's pixels times a factor of its own; evaluation: nothing.

    amount: factors are uniform from 1 - amount (at least 0) to 1 + amount.
    """

    def __init__(self, amount: float) -> None:
        self.amount = at_least(self._who, "amount", amount, 0)

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        return _jittered(images, _factors(self.amount, len(images), rng), None, None)


class RandomContrast(RandomTransform):
    """Each image's distances from its mean grey times a factor of its own; evaluation: nothing.

    amount: factors are uniform from 1 - amount (at least 0) to 1 + amount.
    Images of 3 channels (RGB), or of any number that is grey by their mean.
    """

    def __init__(self, amount: float) -> None:
        self.amount = at_least(self._who, "amount", amount, 0)

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        return _jittered(images, None, _factors(self.amount, len(images), rng), None)


class ColorJitter(RandomTransform):
    """Each image's brightness, then contrast, then saturation, by factors of its own.

    Evaluation: nothing.

    brightness: of pixels.  contrast: of distances from the image's mean grey.  saturation: of
        distances from the pixel's grey; the images must be RGB (ShapeError).
    Factors are uniform from 1 - setting (at least 0) to 1 + setting; uint8 is rounded and clipped
    once, at the end.
    """

    def __init__(self, brightness: float = 0, contrast: float = 0, saturation: float = 0) -> None:
        self.brightness = at_least(self._who, "brightness", brightness, 0)
        self.contrast = at_least(self._who, "contrast", contrast, 0)
        self.saturation = at_least(self._who, "saturation", saturation, 0)

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        if self.saturation:
            self._check_rgb(images)
        settings = self.brightness, self.contrast, self.saturation
        factors = [_factors(amount, len(images), rng) for amount in settings]
        return _jittered(images, *(f if s else None for f, s in zip(factors, settings)))


class Grayscale(Transform):
    """Grey images: (N, H, W, 3) or (N, H, W, 1) -> (N, H, W, channels).

    Of RGB, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
    channels: 1, or 3 of the same, for networks that take colours.
    """

    def __init__(self, channels: int = 1) -> None:
        if channels not in (1, 3):
            raise ArgumentError(f"Grayscale: channels must be 1 or 3, got {channels!r}")
        self.channels = channels

    def apply(self, images: np.ndarray) -> np.ndarray:
        if images.shape[3] not in (1, 3):
            raise ShapeError(
                f"Grayscale expected images of 1 or 3 channels, got shape {images.shape}"
            )
        if images.shape[3] == 3:
            images = rounded(_grey(images), images.dtype)
        return images if self.channels == 1 else np.repeat(images, 3, axis=3)


class ToBGR(Transform):
    """Channels in the opposite order: RGB becomes BGR, and BGR becomes RGB."""

    def apply(self, images: np.ndarray) -> np.ndarray:
        self._check_rgb(images)
        return np.ascontiguousarray(images[..., ::-1])


class ToYUV(Transform):
    """RGB in brightness and two colour differences, float32 on the scale of the input.

    Y = 0.299 R + 0.587 G + 0.114 B
    U = 0.436 / 0.886 (B - Y), from -0.436 to 0.436 of the scale
    V = 0.615 / 0.701 (R - Y), from -0.615 to 0.615

    Source: ITU-R BT.601 for Y; U and V as in analogue PAL.
    """

    def apply(self, images: np.ndarray) -> np.ndarray:
        self._check_rgb(images)
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


def _jittered(
    images: np.ndarray,
    brightness: np.ndarray | None,
    contrast: np.ndarray | None,
    saturation: np.ndarray | None,
) -> np.ndarray:
    """Images with these factors (N,), image by image: so they stay in the cache."""
    jittered = np.empty_like(images, order="C")
    for i, image in enumerate(images):
        pixels = image.astype(np.float32, order="C")  # a mean's bits depend on it
        if brightness is not None:
            pixels *= brightness[i]
        if contrast is not None:
            grey = _grey(pixels) if pixels.shape[2] == 3 else pixels
            _stretch(pixels, grey.mean(dtype=np.float64).astype(np.float32), contrast[i])
        if saturation is not None:
            _stretch(pixels, _grey(pixels), saturation[i])
        jittered[i] = rounded(pixels, images.dtype)
    return jittered


def _stretch(pixels: np.ndarray, middle: np.ndarray, factor: np.ndarray) -> None:
    """Multiply distances from the middle, in place."""
    pixels -= middle
    pixels *= factor
    pixels += middle
