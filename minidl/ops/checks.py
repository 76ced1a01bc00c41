"""Checks that ops share: of their settings, and of arrays that NumPy alone would compute with."""

import math
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["check_float", "flag", "lengths", "one_axis", "real", "reduced_axes"]


def real(who: str, name: str, value: Any, finite: bool = True) -> float:
    """`value` as a float, or an error unless it is a number, and finite if that is asked for."""
    number = isinstance(value, int | float | np.integer | np.floating)
    if isinstance(value, bool) or not number or (finite and not _finite(value)):
        kind = "a finite number" if finite else "a number"
        raise ArgumentError(f"{who}: {name} must be {kind}, got {value!r:.60}")
    return float(value)


def _finite(number: Any) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:  # a whole number that no float holds
        return False


def flag(who: str, name: str, value: Any) -> bool:
    """`value` as a bool, or an error unless it is True or False, 1 or 0."""
    if not isinstance(value, bool | np.bool_ | int | np.integer) or value not in (0, 1):
        raise ArgumentError(f"{who}: {name} must be True or False, got {value!r:.60}")
    return bool(value)


def lengths(who: str, name: str, value: Any) -> tuple[int, ...]:
    """`value` as a tuple of whole numbers, such as a shape; a number stands for itself alone."""
    numbers = tuple(value) if isinstance(value, tuple | list) else (value,)
    if any(isinstance(n, bool) or not isinstance(n, int | np.integer) for n in numbers):
        raise ArgumentError(f"{who}: {name} must be whole numbers, got {value!r:.60}")
    return tuple(map(int, numbers))


def reduced_axes(who: str, axis: Any, shape: Any) -> tuple[int, ...]:
    """`axis` (a number, several, or None for all) as a sorted tuple of axes from 0 up."""
    ndim = len(shape)
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, tuple | list) else (axis,)
    axes = []
    for a in given:
        if not isinstance(a, int | np.integer) or isinstance(a, bool):
            raise ArgumentError(f"{who}: axis must be whole numbers or None, got {axis!r:.60}")
        if not -ndim <= a < ndim:
            raise ShapeError(f"{who}: axis {a} doesn't exist in an array of shape {tuple(shape)}")
        axes.append(int(a) % ndim)
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"{who}: axis {axis!r} names an axis twice")
    return tuple(sorted(axes))


def one_axis(who: str, axis: Any, shape: Any) -> int:
    """`axis` from 0 up, or an error unless it is one that an array of `shape` has."""
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
        raise ArgumentError(f"{who}: axis must be a whole number, got {axis!r:.60}")
    return reduced_axes(who, axis, shape)[0]


def check_float(who: str, x: Any) -> None:
    """A DTypeError unless x is of float32 or float64."""
    if x.dtype not in (np.float32, np.float64):
        raise DTypeError(f"{who} expected float32 or float64, got {x.dtype}: use .astype()")
