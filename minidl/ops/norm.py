"""Normalisation: over the batch, over the features of a row, across neighbouring channels."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.autograd.tensor import Tensor
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.elementwise import add, multiply, power, sqrt
from minidl.ops.reduce import mean
from minidl.ops.reduce import var as variance

__all__ = ["batch_norm", "layer_norm", "local_response_norm"]


def _batch_norm_composition(x: Any, weight: Any, bias: Any, *, eps: float, **running: Any) -> Any:
    axes = tuple(range(x.ndim - 1))
    centred = x - mean(x, axis=axes)
    return centred / sqrt(variance(x, axis=axes) + eps) * weight + bias


@primitive(
    flops=lambda output, x, weight, bias, **settings: 8 * x.size,
    oracle=lambda torch, x, weight, bias, eps: torch.nn.functional.batch_norm(
        x.reshape(-1, x.shape[-1]), None, None, weight, bias, training=True, eps=eps
    ).reshape(x.shape),
    saves=("mean", "var"),
    composition=_batch_norm_composition,
)
def batch_norm_train(x, weight, bias, *, eps, running_mean=None, running_var=None, momentum=0.1):
    """Each channel (last axis) scaled to mean 0 and variance 1 over all else, then w*x + b.

    The running statistics, where given, are moved in place. See `batch_norm`.
    """
    rows = x.reshape(-1, x.shape[-1])  # (N*H*W, C)
    y, mean, var = kernels.use("norm").batch_norm(rows, weight, bias, eps)
    if running_mean is not None:
        running_mean += momentum * (mean - running_mean)
        running_var += momentum * (var * (len(rows) / (len(rows) - 1)) - running_var)
    return y.reshape(x.shape), mean, var


@batch_norm_train.vjp("x", "weight", "bias")
def _(g, x, weight, mean, var, eps):
    rows, g_rows = x.reshape(-1, x.shape[-1]), g.reshape(-1, x.shape[-1])  # (N*H*W, C)
    dx, dweight, dbias = kernels.use("norm").batch_norm_grad(g_rows, rows, weight, mean, var, eps)
    return dx.reshape(x.shape), dweight, dbias


def _array(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _check_channels(x: Any, **columns: Any) -> None:
    """An error unless each of `columns` (or None) is (C,) and of the dtype of x: (..., C)."""
    if x.dtype.kind != "f" or x.ndim < 2:
        raise (DTypeError if x.ndim >= 2 else ShapeError)(
            f"batch_norm expected float32 or float64 of shape (..., C), got {x.dtype} of {x.shape}"
        )
    for name, array in columns.items():
        if array is not None and array.shape != x.shape[-1:]:
            raise ShapeError(
                f"batch_norm expected x with {len(array)} channels on its last axis, as {name} "
                f"has, got shape {x.shape}"
            )
        if array is not None and array.dtype != x.dtype:
            raise DTypeError(
                f"batch_norm expected x and {name} of one dtype, got {x.dtype} and {array.dtype}: "
                "use x.astype()"
            )


@composite(
    oracle=lambda torch, x, running_mean, running_var, weight=None, bias=None, training=False,
    momentum=0.1, eps=1e-5: torch.nn.functional.batch_norm(
        x.reshape(-1, x.shape[-1]),
        *(s if s is None else torch.as_tensor(s.copy()) for s in (running_mean, running_var)),
        weight, bias, training, momentum, eps,
    ).reshape(x.shape),
    labels=("running_mean", "running_var"),
)  # fmt: skip
def batch_norm(
    x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Batch normalisation over all axes but the last.

    x: (..., C), (N, C) or (N, H, W, C); weight, bias, running_mean, running_var: (C,).
    training: normalise by the batch's own mean and variance, and move the running ones (ndarrays,
    changed in place; or None) by `momentum` towards them, the variance unbiased. Otherwise
    normalise by the running ones.
    Raises ShapeError for other shapes and for a batch of fewer than two values a channel.
    Source: Ioffe and Szegedy 2015, "Batch Normalization", algorithms 1 and 2.
    """
    running_mean, running_var = _array(running_mean), _array(running_var)
    _check_channels(x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    channels = x.shape[-1]
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError("batch_norm needs running_mean and running_var unless training")
        inv_std = 1 / np.sqrt(running_var + running_var.dtype.type(eps))
        scale = inv_std if weight is None else weight * inv_std
        shift = -running_mean * scale if bias is None else bias - running_mean * scale
        return x * scale + shift
    values = int(np.prod(x.shape[:-1]))
    if values < 2:
        raise ShapeError(
            f"batch_norm in training needs at least two values a channel, got shape {x.shape}: "
            "use a larger batch, or eval()"
        )
    weight = np.ones(channels, x.dtype) if weight is None else weight
    bias = np.zeros(channels, x.dtype) if bias is None else bias
    return batch_norm_train(
        x, weight, bias,
        eps=eps, running_mean=running_mean, running_var=running_var, momentum=momentum,
    )  # fmt: skip


@composite(
    oracle=lambda torch, x, shape, weight=None, bias=None, eps=1e-5: torch.nn.functional.layer_norm(
        x, shape, weight, bias, eps
    )
)
def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    """Each row normalised over its last axes, those of `shape`; then w*x + b.

    x: (..., *shape); weight, bias: of `shape`.
    Source: Ba et al. 2016, "Layer Normalization", equation 4.
    """
    shape, eps = tuple(shape), float(eps)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(f"layer_norm expected last axes of shape {shape}, got shape {x.shape}")
    axes = tuple(range(-len(shape), 0))
    centred = x - mean(x, axis=axes, keepdims=True)
    y = centred / sqrt(mean(centred * centred, axis=axes, keepdims=True) + eps)
    if weight is not None:
        y = multiply(y, weight)
    return y if bias is None else add(y, bias)


@primitive(
    flops=lambda output, x, before, after: x.size * (before + after),
    oracle=lambda torch, x, before, after: (
        torch.nn.functional.pad(x, (before, after)).unfold(-1, before + after + 1, 1).sum(-1)
    ),
)
def channel_window_sum(x, *, before, after):
    """For each channel (last axis), the sum of those from `before` before it to `after` after."""
    rows = x.reshape(-1, x.shape[-1])  # (N*H*W, C)
    return kernels.use("norm").channel_window_sum(rows, before, after).reshape(x.shape)


# A channel is in the window of those that see it: the same window, mirrored.
channel_window_sum.vjp("x")(
    lambda g, before, after: channel_window_sum(g, before=after, after=before)
)


@composite(
    oracle=lambda torch, x, size, alpha=1e-4, beta=0.75, k=1.0: (
        torch.nn.functional.local_response_norm(
            x.permute(0, 3, 1, 2), size, alpha, beta, k
        ).permute(0, 2, 3, 1)
    )
)
def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """Each activation divided by (k + alpha/size * the sum of squares of `size` channels) ** beta.

    x: (N, H, W, C).  As in PyTorch, alpha is divided by size.
    Source: Krizhevsky et al. 2012, "ImageNet Classification with Deep CNNs", section 3.3.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ArgumentError(f"local_response_norm: size must be 1 or more channels, got {size!r}")
    if x.ndim < 2:
        raise ShapeError(f"local_response_norm expected (..., C), got shape {x.shape}")
    alpha, beta, k = float(alpha), float(beta), float(k)
    squares = channel_window_sum(x * x, before=size // 2, after=(size - 1) // 2)
    return x * power(squares * (alpha / size) + k, -beta)


@batch_norm_train.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(6, 3), draw.normal(3), draw.normal(3), eps=1e-5)
    yield sample(draw.normal(2, 3, 5, 4), draw.normal(4), draw.normal(4), eps=1e-3)
    yield sample(draw.normal(1, 2, 1, 1), draw.normal(1), draw.normal(1), eps=1e-2)
    yield sample(draw.normal(300, 2) + 2, draw.normal(2), draw.normal(2), eps=1e-5)


@batch_norm.samples
def _(draw: Draw) -> Iterator[Sample]:
    mean, var = draw.normal(3), draw.uniform(0.5, 2, 3)
    x, weight, bias = draw.normal(2, 4, 3, 3), draw.normal(3), draw.normal(3)
    yield sample(x, mean, var, weight, bias)
    yield sample(x, mean, var, eps=1e-3)
    yield sample(x, None, None, None, bias, True, 0.1)
    yield sample(draw.normal(5, 3), None, None, weight, bias, training=True)


@batch_norm.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    mean, var, x = draw.normal(3), draw.uniform(0.5, 2, 3), draw.normal(2, 3, 3, 3)
    yield ErrorInput(sample(draw.normal(2, 4), mean, var), ShapeError, "3 channels.*running_mean")
    yield ErrorInput(sample(x[:1, :1, :1], mean, var, training=True), ShapeError, "at least two")
    yield ErrorInput(sample(x[:0], mean, var, training=True), ShapeError, "at least two")
    yield ErrorInput(sample(x, None, None), ArgumentError, "needs running_mean")
    yield ErrorInput(sample(x.astype(np.int32), mean, var), DTypeError, "got int32")
    yield ErrorInput(
        sample(x.astype(np.float64), mean, var), DTypeError, "one dtype, got float64 and float32"
    )


@layer_norm.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 5), (5,))
    yield sample(draw.normal(2, 3, 4), (3, 4), draw.normal(3, 4), draw.normal(3, 4))
    yield sample(draw.normal(0, 5), (5,), draw.normal(5), draw.normal(5))


@layer_norm.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(2, 5), (4,)), ShapeError, r"\(4,\), got shape \(2, 5\)")


@channel_window_sum.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 2, 3, 7), before=2, after=1)
    yield sample(draw.normal(2, 3), before=4, after=4)
    yield sample(draw.normal(2, 3), before=0, after=0)


@local_response_norm.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 3, 2, 7), 5)
    yield sample(draw.normal(1, 2, 2, 4), 2, alpha=0.5, beta=0.5, k=2.0)
    yield sample(draw.normal(1, 2, 2, 1), 3, 1.0)


@local_response_norm.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(1, 2, 2, 3), 0), ArgumentError, "size must be 1 or more")
