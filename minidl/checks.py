"""Checks of settings: each returns the value as plain Python, or raises an ArgumentError.

who: the function or class that was called.  name: what it calls the setting.
"""

import math
from typing import Any

import numpy as np

from minidl.errors import ArgumentError

__all__ = ["flag", "is_whole", "lengths", "positive", "real", "whole"]


def is_whole(value: Any) -> bool:
    """Return whether the value is an integer of Python's or NumPy's; a bool is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def whole(who: str, name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return `value` as an int. Raise unless it is a whole number from `least` to `most`."""
    if not is_whole(value) or value < least or (most is not None and value > most):
        bounds = f"from {least} up" if most is None else f"from {least} to {most}"
        raise ArgumentError(f"{who}: {name} must be a whole number {bounds}, got {value!r:.60}")
    return int(value)


def positive(who: str, name: str, value: Any) -> int:
    """Return `value` as an int. Raise unless it is a whole number from 1 up."""
    return whole(who, name, value, 1)


def lengths(who: str, name: str, value: Any) -> tuple[int, ...]:
    """Return `value`, such as a shape, as a tuple of ints; a number stands for itself alone."""
    numbers = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not all(map(is_whole, numbers)):
        raise ArgumentError(f"{who}: {name} must be whole numbers, got {value!r:.60}")
    return tuple(map(int, numbers))


def real(who: str, name: str, value: Any, finite: bool = True) -> float:
    """Return `value` as a float. Raise unless it is a number, and finite unless told otherwise."""
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
    """Return `value` as a bool. Raise unless it is True or False, 1 or 0."""
    if not isinstance(value, bool | np.bool_ | int | np.integer) or value not in (0, 1):
        raise ArgumentError(f"{who}: {name} must be True or False, got {value!r:.60}")
    return bool(value)
