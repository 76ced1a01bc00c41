"""Normalization over groups of an image's own channels: no batch, no running statistics."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.op import composite
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.checks import positive, real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.elementwise import add, multiply, sqrt
from minidl.ops.norm import batch_norm
from minidl.ops.reduce import mean
from minidl.ops.shape import concatenate, reshape

__all__ = ["group_norm", "instance_norm"]


def _torch_group_norm(
    torch: Any, x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    planes = torch.movedim(x, -1, 1)
    y = torch.nn.functional.group_norm(planes, num_groups, weight, bias, eps)
    return torch.movedim(y, 1, -1)


@composite(oracle=_torch_group_norm)
def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    """Normalize an image over its pixels and each of `num_groups` groups of channels; then w*x + b.

    x: (N, ..., C), groups of C / num_groups channels side by side; weight, bias: (C,).
    Raises ShapeError where the groups don't divide C, DTypeError for an x that isn't of floats,
    ArgumentError for num_groups below 1 or a negative eps.
    Source: Wu and He 2018, "Group Normalization", equation 1.
    """
    if x.ndim < 2 or x.dtype.kind != "f":
        raise (DTypeError if x.dtype.kind != "f" else ShapeError)(
            f"group_norm expected a float array (N, ..., C), got {x.dtype} of shape {x.shape}"
        )
    num_groups = positive("group_norm", "num_groups", num_groups)
    if x.shape[-1] % num_groups:
        raise ShapeError(
            f"group_norm: num_groups must divide the {x.shape[-1]} channels (last axis of "
            f"{x.shape}), got {num_groups}"
        )
    eps = real("group_norm", "eps", eps)
    if eps < 0:
        raise ArgumentError(f"group_norm: eps must be 0 or more, got {eps!r}")
    n, *pixels, c = x.shape
    groups = reshape(x, shape=(n, math.prod(pixels), num_groups, c // num_groups))
    centred = groups - mean(groups, axis=(1, 3), keepdims=True)
    variance = mean(centred * centred, axis=(1, 3), keepdims=True)
    y = reshape(centred / sqrt(variance + eps), shape=x.shape)
    y = y if weight is None else multiply(y, weight)
    return y if bias is None else add(y, bias)


def _torch_instance_norm(
    torch: Any, x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    # not torch's instance_norm: from gradients with channels last it makes wrong ones
    variance = x.var((1, 2), unbiased=False, keepdim=True)
    y = (x - x.mean((1, 2), keepdim=True)) / torch.sqrt(variance + eps)
    y = y if weight is None else y * torch.as_tensor(weight)
    return y if bias is None else y + torch.as_tensor(bias)


@composite(oracle=_torch_instance_norm)
def instance_norm(x, *, weight=None, bias=None, eps=1e-5):
    """Normalize each channel of each image over its pixels; then w*x + b.

    x: (N, H, W, C); weight, bias: (C,).  The same as group_norm with groups of one channel, and as
    batch normalization of each image for itself, whose kernel computes it.
    Raises ShapeError for images of one pixel, which would all become 0, DTypeError for images that
    aren't of floats.
    Source: Ulyanov et al. 2016, "Instance Normalization", equation 2.
    """
    if x.ndim != 4:
        raise ShapeError(f"instance_norm expected images (N, H, W, C), got shape {x.shape}")
    if x.shape[1] * x.shape[2] < 2:
        raise ShapeError(f"instance_norm needs at least two pixels an image, got shape {x.shape}")
    eps = real("instance_norm", "eps", eps)
    if not x.size or x.dtype.kind != "f" or eps < 0:  # nothing to compute, or to refuse
        return group_norm(x, x.shape[3], weight, bias, eps)
    images = [
        batch_norm(x[i : i + 1], None, None, weight, bias, training=True, eps=eps)
        for i in range(len(x))
    ]
    return images[0] if len(images) == 1 else concatenate(images, axis=0)


@group_norm.samples
def _(draw: Draw) -> Iterator[Sample]:
    x = draw.normal(2, 3, 2, 6)
    yield sample(x, 3, draw.normal(6), draw.normal(6))
    yield sample(x, 1, draw.normal(6), draw.normal(6), 0.1)
    yield sample(x, 6)
    yield sample(draw.normal(3, 12), 2, draw.normal(12))
    yield sample(draw.normal(0, 2, 2, 4), 2, draw.normal(4), draw.normal(4))


@instance_norm.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 3, 2, 4))
    yield sample(draw.normal(1, 4, 3, 2), eps=0.1)
    yield sample(draw.normal(0, 2, 2, 3))


@group_norm.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(2, 3, 3, 6), 4), ShapeError, "must divide the 6 channels")
    yield ErrorInput(sample(draw.normal(2, 6), 0), ArgumentError, "num_groups must be .* got 0")
    yield ErrorInput(sample(draw.normal(6), 2), ShapeError, r"\(N, ..., C\)")
    yield ErrorInput(sample(np.ones((2, 4), int), 2), DTypeError, "got int64")
    yield ErrorInput(sample(draw.normal(2, 4), 2, eps=-1.0), ArgumentError, "eps must be 0 or more")


@instance_norm.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(2, 3)), ShapeError, r"\(N, H, W, C\), got shape \(2, 3\)")
    yield ErrorInput(sample(draw.normal(2, 1, 1, 3)), ShapeError, "at least two pixels")
    yield ErrorInput(sample(np.ones((1, 2, 2, 1), int)), DTypeError, "got int64")
