"""Reductions along axes, and what is found along one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import ops
from minidl.io.onnx.table import Attribute, Call, operator
from minidl.io.onnx.values import Value, is_float

FLOATS: dict[str, Callable[..., Any]] = {
    "ReduceSum": ops.sum,
    "ReduceMean": ops.mean,
    "ReduceMax": ops.max,
    "ReduceMin": ops.min,
    "ReduceProd": ops.prod,
    "ReduceL1": lambda x, **s: ops.sum(ops.abs(x), **s),
    "ReduceL2": lambda x, **s: ops.sqrt(ops.sum(x * x, **s)),
    "ReduceLogSum": lambda x, **s: ops.log(ops.sum(x, **s)),
    "ReduceLogSumExp": ops.logsumexp,
    "ReduceSumSquare": lambda x, **s: ops.sum(x * x, **s),
}
OTHERS: dict[str, Callable[..., Any]] = {
    "ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min, "ReduceProd": np.prod,
    "ReduceL1": lambda x, **s: np.sum(np.abs(x), **s),
    "ReduceSumSquare": lambda x, **s: np.sum(x * x, **s),
    "ReduceMean": lambda x, **s: np.mean(x, **s).astype(x.dtype),
}  # fmt: skip


# What is found of no numbers: -1 stands for the least number of the type, 1 for the largest
EMPTY = {"ReduceMax": -1, "ReduceLogSumExp": -1, "ReduceMin": 1}


def _limit(dtype: np.dtype[Any], sign: int) -> Any:
    if dtype.kind == "f":
        return dtype.type(sign * np.inf)
    if dtype.kind == "b":
        return sign > 0
    return dtype.type(np.iinfo(dtype).max if sign > 0 else np.iinfo(dtype).min)


def axis_of(call: Call, axis: int, ndim: int) -> int:
    """Return an axis counted from 0 up, or a FileFormatError."""
    if not -ndim <= axis < ndim:
        call.refuse(f"axis {axis} is none of an array with {ndim} axes")
    return axis % ndim


@operator(*FLOATS, settings=(1,), axes=Attribute("ints", None), keepdims=1, noop_with_empty_axes=0)
def reduction(
    call: Call, x: Value, given: Any = None, *, axes: Any, keepdims: int, noop_with_empty_axes: int
) -> Value:
    listed = given.integers() if given is not None else list(axes or ())
    if not listed and noop_with_empty_axes:
        if call.op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
            return x
        listed = []
        whole: tuple[int, ...] = ()
    else:
        whole = tuple(sorted({axis_of(call, a, x.ndim) for a in listed or range(x.ndim)}))
    places = tuple(x.place(axis) for axis in whole)
    table = FLOATS if is_float(x) else OTHERS
    if call.op not in table:
        call.refuse(f"minidl computes it of floats only, not of {x.dtype}")
    if call.op in EMPTY and 0 in [x.shape[axis] for axis in whole]:
        shape = [1 if place in places else n for place, n in enumerate(x.data.shape)]
        y = np.full(shape, _limit(x.dtype, EMPTY[call.op]))
    elif call.op == "ReduceMean" and x.ndim == 4 and set(places) == {1, 2} and is_float(x):
        y = ops.global_avg_pool2d(x.data, keepdims=True)
    elif not whole and call.op in ("ReduceLogSumExp", "ReduceL1", "ReduceL2"):
        y = ops.abs(x.data) if call.op != "ReduceLogSumExp" else x.data
    elif not whole:
        y = ops.log(x.data) if call.op == "ReduceLogSum" else x.data * x.data
    else:
        y = table[call.op](x.data, axis=places, keepdims=True)
    if x.dtype.kind in "iu":
        y = np.asarray(y).astype(x.dtype)
    found = Value(y, x.order)
    return found if keepdims else dropped(found, whole)


def dropped(x: Value, axes: tuple[int, ...]) -> Value:
    """Return x without the file's axes `axes`, of length 1."""
    kept = [axis for axis in x.order if axis not in axes]
    shape = x.shape
    order = tuple(sorted(kept).index(axis) for axis in kept)
    return Value(ops.reshape(x.data, shape=tuple(shape[axis] for axis in kept)), order)


