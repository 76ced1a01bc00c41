"""Resize and Upsample, where minidl's ops agree with them exactly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidl import ops
from minidl.io.onnx.operators.reduce import axis_of
from minidl.io.onnx.table import Attribute, Call, operator
from minidl.io.onnx.values import LAST, Value
from minidl.ops.upsample import upsample_rows

Sizes = tuple[int, int]


@dataclass(frozen=True)
class Rule:
    """How the numbers between entries are found: what the attributes of a node say of it."""

    mode: str
    coordinates: str
    nearest: str = "floor"
    cubic: float = -0.75
    antialias: bool = False
    exclude: bool = False  # what lies outside has no weight; otherwise it is the last entry
    outside: float = 0.0  # what tf_crop_and_resize gives outside
    crop: Sequence[float] = ()  # of each axis the beginning, then of each the end, of the length


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
    return _resized(call, x, sizes, numbers, Rule(kind, "asymmetric"))


@operator(
    "Resize", folds=False, settings=(1, 2, 3), antialias=0, axes=Attribute("ints", None),
    coordinate_transformation_mode=[
        "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel",
        "half_pixel_symmetric", "tf_crop_and_resize",
    ],
    cubic_coeff_a=-0.75, exclude_outside=0, extrapolation_value=0.0,
    keep_aspect_ratio_policy=["stretch", "not_larger", "not_smaller"],
    mode=["nearest", "linear", "cubic"],
    nearest_mode=["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"],
)  # fmt: skip
def resize(
    call: Call, x: Value, second: Any = None, third: Any = None, fourth: Any = None,
    *, antialias: int, axes: Any, coordinate_transformation_mode: str, cubic_coeff_a: float,
    exclude_outside: int, extrapolation_value: float, keep_aspect_ratio_policy: str, mode: str,
    nearest_mode: str,
) -> Value:  # fmt: skip
    if call.opset < 11:  # the second input is of scales
        scales, given, rule = second, None, Rule(mode, "asymmetric")
    else:
        scales, given = third, fourth
        rule = Rule(
            mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, bool(antialias),
            bool(exclude_outside), extrapolation_value,
        )  # fmt: skip
    along = [axis_of(call, a, x.ndim) for a in (range(x.ndim) if axes is None else axes)]
    if rule.coordinates == "tf_crop_and_resize":
        rule = replace(rule, crop=_crop(call, second, along, x.ndim))
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
    return _resized(call, x, sizes, numbers, rule)


def _crop(call: Call, roi: Any, along: list[int], ndim: int) -> list[float]:
    """Return where each axis of the file begins and ends, whole axes for those not named."""
    given = [] if roi is None else roi.numbers().reshape(-1).tolist()
    if len(given) != 2 * len(along) or not all(map(math.isfinite, given)):
        call.refuse(f"its input roi is {given} for {len(along)} axes")
    crop = [0.0] * ndim + [1.0] * ndim
    for i, axis in enumerate(along):
        crop[axis], crop[ndim + axis] = given[i], given[len(along) + i]
    return crop


def _resized(
    call: Call, x: Value, sizes: Sequence[int], scales: Sequence[float], rule: Rule
) -> Value:
    """Return x resampled along each axis whose size or scale differs."""
    call.check_size(sizes)
    if min(sizes) < 1 or 0 in x.shape:
        call.refuse(f"it would make an array of shape {x.shape} one of {list(sizes)}")
    data = x.data
    if x.ndim == 4 and x.order != LAST:
        x = Value(x.stored_as(LAST), LAST)
        data = x.data
    for axis, (size, scale, length) in enumerate(zip(sizes, scales, x.shape, strict=True)):
        ends = tuple(rule.crop[axis :: x.ndim])
        if size == length and scale == 1 and ends in ((), (0, 1)):
            continue
        if ends or rule.mode == "cubic" or (rule.antialias and scale < 1):
            call.check_size((size, length))
            data = _by_product(data, x.place(axis), length, size, scale, rule, ends)
        else:
            data = _along(data, x.place(axis), length, size, scale, rule)
    return Value(data, x.order)


def _along(data: Any, axis: int, length: int, size: int, scale: float, rule: Rule) -> Any:
    """Return data with `axis` resampled from `length` to `size` entries, by one or two of them."""
    if rule.mode == "nearest":
        return _rows(data, axis, _nearest(length, size, scale, rule))
    places = np.clip(_places(length, size, scale, rule, np.float64), 0, length - 1)
    low = np.minimum(np.floor(places).astype(np.int64), length - 1)
    high = np.minimum(low + 1, length - 1)
    wide = (-1, *(1,) * (data.ndim - axis - 1))
    share = (places - low).astype(data.dtype).reshape(wide)  # along the axis
    return _rows(data, axis, low) * (1 - share) + _rows(data, axis, high) * share


def _nearest(length: int, size: int, scale: float, rule: Rule, ends: Any = ()) -> np.ndarray:
    # In float32, as ONNX Runtime: places between two entries depend on how they are rounded
    places = _places(length, size, scale, rule, np.float32, ends)
    rounding: dict[str, Any] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda p: np.ceil(p - 0.5),
        "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    }
    return np.clip(rounding[rule.nearest](places), 0, length - 1).astype(np.int64)


def _by_product(
    data: Any, axis: int, length: int, size: int, scale: float, rule: Rule, ends: Any
) -> Any:
    """Return data with `axis` resampled by a matrix: any number of weights an entry."""
    places = _places(length, size, scale, rule, np.float64, ends)
    if rule.mode == "nearest":
        weights = np.zeros((size, length))
        weights[np.arange(size), _nearest(length, size, scale, rule, ends)] = 1
    else:
        weights = _weights(np.clip(places, -length, 2 * length), length, scale, rule)
    before, after = data.shape[:axis], data.shape[axis + 1 :]
    flat = ops.reshape(data, shape=(math.prod(before), length, math.prod(after)))
    flat = ops.matmul(weights.astype(data.dtype), flat)  # (before, size, after)
    if ends:
        outside = ((places < 0) | (places > length - 1)).reshape(1, -1, 1)
        flat = ops.where(outside, np.asarray(rule.outside, data.dtype), flat)
    return ops.reshape(flat, shape=(*before, size, *after))


def _weights(places: np.ndarray, length: int, scale: float, rule: Rule) -> np.ndarray:
    """Return the weight of each old entry in each new one, (size, length)."""
    narrow = min(scale, 1.0) if rule.antialias else 1.0  # antialiased: over 1 / scale entries
    reach = min(math.ceil((2 if rule.mode == "cubic" else 1) / narrow), 2 * length)
    taps = np.floor(places).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    shares = _kernel((places[:, None] - taps) * narrow, rule)
    if rule.exclude:
        shares[(taps < 0) | (taps >= length)] = 0
    shares /= shares.sum(1, keepdims=True)
    weights = np.zeros((len(places), length))
    np.add.at(weights, (np.arange(len(places))[:, None], np.clip(taps, 0, length - 1)), shares)
    return weights


def _kernel(distance: np.ndarray, rule: Rule) -> np.ndarray:
    """Return weights by distance: a triangle, or the cubic of Keys 1981."""
    d, a = np.abs(distance), rule.cubic
    if rule.mode == "linear":
        return np.maximum(1 - d, 0)
    inner, outer = ((a + 2) * d - (a + 3)) * d * d + 1, ((d - 5) * d + 8) * d * a - 4 * a
    return np.where(d <= 1, inner, np.where(d < 2, outer, 0.0))


def _places(
    length: int, size: int, scale: float, rule: Rule, dtype: Any, ends: Any = ()
) -> np.ndarray:
    """Return where each new entry lies among the old ones, computed in a dtype."""
    i, ratio, coordinates = np.arange(size, dtype=dtype), dtype(scale), rule.coordinates
    if coordinates == "tf_crop_and_resize":
        begin, end = dtype(ends[0]), dtype(ends[1])
        if size == 1:
            return np.full(1, (begin + end) / 2 * (length - 1))
        return np.asarray(i * (end - begin) * (length - 1) / (size - 1) + begin * (length - 1))
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
