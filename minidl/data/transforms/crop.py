"""Parts of images: from the centre, from anywhere, ten at a time, of any size and aspect."""

import math
from typing import Any

import numpy as np
from numpy.random import Generator

from minidl.checks import positive
from minidl.data.transforms.base import RandomTransform, Transform, interval
from minidl.data.transforms.geometry import ResizeShort, resize_into
from minidl.errors import ArgumentError, ShapeError
from minidl.geometry import Pair, pair

__all__ = ["CenterCrop", "RandomCrop", "RandomResizedCrop", "TenCrop"]

TRIES = 10


class CenterCrop(Transform):
    """The middle of each image.

    (N, H, W, C) -> (N, *size, C).
    size: pixels, one number or (height, width). An odd pixel is cut off at the bottom or right.
    Raises ShapeError where the images are smaller.
    """

    samples = ({"size": 5}, {"size": (6, 3)})
    errors = (
        ({"size": 0}, "CenterCrop: size must be a whole number from 1 up"),
        ({"size": (4, 4, 3)}, "or a pair of them"),
    )

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = pair(size, "CenterCrop: size")

    def apply(self, images: np.ndarray) -> np.ndarray:
        return _centre(self._who, images, self.size)


class RandomCrop(RandomTransform):
    """A patch from anywhere in each image, zeros put around it before.

    (N, H, W, C) -> (N, *size, C).  Evaluation: the centre.
    size: pixels, one number or (height, width).
    padding: zeros put around the images before: a number, or ((top, bottom), (left, right)). A pair
        of two numbers is refused, since PyTorch gives the horizontal one first.
    Raises ShapeError where the images are smaller.
    """

    samples = (
        {"size": 5}, {"size": 8, "padding": 2}, {"size": (4, 6), "padding": ((0, 1), (2, 0))},
    )  # fmt: skip
    errors = (
        ({"size": 1.5}, "RandomCrop: size must be a whole number"),
        ({"size": 4, "padding": (1, 2)}, r"RandomCrop: padding must .* got \(1, 2\)"),
        ({"size": 4, "padding": -1}, "RandomCrop: padding must be a whole number from 0"),
    )

    def __init__(self, size: int | tuple[int, int], padding: Any = 0) -> None:
        self.size = pair(size, "RandomCrop: size")
        sides = padding if isinstance(padding, tuple | list) else ((padding, padding),) * 2
        if len(sides) != 2 or not all(isinstance(side, tuple | list) for side in sides):
            raise ArgumentError(
                "RandomCrop: padding must be a whole number from 0 up, or ((top, bottom), "
                f"(left, right)), got {padding!r}"
            )
        top_bottom, left_right = (pair(side, "RandomCrop: padding", 0) for side in sides)
        self.padding = (top_bottom, left_right)

    def apply(self, images: np.ndarray) -> np.ndarray:
        return _centre(self._who, self._padded(images), self.size)

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        images = self._padded(images)
        free = _free(self._who, images, self.size)
        places = rng.integers(0, np.array(free) + 1, (len(images), 2))
        h, w = self.size
        patches = np.empty((len(images), h, w, images.shape[3]), images.dtype)
        for image, patch, (top, left) in zip(images, patches, places, strict=True):
            patch[:] = image[top : top + h, left : left + w]
        return patches

    def _padded(self, images: np.ndarray) -> np.ndarray:
        if self.padding == ((0, 0), (0, 0)):
            return images
        return np.pad(images, ((0, 0), *self.padding, (0, 0)))


class TenCrop(Transform):
    """The corners and the centre, and their mirror images: ten images of one.

    (N, H, W, C) -> (10 N, *size, C).  Made to average a network's answers over.
    Of image i, the views 10 i to 10 i + 4 are the corners (top left, top right, bottom left, bottom
    right) and the centre; 10 i + 5 to 10 i + 9 are their mirror images, in the same order.
    size: pixels, one number or (height, width).
    Raises ShapeError where the images are smaller.

    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural
    networks", section 4.1.
    """

    views = 10
    samples = ({"size": 5}, {"size": (6, 2)})
    errors = (({"size": True}, "TenCrop: size must be a whole number"),)

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = pair(size, "TenCrop: size")

    def apply(self, images: np.ndarray) -> np.ndarray:
        bottom, right = _free(self._who, images, self.size)
        places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
        views = np.empty((len(images), self.views, *self.size, images.shape[3]), images.dtype)
        h, w = self.size
        for k, (top, left) in enumerate(places):
            views[:, k] = images[:, top : top + h, left : left + w]
        views[:, 5:] = views[:, :5, :, ::-1]
        return views.reshape(-1, *views.shape[2:])  # (N, 10, ...) -> (10 N, ...)


