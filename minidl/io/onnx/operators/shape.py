"""Shapes: operators that move numbers, join and cut arrays, and make constants."""

import math
from itertools import pairwise
from typing import Any

import numpy as np

from minidl import ops
from minidl.io.onnx.operators.reduce import axis_of, dropped
from minidl.io.onnx.table import Attribute, Call, operator, required
from minidl.io.onnx.values import LAST, Value, aligned, is_float, reshaped


@operator("Shape", start=0, end=Attribute("int", None))
def shape_of(call: Call, x: Value, *, start: int, end: Any) -> Value:
    return Value(np.array(x.shape[start:end], np.int64))


@operator("Size")
def size_of(call: Call, x: Value) -> Value:
    return Value(np.array(math.prod(x.shape), np.int64))


@operator("Reshape", settings=(1,), allowzero=0)
def reshape(call: Call, x: Value, shape: Value, *, allowzero: int) -> Value:
    old, new = x.shape, shape.integers()
    if not allowzero:
        if any(n == 0 and i >= len(old) for i, n in enumerate(new)):
            call.refuse(f"its shape {new} keeps an axis that {old} doesn't have")
        new = [old[i] if n == 0 else n for i, n in enumerate(new)]
    size = math.prod(old)
    if new.count(-1) == 1 and min(new) == -1:
        rest = math.prod(n for n in new if n != -1)
        if not rest or size % rest:
            call.refuse(f"an array of shape {old} can't become {new}")
        new[new.index(-1)] = size // rest
    if any(n < 0 for n in new) or math.prod(new) != size:
        call.refuse(f"an array of shape {old} can't become {new}")
    return reshaped(x, new)


