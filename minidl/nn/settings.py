"""Checks of the settings that layers share."""

from typing import Any

import numpy as np

from minidl.errors import ArgumentError

__all__ = ["positive"]


def positive(who: str, name: str, value: Any) -> int:
    """`value` as an int, or an error unless it is a whole number from 1 up."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{who}: {name} must be a whole number from 1 up, got {value!r}")
    return int(value)