class RandomResizedCrop(RandomTransform):
    """A part of each image, of any size, place and aspect, stretched to a square.

    (N, H, W, C) -> (N, size, size, C).
    Evaluation: the shorter side resized, then the centre.
    scale: (low, high) share of the image's area.  ratio: (low, high) width through height, uniform
        in its logarithm.
    Of ten tries, the first that fits in the image is taken; if none does, the largest part in the
    middle whose aspect is within `ratio`. Resized by Pillow, as by `Resize`.

    Source: Szegedy et al. 2014, "Going deeper with convolutions", section 6.
    """

    samples = ({"size": 4}, {"size": 7, "scale": (0.3, 0.5), "ratio": (0.2, 0.3)})
    errors = (
        ({"size": (4, 4)}, "size must be a whole number from 1 up"),
        ({"size": 4, "scale": (0, 1)}, "scale must be above 0 and up to 1"),
        ({"size": 4, "ratio": (-1, 1)}, "ratio must be above 0"),
    )

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.08, 1),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        self.size = positive(self._who, "size", size)
        self.scale = interval(self._who, "scale", scale)
        self.ratio = interval(self._who, "ratio", ratio)
        if not (self.scale[0] > 0 and self.scale[1] <= 1):
            raise ArgumentError(f"{self._who}: scale must be above 0 and up to 1, got {scale!r}")
        if self.ratio[0] <= 0:
            raise ArgumentError(f"{self._who}: ratio must be above 0, got {ratio!r}")

    def apply(self, images: np.ndarray) -> np.ndarray:
        return _centre(self._who, ResizeShort(self.size).apply(images), (self.size, self.size))

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        n, h, w, channels = images.shape
        parts = np.empty((n, self.size, self.size, channels), images.dtype)
        boxes, fits = random_boxes(n, (h, w), (h, w), self.scale, self.ratio, rng)
        boxes[~fits] = self._largest(h, w)
        for image, target, (top, left, height, width) in zip(images, parts, boxes, strict=True):
            resize_into(target, image[top : top + height, left : left + width])
        return parts

    def _largest(self, h: int, w: int) -> list[int]:
        """Top, left, height and width of the largest part whose aspect is within `ratio`."""
        low, high = self.ratio
        height, width = h, w
        if w / h < low:
            height = max(1, math.floor(w / low))
        elif w / h > high:
            width = max(1, math.floor(h * high))
        return [(h - height) // 2, (w - width) // 2, height, width]


def random_boxes(
    n: int, size: Pair, most: Pair, scale: Any, ratio: Any, rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Top, left, height and width (N, 4) of a box in each of n images, and whether it fits (N,).

    size: the images' height and width.  most: the largest that a box may have.
    scale: (low, high) share of the area.  ratio: (low, high) width through height, uniform in its
    logarithm. Of ten tries, the first that fits is taken.
    """
    low, high = ratio
    area = size[0] * size[1] * rng.uniform(scale[0], scale[1], (n, TRIES))
    ratios = np.exp(rng.uniform(math.log(low), math.log(high), (n, TRIES)))
    place = rng.random((n, 2))  # in what is free, from 0 to 1
    sizes = np.rint(np.sqrt([area / ratios, area * ratios])).astype(int)  # (2, N, tries)
    fitting = (sizes > 0).all(axis=0) & (sizes[0] <= most[0]) & (sizes[1] <= most[1])
    chosen = sizes[:, np.arange(n), fitting.argmax(axis=1)].T  # (2, N, tries) -> (N, 2)
    top_left = np.floor(place * (np.array(size) - chosen + 1)).astype(int)
    return np.concatenate([top_left, chosen], axis=1), fitting.any(axis=1)


def _free(who: str, images: np.ndarray, size: Pair) -> Pair:
    """Return how many places further down and right a patch of this size can lie than top left."""
    h, w = images.shape[1:3]
    if h < size[0] or w < size[1]:
        raise ShapeError(
            f"{who} can't cut {size[0]} x {size[1]} pixels out of images of {h} x {w} (shape "
            f"{images.shape}): make them larger before, for example by "
            f"ResizeShort({max(size)}), or crop less"
        )
    return h - size[0], w - size[1]


def _centre(who: str, images: np.ndarray, size: Pair) -> np.ndarray:
    bottom, right = _free(who, images, size)
    top, left = bottom // 2, right // 2
    return np.ascontiguousarray(images[:, top : top + size[0], left : left + size[1]])
