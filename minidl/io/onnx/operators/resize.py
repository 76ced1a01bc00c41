"""Resize and Upsample, where minidl's ops agree with them exactly."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import ops
from minidl.io.onnx.operators.reduce import axis_of
from minidl.io.onnx.table import Attribute, Call, operator
from minidl.io.onnx.values import LAST, Value
from minidl.ops.upsample import upsample_rows

Sizes = tuple[int, int]


@operator(
    "Upsample", folds=False, settings=(1,), mode=["nearest", "linear", "bilinear"],
    scales=Attribute("floats", None),
)  # fmt: skip
def upsample(call: Call, x: Value, given: Any = None, *, mode: str, scales: Any) -> Value:
    """Return images enlarged as before Resize came: pixel i is at i / scale."""
    numbers = scales if given is None else given.numbers().reshape(-1).tolist()
    if numbers is None or len(numbers) != x.ndim:
        call.refuse(f"its scales are {numbers} for {x.ndim} axes")
    sizes = [math.floor(n * s) for n, s in zip(x.shape, numbers, strict=True)]
    kind = "nearest" if mode == "nearest" else "linear"
    return _resized(call, x, sizes, numbers, kind, "asymmetric", "floor")


@operator(
    "Resize", folds=False, settings=(1, 2, 3), antialias=[0], axes=Attribute("ints", None),
    coordinate_transformation_mode=[
        "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel",
        "half_pixel_symmetric",
    ],
    cubic_coeff_a=-0.75, exclude_outside=0, extrapolation_value=0.0,
    keep_aspect_ratio_policy=["stretch", "not_larger", "not_smaller"],
    mode=["nearest", "linear"],
    nearest_mode=["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"],
)  # fmt: skip
def resize(
    call: Call, x: Value, second: Any = None, third: Any = None, fourth: Any = None,
    *, antialias: int, axes: Any, coordinate_transformation_mode: str, cubic_coeff_a: float,
    exclude_outside: int, extrapolation_value: float, keep_aspect_ratio_policy: str, mode: str,
    nearest_mode: str,
) -> Value:  # fmt: skip
    if call.opset < 11:  # the second input is of scales
        scales, given, coordinates, nearest = second, None, "asymmetric", "floor"
    else:
        scales, given = third, fourth
        coordinates, nearest = coordinate_transformation_mode, nearest_mode
    along = [axis_of(call, a, x.ndim) for a in (range(x.ndim) if axes is None else axes)]
    shape = x.shape
    numbers = [1.0] * x.ndim
    sizes = list(shape)
    if given is not None and given.numbers().size:
        wanted = given.integers()
        if len(wanted) != len(along) or 0 in shape:
            call.refuse(f"its sizes are {wanted} for {len(along)} axes of shape {shape}")
        ratios = [w / shape[a] for a, w in zip(along, wanted, strict=True)]
        if keep_aspect_ratio_policy != "stretch":
            scale = (min if keep_aspect_ratio_policy == "not_larger" else max)(ratios)
            ratios = [scale] * len(along)
            wanted = [math.floor(scale * shape[a] + 0.5) for a in along]
        for axis, size, ratio in zip(along, wanted, ratios, strict=True):
            sizes[axis], numbers[axis] = size, ratio
    elif scales is not None and scales.numbers().size:
        found = scales.numbers().reshape(-1).tolist()
        if len(found) != len(along) or not all(s > 0 and math.isfinite(s) for s in found):
            call.refuse(f"its scales are {found} for {len(along)} axes")
        for axis, ratio in zip(along, found, strict=True):
            numbers[axis], sizes[axis] = ratio, math.floor(shape[axis] * ratio)
    else:
        call.refuse("it has neither scales nor sizes")
    return _resized(call, x, sizes, numbers, mode, coordinates, nearest)


def _resized(
    call: Call, x: Value, sizes: Sequence[int], scales: Sequence[float], mode: str,
    coordinates: str, nearest: str,
) -> Value:  # fmt: skip
    """Return x resampled along each axis whose size or scale differs."""
    call.check_size(sizes)
    if min(sizes) < 1 or 0 in x.shape:
        call.refuse(f"it would make an array of shape {x.shape} one of {list(sizes)}")
    data = x.data
    if x.ndim == 4 and x.order != LAST:
        x = Value(x.stored_as(LAST), LAST)
        data = x.data
    for axis, (size, scale, length) in enumerate(zip(sizes, scales, x.shape, strict=True)):
        if size == length and scale == 1:
            continue
        data = _along(data, x.place(axis), length, size, scale, mode, coordinates, nearest)
    return Value(data, x.order)


def _along(
    data: Any, axis: int, length: int, size: int, scale: float, mode: str, coordinates: str,
    nearest: str,
) -> Any:  # fmt: skip
    """Return data with `axis` resampled from `length` to `size` entries."""
    if mode == "nearest":
        # In float32, as ONNX Runtime: places between two entries depend on how they are rounded
        places = _places(length, size, scale, coordinates, np.float32)
        rounding: dict[str, Any] = {
            "floor": np.floor,
            "ceil": np.ceil,
            "round_prefer_floor": lambda p: np.ceil(p - 0.5),
            "round_prefer_ceil": lambda p: np.floor(p + 0.5),
        }
        picked = rounding[nearest](places)
        return _rows(data, axis, np.clip(picked, 0, length - 1).astype(np.int64))
    places = np.clip(_places(length, size, scale, coordinates, np.float64), 0, length - 1)
    low = np.minimum(np.floor(places).astype(np.int64), length - 1)
    high = np.minimum(low + 1, length - 1)
    wide = (-1, *(1,) * (data.ndim - axis - 1))
    share = (places - low).astype(data.dtype).reshape(wide)  # along the axis
    return _rows(data, axis, low) * (1 - share) + _rows(data, axis, high) * share


def _places(length: int, size: int, scale: float, coordinates: str, dtype: Any) -> np.ndarray:
    """Return where each new entry lies among the old ones, computed in a dtype."""
    i, ratio = np.arange(size, dtype=dtype), dtype(scale)
    if coordinates == "asymmetric":
        return i / ratio
    if coordinates == "align_corners":
        return i * (length - 1) / (size - 1) if size > 1 else np.zeros(1)
    if coordinates == "pytorch_half_pixel" and size == 1:
        return np.zeros(1)
    places = (i + 0.5) / ratio - 0.5
    if coordinates == "half_pixel_symmetric":
        adjusted = size / (scale * length)
        places = length / 2 * (1 - adjusted) + places
    return np.asarray(places)


def _rows(data: Any, axis: int, places: np.ndarray) -> Any:
    """Return the entries at ascending `places` of an axis."""
    before, after = data.shape[:axis], data.shape[axis + 1 :]
    flat = ops.reshape(data, shape=(math.prod(before), data.shape[axis], math.prod(after)))
    return ops.reshape(upsample_rows(flat, places=places), shape=(*before, len(places), *after))
