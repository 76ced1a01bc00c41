"""Maps weighed by one number for each image and channel, as squeeze-and-excitation does.

x, residual, y (N, P, C), where P are an image's pixels; gate (N, C).
"""

import numpy as np

from minidl.reference.activation import activate, activation_grad


def channel_gate(
    x: np.ndarray, gate: np.ndarray, residual: np.ndarray | None, activation: str | None
) -> np.ndarray:
    """activation(x * gate + residual)."""
    y = x * gate[:, None]
    return activate(y if residual is None else y + residual, activation)


def channel_gate_grad(
    dy: np.ndarray, x: np.ndarray, gate: np.ndarray, y: np.ndarray, activation: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of channel_gate for x, gate and residual."""
    g = activation_grad(dy, y, activation)
    return g * gate[:, None], (g * x).sum(axis=1), g
