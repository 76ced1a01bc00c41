"""Pooling: over images by minidl's ops, over other numbers of axes and with dilations by taps."""

import itertools
import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from minidl import ops
from minidl.io.onnx.operators.conv import PADS, Pads, per_axis, resolved, window
from minidl.io.onnx.table import Attribute, Call, operator, required
from minidl.io.onnx.values import LAST, Value, is_float

MOST_TAPS = 10_000


def output_sizes(
    size: Sequence[int], kernel: Any, strides: Any, dilations: Any, pads: Any, ceil_mode: bool
) -> list[int]:
    """Return how many windows each axis has; with ceil_mode, the last one starts inside."""
    found = []
    for n, k, s, d, (before, after) in zip(size, kernel, strides, dilations, pads, strict=True):
        room = n + before + after - d * (k - 1) - 1
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + before:
            count -= 1
        found.append(count)
    return found


class Windows:
    """The windows of a pooling: kernel, strides, dilations, pads and sizes, an entry an axis."""

    def __init__(
        self, call: Call, x: Value, kernel: Any, strides: Any, dilations: Any, auto_pad: str,
        pads: Any, ceil_mode: int,
    ) -> None:  # fmt: skip
        count = x.ndim - 2
        self.kernel = per_axis(call, "kernel_shape", kernel, count)
        self.strides = per_axis(call, "strides", strides, count)
        self.dilations = per_axis(call, "dilations", dilations, count)
        if math.prod(self.kernel) > MOST_TAPS and count != 2:
            call.refuse(f"its kernel {self.kernel} is too large")
        size = x.shape[2:]
        padding = resolved(call, auto_pad, pads, self.kernel, self.strides, self.dilations, size)
        assert isinstance(padding, tuple)
        self.pads: Pads = padding
        self.ceil_mode = bool(ceil_mode) and auto_pad == "NOTSET"
        self.sizes = output_sizes(
            size, self.kernel, self.strides, self.dilations, self.pads, self.ceil_mode
        )
        if min(self.sizes) < 1 or 0 in size:
            call.refuse(f"its kernel {self.kernel} doesn't fit an input of shape {x.shape}")

    def fits_op(self) -> bool:
        """Return whether minidl's op over images has it."""
        inside = all(max(ends) < k for ends, k in zip(self.pads, self.kernel, strict=True))
        return len(self.kernel) == 2 and set(self.dilations) == {1} and inside

    def taps(self, x: Value, fill: float) -> list[Any]:
        """Return what each tap of the kernel sees, channels last, `fill` being outside."""
        if math.prod(self.kernel) > MOST_TAPS:
            raise ValueError("a kernel of so many taps")
        data = x.stored_as(last(x.ndim))
        widths = []
        for i, (before, after) in enumerate(self.pads):
            reach = (self.sizes[i] - 1) * self.strides[i]
            reach += (self.kernel[i] - 1) * self.dilations[i] + 1
            widths.append((before, max(after, reach - data.shape[i + 1] - before)))
        whole = ((0, 0), *widths, (0, 0))
        if is_float(data):
            data = ops.pad(data, widths=whole, value=fill)
        else:
            data = np.pad(data, whole, constant_values=np.iinfo(data.dtype).min)
        return [
            data[window(tap, self.sizes, self.strides, self.dilations)]
            for tap in itertools.product(*map(range, self.kernel))
        ]


def last(ndim: int) -> tuple[int, ...]:
    return (0, *range(2, ndim), 1)


@operator(
    "MaxPool", folds=False, auto_pad=PADS, ceil_mode=0, dilations=Attribute("ints", None),
    kernel_shape=required("ints"), pads=Attribute("ints", None), storage_order=0,
    strides=Attribute("ints", None),
)  # fmt: skip
def max_pool(
    call: Call, x: Value, *, auto_pad: str, ceil_mode: int, dilations: Any, kernel_shape: Any,
    pads: Any, storage_order: int, strides: Any,
) -> Any:  # fmt: skip
    found = Windows(call, x, kernel_shape, strides, dilations, auto_pad, pads, ceil_mode)
    if len(call.outputs) > 1:
        return _with_indices(found, x, storage_order)
    if found.fits_op() and is_float(x):
        y = ops.max_pool2d(
            x.stored_as(LAST), found.kernel, found.strides, found.pads, ceil_mode=found.ceil_mode
        )
        return Value(y, LAST)
    pick = ops.maximum if is_float(x) else np.maximum
    return Value(reduce(pick, found.taps(x, -math.inf)), last(x.ndim))


