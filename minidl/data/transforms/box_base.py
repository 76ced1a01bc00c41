"""What transforms of an image and its boxes are."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from minidl.data.transforms import blur, colour, erasing, normalize, tone
from minidl.data.transforms.base import Described, Transform
from minidl.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["BoxTransform"]

Target = dict[str, np.ndarray]
Item = tuple[np.ndarray, Target]

# Transforms of pixels alone, which leave boxes where they are
IN_PLACE: tuple[type, ...] = tuple(
    getattr(module, name)
    for module in (blur, colour, erasing, normalize, tone)
    for name in module.__all__
)
INSTEAD = {
    "RandomHorizontalFlip": "RandomBoxFlip", "Resize": "BoxResize",
    "ResizeShort": "BoxResizeShort", "RandomCrop": "RandomIoUCrop",
    "RandomResizedCrop": "RandomIoUCrop",
}  # fmt: skip


class BoxTransform(Described):
    """A change to an image and its target: `transform(image, target, generator)` -> both, new.

    image: (H, W, C), uint8 or float32.
    target: a dict of "boxes" (n, 4) x1, y1, x2, y2 in pixels and of arrays of n entries, such as
        "labels", "difficult" and "points" (n, P, 2) x, y; what isn't such goes along unchanged.
    generator: what a random transform draws from, in training; None in evaluation, where it does
        nothing.
    Subclasses write `apply`, and keep each setting in an attribute of its name.
    Raises DTypeError or ShapeError for other images and targets; made with settings out of range,
    ArgumentError.
    """

    random: ClassVar[bool] = True

    def __call__(
        self, image: np.ndarray, target: Target, generator: Generator | None = None
    ) -> Item:
        self._check(image, target)
        if generator is not None and not isinstance(generator, Generator):
            raise DTypeError(
                f"{self._who} expected generator to be a numpy Generator or None, got "
                f"{type(generator).__name__}: np.random.default_rng(seed) makes one"
            )
        if self.random and generator is None:
            return image, dict(target)
        return self.apply(image, dict(target), generator)

    def apply(self, image: np.ndarray, target: Target, generator: Any) -> Item:
        """The change, to what is checked: an image (H, W, C) and its target.

        `target` may be changed, its arrays may not.
        """
        raise NotImplementedError(f"{self._who} must define apply")

    def _check(self, image: Any, target: Any) -> None:
        if not isinstance(target, dict) or "boxes" not in target:
            raise DTypeError(
                f'{self._who} expected an image and its target, a dict with "boxes", got '
                f"{type(target).__name__}: it is for data sets such as data.Detection"
            )
        if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.float32):
            kind = getattr(image, "dtype", type(image).__name__)
            raise DTypeError(f"{self._who} expected a uint8 or float32 image, got {kind}")
        if image.ndim != 3 or not image.size:
            raise ShapeError(f"{self._who} expected an image (H, W, C), got shape {image.shape}")
        boxes = target["boxes"]
        if not isinstance(boxes, np.ndarray) or boxes.dtype != np.float32:
            kind = getattr(boxes, "dtype", type(boxes).__name__)
            raise DTypeError(f"{self._who} expected boxes of float32, got {kind}")
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ShapeError(f"{self._who} expected boxes (n, 4), got shape {boxes.shape}")


def on_both(transform: Callable[..., Any], image: np.ndarray, target: Target, rng: Any) -> Item:
    """Return image and target changed by a transform of both, or by one of pixels alone.

    Raises ArgumentError for a transform of minidl that moves pixels without their boxes. What
    isn't minidl's is called as transform(image, target, rng).
    """
    if not isinstance(transform, Transform):
        changed: Item = transform(image, target, rng)
        return changed
    if not isinstance(transform, IN_PLACE):
        name = type(transform).__name__
        instead = f"data.transforms.{INSTEAD[name]}" if name in INSTEAD else "use one that"
        raise ArgumentError(
            f"{name} moves pixels and leaves their boxes behind: {instead} takes them along"
        )
    return transform(image[np.newaxis], rng)[0], target
