"""Normalization over the batch, and over the features of a row."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.modes import mode
from minidl.autograd.op import check_arrays, composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.autograd.tensor import Tensor
from minidl.checks import flag, lengths, real
from minidl.distributed.meeting import here
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.activation import (
    FUSED,
    activate,
    check_activation,
    torch_activate,
)
from minidl.ops.elementwise import add, multiply, negative, sqrt
from minidl.ops.joint_norm import joint_batch_norm
from minidl.ops.moments import var as variance
from minidl.ops.reduce import mean
from minidl.recording import again, owns

__all__ = ["batch_norm", "layer_norm"]


def _torch_batch_norm(
    torch: Any,
    x: Any,
    weight: Any,
    bias: Any,
    residual: Any = None,
    *,
    eps: float,
    activation: Any = None,
) -> Any:
    rows = x.reshape(-1, x.shape[-1])
    y = torch.nn.functional.batch_norm(rows, None, None, weight, bias, training=True, eps=eps)
    y = y.reshape(x.shape)
    y = torch_activate(torch, y if residual is None else y + residual, activation)
    return y, rows.mean(0), rows.var(0, correction=0)


def _batch_norm_composition(
    x: Any,
    weight: Any,
    bias: Any,
    residual: Any = None,
    *,
    eps: float,
    activation: Any = None,
) -> Any:
    axes = tuple(range(x.ndim - 1))
    centre, var = mean(x, axis=axes), variance(x, axes, correction=0)
    y = (x - centre) / sqrt(var + eps) * weight + bias
    return activate(y if residual is None else y + residual, activation), centre, var


@primitive(
    flops=lambda output, x, *inputs, **settings: 8 * x.size,
    oracle=_torch_batch_norm,
    saves=("statistics", "kept_output"),
    composition=_batch_norm_composition,
    name="batch_norm",
)
def batch_norm_train(x, weight, bias, residual=None, *, eps, activation=None):
    """Normalize each channel (last axis) to mean 0 and variance 1 over all else; then w*x + b.

    The residual is added and the activation ("relu", "relu6") applied in the same pass. Returns
    also
    the means and the (biased) variances, (C,).
    """
    y, mean, var = kernels.use("norm").batch_norm(
        _rows(x), weight, bias, None if residual is None else _rows(residual), activation, eps
    )
    y = y.reshape(x.shape)
    # with a residual, only the output tells where the activation lets gradients through
    return (y, mean, var), (mean, var), y if residual is not None else None


@batch_norm_train.vjp("x", "weight", "bias", "residual")
def _(g, x, weight, bias, statistics, kept_output, eps, activation):
    dy, dmean, dvar = g
    dy = np.zeros(x.shape, x.dtype) if dy is None else dy
    mean, var = statistics
    output = None if kept_output is None else _rows(kept_output)
    dx, dweight, dbias, dresidual = kernels.use("norm").batch_norm_grad(
        _rows(dy), _rows(x), output, weight, bias,
        mean=mean, var=var, activation=activation, eps=eps,
    )  # fmt: skip
    dx = dx.reshape(x.shape)
    if dmean is not None:
        dx = dx + dmean / len(_rows(x))
    if dvar is not None:
        dx = dx + (x - mean) * dvar * (2 / len(_rows(x)))
    if dresidual is not None:
        dresidual = dresidual.reshape(x.shape)
    return dx, dweight, dbias, dresidual


def _rows(x: np.ndarray) -> np.ndarray:
    """Return (..., C) as rows of channels, (N*H*W, C)."""
    return x.reshape(-1, x.shape[-1])


def _scaled(
    x: Any, scale: Any, shift: Any, residual: Any = None, *, activation: str | None = None
) -> Any:
    y = x * scale + shift
    return activate(y if residual is None else y + residual, activation)


@primitive(
    flops=lambda output, x, *inputs, **settings: 2 * x.size,
    oracle=lambda torch, x, scale, shift, residual=None, activation=None: torch_activate(
        torch, x * scale + shift + (0 if residual is None else residual), activation
    ),
    composition=_scaled,
    name="batch_norm",
)
def scale_shift(x, scale, shift, residual=None, *, activation=None):
    """Return activation(x * scale + shift + residual), by channels (the last axis), in one pass."""
    y = kernels.use("norm").scale_shift(
        _rows(x), scale, shift, None if residual is None else _rows(residual), activation
    )
    return y.reshape(x.shape)


@scale_shift.vjp("x", "scale", "shift", "residual")
def _(g, x, scale, output, needs, activation):
    dx, dscale, dshift, dresidual = kernels.use("norm").scale_shift_grad(
        _rows(g), _rows(x), _rows(output), scale, activation, needs
    )
    dx = None if dx is None else dx.reshape(x.shape)
    return dx, dscale, dshift, None if dresidual is None else dresidual.reshape(x.shape)


def _array(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _check_channels(x: Any, **columns: Any) -> None:
    """Raise unless each of `columns` is None, or (C,) and of the dtype of x (..., C)."""
    if x.dtype.kind != "f" or x.ndim < 2:
        raise (DTypeError if x.ndim >= 2 else ShapeError)(
            f"batch_norm expected float32 or float64 of shape (..., C), got {x.dtype} of {x.shape}"
        )
    for name, array in columns.items():
        if array is not None and array.shape != x.shape[-1:]:
            raise ShapeError(
                f"batch_norm expected x with {array.size} channels on its last axis, as {name} "
                f"has, got shape {x.shape}"
            )
        if array is not None and array.dtype != x.dtype:
            raise DTypeError(
                f"batch_norm expected x and {name} of one dtype, got {x.dtype} and {array.dtype}: "
                "use x.astype()"
            )


def _check_running(mean: Any, var: Any) -> None:
    """Raise unless training can update both running statistics, or there are none."""
    for name, array in (("running_mean", mean), ("running_var", var)):
        if array is not None and not array.flags.writeable:
            raise ArgumentError(
                f"batch_norm: {name} is read-only, and training changes it: give it a copy"
            )
    if (mean is None) != (var is None):
        raise ArgumentError(
            "batch_norm in training moves running_mean and running_var: give both, or neither"
        )


def _coefficients(weight: Any, bias: Any, mean: np.ndarray, var: np.ndarray, eps: float) -> Any:
    """Return scale and shift of batch normalization by known statistics; recorded if need be."""
    columns = [c for c in (weight, bias) if isinstance(c, Tensor)]
    if not mode.recording or not any(c.requires_grad for c in columns):
        return kernels.use("norm").folded(_array(weight), _array(bias), mean, var, eps)
    inv_std = again(lambda: 1 / np.sqrt(var + var.dtype.type(eps)))
    scale = inv_std if weight is None else multiply(weight, inv_std)
    shift = multiply(mean, scale)
    return scale, negative(shift) if bias is None else bias - shift


@composite(
    oracle=lambda torch, x, running_mean, running_var, weight=None, bias=None, training=False,
    momentum=0.1, eps=1e-5, residual=None, activation=None: torch_activate(
        torch,
        torch.nn.functional.batch_norm(
            x.reshape(-1, x.shape[-1]),
            *(s if s is None else torch.as_tensor(s.copy()) for s in (running_mean, running_var)),
            weight, bias, training, momentum, eps,
        ).reshape(x.shape) + (0 if residual is None else residual),
        activation,
    ),
    labels=("running_mean", "running_var"),
)  # fmt: skip
def batch_norm(
    x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5,
    residual=None, *, activation=None,
):  # fmt: skip
    """Return batch normalization over all axes but the last.

    x: (..., C), (N, C) or (N, H, W, C); weight, bias, running_mean, running_var: (C,).
    residual: as x, added to the result; activation: by name, applied last; both in one pass.
    training: normalize by the batch's own mean and variance, and move the running ones (ndarrays,
        changed in place; or None) by `momentum` towards them, the variance unbiased. Otherwise
        normalize by the running ones.
    Raises ShapeError for other shapes and for a batch of fewer than two values in a channel,
    DTypeError for arrays that aren't of one float dtype, ArgumentError for running statistics that
    are missing in evaluation or read-only.
    Source: Ioffe and Szegedy 2015, "Batch Normalization", algorithms 1 and 2.
    """
    columns = {"weight": weight, "bias": bias, "mean": running_mean, "var": running_var}
    columns["residual"] = residual
    check_arrays("batch_norm", x=x, **{k: v for k, v in columns.items() if v is not None})
    momentum, eps = real("batch_norm", "momentum", momentum), real("batch_norm", "eps", eps)
    running_mean, running_var = _array(running_mean), _array(running_var)
    _check_channels(x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if residual is not None and (residual.shape != x.shape or residual.dtype != x.dtype):
        raise ShapeError(
            f"batch_norm: residual is {residual.dtype} of shape {residual.shape}, x {x.dtype} of "
            f"{x.shape}: they must be alike"
        )
    fused = check_activation("batch_norm", activation) in FUSED
    within = activation if fused else None
    channels = x.shape[-1]
    if not flag("batch_norm", "training", training):
        if running_mean is None or running_var is None:
            raise ArgumentError("batch_norm needs running_mean and running_var unless training")
        scale, shift = _coefficients(weight, bias, running_mean, running_var, eps)
        y = scale_shift(x, scale, shift, residual, activation=within)
        return y if fused else activate(y, activation)
    _check_running(running_mean, running_var)
    if here.meeting is not None:
        return joint_batch_norm(
            x, running_mean, running_var, weight, bias, momentum, eps, residual, activation
        )
    values = int(np.prod(x.shape[:-1]))
    if values < 2:
        raise ShapeError(
            f"batch_norm in training needs at least two values a channel, got shape {x.shape}: "
            "use a larger batch, or eval(); a DataLoader's drop_last=True leaves out a last "
            "batch of one row"
        )
    weight = np.ones(channels, x.dtype) if weight is None else weight
    bias = np.zeros(channels, x.dtype) if bias is None else bias
    y, mean, var = batch_norm_train(x, weight, bias, residual, eps=eps, activation=within)
    if running_mean is not None and not mode.rerunning:
        owns(running_mean, running_var)
        kernels.use("norm").update_running(
            running_mean, running_var, _array(mean), _array(var), momentum, values
        )
    return y if fused else activate(y, activation)


@composite(
    oracle=lambda torch, x, shape, weight=None, bias=None, eps=1e-5: torch.nn.functional.layer_norm(
        x, shape, weight, bias, eps
    )
)
def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Normalize each row over its last axes, those of `normalized_shape`; then w*x + b.

    x: (..., *normalized_shape); weight, bias: of that shape.
    Raises ShapeError where the shapes don't fit.
    Source: Ba et al. 2016, "Layer Normalization", equation 4.
    """
    shape = lengths("layer_norm", "normalized_shape", normalized_shape)
    eps = real("layer_norm", "eps", eps)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(f"layer_norm expected last axes of shape {shape}, got shape {x.shape}")
    axes = tuple(range(-len(shape), 0))
    centred = x - mean(x, axis=axes, keepdims=True)
    y = centred / sqrt(mean(centred * centred, axis=axes, keepdims=True) + eps)
    if weight is not None:
        y = multiply(y, weight)
    return y if bias is None else add(y, bias)


