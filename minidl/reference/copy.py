"""Copies between arrays whose numbers lie anywhere, and fills."""

from collections.abc import Sequence

import numpy as np


def copy_to(target: np.ndarray, x: np.ndarray) -> None:
    """target[...] = x, of one dtype; x is broadcast to the target's shape. They don't overlap."""
    target[...] = x


def copied(x: np.ndarray) -> np.ndarray:
    """Return a C-contiguous copy."""
    return x.copy(order="C")


def contiguous(x: np.ndarray) -> np.ndarray:
    """x itself if it is C-contiguous, otherwise a copy that is."""
    return np.ascontiguousarray(x) if x.ndim else x


def fill(target: np.ndarray, value: float) -> None:
    """target[...] = value; the target is C-contiguous."""
    target[...] = value


def joined(arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Return the arrays, of one dtype, one after the other along an axis."""
    return np.concatenate(arrays, axis)
