"""Tones of images: as Pillow's ImageOps and ImageEnhance change them, with its very tables."""

from collections.abc import Iterator

import numpy as np

from minidl.checks import real, whole
from minidl.data.transforms.base import RandomlyApplied, at_least, rounded

__all__ = [
    "RandomAdjustSharpness", "RandomAutocontrast", "RandomEqualize", "RandomPosterize",
    "RandomSolarize",
]  # fmt: skip


class RandomAdjustSharpness(RandomlyApplied):
    """Images sharpened or smoothed by a factor, with probability `p`.

    sharpness_factor: 0 smooths, 1 changes nothing, 2 doubles the distance from the smoothed image,
        whose pixels are means of 3 x 3 with the middle five times; those at the edges stay.
    """

    samples = ({"sharpness_factor": 2}, {"sharpness_factor": 0, "p": 1})
    errors = (
        ({"sharpness_factor": -1}, "sharpness_factor must be 0 or more, got -1"),
        ({"sharpness_factor": 1, "p": -1}, "p must be 0 or more"),
    )

    def __init__(self, sharpness_factor: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.sharpness_factor = at_least(self._who, "sharpness_factor", sharpness_factor, 0)

    def change(self, images: np.ndarray) -> np.ndarray:
        return sharpened(images, self.sharpness_factor)


class RandomAutocontrast(RandomlyApplied):
    """Each channel stretched from 0 to 255, with probability `p`; uint8 only."""

    takes = (np.uint8,)
    samples = ({}, {"p": 1})
    errors = (({"p": 7}, "p must be from 0 to 1"),)

    def change(self, images: np.ndarray) -> np.ndarray:
        return autocontrasted(images)


class RandomEqualize(RandomlyApplied):
    """Each channel's histogram made as level as can be, with probability `p`; uint8 only."""

    takes = (np.uint8,)
    samples = ({}, {"p": 1})
    errors = (({"p": 7}, "p must be from 0 to 1"),)

    def change(self, images: np.ndarray) -> np.ndarray:
        return equalized(images)


class RandomPosterize(RandomlyApplied):
    """Only the first `bits` bits of each number kept, with probability `p`; uint8 only.

    bits: from 0 to 8.
    """

    takes = (np.uint8,)
    samples = ({"bits": 3}, {"bits": 0, "p": 1})
    errors = (
        ({"bits": 9}, "bits must be a whole number from 0 to 8, got 9"),
        ({"bits": 2.5}, "bits must be a whole number from 0 to 8, got 2.5"),
    )

    def __init__(self, bits: int, p: float = 0.5) -> None:
        super().__init__(p)
        self.bits = whole(self._who, "bits", bits, 0, 8)

    def change(self, images: np.ndarray) -> np.ndarray:
        return posterized(images, self.bits)


class RandomSolarize(RandomlyApplied):
    """Numbers from `threshold` up inverted, with probability `p`; uint8 only."""

    takes = (np.uint8,)
    samples = ({"threshold": 128}, {"threshold": 10.5, "p": 1})
    errors = (({"threshold": "half"}, "threshold must be a finite number"),)

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.threshold = real(self._who, "threshold", threshold)

    def change(self, images: np.ndarray) -> np.ndarray:
        return solarized(images, self.threshold)


def sharpened(images: np.ndarray, factor: float) -> np.ndarray:
    """Distances from the smoothed images times `factor`."""
    sharp = np.empty_like(images, order="C")
    for i, image in enumerate(images):
        pixels = image.astype(np.float32)
        h, w, _ = pixels.shape
        if min(h, w) > 2:
            middle = pixels[1:-1, 1:-1]
            near = sum(pixels[y : y + h - 2, x : x + w - 2] for y in range(3) for x in range(3))
            smooth = (near + 4 * middle) / np.float32(13)
            middle[...] = smooth + np.float32(factor) * (middle - smooth)
        sharp[i] = rounded(pixels, images.dtype)
    return sharp


def autocontrasted(images: np.ndarray) -> np.ndarray:
    """Return each channel stretched to the range from 0 to 255; a constant one is left as it is."""
    changed = images.copy()
    for channel in _channels(changed):
        low, high = int(channel.min()), int(channel.max())
        if high > low:
            scale = 255 / (high - low)
            table = (np.arange(256) * scale - low * scale).clip(0, 255)
            channel[...] = table.astype(np.uint8)[channel]  # cut off, as in Pillow
    return changed


def equalized(images: np.ndarray) -> np.ndarray:
    """Return each number replaced by its rank in the channel, scaled to 0 to 255."""
    changed = images.copy()
    for channel in _channels(changed):
        counts = np.bincount(channel.ravel(), minlength=256)
        step = (counts.sum() - counts[channel.max()]) // 255
        if step:
            below = np.cumsum(counts) - counts
            channel[...] = ((step // 2 + below) // step).clip(0, 255).astype(np.uint8)[channel]
    return changed


def posterized(images: np.ndarray, bits: int) -> np.ndarray:
    """Return the first `bits` bits of each byte."""
    return images & np.uint8(256 - 2 ** (8 - bits))


def solarized(images: np.ndarray, threshold: float) -> np.ndarray:
    """Bytes from `threshold` up inverted."""
    return np.where(images < threshold, images, 255 - images)


def _channels(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each channel (H, W) of each image, as a view."""
    for image in images:
        yield from np.moveaxis(image, 2, 0)
