"""Rectangles of images erased."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from minidl.checks import real
from minidl.data.transforms.base import RandomTransform, interval, share
from minidl.data.transforms.crop import random_boxes
from minidl.errors import ArgumentError

__all__ = ["RandomErasing"]


class RandomErasing(RandomTransform):
    """A rectangle of each image erased, with probability `p`.

    scale: (low, high) share of the image's area.  ratio: (low, high) height through width, uniform
        in its logarithm.
    value: a number, or one for each channel; or "random": noise, of uint8 images uniform from 0 to
        255, of float32 ones standard normal, as suits images after `Normalize`.
    Of ten tries, the first that is smaller than the image either way is taken; if none is, the
    image stays. Raises ArgumentError for a value that no byte holds, for uint8 images.

    Source: Zhong, Zheng, Kang, Li and Yang 2020, "Random erasing data augmentation", algorithm 1.
    """

    samples = (
        {},
        {"p": 1, "value": "random"},
        {"p": 0.8, "scale": (0.2, 0.3), "ratio": (1, 2), "value": (1, 20, 255)},
    )
    errors = (
        ({"p": 1.5}, "p must be from 0 to 1, got 1.5"),
        ({"scale": (0, 2)}, "scale must be from 0 to 1"),
        ({"scale": 0.1}, "scale must be two numbers, got 0.1"),
        ({"ratio": (0, 1)}, "ratio must be above 0"),
        ({"value": "noise"}, "value must be a number, one for each channel or 'random', got 'noi"),
        ({"value": ()}, "value must be a number, one for each channel or 'random'"),
        ({"value": (1, float("nan"))}, "value must be a finite number, got nan"),
    )

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float | Sequence[float] | str = 0,
    ) -> None:
        self.p = share(self._who, "p", p)
        self.scale = interval(self._who, "scale", scale)
        if self.scale[0] < 0 or self.scale[1] > 1:
            raise ArgumentError(f"{self._who}: scale must be from 0 to 1, got {scale!r}")
        self.ratio = interval(self._who, "ratio", ratio)
        if self.ratio[0] <= 0:
            raise ArgumentError(f"{self._who}: ratio must be above 0, got {ratio!r}")
        self.value = self._checked(value)
        if isinstance(self.value, tuple):
            self.takes_channels = (len(self.value),)

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        self._check_value(images)
        n, h, w, _ = images.shape
        chosen = rng.random(n) < self.p
        low, high = self.ratio
        boxes, fits = random_boxes(n, (h, w), (h - 1, w - 1), self.scale, (1 / high, 1 / low), rng)
        erased = images.copy()
        for i in np.flatnonzero(chosen & fits):
            top, left, height, width = boxes[i]
            part = erased[i, top : top + height, left : left + width]
            part[...] = self._noise(part, rng) if self.value == "random" else self.value
        return erased

    def _noise(self, part: np.ndarray, rng: Generator) -> np.ndarray:
        if part.dtype == np.uint8:
            return rng.integers(0, 256, part.shape, np.uint8)
        return rng.standard_normal(part.shape, np.float32)

    def _checked(self, value: Any) -> float | tuple[float, ...] | str:
        if isinstance(value, tuple | list | np.ndarray) and len(value) > 0:
            return tuple(real(self._who, "value", number) for number in value)
        if isinstance(value, str | tuple | list | np.ndarray) and value != "random":
            raise ArgumentError(
                f"{self._who}: value must be a number, one for each channel or 'random', got "
                f"{value!r}"
            )
        return "random" if isinstance(value, str) else real(self._who, "value", value)

    def _check_value(self, images: np.ndarray) -> None:
        if isinstance(self.value, str):
            return
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        if images.dtype == np.uint8 and not 0 <= min(values) <= max(values) <= 255:
            raise ArgumentError(
                f"{self._who}: value must be from 0 to 255 for uint8 images, got {self.value!r}"
            )
