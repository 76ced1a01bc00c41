"""RandAugment: a few random changes of one strength."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from minidl.checks import positive, whole
from minidl.data.transforms.base import RandomTransform
from minidl.data.transforms.colour import jittered
from minidl.data.transforms.geometry import checked_fill, inverses, warped
from minidl.data.transforms.tone import (
    autocontrasted,
    equalized,
    posterized,
    sharpened,
    solarized,
)
from minidl.errors import ArgumentError

__all__ = ["RandAugment"]


class Change(NamedTuple):
    """One of the changes that are drawn from.

    level: how far it goes, given a strength from 0 to 1 and the image's height and width.
    signed: whether it goes either way.
    made: makes of images (N, H, W, C), a level and a fill the changed images.
    """

    level: Callable[[float, int, int], float]
    signed: bool
    made: Callable[[np.ndarray, float, float | str], np.ndarray]


class RandAugment(RandomTransform):
    """`num_ops` changes of geometry, colour or tone, drawn for each image; uint8 only.

    (N, H, W, C) of 1 or 3 channels.
    magnitude: how strong they are, from 0 to num_magnitude_bins - 1.
    fill: as of `RandomAffine`, for what is turned, slanted and shifted.
    Drawn, with repetition, from: identity; slants up to 0.3 and shifts up to 150/331 of the size,
    horizontal and vertical; turns up to 30 degrees; brightness, saturation, contrast and sharpness
    by 1 - 0.9 to 1 + 0.9; 8 down to 4 bits; inversion from 255 down to 0; autocontrast; equalizing.
    Put it before `Normalize`.

    Source: Cubuk, Zoph, Shlens and Le 2020, "RandAugment: Practical automated data augmentation
    with a reduced search space"; operations and strengths are torchvision's, but bilinear.
    """

    takes = (np.uint8,)
    takes_channels = (1, 3)
    samples = (
        {},
        {"num_ops": 3, "magnitude": 30, "fill": 128},
        {"num_ops": 1, "magnitude": 4, "num_magnitude_bins": 5, "fill": "edge"},
    )
    errors = (
        ({"num_ops": 0}, "num_ops must be a whole number from 1 up"),
        ({"num_magnitude_bins": 1}, "num_magnitude_bins must be 2 or more, got 1"),
        ({"magnitude": 31}, "magnitude must be a whole number from 0 to 30, got 31"),
        ({"magnitude": 0.5}, "magnitude must be a whole number from 0 to 30, got 0.5"),
        ({"fill": "black"}, r"fill \(if not 'edge'\) must be a finite number"),
    )

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        *,
        fill: float | str = 0,
    ) -> None:
        self.num_ops = positive(self._who, "num_ops", num_ops)
        bins = self.num_magnitude_bins = positive(
            self._who, "num_magnitude_bins", num_magnitude_bins
        )
        if bins < 2:
            raise ArgumentError(f"{self._who}: num_magnitude_bins must be 2 or more, got {bins}")
        self.magnitude = whole(self._who, "magnitude", magnitude, 0, bins - 1)
        self.fill = checked_fill(self._who, fill)

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        n, h, w, _ = images.shape
        drawn = rng.integers(0, len(CHANGES), (n, self.num_ops))
        backwards = rng.random((n, self.num_ops)) < 0.5
        changes, strength = list(CHANGES.values()), self.magnitude / (self.num_magnitude_bins - 1)
        augmented = images.copy()
        for i, k in np.ndindex(drawn.shape):
            change = changes[drawn[i, k]]
            level = change.level(strength, h, w)
            if change.signed and backwards[i, k]:
                level = -level
            augmented[i : i + 1] = change.made(augmented[i : i + 1], level, self.fill)
        return augmented


def _up_to(most: float) -> Callable[[float, int, int], float]:
    return lambda strength, h, w: most * strength


def _mapped(
    images: np.ndarray, fill: float | str, across: list[float], down: list[float]
) -> np.ndarray:
    """Images pulled through the map whose rows are `across` and `down`."""
    return warped("RandAugment", images, np.array([[across, down]]), fill)


def _turned(images: np.ndarray, degrees: float, fill: float | str) -> np.ndarray:
    zero, one = np.zeros(1), np.ones(1)
    h, w = images.shape[1:3]
    matrices = inverses(np.radians([degrees]), np.zeros((1, 2)), zero, one, (h, w))
    return warped("RandAugment", images, matrices, fill)


def _jitter(name: str) -> Change:
    """Return a factor of 1 + level, of what `ColorJitter` calls so."""

    def made(images: np.ndarray, level: float, fill: Any) -> np.ndarray:
        if name == "saturation" and images.shape[3] == 1:
            return images  # grey already
        return jittered(images, **{name: np.array([1 + level], np.float32)})

    return Change(_up_to(0.9), True, made)


CHANGES: dict[str, Change] = {
    "identity": Change(_up_to(0), False, lambda x, level, fill: x),
    "shear_x": Change(
        _up_to(0.3), True, lambda x, level, fill: _mapped(x, fill, [1, level, 0], [0, 1, 0])
    ),
    "shear_y": Change(
        _up_to(0.3), True, lambda x, level, fill: _mapped(x, fill, [1, 0, 0], [level, 1, 0])
    ),
    "translate_x": Change(
        lambda strength, h, w: int(150 * w * strength / 331), True,
        lambda x, level, fill: _mapped(x, fill, [1, 0, level], [0, 1, 0]),
    ),
    "translate_y": Change(
        lambda strength, h, w: int(150 * h * strength / 331), True,
        lambda x, level, fill: _mapped(x, fill, [1, 0, 0], [0, 1, level]),
    ),
    "rotate": Change(_up_to(30), True, _turned),
    "brightness": _jitter("brightness"),
    "color": _jitter("saturation"),
    "contrast": _jitter("contrast"),
    "sharpness": Change(_up_to(0.9), True, lambda x, level, fill: sharpened(x, 1 + level)),
    "posterize": Change(
        lambda strength, h, w: 8 - round(4 * strength), False,
        lambda x, level, fill: posterized(x, int(level)),
    ),
    "solarize": Change(
        lambda strength, h, w: 255 * (1 - strength), False,
        lambda x, level, fill: solarized(x, level),
    ),
    "autocontrast": Change(_up_to(0), False, lambda x, level, fill: autocontrasted(x)),
    "equalize": Change(_up_to(0), False, lambda x, level, fill: equalized(x)),
}  # fmt: skip
