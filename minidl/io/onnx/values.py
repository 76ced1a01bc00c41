"""What flows through an imported graph: arrays that know how their axes are stored.

ONNX counts axes as the file does, images being (N, C, H, W); minidl stores images as (N, H, W, C).
A Value keeps the array as it is stored, and `order`, which says the axis of the file that each
stored axis is. Transposing changes the order alone; numbers are moved where an operator asks for
an order that isn't there.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import ops
from minidl.autograd import Tensor
from minidl.errors import ShapeError

__all__ = ["LAST", "Value", "aligned", "is_float", "plain_order", "reshaped"]

Order = tuple[int, ...]

MOST_NUMBERS = 2**29  # of one array, 2 GiB of float32
LAST = (0, 2, 3, 1)  # images (N, C, H, W) stored as (N, H, W, C)


def plain_order(ndim: int) -> Order:
    """The order of an array that is stored as the file says."""
    return tuple(range(ndim))


class Value:
    """data: an ndarray, or a Tensor of floats.  order: as many axes of the file as data has."""

    __slots__ = ("data", "order")

    def __init__(self, data: Any, order: Order | None = None) -> None:
        if isinstance(data, Tensor) and data.dtype.kind != "f":
            data = data.data
        self.data = data
        self.order = plain_order(data.ndim) if order is None else order

    @property
    def ndim(self) -> int:
        return len(self.order)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.data.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the file gives it."""
        stored = self.data.shape
        return tuple(stored[self.order.index(axis)] for axis in range(self.ndim))

    def place(self, axis: int) -> int:
        """Return where the file's `axis`, from 0 up, is stored."""
        return self.order.index(axis)

    def stored_as(self, order: Order) -> Any:
        """Return the array with its axes stored in another order."""
        if order == self.order:
            return self.data
        places = tuple(self.order.index(axis) for axis in order)
        shape = self.data.shape
        moved = [place for place in places if shape[place] != 1]
        if moved == sorted(moved):  # axes of length 1 alone change places
            return ops.reshape(self.data, shape=tuple(shape[place] for place in places))
        return ops.transpose(self.data, axes=places)

    def plain(self) -> Any:
        """Return the array as the file stores it."""
        return self.stored_as(plain_order(self.ndim))

    def numbers(self) -> np.ndarray:
        """Return the numbers in the file's order, as an ndarray that carries no gradient."""
        array = self.plain()
        return array.data if isinstance(array, Tensor) else np.asarray(array)

    def integers(self) -> list[int]:
        """Return whole numbers, such as a shape's."""
        return [int(n) for n in self.numbers().ravel()]


def is_float(x: Any) -> bool:
    return bool(x.dtype.kind == "f")


def aligned(values: Sequence[Value]) -> tuple[list[Any], Order]:
    """Return arrays that broadcast as the file's do, stored in one order, and that order.

    The order is that of the largest; axes that others lack are added in front, as NumPy does.
    """
    ndim = max(value.ndim for value in values)
    wide = [math.prod(value.data.shape) for value in values]
    if len(values) > 1 and max(wide) * sorted(wide)[-2] > MOST_NUMBERS:
        _check_broadcast(values)
    whole = [value for value in values if value.ndim == ndim]
    order = max(whole, key=lambda value: math.prod(value.data.shape)).order
    return [_widened(value, ndim, order) for value in values], order


def _check_broadcast(values: Sequence[Value]) -> None:
    """Raise ShapeError for arrays that don't broadcast, or to one that is too large."""
    try:
        shape = np.broadcast_shapes(*(value.shape for value in values))
    except ValueError as error:
        raise ShapeError(str(error)) from error
    if math.prod(shape) > MOST_NUMBERS:
        raise ShapeError(f"an array of shape {shape} is too large")


def _widened(value: Value, ndim: int, order: Order) -> Any:
    missing = ndim - value.ndim
    if not missing or not value.ndim:  # numbers broadcast as they are
        return value.stored_as(order) if value.ndim else value.data
    data = ops.reshape(value.data, shape=(1,) * missing + value.data.shape)
    extended = (*range(missing), *(axis + missing for axis in value.order))
    return Value(data, extended).stored_as(order)


def reshaped(value: Value, shape: Sequence[int]) -> Value:
    """Return `value` reshaped to `shape`, both as the file counts.

    Axes that are split or joined are moved beside one another, all others stay where they are
    stored: (N, C, H, W) stored as (N, H, W, C) and reshaped to (N, G, C/G, H, W) is stored as
    (N, H, W, G, C/G), and nothing moves.
    """
    old, shape = value.shape, tuple(shape)
    groups = _groups(old, shape)
    if groups is None or value.order == plain_order(value.ndim):
        return Value(ops.reshape(value.plain(), shape=shape))
    stored = [axis for axis in value.order if old[axis] != 1]
    groups.sort(key=lambda group: min(stored.index(axis) for axis in group[0]))
    wanted = [axis for before, _ in groups for axis in before]
    if wanted != stored:
        ones = [axis for axis in value.order if old[axis] == 1]
        value = Value(value.stored_as((*wanted, *ones)), (*wanted, *ones))
    order = _with_ones([axis for _, after in groups for axis in after], len(shape))
    return Value(ops.reshape(value.data, shape=tuple(shape[axis] for axis in order)), order)


def _with_ones(axes: list[int], ndim: int) -> Order:
    """Put the axes of length 1, which are left out, each behind the one that the file has it."""
    order = list(axes)
    for axis in range(ndim):
        if axis not in order:
            order.insert(order.index(axis - 1) + 1 if axis else 0, axis)
    return tuple(order)


def _groups(old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[list[int], list[int]]] | None:
    """Return the smallest runs of axes of equal product, without axes of length 1.

    None where there are no elements, or only one.
    """
    before = [axis for axis, n in enumerate(old) if n != 1]
    after = [axis for axis, n in enumerate(new) if n != 1]
    if not before or not after or 0 in old or 0 in new:
        return None
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) and j < len(after):
        begun = i, j
        p, q = old[before[i]], new[after[j]]
        while p != q:
            if p < q:
                i += 1
                if i == len(before):
                    return None
                p *= old[before[i]]
            else:
                j += 1
                if j == len(after):
                    return None
                q *= new[after[j]]
        i, j = i + 1, j + 1
        groups.append((before[begun[0] : i], after[begun[1] : j]))
    return groups if i == len(before) and j == len(after) else None
