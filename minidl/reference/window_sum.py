"""Sums over neighbouring channels, of local response normalisation."""

import numpy as np


def channel_window_sum(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """y[r, c] = sum of x[r, c - before : c + after + 1].  x: (R, C)."""
    c = x.shape[1]
    y = np.zeros_like(x)
    for offset in range(-before, after + 1):
        first, last = max(0, -offset), min(c, c - offset)
        if first < last:
            y[:, first:last] += x[:, first + offset : last + offset]
    return y
