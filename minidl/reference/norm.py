"""Normalisation.

Batch normalisation (Ioffe and Szegedy 2015, algorithm 1) over rows: x (R, C), where R is N*H*W of
an image batch; weight, bias, mean and var (C,); residual as x, added before the activation.
"""

from collections.abc import Sequence

import numpy as np

from minidl.reference.activation import activate, activation_grad

Array = np.ndarray
Optional = np.ndarray | None


def batch_norm(
    x: Array, weight: Array, bias: Array, residual: Optional, activation: str | None, eps: float
) -> tuple[Array, Array, Array]:
    """activation((x - mean) / sqrt(var + eps) * weight + bias + residual), mean, (biased) var."""
    mean, var = x.mean(axis=0), x.var(axis=0)
    y = (x - mean) / np.sqrt(var + x.dtype.type(eps)) * weight + bias
    return activate(y if residual is None else y + residual, activation), mean, var


def batch_norm_grad(
    dy: Array, x: Array, y: Optional, weight: Array, bias: Array,
    *, mean: Array, var: Array, activation: str | None, eps: float,
) -> tuple[Array, Array, Array, Optional]:  # fmt: skip
    """Return the gradients of batch_norm for x, weight, bias and, if y is given, the residual.

    y, the output, is asked for only where there was a residual.
    """
    inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
    x_hat = (x - mean) * inv_std
    output = activate(x_hat * weight + bias, activation) if y is None else y
    dy = activation_grad(dy, output, activation)
    dbias, dweight = dy.sum(axis=0), (dy * x_hat).sum(axis=0)
    # mean and var depend on every row: what they add is the mean of dy, and its part along x_hat
    dx = weight * inv_std * (dy - (dbias + x_hat * dweight) / x.dtype.type(len(x)))
    return dx, dweight, dbias, None if y is None else dy


def update_running(
    running_mean: Array, running_var: Array, mean: Array, var: Array, momentum: float, rows: int
) -> None:
    """The running statistics moved by `momentum` towards those of a batch of so many rows.

    The running variance is unbiased, var isn't.
    """
    running_mean += momentum * (mean - running_mean)
    running_var += momentum * (var * (rows / (rows - 1)) - running_var)


def folded(
    weight: Optional, bias: Optional, mean: Array, var: Array, eps: float
) -> tuple[Array, Array]:
    """Scale and shift of batch normalisation by statistics that are known."""
    inv_std = 1 / np.sqrt(var + var.dtype.type(eps))
    scale = inv_std if weight is None else weight * inv_std
    return scale, -mean * scale if bias is None else bias - mean * scale


def scale_shift(
    x: Array, scale: Array, shift: Array, residual: Optional, activation: str | None
) -> Array:
    """activation(x * scale + shift + residual), by columns."""
    y = x * scale + shift
    return activate(y if residual is None else y + residual, activation)


def scale_shift_grad(
    dy: Array, x: Array, y: Optional, scale: Array, activation: str | None, needs: Sequence[bool]
) -> tuple[Optional, ...]:
    """Return the gradients of scale_shift for x, scale, shift and the residual that are needed.

    y, the output, is asked for only where there is an activation.
    """
    if y is not None:
        dy = activation_grad(dy, y, activation)
    found = (dy * scale, (dy * x).sum(axis=0), dy.sum(axis=0), dy)
    return tuple(g if need else None for g, need in zip(found, needs, strict=True))
