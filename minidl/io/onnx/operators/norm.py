"""Normalization, by given statistics or by those of the input itself."""

import math
from typing import Any

import numpy as np

from minidl import ops
from minidl.io.onnx.operators.pool import last
from minidl.io.onnx.operators.reduce import axis_of
from minidl.io.onnx.table import Call, operator, required
from minidl.io.onnx.values import Value
from minidl.ops.local_response_norm import local_response_norm_sum


@operator("BatchNormalization", epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
def batch_norm(
    call: Call, x: Value, scale: Value, offset: Value, mean: Value, var: Value,
    *, epsilon: float, momentum: float, training_mode: int, spatial: int,
) -> Any:  # fmt: skip
    if not spatial:
        call.refuse("its attribute spatial is 0; minidl normalizes channels")
    order = last(x.ndim)
    data, (weight, bias) = x.stored_as(order), (scale.plain(), offset.plain())
    if not training_mode:
        if len([name for name in call.outputs if name]) > 1:
            call.refuse("it is to train, as before opset 14: export the model in evaluation mode")
        y = ops.batch_norm(data, mean.numbers(), var.numbers(), weight, bias, eps=epsilon)
        return Value(y, order)
    running = [mean.numbers().copy(), var.numbers().copy()]
    y = ops.batch_norm(data, *running, weight, bias, training=True, eps=epsilon)
    numbers = x.numbers()
    axes = (0, *range(2, x.ndim))
    new = numbers.mean(axis=axes), numbers.var(axis=axes)  # the variance is that of the batch
    told = [
        old.numbers() * momentum + batch * (1 - momentum)
        for old, batch in zip((mean, var), new, strict=True)
    ]
    found = (Value(y, order), *(Value(t.astype(x.dtype)) for t in told))
    return found[: len(call.outputs)]


@operator("InstanceNormalization", epsilon=1e-5)
def instance_norm(call: Call, x: Value, scale: Value, offset: Value, *, epsilon: float) -> Value:
    order, data = last(x.ndim), x.stored_as(last(x.ndim))
    if x.ndim == 4 and math.prod(x.shape[2:]) > 1:
        return Value(
            ops.instance_norm(data, weight=scale.plain(), bias=offset.plain(), eps=epsilon), order
        )
    channels = x.shape[1]
    return Value(ops.group_norm(data, channels, scale.plain(), offset.plain(), epsilon), order)


@operator("GroupNormalization", epsilon=1e-5, num_groups=required("int"), stash_type=1)
def group_norm(
    call: Call, x: Value, scale: Value, offset: Value,
    *, epsilon: float, num_groups: int, stash_type: int,
) -> Value:  # fmt: skip
    order, channels = last(x.ndim), x.shape[1]
    weight, bias = scale.plain(), offset.plain()
    if call.opset < 21 and weight.shape[0] == num_groups != channels:  # one for a group
        places = np.arange(channels) // (channels // num_groups)
        weight, bias = (ops.getitem(part, key=(places,)) for part in (weight, bias))
    return Value(ops.group_norm(x.stored_as(order), num_groups, weight, bias, epsilon), order)


@operator("LayerNormalization", axis=-1, epsilon=1e-5, stash_type=1)
def layer_norm(
    call: Call, x: Value, scale: Value, offset: Any = None,
    *, axis: int, epsilon: float, stash_type: int,
) -> Any:  # fmt: skip
    axis = axis_of(call, axis, x.ndim)
    order, shape = _ending(x, axis), x.shape[axis:]
    data = x.stored_as(order)
    weight = _widened(scale, shape)
    bias = None if offset is None else _widened(offset, shape)
    y = Value(ops.layer_norm(data, shape, weight, bias, epsilon), order)
    if len(call.outputs) < 2:
        return y
    axes = tuple(range(axis, x.ndim))
    mean = ops.mean(data, axis=axes, keepdims=True)
    var = ops.mean((data - mean) * (data - mean), axis=axes, keepdims=True)
    inverse = 1.0 / ops.sqrt(var + epsilon)
    return (y, Value(mean, order), Value(inverse, order))[: len(call.outputs)]


def _ending(x: Value, axis: int) -> tuple[int, ...]:
    """Return an order whose last axes are the file's from `axis` on: x's own, where it is one."""
    behind = tuple(range(axis, x.ndim))
    if x.order[axis:] == behind:
        return x.order
    return (*(a for a in x.order if a < axis), *behind)


def _widened(part: Value, shape: tuple[int, ...]) -> Any:
    if part.shape == shape:
        return part.plain()
    ones = (1,) * (len(shape) - part.ndim) + part.shape
    return ops.broadcast_to(ops.reshape(part.plain(), shape=ones), shape=shape)


@operator("RMSNormalization", axis=-1, epsilon=1e-5, stash_type=1)
def rms_norm(
    call: Call, x: Value, scale: Value, *, axis: int, epsilon: float, stash_type: int
) -> Value:
    axis = axis_of(call, axis, x.ndim)
    order = _ending(x, axis)
    data = x.stored_as(order)
    squares = ops.mean(data * data, axis=tuple(range(axis, x.ndim)), keepdims=True)
    return Value(data / ops.sqrt(squares + epsilon) * _widened(scale, x.shape[axis:]), order)


@operator("LRN", alpha=1e-4, beta=0.75, bias=1.0, size=required("int"))
def lrn(call: Call, x: Value, *, alpha: float, beta: float, bias: float, size: int) -> Value:
    order, data = last(x.ndim), x.stored_as(last(x.ndim))
    if size < 1:
        call.refuse(f"its attribute size is {size}")
    if size % 2:
        return Value(ops.local_response_norm(data, size, alpha, beta, bias), order)
    before, after = (min(n, x.shape[1]) for n in ((size - 1) // 2, size // 2))
    squares = local_response_norm_sum(data * data, before=before, after=after)
    return Value(data * ops.power(squares * (alpha / size) + bias, -beta), order)


@operator("LpNormalization", axis=-1, p=2)
def lp_norm(call: Call, x: Value, *, axis: int, p: int) -> Value:
    place = x.place(axis_of(call, axis, x.ndim))
    if p == 1:
        norm = ops.sum(ops.abs(x.data), axis=place, keepdims=True)
    elif p == 2:
        norm = ops.sqrt(ops.sum(x.data * x.data, axis=place, keepdims=True))
    else:
        call.refuse(f"its attribute p is {p}; minidl knows 1 and 2")
    zero = np.asarray(getattr(norm, "data", norm)) == 0
    return Value(x.data / ops.where(zero, np.ones((), x.dtype), norm), x.order)


@operator("MeanVarianceNormalization", axes=(0, 2, 3))
def mean_variance_norm(call: Call, x: Value, *, axes: Any) -> Value:
    places = tuple(x.place(axis_of(call, axis, x.ndim)) for axis in axes)
    centred = x.data - ops.mean(x.data, axis=places, keepdims=True)
    deviation = ops.sqrt(ops.mean(centred * centred, axis=places, keepdims=True))
    return Value(centred / (deviation + 1e-9), x.order)
