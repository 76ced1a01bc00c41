"""Blurred images."""

from typing import Any

import numpy as np
from numpy.random import Generator

from minidl.checks import positive, real
from minidl.data.transforms.base import RandomTransform, interval, rounded
from minidl.errors import ArgumentError, ShapeError

__all__ = ["GaussianBlur"]


class GaussianBlur(RandomTransform):
    """Images blurred by a Gaussian, one width an image.

    kernel_size: pixels that are averaged either way, an odd number.
    sigma: the standard deviation in pixels, uniform in (low, high), or always one number; above 0.
    Weights are exp(-d^2 / (2 sigma^2)) at distances d, divided by their sum. Beyond the edges the
    image is mirrored, the outermost pixel not repeated; it must be larger than half the kernel
    (ShapeError).
    """

    samples = ({"kernel_size": 3}, {"kernel_size": 7, "sigma": (0.5, 3)}, {"kernel_size": 5,
               "sigma": 1.5})  # fmt: skip
    errors = (
        ({"kernel_size": 4}, "kernel_size must be an odd number, got 4"),
        ({"kernel_size": (3, 5)}, "kernel_size must be a whole number from 1 up"),
        ({"kernel_size": 3, "sigma": 0}, "sigma must be above 0, got 0"),
        ({"kernel_size": 3, "sigma": (0, 1)}, r"sigma must be above 0, got \(0, 1\)"),
        ({"kernel_size": 3, "sigma": (2, 1)}, r"sigma must be \(low, high\)"),
    )

    def __init__(self, kernel_size: int, sigma: float | tuple[float, float] = (0.1, 2.0)) -> None:
        self.kernel_size = positive(self._who, "kernel_size", kernel_size)
        if self.kernel_size % 2 == 0:
            raise ArgumentError(
                f"{self._who}: kernel_size must be an odd number, got {kernel_size}"
            )
        self.sigma = self._interval(sigma)

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        half = self.kernel_size // 2
        if min(images.shape[1:3]) <= half:
            raise ShapeError(
                f"{self._who} of {self.kernel_size} pixels needs images of at least {half + 1} "
                f"either way, got shape {images.shape}: make kernel_size smaller"
            )
        blurred = np.empty_like(images, order="C")
        distances = np.arange(-half, half + 1)
        for i, sigma in enumerate(rng.uniform(*self.sigma, len(images))):
            weights = np.exp(-0.5 * (distances / sigma) ** 2)
            pixels = images[i].astype(np.float32)
            for axis in (0, 1):
                pixels = _averaged(pixels, (weights / weights.sum()).astype(np.float32), axis)
            blurred[i] = rounded(pixels, images.dtype)
        return blurred

    def _interval(self, sigma: Any) -> tuple[float, float]:
        if isinstance(sigma, tuple | list):
            low, high = interval(self._who, "sigma", sigma)
        else:
            low = high = real(self._who, "sigma", sigma)
        if low <= 0:
            raise ArgumentError(f"{self._who}: sigma must be above 0, got {sigma!r}")
        return low, high


def _averaged(pixels: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Weighted means along an axis of (H, W, C), mirrored at the edges; the shape stays."""
    half, length = len(weights) // 2, pixels.shape[axis]
    around = [(half, half) if a == axis else (0, 0) for a in range(3)]
    padded = np.moveaxis(np.pad(pixels, around, "reflect"), axis, 0)
    total = weights[0] * padded[:length]
    for k in range(1, len(weights)):
        total += weights[k] * padded[k : k + length]
    return np.moveaxis(total, 0, axis)
