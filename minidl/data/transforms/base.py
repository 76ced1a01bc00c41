"""What all transforms are, and the checks that they share."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from minidl.checks import real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.foreign import Advising

__all__ = ["RandomTransform", "Transform"]

Samples = Sequence[dict[str, Any]]
Errors = Sequence[tuple[dict[str, Any], str]]


class Described(Advising):
    """Base of all transforms: what a transform was made with, and how it is shown."""

    samples: ClassVar[Samples]  # settings that the tests make it with
    errors: ClassVar[Errors] = ()  # wrong settings, and what the error says

    @property
    def settings(self) -> dict[str, Any]:
        """What it was made with, by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{self._who}({settings})"

    @property
    def _who(self) -> str:
        return type(self).__name__


class Transform(Described):
    """A change to batches of images: `transform(images, rng)` -> images.

    images: (N, H, W, C), uint8 or float32; they aren't changed, but may come back as they are.
    rng: the generator that a random transform draws from, in training; None in evaluation.
    Unless a transform says otherwise the dtype stays: uint8 is rounded to nearest and clipped to
    0..255, float32 is neither.
    Subclasses write `apply`, keep each setting in an attribute of its name, and declare what
    differs of the attributes below. `docs/data.md` has the first line of their docstrings.
    Raises DTypeError for other dtypes, ShapeError for other shapes; made with settings out of
    range,
    ArgumentError.
    """

    takes: ClassVar[tuple[type, ...]] = (np.uint8, np.float32)
    gives: ClassVar[type | None] = None  # the dtype of the result; None: that of the images
    views: ClassVar[int] = 1  # images made of one
    takes_channels: tuple[int, ...] = ()  # the numbers of channels that it takes; (): any

    def __call__(self, images: np.ndarray, rng: Generator | None = None) -> np.ndarray:
        self._check(images)
        return self.apply(images)

    def apply(self, images: np.ndarray) -> np.ndarray:
        """The change, to checked images (N, H, W, C)."""
        raise NotImplementedError(f"{self._who} must define apply")

    def _check(self, images: Any) -> None:
        if not isinstance(images, np.ndarray):
            raise DTypeError(
                f"{self._who} expected an ndarray, got {type(images).__name__}: "
                "np.asarray makes one"
            )
        if images.dtype not in self.takes:
            raise DTypeError(
                f"{self._who} expected {' or '.join(t.__name__ for t in self.takes)} images, got "
                f"{images.dtype}: {self._mend}"
            )
        if images.ndim != 4 or 0 in images.shape[1:]:
            hint = ": images[None] makes a batch of one" if images.ndim == 3 else ""
            raise ShapeError(
                f"{self._who} expected images (N, H, W, C) of at least one pixel, got shape "
                f"{images.shape}{hint}"
            )
        if self.takes_channels and images.shape[3] not in self.takes_channels:
            wanted = " or ".join(map(str, self.takes_channels))
            raise ShapeError(
                f"{self._who} expected images of {wanted} channels, got {images.shape[3]}: shape "
                f"{images.shape}"
            )

    @property
    def _mend(self) -> str:
        if np.float32 in self.takes:
            return "convert them, for example by .astype(np.float32)"
        return "its numbers are those of bytes, so put it before Normalize, on uint8 images"


class RandomTransform(Transform):
    """A transform that draws anew for each image; without `rng` it does `apply`, mostly nothing.

    All numbers are drawn from `rng` for the whole batch at once, in an order that depends on
    nothing but the batch's shape. Subclasses write `draw`.
    """

    def __call__(self, images: np.ndarray, rng: Generator | None = None) -> np.ndarray:
        if rng is None:
            return super().__call__(images)
        self._check(images)
        if not isinstance(rng, Generator):
            raise DTypeError(
                f"{self._who} expected rng to be a numpy Generator or None, got "
                f"{type(rng).__name__}: np.random.default_rng(seed) makes one"
            )
        return self.draw(images, rng)

    def apply(self, images: np.ndarray) -> np.ndarray:
        return images

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        """The change with numbers from `rng`, to checked images (N, H, W, C)."""
        raise NotImplementedError(f"{self._who} must define draw")


class RandomlyApplied(RandomTransform):
    """A change that is made to each image with probability `p`. Subclasses write `change`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = share(self._who, "p", p)

    def draw(self, images: np.ndarray, rng: Generator) -> np.ndarray:
        chosen = rng.random(len(images)) < self.p
        changed = images.copy()
        changed[chosen] = self.change(images[chosen])
        return changed

    def change(self, images: np.ndarray) -> np.ndarray:
        """The change, to checked images; their shape stays."""
        raise NotImplementedError(f"{self._who} must define change")


def rounded(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Computed pixels in the images' dtype: uint8 rounded and clipped, float32 as they are."""
    if dtype == np.uint8:
        return np.rint(values).clip(0, 255).astype(np.uint8)
    return values.astype(dtype, copy=False)


def at_least(who: str, name: str, value: Any, least: float) -> float:
    """`value` as a float, or an error unless it is a finite number from `least` up."""
    number = real(who, name, value)
    if number < least:
        raise ArgumentError(f"{who}: {name} must be {least:g} or more, got {value!r}")
    return number


def share(who: str, name: str, value: Any) -> float:
    """`value` as a float, or an error unless it is from 0 to 1."""
    if at_least(who, name, value, 0) > 1:
        raise ArgumentError(f"{who}: {name} must be from 0 to 1, got {value!r}")
    return float(value)


def two(who: str, name: str, value: Any) -> tuple[float, float]:
    """`value` as two finite floats."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ArgumentError(f"{who}: {name} must be two numbers, got {value!r}")
    return real(who, name, value[0]), real(who, name, value[1])


def interval(who: str, name: str, value: Any) -> tuple[float, float]:
    """`value` as the ends (low, high) of an interval."""
    low, high = two(who, name, value)
    if low > high:
        raise ArgumentError(f"{who}: {name} must be (low, high), got {value!r}")
    return low, high
