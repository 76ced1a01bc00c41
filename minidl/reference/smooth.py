"""Activations without a kink, or with small ones, and their gradients."""

import math

import numpy as np

from minidl.reference.elementwise import erf


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), written so that nothing overflows."""
    small = np.exp(-np.abs(x))  # at most 1
    return np.where(x >= 0, 1, small) / (1 + small)


def silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x)."""
    return x * _sigmoid(x)


def silu_grad(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The gradient of `silu` for x."""
    share = _sigmoid(x)
    return dy * share * (1 + x * (1 - share))


def gelu(x: np.ndarray) -> np.ndarray:
    """x * P(X <= x) for a standard normal X."""
    return x * (1 + erf(x * math.sqrt(0.5))) / 2


def gelu_grad(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The gradient of `gelu` for x: the share below x, and x times the density there."""
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return dy * ((1 + erf(x * math.sqrt(0.5))) / 2 + x * density)


def hardswish(x: np.ndarray) -> np.ndarray:
    """x * min(max(x + 3, 0), 6) / 6."""
    return x * np.clip(x + 3, 0, 6) / 6


def hardswish_grad(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The gradient of `hardswish` for x: that of the flat side at the corners."""
    rising = dy * (2 * x + 3) / 6
    return np.where(x <= -3, dy.dtype.type(0), np.where(x >= 3, dy, rising))
