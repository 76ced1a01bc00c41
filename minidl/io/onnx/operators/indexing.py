"""Picking and placing entries of arrays."""

from typing import Any

import numpy as np

from minidl import ops
from minidl.io.onnx.operators.reduce import axis_of
from minidl.io.onnx.table import Attribute, Call, operator
from minidl.io.onnx.values import Value, is_float, plain_order


def _places(call: Call, indices: Value, length: int) -> np.ndarray:
    """Return indices from 0 up, or a FileFormatError for one that is outside."""
    found = indices.numbers().astype(np.int64)
    if found.size and not (-length <= found.min() and found.max() < length):
        call.refuse(f"indices from {found.min()} to {found.max()} into an axis of {length}")
    return np.where(found < 0, found + length, found)


@operator("Gather", settings=(1,), axis=0)
def gather(call: Call, x: Value, indices: Value, *, axis: int) -> Value:
    axis = axis_of(call, axis, x.ndim)
    places = _places(call, indices, x.shape[axis])
    call.check_size([*places.shape, *(n for a, n in enumerate(x.shape) if a != axis)])
    if places.ndim:
        x = Value(x.plain())
    key: Any = [slice(None)] * x.ndim
    key[x.place(axis)] = places if places.ndim else int(places)
    data = ops.getitem(x.data, key=tuple(key)) if is_float(x) else x.data[tuple(key)]
    if places.ndim:
        return Value(data)
    kept = [a for a in x.order if a != axis]
    return Value(np.asarray(data) if np.isscalar(data) else data, _ranked(kept))


def _ranked(axes: list[int]) -> tuple[int, ...]:
    return tuple(sorted(axes).index(axis) for axis in axes)


@operator("GatherElements", settings=(1,), axis=0)
def gather_elements(call: Call, x: Value, indices: Value, *, axis: int) -> Value:
    axis = axis_of(call, axis, x.ndim)
    places, data = _places(call, indices, x.shape[axis]), x.plain()
    if places.ndim != x.ndim or any(
        p > n for i, (p, n) in enumerate(zip(places.shape, x.shape, strict=True)) if i != axis
    ):
        call.refuse(f"indices of shape {places.shape} into {x.shape}")
    key = _grid(places, axis)
    return Value(ops.getitem(data, key=key) if is_float(x) else data[key])


