"""Checks that layers share, of the arrays that they are called with."""

from typing import Any

import numpy as np

from minidl.autograd.tensor import Tensor
from minidl.errors import DTypeError, ShapeError

__all__ = ["channels_first_hint", "check_array", "check_channels"]


def check_array(who: str, x: Any) -> None:
    """Raise DTypeError unless x is a Tensor or ndarray."""
    if not isinstance(x, Tensor | np.ndarray):
        raise DTypeError(
            f"{who} expected a Tensor or ndarray, got {type(x).__name__}: "
            "md.tensor() makes a tensor of lists"
        )


def check_channels(who: str, x: Any, channels: int) -> None:
    """Raise ShapeError unless x has `channels` channels on its last axis."""
    if x.ndim and x.shape[-1] == channels:
        return
    raise ShapeError(
        f"{who} expected {channels} channels on the last axis, got {x.shape}"
        f"{channels_first_hint(x, channels)}"
    )


def channels_first_hint(x: Any, channels: int) -> str:
    """Return a hint for an error where images look channels-first, else ""."""
    if x.ndim == 4 and x.shape[1] == channels:
        return ": this looks channels-first; use x.transpose(0, 2, 3, 1)"
    return ""
