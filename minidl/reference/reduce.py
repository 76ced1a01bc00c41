"""Sums over one axis."""

import numpy as np


def sum_axis(x: np.ndarray, scale: float) -> np.ndarray:
    """scale times the sums over the middle axis of x (outer, rows, columns): (outer, columns)."""
    return (x.sum(axis=1, dtype=np.float64) * scale).astype(x.dtype)


def column_sums(x: np.ndarray) -> np.ndarray:
    """The sums over all axes but the last, as of the gradient of a bias: (..., C) -> (C,)."""
    return x.sum(axis=tuple(range(x.ndim - 1)), dtype=np.float64).astype(x.dtype)
