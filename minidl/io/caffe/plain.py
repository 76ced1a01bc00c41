"""Caffe's layers without weights as minidl's modules."""

import itertools
import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

from minidl import nn, ops
from minidl.io.caffe.making import Made, Making, Shape, axis_of, known, maker
from minidl.nn import Module

__all__ = ["channels_first"]


@maker("ReLU")
def _(making: Making) -> Made:
    slope = making.settings("relu_param").real("negative_slope", 0.0)
    return Made(nn.LeakyReLU(slope) if slope else nn.ReLU(), [making.one()])


@maker("ELU")
def _(making: Making) -> Made:
    return Made(nn.ELU(making.settings("elu_param").real("alpha", 1.0)), [making.one()])


@maker("Sigmoid", "TanH", "BNLL", "AbsVal", "Split")
def _(making: Making) -> Made:
    kinds: dict[str, Any] = {
        "Sigmoid": nn.Sigmoid, "TanH": nn.Tanh, "BNLL": nn.Softplus, "AbsVal": Absolute,
    }  # fmt: skip
    count = len(making.layer.tops)
    if making.layer.type == "Split":
        return Made(Copies(count), [making.one()] * count)
    return Made(kinds[making.layer.type](), [making.one()])


class Absolute(Module):
    """|x|."""

    def forward(self, x: Any) -> Any:
        return ops.abs(x)


class Copies(Module):
    """x, several times."""

    def __init__(self, count: int) -> None:
        self.count = count

    def forward(self, x: Any) -> Any:
        return (x,) * self.count


@maker("Power")
def _(making: Making) -> Made:
    settings = making.settings("power_param")
    numbers = [settings.real(name, n) for name, n in (("power", 1.0), ("scale", 1.0), ("shift", 0))]
    return Made(Power(*numbers), [making.one()])


class Power(Module):
    """(shift + scale * x) ** power."""

    def __init__(self, power: float, scale: float, shift: float) -> None:
        self.power, self.scale, self.shift = power, scale, shift

    def forward(self, x: Any) -> Any:
        x = x if self.scale == 1 else x * self.scale
        x = x if self.shift == 0 else x + self.shift
        return x if self.power == 1 else ops.power(x, self.power)


@maker("Softmax")
def _(making: Making) -> Made:
    shape = making.one()
    axis = making.settings("softmax_param").whole("axis", 1, -8)
    return Made(nn.Softmax(axis_of(making, axis, len(shape) + 1)), [shape])


@maker("Dropout")
def _(making: Making) -> Made:
    return Made(nn.Dropout(making.settings("dropout_param").real("dropout_ratio", 0.5)),
                [making.one()])  # fmt: skip


# Several bottoms or tops


@maker("Eltwise")
def _(making: Making) -> Made:
    settings = making.settings("eltwise_param")
    operation = (
        settings.choice("operation", "PROD", "SUM", "MAX") if settings.has("operation") else "SUM"
    )
    weights = settings.reals("coeff")
    if weights and (operation != "SUM" or len(weights) != len(making.shapes)):
        raise making.refuse(f"{len(weights)} coeff for {len(making.shapes)} bottoms of {operation}")
    if len(making.shapes) < 2 or any(not _alike(s, making.shapes[0]) for s in making.shapes):
        raise making.refuse(f"expected two bottoms or more of one shape, got {making.shapes}")
    return Made(Eltwise(operation, weights), [making.shapes[0]])


def _alike(a: Shape, b: Shape) -> bool:
    """Return whether two shapes may be the same."""
    return len(a) == len(b) and all(None in (m, n) or m == n for m, n in zip(a, b, strict=True))


class Eltwise(Module):
    """Sum, product or maximum of several arrays."""

    def __init__(self, operation: str, weights: Sequence[float]) -> None:
        self.operation, self.weights = operation, tuple(weights)

    def forward(self, *arrays: Any) -> Any:
        if self.operation != "SUM":
            return reduce(ops.multiply if self.operation == "PROD" else ops.maximum, arrays)
        weights = self.weights or (1.0,) * len(arrays)
        parts = [x if w == 1 else x * w for x, w in zip(arrays, weights, strict=True)]
        return reduce(ops.add, parts)


@maker("Concat")
def _(making: Making) -> Made:
    settings = making.settings("concat_param")
    first = making.shapes[0] if making.shapes else ()
    ndim = len(first) + 1
    name = "axis" if settings.has("axis") else "concat_dim"
    axis = axis_of(making, settings.whole(name, 1, -8), ndim)
    rest = [tuple(n for i, n in enumerate(s, 1) if i != axis) for s in making.shapes]
    if axis == 0 or not rest or any(not _alike(each, rest[0]) for each in rest):
        raise making.refuse(f"shapes {making.shapes} can't be joined along axis {axis}")
    lengths = [shape[axis - 1] for shape in making.shapes]
    total = None if None in lengths else sum(lengths)  # type: ignore[arg-type]
    return Made(Concat(axis), [(*first[: axis - 1], total, *first[axis:])])