@operator("Flatten", axis=1)
def flatten(call: Call, x: Value, *, axis: int) -> Value:
    shape = x.shape
    axis = axis if axis == x.ndim else axis_of(call, axis, x.ndim)
    return reshaped(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _axes(given: Any, attribute: Any) -> Any:
    return given.integers() if given is not None else attribute


@operator("Squeeze", settings=(1,), axes=Attribute("ints", None))
def squeeze(call: Call, x: Value, given: Any = None, *, axes: Any) -> Value:
    listed, shape = _axes(given, axes), x.shape
    if listed is None:
        whole = tuple(axis for axis, n in enumerate(shape) if n == 1)
    else:
        whole = tuple(sorted({axis_of(call, axis, x.ndim) for axis in listed}))
    if any(shape[axis] != 1 for axis in whole):
        call.refuse(f"axes {list(whole)} of shape {shape} aren't all of length 1")
    return dropped(x, whole)


@operator("Unsqueeze", settings=(1,), axes=Attribute("ints", None))
def unsqueeze(call: Call, x: Value, given: Any = None, *, axes: Any) -> Value:
    listed = _axes(given, axes)
    if listed is None:
        call.refuse("it has no axes")
    ndim = x.ndim + len(listed)
    whole = sorted({axis_of(call, axis, ndim) for axis in listed})
    if len(whole) != len(listed):
        call.refuse(f"its axes {list(listed)} aren't different ones")
    shape = list(x.shape)
    for axis in whole:
        shape.insert(axis, 1)
    kept = [axis for axis in range(ndim) if axis not in whole]
    order = (*(kept[axis] for axis in x.order), *whole)
    data = ops.reshape(x.data, shape=x.data.shape + (1,) * len(whole))
    return Value(data, order)


@operator("Transpose", perm=Attribute("ints", None))
def transpose(call: Call, x: Value, *, perm: Any) -> Value:
    """Return x with other names for its axes: numbers stay where they are."""
    perm = tuple(range(x.ndim))[::-1] if perm is None else perm
    if sorted(perm) != list(range(x.ndim)):
        call.refuse(f"its attribute perm is {perm}, and its input has {x.ndim} axes")
    return Value(x.data, tuple(perm.index(axis) for axis in x.order))


@operator("Concat", axis=required("int"))
def concat(call: Call, *values: Value, axis: int) -> Value:
    axis = axis_of(call, axis, values[0].ndim)
    if any(value.ndim != values[0].ndim for value in values):
        call.refuse(f"its inputs have the shapes {[value.shape for value in values]}")
    if len(values) == 1:
        return values[0]
    call.check_size([sum(math.prod(value.shape) for value in values)])
    order = max(values, key=lambda value: math.prod(value.data.shape)).order
    arrays = [value.stored_as(order) for value in values]
    if is_float(values[0]):
        return Value(ops.concatenate(*arrays, axis=order.index(axis)), order)
    return Value(np.concatenate(arrays, axis=order.index(axis)), order)


@operator(
    "Split", settings=(1,), axis=0, split=Attribute("ints", None),
    num_outputs=Attribute("int", None),
)  # fmt: skip
def split_parts(
    call: Call, x: Value, given: Any = None, *, axis: int, split: Any, num_outputs: Any
) -> list[Value]:
    axis = axis_of(call, axis, x.ndim)
    length, lengths = x.shape[axis], _axes(given, split)
    if lengths is None:
        count = num_outputs or len(call.outputs)
        part = -(-length // count)
        lengths = [max(0, min(part, length - i * part)) for i in range(count)]
    if sum(lengths) != length or min(lengths) < 0 or len(lengths) != len(call.outputs):
        call.refuse(f"lengths {list(lengths)} of an axis of {length}")
    ends = np.cumsum([0, *lengths])
    return [_cut(x, axis, slice(int(a), int(b))) for a, b in pairwise(ends)]


def _cut(x: Value, axis: int, part: Any) -> Value:
    key: Any = [slice(None)] * x.ndim
    key[x.place(axis)] = part
    if is_float(x):
        return Value(ops.getitem(x.data, key=tuple(key)), x.order)
    return Value(x.data[tuple(key)], x.order)


@operator(
    "Slice", settings=(1, 2, 3, 4), starts=Attribute("ints", None), ends=Attribute("ints", None),
    axes=Attribute("ints", None),
)  # fmt: skip
def slice_(
    call: Call, x: Value, begin: Any = None, end: Any = None, along: Any = None,
    step: Any = None, *, starts: Any, ends: Any, axes: Any,
) -> Value:  # fmt: skip
    first, last = _axes(begin, starts), _axes(end, ends)
    if first is None or last is None:
        call.refuse("it has no starts or ends")
    listed = _axes(along, axes)
    listed = list(range(len(first))) if listed is None else listed
    steps = [1] * len(first) if step is None else step.integers()
    if not len(first) == len(last) == len(listed) == len(steps) or 0 in steps:
        call.refuse("its starts, ends, axes and steps don't go together")
    key: Any = [slice(None)] * x.ndim
    shape = x.shape
    for a, b, axis, by in zip(first, last, listed, steps, strict=True):
        axis = axis_of(call, axis, x.ndim)
        key[x.place(axis)] = _range(a, b, by, shape[axis])
    if all(part == slice(None) for part in key):
        return x
    if is_float(x):
        return Value(ops.getitem(x.data, key=tuple(key)), x.order)
    return Value(x.data[tuple(key)], x.order)


def _range(start: int, end: int, step: int, length: int) -> slice:
    """Return ONNX's range as Python's: both clip, a negative end means the same."""
    begin, stop, by = slice(start, end, step).indices(length)
    if by < 0 and stop < 0:
        return slice(begin, None, by) if begin >= 0 else slice(0, 0)
    return slice(begin, stop, by)


@operator("Expand", settings=(1,))
def expand(call: Call, x: Value, shape: Value) -> Value:
    wanted = shape.integers()
    ndim = max(x.ndim, len(wanted))
    old = (1,) * (ndim - x.ndim) + x.shape
    wanted = [1] * (ndim - len(wanted)) + wanted
    new = tuple(b if a == 1 else a for a, b in zip(old, wanted, strict=True))
    if any(b not in (1, n) for b, n in zip(wanted, new, strict=True)):
        call.refuse(f"shapes {x.shape} and {wanted} don't broadcast")
    call.check_size(new)
    (data, _), order = aligned((x, Value(np.empty((1,) * ndim, x.dtype))))
    stored = tuple(new[axis] for axis in order)
    if is_float(x):
        return Value(ops.broadcast_to(data, shape=stored), order)
    return Value(np.broadcast_to(data, stored), order)


@operator("Tile", settings=(1,))
def tile(call: Call, x: Value, repeats: Value) -> Value:
    counts = repeats.integers()
    if len(counts) != x.ndim or min(counts, default=1) < 0:
        call.refuse(f"repeats {counts} of an array with {x.ndim} axes")
    call.check_size([n * count for n, count in zip(x.shape, counts, strict=True)])
    data = x.plain()
    if not is_float(x):
        return Value(np.tile(data, counts))
    shape = x.shape
    paired = tuple(n for pair in zip((1,) * x.ndim, shape, strict=True) for n in pair)
    wide = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)
    data = ops.broadcast_to(ops.reshape(data, shape=paired), shape=wide)  # (r, n, r, n, ...)
    return Value(ops.reshape(data, shape=tuple(n * r for n, r in zip(shape, counts, strict=True))))


@operator(
    "Pad", settings=(1, 2, 3), mode=["constant", "reflect", "edge", "wrap"],
    pads=Attribute("ints", None), paddings=Attribute("ints", None), value=0.0,
)  # fmt: skip
def pad(
    call: Call, x: Value, given: Any = None, fill: Any = None, along: Any = None,
    *, mode: str, pads: Any, paddings: Any, value: float,
) -> Value:  # fmt: skip
    widths = _axes(given, pads if pads is not None else paddings)
    if widths is None:
        call.refuse("it has no pads")
    listed = list(range(x.ndim)) if along is None else along.integers()
    if len(widths) != 2 * len(listed):
        call.refuse(f"pads {list(widths)} for {len(listed)} axes")
    number = value if fill is None else fill.numbers().reshape(-1)[0]
    whole = [(0, 0)] * x.ndim
    for i, axis in enumerate(listed):
        whole[x.place(axis_of(call, axis, x.ndim))] = widths[i], widths[i + len(listed)]
    stored = x.data.shape
    call.check_size([max(0, n + a + b) for n, (a, b) in zip(stored, whole, strict=True)])
    inner: Any = tuple(
        slice(max(0, -a), n - max(0, -b)) for n, (a, b) in zip(stored, whole, strict=True)
    )
    outer = tuple((max(0, a), max(0, b)) for a, b in whole)
    data = x.data if all(min(pair) >= 0 for pair in whole) else x.data[inner]
    if not any(map(any, outer)):
        return Value(data, x.order)
    if mode != "constant":
        return Value(_mirrored(call, data, outer, mode), x.order)
    if is_float(x):
        return Value(ops.pad(data, widths=outer, value=float(number)), x.order)
    return Value(np.pad(data, outer, constant_values=number), x.order)


def _mirrored(call: Call, data: Any, widths: Any, mode: str) -> Any:
    """Return data padded with numbers of its own, axis by axis."""
    for axis, (before, after) in enumerate(widths):
        if not before and not after:
            continue
        length = data.shape[axis]
        if not length or (mode == "reflect" and max(before, after) >= length > 1):
            call.refuse(f"pads ({before}, {after}) of an axis of {length}, mode {mode!r}")
        places = np.pad(np.arange(length), (before, after), mode=mode)  # type: ignore[call-overload]
        key: Any = (*(slice(None),) * axis, places)
        data = ops.getitem(data, key=key) if is_float(data) else data[key]
    return data


@operator("DepthToSpace", blocksize=required("int"), mode=["DCR", "CRD"])
def depth_to_space(call: Call, x: Value, *, blocksize: int, mode: str) -> Value:
    """(N, C * r * r, H, W) -> (N, C, H * r, W * r); stored channels last."""
    n, h, w, c = _image(call, x).shape
    r = blocksize
    if r < 1 or c % (r * r):
        call.refuse(f"blocksize {r} for {c} channels")
    split = (n, h, w, r, r, c // r**2) if mode == "DCR" else (n, h, w, c // r**2, r, r)
    data = ops.reshape(_image(call, x), shape=split)
    axes = (0, 1, 3, 2, 4, 5) if mode == "DCR" else (0, 1, 4, 2, 5, 3)
    data = ops.transpose(data, axes=axes)  # (N, H, r, W, r, C)
    return Value(ops.reshape(data, shape=(n, h * r, w * r, c // r**2)), LAST)


@operator("SpaceToDepth", blocksize=required("int"), mode=["DCR", "CRD"])
def space_to_depth(call: Call, x: Value, *, blocksize: int, mode: str) -> Value:
    """(N, C, H * r, W * r) -> (N, r * r * C, H, W); stored channels last."""
    n, h, w, c = _image(call, x).shape
    r = blocksize
    if r < 1 or h % r or w % r:
        call.refuse(f"blocksize {r} for {h}x{w} pixels")
    data = ops.reshape(_image(call, x), shape=(n, h // r, r, w // r, r, c))
    axes = (0, 1, 3, 2, 4, 5) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    data = ops.transpose(data, axes=axes)  # (N, H/r, W/r, r, r, C), or with C before both
    return Value(ops.reshape(data, shape=(n, h // r, w // r, r * r * c)), LAST)


def _image(call: Call, x: Value) -> Any:
    if x.ndim != 4:
        call.refuse(f"it expects images with 4 axes, got shape {x.shape}")
    return x.stored_as(LAST)


@operator(
    "Constant", value=Attribute("tensor", None), value_float=Attribute("float", None),
    value_floats=Attribute("floats", None), value_int=Attribute("int", None),
    value_ints=Attribute("ints", None),
)  # fmt: skip
def constant(call: Call, **given: Any) -> Value:
    found = [(name, value) for name, value in given.items() if value is not None]
    if len(found) != 1:
        call.refuse(f"it has {len(found)} values")
    name, value = found[0]
    if name == "value":
        return Value(value)
    return Value(np.asarray(value, np.float32 if "float" in name else np.int64))


@operator("ConstantOfShape", settings=(0,), value=Attribute("tensor", None))
def constant_of_shape(call: Call, shape: Value, *, value: Any) -> Value:
    wanted = shape.integers()
    call.check_size(wanted)
    number = np.zeros((), np.float32) if value is None else value
    if number.size != 1:
        call.refuse(f"its value has {number.size} numbers")
    return Value(np.full(wanted, number.reshape(()), number.dtype))


@operator("Range", settings=(0, 1, 2))
def range_(call: Call, start: Value, limit: Value, delta: Value) -> Value:
    first, last, by = (value.numbers().reshape(()) for value in (start, limit, delta))
    if not by or not all(np.isfinite((first, last, by))):
        call.refuse(f"a range from {first} to {last} by {by}")
    count = max(0, math.ceil((float(last) - float(first)) / float(by)))
    call.check_size([count])
    return Value((first + np.arange(count) * by).astype(first.dtype))


@operator("EyeLike", dtype=Attribute("int", None), k=0)
def eye_like(call: Call, x: Value, *, dtype: Any, k: int) -> Value:
    from minidl.io.onnx.operators.functions import target_type

    if x.ndim != 2:
        call.refuse(f"it expects a matrix, got shape {x.shape}")
    kind = x.dtype if dtype is None else target_type(call, dtype)
    rows, columns = x.shape
    return Value(np.eye(rows, columns, k=k, dtype=kind))


@operator("Trilu", settings=(1,), upper=1)
def trilu(call: Call, x: Value, k: Any = None, *, upper: int) -> Value:
    if x.ndim < 2:
        call.refuse(f"it expects matrices, got shape {x.shape}")
    diagonal = 0 if k is None else k.integers()[0]
    rows, columns = x.shape[-2:]
    kept = np.tri(rows, columns, diagonal - upper, dtype=bool) ^ bool(upper)
    data = x.plain()
    if is_float(x):
        return Value(ops.where(np.broadcast_to(kept, x.shape), data, np.zeros((), x.dtype)))
    return Value(np.where(kept, data, np.zeros((), x.dtype)))