@operator("ArgMax", "ArgMin", axis=0, keepdims=1, select_last_index=0)
def arg(call: Call, x: Value, *, axis: int, keepdims: int, select_last_index: int) -> Value:
    numbers, axis = x.numbers(), axis_of(call, axis, x.ndim)
    find = np.argmax if call.op == "ArgMax" else np.argmin
    found = find(np.flip(numbers, axis) if select_last_index else numbers, axis=axis)
    found = numbers.shape[axis] - 1 - found if select_last_index else found
    return Value((np.expand_dims(found, axis) if keepdims else found).astype(np.int64))


@operator("CumSum", settings=(1,), exclusive=0, reverse=0)
def cumsum(call: Call, x: Value, axis: Value, *, exclusive: int, reverse: int) -> Value:
    place = axis_of(call, axis.integers()[0], x.ndim)
    data = x.plain()
    back: Any = (*(slice(None),) * place, slice(None, None, -1))
    if not is_float(x):
        data = np.flip(data, place) if reverse else data
        whole = np.cumsum(data, axis=place, dtype=x.dtype)
        whole = whole - data if exclusive else whole
        return Value(np.flip(whole, place) if reverse else whole)
    data = ops.getitem(data, key=back) if reverse else data
    whole = ops.cumsum(data, axis=place)
    if exclusive:  # the sum of those before: shifted by one, with 0 first
        widths = [(0, 0)] * x.ndim
        widths[place] = (1, 0)
        until: Any = (*(slice(None),) * place, slice(0, -1))
        whole = ops.getitem(ops.pad(whole, widths=tuple(widths)), key=until)
    return Value(ops.getitem(whole, key=back) if reverse else whole)


@operator("TopK", settings=(1,), axis=-1, largest=1, sorted=1)
def top_k(
    call: Call, x: Value, k: Value, *, axis: int, largest: int, sorted: int
) -> tuple[Value, Value]:
    axis = axis_of(call, axis, x.ndim)
    numbers, count = x.numbers(), k.integers()[0]
    if not 0 <= count <= numbers.shape[axis]:
        call.refuse(f"k={count} of an axis with {numbers.shape[axis]} numbers")
    keys = numbers.astype(np.int64) if numbers.dtype.kind == "u" else numbers
    order = np.argsort(-keys if largest else keys, axis=axis, kind="stable")
    places = np.take(order, np.arange(count), axis=axis)
    if is_float(x):
        return Value(ops.gather(x.plain(), axis, places)), Value(places)
    return Value(np.take_along_axis(numbers, places, axis)), Value(places)


@operator("Softmax", "LogSoftmax", "Hardmax", axis=Attribute("int", None))
def softmax(call: Call, x: Value, *, axis: Any) -> Value:
    """Return the softmax along an axis; before opset 13, along that and all later ones."""
    place = axis_of(call, (-1 if call.opset >= 13 else 1) if axis is None else axis, x.ndim)
    if call.opset < 13 and place != x.ndim - 1 and any(n != 1 for n in x.shape[place + 1 :]):
        shape = x.shape
        rows = int(np.prod(shape[:place]))
        flat = ops.reshape(x.plain(), shape=(rows, int(np.prod(shape[place:]))))
        return Value(ops.reshape(_soft(call, flat, 1), shape=shape))
    return Value(_soft(call, x.data, x.place(place)), x.order)


def _soft(call: Call, data: Any, axis: int) -> Any:
    if call.op == "Hardmax":
        numbers = np.asarray(getattr(data, "data", data))
        first = np.expand_dims(np.argmax(numbers, axis), axis)
        found = np.zeros_like(numbers)
        np.put_along_axis(found, first, 1, axis)
        return found
    return (ops.softmax if call.op == "Softmax" else ops.log_softmax)(data, axis=axis)