class Concat(Module):
    """Arrays joined along an axis."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *arrays: Any) -> Any:
        return ops.concatenate(*arrays, axis=self.axis)


@maker("Slice")
def _(making: Making) -> Made:
    settings, shape = making.settings("slice_param"), making.one()
    name = "axis" if settings.has("axis") else "slice_dim"
    axis = axis_of(making, settings.whole(name, 1, -8), len(shape) + 1)
    length, tops = shape[axis - 1] if axis else None, len(making.layer.tops)
    if length is None or not tops:
        raise making.refuse("nothing says how long what it cuts is")
    points = settings.wholes("slice_point", 1)
    if not points and length % tops == 0:
        points = [length // tops * i for i in range(1, tops)]
    ends = [0, *points, length]
    parts = [end - start for start, end in itertools.pairwise(ends)]
    if len(parts) != tops or min(parts) < 1:
        raise making.refuse(f"{length} can't be cut at {points} into {tops} tops")
    shapes = [(*shape[: axis - 1], part, *shape[axis:]) for part in parts]
    return Made(Slice(parts, axis), shapes)


class Slice(Module):
    """Parts of an array along an axis."""

    def __init__(self, parts: Sequence[int], axis: int) -> None:
        self.parts, self.axis = list(parts), axis

    def forward(self, x: Any) -> Any:
        return tuple(ops.split(x, sections=self.parts, axis=self.axis))


@maker("Crop")
def _(making: Making) -> Made:
    settings = making.settings("crop_param")
    if len(making.shapes) != 2 or any(len(shape) != 3 for shape in making.shapes):
        raise making.refuse(f"expected two bottoms of images, got {making.shapes}")
    axis = settings.whole("axis", 2, -4)
    offsets = settings.wholes("offset") or [0]
    count = 4 - axis % 4
    offsets = offsets * count if len(offsets) == 1 else offsets
    if axis % 4 == 0 or len(offsets) != count:
        raise making.refuse(f"{len(offsets)} offsets for {count} axes from {axis} on")
    x, like = making.shapes
    full = (0,) * (3 - count) + tuple(offsets)  # of channels, rows, columns
    turned = (full[1], full[2], full[0])
    cut = tuple(axis_of(making, a, 4) - 1 for a in range(axis % 4, 4))
    for i in cut:
        given, wanted = x[i], like[i]
        if given is not None and wanted is not None and given < wanted + turned[i]:
            raise making.refuse(f"{wanted} from {turned[i]} on is more than there is, {given}")
    return Made(Crop(turned, cut), [tuple(like[i] if i in cut else x[i] for i in range(3))])


class Crop(Module):
    """The part of the first images that is as large as the second."""

    def __init__(self, offsets: Sequence[int], axes: Sequence[int]) -> None:
        self.offsets, self.axes = tuple(offsets), tuple(axes)  # of (H, W, C)

    def forward(self, x: Any, like: Any) -> Any:
        key = [slice(None)] * 4
        for i in self.axes:
            key[i + 1] = slice(self.offsets[i], self.offsets[i] + like.shape[i + 1])
        return x[tuple(key)]


# Shapes: in Caffe's order of axes


def _caffe_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape


def channels_first(x: Any) -> Any:
    """Return images (N, H, W, C) as Caffe has them, (N, C, H, W); others as they are."""
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x


@maker("Flatten")
def _(making: Making) -> Made:
    settings, shape = making.settings("flatten_param"), making.one()
    if settings.whole("axis", 1, -8) != 1 or settings.whole("end_axis", -1, -8) not in (
        -1,
        len(shape),
    ):
        raise making.refuse("only flattening from axis 1 to the last is read")
    whole = known(shape)
    count = None if whole is None else math.prod(whole)
    return Made(Reshape((-1,)), [(count,)], channels_first)


@maker("Reshape")
def _(making: Making) -> Made:
    settings, shape = making.settings("reshape_param"), known(making.one())
    dims = settings.message("shape").wholes("dim", -1, 2**20)
    whole = settings.whole("axis", 0, -8) == 0 and settings.whole("num_axes", -1, -1) == -1
    if not whole or not 1 < len(dims) <= 8 or shape is None or dims.count(-1) > 1:
        raise making.refuse("only reshaping of all axes, to 2 or more of known lengths, is read")
    if dims[0] not in (0, -1):
        raise making.refuse(f"it makes {dims[0]} rows of a batch: its first dim must be 0 or -1")
    own = _caffe_order(shape)
    if any(n == 0 and i > len(own) for i, n in enumerate(dims)):
        raise making.refuse(f"dims {dims} for an array of {len(own) + 1} axes")
    new = [own[i - 1] if n == 0 else n for i, n in enumerate(dims) if i]
    total, rest = math.prod(own), math.prod(n for n in new if n != -1)
    if rest == 0 or total % rest or (-1 not in new and total != rest):
        raise making.refuse(f"{total} numbers of an example can't take the shape {new}")
    new = [total // rest if n == -1 else n for n in new]
    back: Any = (new[1], new[2], new[0]) if len(new) == 3 else tuple(new)
    return Made(Reshape(new), [back], channels_first)


class Reshape(Module):
    """(N, ...), with channels first, in another shape; images are given with channels last."""

    def __init__(self, shape: Sequence[Any]) -> None:
        self.shape = tuple(shape)

    def forward(self, x: Any) -> Any:
        shape = (math.prod(x.shape[1:]),) if self.shape == (-1,) else self.shape
        y = x.reshape(x.shape[0], *shape)
        return y.transpose(0, 2, 3, 1) if y.ndim == 4 else y
