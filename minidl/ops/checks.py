"""Checks that ops share: of axes, and of arrays that NumPy alone would compute with."""

from typing import Any

import numpy as np

from minidl.checks import is_whole
from minidl.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["check_float", "one_axis", "reduced_axes"]


def reduced_axes(who: str, axis: Any, shape: Any) -> tuple[int, ...]:
    """Return `axis` (a number, several, or None for all) as sorted axes from 0 up."""
    ndim = len(shape)
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, tuple | list) else (axis,)
    axes = []
    for a in given:
        if not is_whole(a):
            raise ArgumentError(f"{who}: axis must be whole numbers or None, got {axis!r:.60}")
        if not -ndim <= a < ndim:
            raise ShapeError(f"{who}: axis {a} doesn't exist in an array of shape {tuple(shape)}")
        axes.append(int(a) % ndim)
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"{who}: axis {axis!r} names an axis twice")
    return tuple(sorted(axes))


def one_axis(who: str, axis: Any, shape: Any) -> int:
    """Return `axis` as a number from 0 up. Raise unless an array of `shape` has it."""
    if not is_whole(axis):
        raise ArgumentError(f"{who}: axis must be a whole number, got {axis!r:.60}")
    return reduced_axes(who, axis, shape)[0]


def check_float(who: str, x: Any) -> None:
    """Raise DTypeError unless x is float32 or float64."""
    if x.dtype not in (np.float32, np.float64):
        raise DTypeError(f"{who} expected float32 or float64, got {x.dtype}: use .astype()")
