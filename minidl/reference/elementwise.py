"""Elementwise work on large arrays."""

import numpy as np


def add_to(total: np.ndarray, x: np.ndarray) -> None:
    """total += x, of one shape and dtype."""
    total += x


def add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x + y, of one shape and dtype."""
    return x + y
