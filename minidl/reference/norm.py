"""Normalisation.

Batch normalisation (Ioffe and Szegedy 2015, algorithm 1) over rows: x (R, C), where R is N*H*W of
an image batch; weight, bias, mean and var (C,).
"""

import numpy as np

Arrays3 = tuple[np.ndarray, np.ndarray, np.ndarray]


def batch_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> Arrays3:
    """y = (x - mean) / sqrt(var + eps) * weight + bias; and each column's mean and (biased) var."""
    mean, var = x.mean(axis=0), x.var(axis=0)
    y = (x - mean) / np.sqrt(var + x.dtype.type(eps)) * weight + bias
    return y, mean, var


def batch_norm_grad(
    dy: np.ndarray, x: np.ndarray, weight: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> Arrays3:
    """The gradients of batch_norm for x, weight and bias."""
    inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
    x_hat = (x - mean) * inv_std
    dbias, dweight = dy.sum(axis=0), (dy * x_hat).sum(axis=0)
    # mean and var depend on every row: what they add is the mean of dy, and its part along x_hat
    dx = weight * inv_std * (dy - (dbias + x_hat * dweight) / x.dtype.type(len(x)))
    return dx, dweight, dbias


def channel_window_sum(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """y[r, c] = sum of x[r, c - before : c + after + 1].  x: (R, C)."""
    c = x.shape[1]
    y = np.zeros_like(x)
    for offset in range(-before, after + 1):
        first, last = max(0, -offset), min(c, c - offset)
        if first < last:
            y[:, first:last] += x[:, first + offset : last + offset]
    return y
