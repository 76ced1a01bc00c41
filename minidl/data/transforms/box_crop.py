"""Parts of an image that overlap a box."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.random import Generator

from minidl.checks import positive, real
from minidl.data.detection.overlap import overlaps
from minidl.data.transforms.box_base import BoxTransform, Item, Target
from minidl.errors import ArgumentError

__all__ = ["RandomIoUCrop"]


class RandomIoUCrop(BoxTransform):
    """A part of the image that overlaps a box by a drawn amount, or all of it.

    min_scale, max_scale: width and height of the part, as shares of the image's.
    min_aspect_ratio, max_aspect_ratio: of its width over its height.
    sampler_options: overlaps (intersection over union of part and box) of which one is drawn; 1 or
        more stands for all of the image.
    trials: parts tried before another overlap is drawn.
    Boxes whose centres are in the part are kept, and cut off at its edges; one at least is. Points
    move along, also beyond the edges. "area" is left out, since outlines are cut.

    Source: Liu et al. 2016, "SSD: single shot multibox detector", section 2.2.
    """

    samples = (
        {}, {"sampler_options": (0.5,), "trials": 5}, {"min_scale": 0.5, "max_scale": 0.9},
    )  # fmt: skip
    errors = (
        ({"min_scale": 0}, "scales must be above 0 and up to 1"),
        ({"min_scale": 0.9, "max_scale": 0.5}, "scales must be"),
        ({"min_aspect_ratio": 3}, "ratios must be above 0"),
        ({"sampler_options": ()}, "sampler_options must be overlaps from 0 up"),
        ({"trials": 0}, "trials must be a whole number from 1 up"),
    )
    rounds: ClassVar[int] = 50  # overlaps drawn before the image stays as it is

    def __init__(
        self,
        min_scale: float = 0.3,
        max_scale: float = 1.0,
        min_aspect_ratio: float = 0.5,
        max_aspect_ratio: float = 2.0,
        sampler_options: Sequence[float] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0),
        trials: int = 40,
    ) -> None:
        who = self._who
        self.min_scale = real(who, "min_scale", min_scale)
        self.max_scale = real(who, "max_scale", max_scale)
        self.min_aspect_ratio = real(who, "min_aspect_ratio", min_aspect_ratio)
        self.max_aspect_ratio = real(who, "max_aspect_ratio", max_aspect_ratio)
        self.sampler_options = tuple(real(who, "sampler_options", x) for x in sampler_options)
        self.trials = positive(who, "trials", trials)
        if not 0 < self.min_scale <= self.max_scale <= 1:
            raise ArgumentError(
                f"{who}: scales must be above 0 and up to 1, got {min_scale!r} and {max_scale!r}"
            )
        if not 0 < self.min_aspect_ratio <= self.max_aspect_ratio:
            raise ArgumentError(
                f"{who}: ratios must be above 0 and the smaller one first, got "
                f"{min_aspect_ratio!r} and {max_aspect_ratio!r}"
            )
        if not self.sampler_options or min(self.sampler_options) < 0:
            raise ArgumentError(
                f"{who}: sampler_options must be overlaps from 0 up, got {sampler_options!r}"
            )

    def apply(self, image: np.ndarray, target: Target, generator: Generator) -> Item:
        if not len(target["boxes"]):
            return image, target
        for _ in range(self.rounds):
            least = self.sampler_options[int(generator.integers(len(self.sampler_options)))]
            if least >= 1:
                return image, target
            parts = self._parts(image.shape, generator)
            best = _best_overlaps(parts, target["boxes"])
            fits = np.flatnonzero((best >= least) & (best > 0))
            if len(fits):
                return _cropped(image, target, parts[fits[0]])
        return image, target

    def _parts(self, shape: tuple[int, ...], generator: Generator) -> np.ndarray:
        """Return (n, 4) x1, y1, x2, y2 of parts of an image (H, W, C), those of a right aspect."""
        size = np.array([shape[1], shape[0]])  # width, height
        drawn = generator.random((self.trials, 4))
        shares = self.min_scale + (self.max_scale - self.min_scale) * drawn[:, :2]
        sides = (size * shares).astype(int)
        low = ((size - sides) * drawn[:, 2:]).astype(int)
        aspect = sides[:, 0] / np.maximum(sides[:, 1], 1)
        right = (self.min_aspect_ratio <= aspect) & (aspect <= self.max_aspect_ratio)
        return np.concatenate([low, low + sides], axis=1)[right & (sides.min(axis=1) >= 1)]


def _inside(parts: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return which boxes (n, 4) have their centres in which parts (m, 4), (m, n) bool."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    low, high = parts[:, np.newaxis, :2], parts[:, np.newaxis, 2:]
    kept: np.ndarray = ((centres > low) & (centres < high)).all(axis=2)
    return kept


def _best_overlaps(parts: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the largest overlap of each part with a box whose centre is in it, (m,)."""
    shared = overlaps(parts.astype(np.float64), boxes.astype(np.float64))
    best: np.ndarray = np.where(_inside(parts, boxes), shared, 0).max(axis=1, initial=0)
    return best


def _cropped(image: np.ndarray, target: Target, part: np.ndarray) -> Item:
    x1, y1, x2, y2 = part.tolist()
    (kept,) = _inside(part[np.newaxis], target["boxes"])
    found = {
        name: array[kept] if np.ndim(array) and len(array) == len(kept) else array
        for name, array in target.items()
        if name != "area"
    }
    shift = np.array([x1, y1], np.float32)
    limit = np.array([x2 - x1, y2 - y1], np.float32)
    corners = found["boxes"].reshape(-1, 2, 2) - shift  # (n, 4) -> (n, 2 corners, x and y)
    found["boxes"] = corners.clip(0, limit).reshape(-1, 4)
    if "points" in found:
        found["points"] = found["points"] - shift
    return np.ascontiguousarray(image[y1:y2, x1:x2]), found
