"""Sizes, mirror images, and affine maps."""

from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from minidl import kernels
from minidl.checks import is_whole, positive, real
from minidl.data.transforms.base import (
    Errors,
    RandomlyApplied,
    RandomTransform,
    Samples,
    Transform,
    interval,
    share,
    two,
)
from minidl.errors import ArgumentError
from minidl.geometry import pair

__all__ = [
    "RandomAffine", "RandomHorizontalFlip", "RandomRotation", "RandomVerticalFlip", "Resize",
    "ResizeShort",
]  # fmt: skip


class Resize(Transform):
    """Images stretched to a size.

    (N, H, W, C) -> (N, *size, C).
    size: (height, width) in pixels. One number is refused: in PyTorch it means the shorter side,
        which here is `ResizeShort`.
    Bilinear, by Pillow (ImportError if it is missing); what gets smaller is averaged over all the
    pixels that a new one covers.
    """

    samples = ({"size": (5, 5)}, {"size": (20, 4)})
    errors = (
        ({"size": 8}, r"Resize\(\(8, 8\)\) stretches .* ResizeShort\(8\) keeps"),
        ({"size": (-4, 4)}, "Resize: size must be a whole number"),
    )

    def __init__(self, size: tuple[int, int]) -> None:
        if is_whole(size):
            raise ArgumentError(
                f"Resize expected (height, width), got {size!r}: Resize(({size}, {size})) "
                f"stretches images to a square, ResizeShort({size}) keeps their aspect"
            )
        self.size = pair(size, "Resize: size")

    def apply(self, images: np.ndarray) -> np.ndarray:
        if images.shape[1:3] == self.size:
            return images
        resized = np.empty((len(images), *self.size, images.shape[3]), images.dtype)
        for image, target in zip(images, resized, strict=True):
            resize_into(target, image)
        return resized


