"""Elementwise work on large arrays."""

import math

import numpy as np


def add_to(total: np.ndarray, x: np.ndarray) -> None:
    """total += x, of one shape and dtype."""
    total += x


def add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x + y, of one shape and dtype."""
    return x + y


def erf(x: np.ndarray) -> np.ndarray:
    """Return the error function, 2/sqrt(pi) * the integral of exp(-t**2) from 0 to x."""
    return np.array([math.erf(number) for number in x.flat], x.dtype).reshape(x.shape)
