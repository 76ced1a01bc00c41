"""Activations that kernels apply to their output before storing it, and their gradients."""

import numpy as np


def activate(x: np.ndarray, activation: str | None) -> np.ndarray:
    """x, or relu(x), or relu6(x)."""
    if activation is None:
        return x
    zero = x.dtype.type(0)
    return np.maximum(x, zero) if activation == "relu" else np.clip(x, zero, x.dtype.type(6))


def activation_grad(dy: np.ndarray, y: np.ndarray, activation: str | None) -> np.ndarray:
    """Return the gradient of `activate` for x, from its output y: 0 at the corners, dy at a NaN."""
    if activation is None:
        return dy
    flat = (y <= 0) if activation == "relu" else (y <= 0) | (y >= 6)
    return np.where(flat, dy.dtype.type(0), dy)


def prelu(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x, times the weight of its channel, (C,), or of all, (1,), where x isn't more than 0."""
    # of a single number the product has an axis more: (1,) -> ()
    return np.where(x > 0, x, x * weight).reshape(x.shape)


def prelu_grad(dy: np.ndarray, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the gradient of `prelu` for x."""
    return np.where(x > 0, dy, dy * weight).reshape(x.shape)