def _grid(places: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """Return an index in which `places` stand for one axis, and every other is its own."""
    key = [
        np.broadcast_to(np.arange(n).reshape(-1, *(1,) * (places.ndim - i - 1)), places.shape)
        for i, n in enumerate(places.shape)
    ]
    key[axis] = places
    return tuple(key)


@operator("GatherND", settings=(1,), batch_dims=0)
def gather_nd(call: Call, x: Value, indices: Value, *, batch_dims: int) -> Value:
    data, key = x.plain(), _nd_key(call, x, indices, batch_dims)
    return Value(ops.getitem(data, key=key) if is_float(x) else data[key])


def _nd_key(call: Call, x: Value, indices: Value, batch_dims: int = 0) -> Any:
    found = indices.numbers().astype(np.int64)
    depth = found.shape[-1] if found.ndim else 0
    if not depth or not 0 <= batch_dims < found.ndim or batch_dims + depth > x.ndim:
        call.refuse(f"indices of shape {found.shape} into {x.shape}")
    batch = tuple(
        np.arange(n).reshape(-1, *(1,) * (found.ndim - 2 - i))
        for i, n in enumerate(found.shape[:batch_dims])
    )
    call.check_size([*found.shape[:-1], *x.shape[batch_dims + depth :]])
    lengths = x.shape[batch_dims : batch_dims + depth]
    rest = tuple(_places(call, Value(found[..., i]), length) for i, length in enumerate(lengths))
    return batch + rest


@operator("ScatterND", settings=(1,), reduction=["none", "add", "mul", "max", "min"])
def scatter_nd(call: Call, x: Value, indices: Value, updates: Value, *, reduction: str) -> Value:
    return _scattered(call, x, _nd_key(call, x, indices), updates, reduction)


@operator("ScatterElements", settings=(1,), axis=0, reduction=["none", "add", "mul", "max", "min"])
def scatter_elements(
    call: Call, x: Value, indices: Value, updates: Value, *, axis: int, reduction: str
) -> Value:
    axis = axis_of(call, axis, x.ndim)
    key = _grid(_places(call, indices, x.shape[axis]), axis)
    return _scattered(call, x, key, updates, reduction)


def _scattered(call: Call, x: Value, key: Any, updates: Value, reduction: str) -> Value:
    """Return x with updates at `key`; gradients pass where places are set or added to."""
    data, new = x.plain(), updates.plain()
    if is_float(x) and reduction in ("none", "add"):
        added = ops.scatter_add(new, key=key, shape=x.shape)
        if reduction == "add":
            return Value(ops.add(data, added))
        touched = np.zeros(x.shape, np.int64)
        np.add.at(touched, key, 1)
        if touched.max(initial=0) > 1:
            call.refuse("it sets a place twice, and which of both holds isn't defined")
        return Value(ops.where(touched > 0, added, data))
    found, numbers = x.numbers().copy(), updates.numbers()
    if reduction == "none":
        found[key] = numbers
    else:
        pick = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[reduction]
        pick.at(found, key, numbers)
    return Value(found)


@operator("OneHot", settings=(1,), axis=-1)
def one_hot(call: Call, indices: Value, depth: Value, values: Value, *, axis: int) -> Value:
    count = int(depth.numbers().reshape(-1)[0])
    places = indices.numbers().astype(np.int64)
    axis = axis_of(call, axis, places.ndim + 1)
    call.check_size([*places.shape, count])
    known = (places >= -count) & (places < count)
    rows = np.expand_dims(np.where(places < 0, places + count, places), axis)
    classes = np.arange(count).reshape(-1, *(1,) * (places.ndim - axis))
    off, on = values.numbers()
    return Value(np.where((rows == classes) & np.expand_dims(known, axis), on, off))


@operator("NonZero")
def non_zero(call: Call, x: Value) -> Value:
    return Value(np.array(np.nonzero(x.numbers()), np.int64).reshape(x.ndim, -1))


@operator("Compress", settings=(1,), axis=Attribute("int", None))
def compress(call: Call, x: Value, condition: Value, *, axis: Any) -> Value:
    kept = np.flatnonzero(condition.numbers())
    data = x.plain()
    if axis is None:
        data, place = ops.reshape(data, shape=(-1,)) if is_float(x) else data.ravel(), 0
    else:
        place = axis_of(call, axis, x.ndim)
    key: Any = (*(slice(None),) * place, _places(call, Value(kept), data.shape[place]))
    return Value(ops.getitem(data, key=key) if is_float(x) else data[key])


@operator("ReverseSequence", settings=(1,), batch_axis=1, time_axis=0)
def reverse_sequence(
    call: Call, x: Value, lengths: Value, *, batch_axis: int, time_axis: int
) -> Value:
    if sorted((batch_axis, time_axis)) != [0, 1] or x.ndim < 2:
        call.refuse(f"its axes are {batch_axis} and {time_axis} of shape {x.shape}")
    steps = np.arange(x.shape[time_axis])[:, None]  # (T, 1)
    until = lengths.numbers().astype(np.int64)  # (B,)
    rows = np.where(steps < until, until - 1 - steps, steps)  # (T, B)
    batch = np.broadcast_to(np.arange(x.shape[batch_axis]), rows.shape)
    key = (rows, batch) if time_axis == 0 else (batch.T, rows.T)
    data = x.plain()
    return Value(ops.getitem(data, key=key) if is_float(x) else data[key], plain_order(x.ndim))
