"""Optimizer updates. Arrays are of one shape and dtype; the first and the state change in place.

w weights, g their gradient; decay adds decay * w to g. Where the formulas come from stands at the
classes in `minidl.optim`.
"""

import numpy as np

Array = np.ndarray
Optional = np.ndarray | None


def sgd(
    w: Array, g: Array, buffer: Optional, lr: float, momentum: float, decay: float, nesterov: bool
) -> None:
    """w -= lr (g + decay w); with a buffer, momentum."""
    g = g + decay * w
    if buffer is not None:
        buffer *= momentum
        buffer += g
        g = g + momentum * buffer if nesterov else buffer
    w -= lr * g


def adagrad(w: Array, g: Array, total: Array, lr: float, eps: float, decay: float) -> None:
    """w -= lr g / (sqrt(total) + eps), total the sum of g^2."""
    g = g + decay * w
    total += g * g
    w -= lr * g / (np.sqrt(total) + eps)


def adadelta(
    w: Array, g: Array, square_avg: Array, acc_delta: Array,
    lr: float, rho: float, eps: float, decay: float,
) -> None:  # fmt: skip
    """w -= lr d, d = sqrt(acc_delta + eps) / sqrt(square_avg + eps) g."""
    g = g + decay * w
    square_avg *= rho
    square_avg += (1 - rho) * (g * g)
    d = np.sqrt(acc_delta + eps) / np.sqrt(square_avg + eps) * g
    acc_delta *= rho
    acc_delta += (1 - rho) * (d * d)
    w -= lr * d


def rmsprop(
    w: Array, g: Array, square_avg: Array, grad_avg: Optional, buffer: Optional,
    lr: float, alpha: float, eps: float, momentum: float, decay: float,
) -> None:  # fmt: skip
    """w -= lr g / (sqrt(square_avg - grad_avg^2) + eps); grad_avg and buffer may be left out."""
    g = g + decay * w
    square_avg *= alpha
    square_avg += (1 - alpha) * (g * g)
    variance = square_avg
    if grad_avg is not None:
        grad_avg *= alpha
        grad_avg += (1 - alpha) * g
        variance = np.maximum(variance - grad_avg * grad_avg, 0)  # rounding can take it below 0
    d = g / (np.sqrt(variance) + eps)
    if buffer is not None:
        buffer *= momentum
        buffer += d
        d = buffer
    w -= lr * d


def adam(
    w: Array, g: Array, exp_avg: Array, exp_avg_sq: Array, of_g: float, of_m: float,
    beta1: float, beta2: float, root: float, eps: float, decay: float, keep: float,
) -> None:  # fmt: skip
    """w = keep w - (of_g g + of_m exp_avg) / (sqrt(exp_avg_sq) / root + eps)."""
    g = g + decay * w
    exp_avg *= beta1
    exp_avg += (1 - beta1) * g
    exp_avg_sq *= beta2
    exp_avg_sq += (1 - beta2) * (g * g)
    w *= keep
    w -= (of_g * g + of_m * exp_avg) / (np.sqrt(exp_avg_sq) / root + eps)