@batch_norm_train.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(6, 3), draw.normal(3), draw.normal(3), eps=1e-5)
    yield sample(draw.normal(2, 3, 5, 4), draw.normal(4), draw.normal(4), eps=1e-3)
    yield sample(draw.normal(1, 2, 1, 1), draw.normal(1), draw.normal(1), eps=1e-2)
    yield sample(draw.normal(300, 2) + 2, draw.normal(2), draw.normal(2), eps=1e-5)
    x, weight, bias = draw.normal(2, 3, 3, 4), draw.normal(4), draw.normal(4)
    yield sample(x, weight, bias, eps=1e-5, activation="relu")
    yield sample(x, weight, bias, draw.normal(2, 3, 3, 4), eps=1e-5)
    yield sample(x, weight * 5, bias, draw.normal(2, 3, 3, 4), eps=1e-5, activation="relu6")


@scale_shift.samples
def _(draw: Draw) -> Iterator[Sample]:
    x, scale, shift = draw.normal(2, 3, 3, 4), draw.normal(4), draw.normal(4)
    yield sample(x, scale, shift)
    yield sample(x, scale, shift, draw.normal(2, 3, 3, 4))
    yield sample(x, scale, shift, activation="relu")
    yield sample(x * 4, scale, shift, draw.normal(2, 3, 3, 4), activation="relu6")
    yield sample(draw.normal(0, 3), draw.normal(3), draw.normal(3))


@batch_norm.samples
def _(draw: Draw) -> Iterator[Sample]:
    mean, var = draw.normal(3), draw.uniform(0.5, 2, 3)
    x, weight, bias = draw.normal(2, 4, 3, 3), draw.normal(3), draw.normal(3)
    residual = draw.normal(2, 4, 3, 3)
    yield sample(x, mean, var, weight, bias)
    yield sample(x, mean, var, weight, bias, False, 0.1, 1e-5, residual, activation="relu")
    yield sample(x, None, None, weight, bias, True, 0.1, 1e-5, residual, activation="relu")
    yield sample(x, mean, var, weight, bias, activation="tanh")
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
    fixed = np.broadcast_to(np.float32(0), (3,))
    yield ErrorInput(sample(x, fixed, var, None, None, True), ArgumentError, "mean is read-only")
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
