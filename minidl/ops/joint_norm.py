"""Batch normalization by the statistics of a whole batch whose shards run side by side."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, Sample, sample
from minidl.autograd.tensor import Tensor
from minidl.distributed.meeting import here
from minidl.errors import ShapeError
from minidl.ops.activation import activate
from minidl.ops.elementwise import sqrt
from minidl.ops.reduce import sum

__all__: list[str] = []


@primitive(flops=lambda output, x: output.size, oracle=lambda torch, x: x, name="batch_norm")
def joint_sum(x):
    """Return the sum of x over all shards of a batch; of one that runs alone, x itself.

    All of them get the same sum, so that the gradient of each is the sum of all their gradients.
    """
    return x.copy() if here.meeting is None else here.meeting.sum(x)


joint_sum.vjp("x")(lambda g: joint_sum(g))


def joint_batch_norm(
    x: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, momentum: float,
    eps: float, residual: Any, activation: str | None,
) -> Any:  # fmt: skip
    """Return `batch_norm` in training, x (..., C) being a shard of what the statistics are over."""
    assert here.meeting is not None
    axes, count = tuple(range(x.ndim - 1)), here.meeting.whole(int(np.prod(x.shape[:-1])))
    if count < 2:
        raise ShapeError("batch_norm in training needs at least two values a channel, got one")
    mean = joint_sum(sum(x, axis=axes)) * (1.0 / count)
    centred = x - mean
    var = joint_sum(sum(centred * centred, axis=axes)) * (1.0 / count)
    y = centred / sqrt(var + eps)
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    if running_mean is not None:
        now = [s.data if isinstance(s, Tensor) else s for s in (mean, var)]
        kernels.use("norm").update_running(running_mean, running_var, *now, momentum, count)
    return activate(y if residual is None else y + residual, activation)


@joint_sum.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(3))
    yield sample(draw.normal(2, 3))
    yield sample(draw.normal(0))
