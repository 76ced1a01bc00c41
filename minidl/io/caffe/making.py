"""From a described layer to a module: the table of types, and what its makers work with."""

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minidl.errors import FileFormatError, MinidlError, StateError
from minidl.io.caffe.description import Layer
from minidl.io.caffe.message import Message
from minidl.nn import Module

__all__ = ["MAKERS", "Budget", "Made", "Making", "Shape", "axis_of", "maker", "make"]

Shape = tuple[int | None, ...]
"""Of one example: (H, W, C) of images, (F,) of rows; None for a length that isn't known."""

MOST_NUMBERS = 2**28  # parameters of a network: 1 GB, twice VGG-19's
MOST_VALUES = 2**26  # that a layer gives for an image


class Made(NamedTuple):
    """A layer. shapes: of what it gives.  prepare: see `graph.Step`."""

    module: Module
    shapes: list[Shape]
    prepare: Callable[[Any], Any] | None = None


@dataclass
class Budget:
    """How many parameters a network may still have, and what is wrong with its weights."""

    left: int = MOST_NUMBERS
    wrong: list[str] = field(default_factory=list)


@dataclass
class Making:
    """What the maker of a layer has: the layer, shapes of its bottoms, and its weights.

    blobs: None for a network without weights, which then has new ones.
    """

    layer: Layer
    shapes: list[Shape]
    blobs: list[np.ndarray] | None
    budget: Budget

    def settings(self, name: str) -> Message:
        found = self.layer.message.message(name)
        found.where = self.layer.where
        return found

    def refuse(self, text: str) -> FileFormatError:
        return FileFormatError(f"{self.layer.where}: {text}")

    def one(self) -> Shape:
        """Return the shape of the one bottom."""
        if len(self.shapes) != 1:
            raise self.refuse(f"expected one bottom, found {len(self.shapes)}")
        return self.shapes[0]

    def images(self) -> tuple[int | None, int | None, int | None]:
        """Return the shape (H, W, C) of the one bottom."""
        shape = self.one()
        if len(shape) != 3:
            raise self.refuse(f"expected images, got {len(shape) + 1} axes")
        return shape

    def arrays(self, *shapes: tuple[int, ...]) -> list[np.ndarray] | None:
        """Return the layer's weights in Caffe's shapes; None for new ones.

        Weights that don't fit are noted, so that one error tells of all of them.
        """
        count = sum(map(math.prod, shapes))
        self.budget.left -= count
        if self.budget.left < 0:
            raise self.refuse(f"with it the network has more than {MOST_NUMBERS:,} parameters")
        if self.blobs is None:
            return None
        found = [blob.shape for blob in self.blobs]
        if [_long(shape) for shape in found] != [_long(shape) for shape in shapes]:
            self.budget.wrong.append(
                f"{self.layer.name} needs {_told(shapes)}, the file has {_told(found)}"
            )
            return None
        return [blob.reshape(s) for blob, s in zip(self.blobs, shapes, strict=True)]


def _long(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the lengths above 1: old files have four axes for every array."""
    return tuple(n for n in shape if n != 1)


def _told(shapes: Sequence[Sequence[int]]) -> str:
    return " and ".join(" x ".join(map(str, shape)) or "one" for shape in shapes) or "none"


def check(budget: Budget) -> None:
    """Raise StateError that tells of all weights that don't fit."""
    if budget.wrong:
        told = "; ".join(budget.wrong[:20])
        raise StateError(f"the weights are of another network: {told}")


def known(shape: Shape) -> tuple[int, ...] | None:
    """Return a shape, if all of it is known."""
    found = tuple(n for n in shape if n is not None)
    return found if len(found) == len(shape) else None


def filled(parameter: Any, array: np.ndarray) -> None:
    """Give a parameter its numbers."""
    parameter.data = np.ascontiguousarray(array, np.float32).reshape(parameter.shape)


def axis_of(making: Making, axis: int, ndim: int) -> int:
    """Return where minidl has an axis of Caffe's, of an array of `ndim` axes."""
    if not -ndim <= axis < ndim:
        raise making.refuse(f"there is no axis {axis} of {ndim}")
    axis %= ndim
    return (0, 3, 1, 2)[axis] if ndim == 4 else axis


MAKERS: dict[str, Callable[[Making], Made]] = {}


def maker(*types: str) -> Callable[[Any], Any]:
    """Decorator: what layers of these types are in minidl."""

    def declare(function: Any) -> Any:
        MAKERS.update(dict.fromkeys(types, function))
        return function

    return declare


def make(making: Making) -> Made:
    """Return a layer as a module.

    Raises FileFormatError, with its name and type, for one that minidl doesn't have.
    """
    type_ = making.layer.type
    if type_ not in MAKERS:
        near = difflib.get_close_matches(type_, MAKERS, n=2, cutoff=0.6)
        hint = f"the nearest are {' and '.join(near)}" if near else "nothing is like it"
        raise making.refuse(f"minidl has no layer of the type {type_!r:.60}: {hint}")
    params = making.layer.message.messages("param")
    if any(param.text("name") for param in params):
        raise making.refuse("it shares its parameters with another layer, which isn't read")
    try:
        made = MAKERS[type_](making)
    except (FileFormatError, StateError):
        raise
    except MinidlError as error:
        raise making.refuse(str(error)) from error
    sizes = [math.prod(whole) for shape in made.shapes if (whole := known(shape)) is not None]
    if max(sizes, default=0) > MOST_VALUES:
        raise making.refuse(f"it gives {max(sizes):,} numbers for each image")
    if len(made.shapes) != len(making.layer.tops):
        raise making.refuse(f"it gives {len(made.shapes)} tops, named are {making.layer.tops}")
    return made