def _with_indices(found: Windows, x: Value, storage_order: int) -> tuple[Value, Value]:
    """Return the maxima, and where each stands among all of x's numbers, in the file's order."""
    n, c, *size = x.shape
    weights = np.cumprod([1, *(size if storage_order else size[:0:-1])])[: len(size)]
    weights = weights if storage_order else weights[::-1]
    places = np.zeros((1, 1, *size), np.int64)
    for axis, (length, weight) in enumerate(zip(size, weights, strict=True)):
        places += (np.arange(length) * weight).reshape(-1, *(1,) * (len(size) - axis - 1))
    planes = np.arange(n * c).reshape(n, c, *(1,) * len(size)) * math.prod(size)
    taps = ops.stack(*found.taps(x, -math.inf), axis=0)  # (taps, N, ..., C)
    wheres = np.stack(found.taps(Value(planes + places), 0.0))
    first = np.argmax(np.asarray(getattr(taps, "data", taps)), axis=0)[None]
    values = ops.reshape(ops.gather(taps, 0, first), shape=first.shape[1:])
    chosen = np.take_along_axis(wheres, first, axis=0)[0]
    return Value(values, last(x.ndim)), Value(chosen, last(x.ndim))


@operator(
    "AveragePool", folds=False, auto_pad=PADS, ceil_mode=0, count_include_pad=0,
    dilations=Attribute("ints", None), kernel_shape=required("ints"),
    pads=Attribute("ints", None), strides=Attribute("ints", None),
)  # fmt: skip
def average_pool(
    call: Call, x: Value, *, auto_pad: str, ceil_mode: int, count_include_pad: int,
    dilations: Any, kernel_shape: Any, pads: Any, strides: Any,
) -> Value:  # fmt: skip
    found = Windows(call, x, kernel_shape, strides, dilations, auto_pad, pads, ceil_mode)
    if found.fits_op():
        y = ops.avg_pool2d(
            x.stored_as(LAST), found.kernel, found.strides, found.pads, found.ceil_mode,
            bool(count_include_pad),
        )  # fmt: skip
        return Value(y, LAST)
    total = reduce(ops.add, found.taps(x, 0.0))
    inside = np.ones((1, 1, *x.shape[2:]), x.dtype)
    if count_include_pad:
        inside = np.pad(inside, ((0, 0), (0, 0), *found.pads), constant_values=1)
        found.pads = ((0, 0),) * len(found.kernel)
    counts = reduce(np.add, found.taps(Value(inside), 0.0))
    return Value(total / counts, last(x.ndim))


@operator(
    "LpPool", folds=False, auto_pad=PADS, ceil_mode=0, dilations=Attribute("ints", None),
    kernel_shape=required("ints"), p=2, pads=Attribute("ints", None),
    strides=Attribute("ints", None),
)  # fmt: skip
def lp_pool(
    call: Call, x: Value, *, auto_pad: str, ceil_mode: int, dilations: Any, kernel_shape: Any,
    p: int, pads: Any, strides: Any,
) -> Value:  # fmt: skip
    found = Windows(call, x, kernel_shape, strides, dilations, auto_pad, pads, ceil_mode)
    total = reduce(ops.add, [ops.power(ops.abs(tap), float(p)) for tap in found.taps(x, 0.0)])
    return Value(ops.power(total, 1.0 / p), last(x.ndim))


@operator("GlobalAveragePool", "GlobalMaxPool", folds=False)
def global_pool(call: Call, x: Value) -> Value:
    order = last(x.ndim)
    data = x.stored_as(order)
    if call.op == "GlobalAveragePool" and x.ndim == 4:
        return Value(ops.global_avg_pool2d(data, keepdims=True), order)
    pool = ops.mean if call.op == "GlobalAveragePool" else ops.max
    return Value(pool(data, axis=tuple(range(1, x.ndim - 1)), keepdims=True), order)


@operator("GlobalLpPool", folds=False, p=2)
def global_lp_pool(call: Call, x: Value, *, p: int) -> Value:
    data = x.stored_as(last(x.ndim))
    powers = ops.power(ops.abs(data), float(p))
    total = ops.sum(powers, axis=tuple(range(1, x.ndim - 1)), keepdims=True)
    return Value(ops.power(total, 1.0 / p), last(x.ndim))


@operator(
    "RoiAlign", folds=False, settings=(2,), mode=["avg"], output_height=1, output_width=1,
    sampling_ratio=0, spatial_scale=1.0,
    coordinate_transformation_mode=Attribute("string", None, ("half_pixel", "output_half_pixel")),
)  # fmt: skip
def roi_align(
    call: Call, x: Value, boxes: Value, images: Value, *, mode: str, output_height: int,
    output_width: int, sampling_ratio: int, spatial_scale: float,
    coordinate_transformation_mode: Any,
) -> Value:  # fmt: skip
    """Return crops of maps; before opset 16 pixels aren't shifted by a half."""
    half = "half_pixel" if call.opset >= 16 else "output_half_pixel"
    aligned = (coordinate_transformation_mode or half) == "half_pixel"
    batch = images.numbers().astype(x.dtype)[:, None]
    rows = np.concatenate([batch, boxes.numbers()], axis=1)  # (R, 5)
    y = ops.roi_align(
        x.stored_as(LAST), rows, (output_height, output_width), spatial_scale,
        sampling_ratio or -1, aligned,
    )  # fmt: skip
    return Value(y, LAST)