class ResizeShort(Transform):
    """Images whose shorter side becomes `size`; their aspect stays.

    (N, H, W, C) -> (N, size, W * size // H, C), or the other way round. As `Resize` does it.
    """

    samples = ({"size": 5}, {"size": 13})
    errors = (({"size": 0}, "ResizeShort: size must be a whole number"),)

    def __init__(self, size: int) -> None:
        self.size = positive("ResizeShort", "size", size)

    def apply(self, images: np.ndarray) -> np.ndarray:
        h, w = images.shape[1:3]
        short = min(h, w)
        return Resize((h * self.size // short, w * self.size // short)).apply(images)


def resize_into(target: np.ndarray, image: np.ndarray) -> None:
    """Write image (H, W, C), stretched, into target (H', W', C)."""
    pillow = _pillow()
    size = (target.shape[1], target.shape[0])
    if image.dtype == np.uint8 and image.shape[2] == 3:
        picture = pillow.fromarray(np.ascontiguousarray(image))
        target[:] = np.asarray(picture.resize(size, pillow.Resampling.BILINEAR))
        return
    for c in range(image.shape[2]):
        picture = pillow.fromarray(np.ascontiguousarray(image[:, :, c]))  # mode "L" or "F"
        target[:, :, c] = np.asarray(picture.resize(size, pillow.Resampling.BILINEAR))


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "resizing images needs the package Pillow: pip install 'minidl[images]'"
        ) from error
    return Image


class RandomHorizontalFlip(RandomlyApplied):
    """Images mirrored, left for right, with probability `p`."""

    samples = ({}, {"p": 1})
    errors = (({"p": -0.1}, "RandomHorizontalFlip: p must be 0 or more, got -0.1"),)

    def change(self, images: np.ndarray) -> np.ndarray:
        return np.flip(images, 2)


class RandomVerticalFlip(RandomlyApplied):
    """Images mirrored, top for bottom, with probability `p`."""

    samples = ({}, {"p": 0.3})
    errors = (({"p": 1.1}, "RandomVerticalFlip: p must be from 0 to 1, got 1.1"),)

    def change(self, images: np.ndarray) -> np.ndarray:
        return np.flip(images, 1)


class RandomAffine(RandomTransform):
    """Images turned, shifted, sheared and zoomed about their centres.

    degrees: turns by up to so many degrees either way, or (low, high); counter-clockwise.
    translate: shifts by up to these shares of the size, either way: (horizontal, vertical), as in
        PyTorch.
    shear: slants by up to so many degrees either way, or (low, high), less than 90; the top moves
        to the right.
    scale: zooms by (low, high); 2 shows everything twice as large.
    fill: the value of what comes from beyond the edges (0 to 255 for uint8), or "edge": the nearest
        pixel.
    Each is uniform in its interval. Bilinear, in one pass.
    """

    samples: ClassVar[Samples] = (
        {},
        {"degrees": 30, "translate": (0.1, 0.2), "shear": 10, "scale": (0.5, 2), "fill": 128},
        {"degrees": (10, 20), "shear": (-9, 3), "fill": "edge"},
    )
    errors: ClassVar[Errors] = (
        ({"degrees": -3}, r"degrees must be 0 or more, or \(low, high\), got -3"),
        ({"degrees": (3, 1)}, r"degrees must be \(low, high\)"),
        ({"translate": 0.1}, "translate must be two numbers, got 0.1"),
        ({"translate": (0, 1.5)}, "translate must be from 0 to 1"),
        ({"shear": 90}, "shear must be less than 90 degrees"),
        ({"scale": (0, 1)}, "scale must be above 0"),
        ({"scale": (1, 2, 3)}, "scale must be two numbers"),
        ({"fill": "reflect"}, r"fill \(if not 'edge'\) must be a finite number"),
    )

    def __init__(
        self,
        degrees: float | tuple[float, float] = 0,
        *,
        translate: tuple[float, float] = (0, 0),
        shear: float | tuple[float, float] = 0,
        scale: tuple[float, float] = (1, 1),
        fill: float | str = 0,
    ) -> None:
        self.degrees = _either_way(self._who, "degrees", degrees)
        horizontal, vertical = two(self._who, "translate", translate)
        self.translate = (
            share(self._who, "translate", horizontal), share(self._who, "translate", vertical)
        )  # fmt: skip
        self.shear = _either_way(self._who, "shear", shear)
        if max(map(abs, self.shear)) >= 90:
            raise ArgumentError(f"{self._who}: shear must be less than 90 degrees, got {shear!r}")
        self.scale = interval(self._who, "scale", scale)
        if self.scale[0] <= 0:
            raise ArgumentError(f"{self._who}: scale must be above 0, got {scale!r}")
        self.fill = checked_fill(self._who, fill)

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        n, h, w, _ = images.shape
        angle = np.radians(rng.uniform(*self.degrees, n))
        shift = rng.uniform(-1, 1, (n, 2)) * self.translate[::-1] * (h, w)
        slant = np.tan(np.radians(rng.uniform(*self.shear, n)))
        zoom = rng.uniform(*self.scale, (n,))
        return warped(self._who, images, inverses(angle, shift, slant, zoom, (h, w)), self.fill)


class RandomRotation(RandomAffine):
    """Images turned about their centres.

    degrees: up to so many either way, or uniform in (low, high); counter-clockwise.
    fill: as of `RandomAffine`.
    Bilinear; the images keep their size, and corners are cut off.
    """

    samples = ({"degrees": 30}, {"degrees": (40, 50), "fill": "edge"})
    errors = (
        ({"degrees": -3}, r"degrees must be 0 or more, or \(low, high\), got -3"),
        ({"degrees": 3, "fill": "black"}, r"fill \(if not 'edge'\) must be a finite number"),
    )

    def __init__(self, degrees: float | tuple[float, float], *, fill: float | str = 0) -> None:
        super().__init__(degrees, fill=fill)


def checked_fill(who: str, fill: Any) -> float | str:
    """`fill`, or an error unless it is a finite number or "edge"."""
    return "edge" if fill == "edge" else real(who, "fill (if not 'edge')", fill)


def warped(who: str, images: np.ndarray, matrices: np.ndarray, fill: float | str) -> np.ndarray:
    """Images whose points come from where `matrices` (N, 2, 3) say; beyond the edges `fill`.

    Raises ArgumentError for a fill that no byte holds, for uint8 images.
    """
    value = None if isinstance(fill, str) else fill
    if value is not None and images.dtype == np.uint8 and not 0 <= value <= 255:
        raise ArgumentError(f"{who}: fill must be from 0 to 255 for uint8 images, got {value:g}")
    return kernels.use("warp").warp(images, matrices, value)


def inverses(
    angle: np.ndarray, shift: np.ndarray, slant: np.ndarray, zoom: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Where output points come from, (N, 2, 3), for maps p -> zoom * turn @ slant @ p + shift.

    Points are (horizontal, vertical) from the centre, vertical downwards. angle, slant (of the
    horizontal, by the vertical), zoom: (N,).  shift: (N, 2), vertical and horizontal.
    """
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    inverse = np.empty((len(angle), 2, 3))
    # The turn's inverse is ((cos, -sin), (sin, cos)), the slant's ((1, slant), (0, 1)).
    inverse[:, 0, :2] = np.stack([cos + slant * sin, slant * cos - sin], axis=1)
    inverse[:, 1, :2] = np.stack([sin, cos], axis=1)
    centre = np.array(size[::-1]) / 2
    inverse[:, :, 2] = centre - np.einsum("nij,nj->ni", inverse[:, :, :2], centre + shift[:, ::-1])
    return inverse


def _either_way(who: str, name: str, value: Any) -> tuple[float, float]:
    """Return an interval, from its ends or from how far it goes to either side of 0."""
    if isinstance(value, tuple | list):
        return interval(who, name, value)
    far = real(who, name, value)
    if far < 0:
        raise ArgumentError(f"{who}: {name} must be 0 or more, or (low, high), got {value!r}")
    return -far, far
