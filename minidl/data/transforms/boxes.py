"""Images with their boxes: mirrored, on a larger canvas, resized."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from minidl.checks import is_whole, positive, real
from minidl.data.transforms.base import interval, rounded, share
from minidl.data.transforms.box_base import BoxTransform, Item, Target
from minidl.data.transforms.geometry import resize_into
from minidl.errors import ArgumentError, ShapeError
from minidl.geometry import pair

__all__ = ["BoxResize", "BoxResizeShort", "RandomBoxFlip", "RandomZoomOut"]


class RandomBoxFlip(BoxTransform):
    """Image, boxes and points mirrored, left for right, with probability `p`.

    mirrored: the number of the point that each point becomes, where boxes have several: a left eye
        becomes a right one. Needed for these.
    Raises ArgumentError also for boxes with several points and no `mirrored` of as many.
    """

    samples = ({}, {"p": 1}, {"p": 0.3, "mirrored": (1, 0)})
    errors = (
        ({"p": 1.1}, "RandomBoxFlip: p must be from 0 to 1, got 1.1"),
        ({"mirrored": (0, 2)}, r"mirrored must be the numbers 0 to 1, each once, got \(0, 2\)"),
    )

    def __init__(self, p: float = 0.5, *, mirrored: Sequence[int] | None = None) -> None:
        self.p = share(self._who, "p", p)
        self.mirrored = None if mirrored is None else tuple(mirrored)
        if self.mirrored is not None and sorted(self.mirrored) != [*range(len(self.mirrored))]:
            raise ArgumentError(
                f"{self._who}: mirrored must be the numbers 0 to {len(self.mirrored) - 1}, each "
                f"once, got {self.mirrored}"
            )

    def apply(self, image: np.ndarray, target: Target, generator: Generator) -> Item:
        points = target.get("points", np.zeros((0, 1, 2), np.float32))
        count = points.shape[1]
        if (self.mirrored is None and count > 1) or (
            self.mirrored is not None and "points" in target and count != len(self.mirrored)
        ):
            raise ArgumentError(
                f"{self._who}: boxes have {count} points: mirrored= must tell which point each "
                f"becomes, {count} numbers, got {self.mirrored}"
            )
        if generator.random() >= self.p:
            return image, target
        width = np.float32(image.shape[1])
        x1, y1, x2, y2 = target["boxes"].T
        target["boxes"] = np.stack([width - x2, y1, width - x1, y2], axis=1)
        if "points" in target:
            points = points * np.array([-1, 1], np.float32) + np.array([width, 0], np.float32)
            target["points"] = points if self.mirrored is None else points[:, self.mirrored]
        return np.ascontiguousarray(image[:, ::-1]), target


class RandomZoomOut(BoxTransform):
    """The image somewhere on a larger canvas of one colour, with probability `p`.

    Made to train on small objects.
    fill: a number or one for each channel; None: the image's own mean colour.
    side_range: (low, high) of the canvas's sides, as multiples of the image's, from 1 up.

    Source: Liu et al. 2016, "SSD: single shot multibox detector", section 3.6.
    """

    samples = ({}, {"p": 1}, {"fill": (1, 2, 3), "side_range": (1.5, 2), "p": 1}, {"fill": 7})
    errors = (
        ({"side_range": (0.5, 2)}, "side_range must be from 1 up"),
        ({"side_range": (3, 2)}, r"side_range must be \(low, high\)"),
        ({"p": -1}, "p must be 0 or more"),
        ({"fill": "mean"}, "fill must be"),
    )

    def __init__(
        self,
        fill: float | Sequence[float] | None = None,
        side_range: tuple[float, float] = (1.0, 4.0),
        p: float = 0.5,
    ) -> None:
        self.fill = fill
        if isinstance(fill, list | tuple):
            self.fill = tuple(real(self._who, "fill", value) for value in fill)
        elif fill is not None:
            self.fill = real(self._who, "fill", fill)
        self.side_range = interval(self._who, "side_range", side_range)
        if self.side_range[0] < 1:
            raise ArgumentError(f"{self._who}: side_range must be from 1 up, got {side_range!r}")
        self.p = share(self._who, "p", p)

    def apply(self, image: np.ndarray, target: Target, generator: Generator) -> Item:
        drawn = generator.random(4)
        if drawn[0] >= self.p:
            return image, target
        height, width, channels = image.shape
        ratio = self.side_range[0] + (self.side_range[1] - self.side_range[0]) * drawn[1]
        size = (int(height * ratio), int(width * ratio))
        top, left = (int(free * d) for free, d in zip(
            (size[0] - height, size[1] - width), drawn[2:], strict=True
        ))  # fmt: skip
        canvas = np.empty((*size, channels), image.dtype)
        canvas[:] = self._colour(image)
        canvas[top : top + height, left : left + width] = image
        shift = np.array([left, top], np.float32)
        target["boxes"] = target["boxes"] + np.tile(shift, 2)
        if "points" in target:
            target["points"] = target["points"] + shift
        return canvas, target

    def _colour(self, image: np.ndarray) -> np.ndarray:
        colour = image.mean(axis=(0, 1), dtype=np.float64) if self.fill is None else self.fill
        found = np.asarray(colour, np.float64)
        if found.ndim and found.shape != image.shape[2:]:
            raise ShapeError(
                f"{self._who}: fill has {len(found)} numbers, but the image has "
                f"{image.shape[2]} channels"
            )
        return rounded(found, image.dtype)


class BoxResize(BoxTransform):
    """Image and boxes stretched to a size.

    (H, W, C) -> (*size, C).
    size: (height, width) in pixels. Resized by Pillow, as by `Resize`.
    """

    random = False
    samples = ({"size": (5, 5)}, {"size": (20, 4)})
    errors = (
        ({"size": 8}, r"BoxResize\(\(8, 8\)\) stretches .* BoxResizeShort\(8\) keeps"),
        ({"size": (0, 4)}, "BoxResize: size must be a whole number"),
    )

    def __init__(self, size: tuple[int, int]) -> None:
        if is_whole(size):
            raise ArgumentError(
                f"BoxResize expected (height, width), got {size!r}: BoxResize(({size}, {size})) "
                f"stretches images to a square, BoxResizeShort({size}) keeps their aspect"
            )
        self.size = pair(size, "BoxResize: size")

    def apply(self, image: np.ndarray, target: Target, generator: Any) -> Item:
        return _resized(image, target, self.size)


class BoxResizeShort(BoxTransform):
    """Image and boxes resized until the shorter side is `size`; the aspect stays.

    longest: the most that the longer side may become: where it would be more, that decides.

    Source: Ren et al. 2015, "Faster R-CNN", section 3.3.
    """

    random = False
    samples = ({"size": 5}, {"size": 8, "longest": 9})
    errors = (
        ({"size": 0}, "size must be a whole number from 1 up"),
        ({"size": 8, "longest": 7}, "longest must be a whole number from 8 up"),
    )

    def __init__(self, size: int, longest: int | None = None) -> None:
        self.size = positive(self._who, "size", size)
        self.longest = longest
        if longest is not None and (not is_whole(longest) or longest < size):
            raise ArgumentError(
                f"{self._who}: longest must be a whole number from {size} up, got {longest!r}"
            )

    def apply(self, image: np.ndarray, target: Target, generator: Any) -> Item:
        sides = image.shape[:2]
        scale = self.size / min(sides)
        if self.longest is not None:
            scale = min(scale, self.longest / max(sides))
        height, width = (max(1, round(side * scale)) for side in sides)
        return _resized(image, target, (height, width))


def _resized(image: np.ndarray, target: Target, size: tuple[int, int]) -> Item:
    if image.shape[:2] == size:
        return image, target
    changed = np.empty((*size, image.shape[2]), image.dtype)
    resize_into(changed, image)
    scale = np.array([size[1] / image.shape[1], size[0] / image.shape[0]], np.float32)
    target["boxes"] = target["boxes"] * np.tile(scale, 2)
    for name, factor in (("points", scale), ("area", scale.prod())):
        if name in target:
            target[name] = target[name] * factor
    return changed, target
