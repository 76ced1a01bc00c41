"""Checks that layers share: of their settings and of what they are called with."""

import math
from typing import Any

import numpy as np

from minidl.autograd.tensor import Tensor
from minidl.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["check_array", "check_channels", "positive", "real"]


def positive(who: str, name: str, value: Any) -> int:
    """`value` as an int, or an error unless it is a whole number from 1 up."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{who}: {name} must be a whole number from 1 up, got {value!r}")
    return int(value)


def real(who: str, name: str, value: Any) -> float:
    """`value` as a float, or an error unless it is a finite number."""
    number = isinstance(value, int | float | np.integer | np.floating)
    if isinstance(value, bool) or not number or not _finite(value):
        raise ArgumentError(f"{who}: {name} must be a finite number, got {value!r:.60}")
    return float(value)


def check_array(who: str, x: Any) -> None:
    """An error unless x is a Tensor or ndarray."""
    if not isinstance(x, Tensor | np.ndarray):
        raise DTypeError(
            f"{who} expected a Tensor or ndarray, got {type(x).__name__}: "
            "md.tensor() makes a tensor of lists"
        )


def check_channels(who: str, x: Any, channels: int) -> None:
    """An error unless x has so many channels, on its last axis."""
    if x.ndim and x.shape[-1] == channels:
        return
    hint = ""
    if x.ndim == 4 and x.shape[1] == channels:
        hint = ": this looks channels-first; use x.transpose(0, 2, 3, 1)"
    raise ShapeError(f"{who} expected {channels} channels on the last axis, got {x.shape}{hint}")


def _finite(number: Any) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:  # a whole number that no float holds
        return False
