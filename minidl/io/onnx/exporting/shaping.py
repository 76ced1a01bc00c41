"""Ops that move numbers about."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.errors import StateError
from minidl.io.onnx.exporting.graph import Graph, Order, lengths, moved, output, plain, planes
from minidl.io.onnx.exporting.table import form
from minidl.io.onnx.exporting.tracing import Call, Constant, Length, Shape, Value, is_batch

END = 2**63 - 1  # further than any axis


@form("transpose")
def _(graph: Graph, call: Call) -> None:
    """No node: the value is held as it was, and its axes are called otherwise."""
    x, axes = call.arguments["x"], call.arguments["axes"]
    axes = plain(x.ndim)[::-1] if axes is None else tuple(a % x.ndim for a in axes)
    (name,), order = graph.alike([x], x.ndim)
    graph.give(output(call), name, tuple(axes.index(axis) for axis in order))


# Reshaping

Group = tuple[list[int], list[int]]  # axes before and after that hold the same numbers


def _groups(before: Shape, after: Shape) -> list[Group]:
    """Return which axes of one shape make up which of the other, in minidl's order."""
    found: list[Group] = []
    i = j = 0
    while i < len(before) or j < len(after):
        ins, outs = [*range(i, i + 1)][: len(before) - i], [*range(j, j + 1)][: len(after) - j]
        i, j = i + len(ins), j + len(outs)
        while _product(before, ins) != _product(after, outs):
            if j == len(after) or (
                i < len(before) and _product(before, ins).first < _product(after, outs).first
            ):
                ins.append(i)
                i += 1
            else:
                outs.append(j)
                j += 1
        found.append((ins, outs))
    return found


def _product(shape: Shape, axes: Sequence[int]) -> Length:
    return Length(math.prod(shape[i].first for i in axes), math.prod(shape[i].second for i in axes))


def _kept_order(order: Order, shape: Shape, groups: list[Group]) -> list[Group] | None:
    """Return the groups in the order that a value holds them; None unless each lies together."""
    of_axis = {axis: group for group in groups for axis in group[0] if shape[axis].first != 1}
    held = [axis for axis in order if shape[axis].first != 1]
    found: list[Group] = []
    while held:
        group = of_axis[held[0]]
        axes = [axis for axis in group[0] if shape[axis].first != 1]
        if held[: len(axes)] != axes:
            return None
        held = held[len(axes) :]
        found.append(group)
    alone = [group for group in groups if group not in found]  # of length 1
    return found + alone


def _wanted_order(groups: list[Group], ndim: int) -> list[Group]:
    """Return the groups so that images come out with their channels first, if they can."""
    if ndim >= 4:
        places = {axis: place for place, axis in enumerate(planes(ndim))}
        turned = sorted(groups, key=lambda group: min((places[a] for a in group[1]), default=ndim))
        if [axis for _, outs in turned for axis in outs] == list(planes(ndim)):
            return turned
    return groups


@form("reshape")
def _(graph: Graph, call: Call) -> None:
    x, y = call.arguments["x"], output(call)
    (name,), order = graph.alike([x], x.ndim)
    shape = lengths(x)
    groups = _groups(shape, y.shape)
    sequence = _kept_order(order, shape, groups)
    if sequence is None:
        sequence = _wanted_order(groups, y.ndim)
        order = tuple(axis for ins, _ in sequence for axis in ins)
        name = graph.held(x, order)
    new = tuple(axis for _, outs in sequence for axis in outs)
    before, after = tuple(shape[a] for a in order), tuple(y.shape[a] for a in new)
    graph.give(y, name if before == after else graph.reshaped(name, before, after), new)


@form("broadcast_to")
def _(graph: Graph, call: Call) -> None:
    x, y = call.arguments["x"], output(call)
    shape = [1 if is_batch(n) else n.first for n in y.shape]
    own = lengths(x)
    if any(
        is_batch(n) and (i < y.ndim - len(own) or n != own[i - y.ndim])
        for i, n in enumerate(y.shape)
    ):
        raise StateError(
            f"export_onnx: {call.where or 'the model'} broadcasts an array to the size of the "
            "batch, which a graph doesn't know: leave it to the op that follows"
        )
    graph.give(y, graph.node("Expand", graph.plain(x), graph.numbers(*shape)), plain(y.ndim))


# Parts


@form("concatenate_forward")
def _(graph: Graph, call: Call) -> None:
    arrays, y = call.arguments["arrays"], output(call)
    values = [x for x in arrays if isinstance(x, Value)]
    order = graph.order(values[0]) if values else plain(y.ndim)
    names = [graph.held(x, order) for x in arrays]
    axis = moved(order, call.arguments["axis"])
    graph.give(y, graph.node("Concat", *names, axis=axis), order)


@form("pad")
def _(graph: Graph, call: Call) -> None:
    x, y = call.arguments["x"], output(call)
    (name,), order = graph.alike([x], x.ndim)
    widths = [call.arguments["widths"][axis] for axis in order]
    ends = graph.numbers(*(w[0] for w in widths), *(w[1] for w in widths))
    fill = graph.number(call.arguments["value"], y)
    graph.give(y, graph.node("Pad", name, ends, fill), order)


@form("upsample_rows")
def _(graph: Graph, call: Call) -> None:
    (name,), order = graph.alike([call.arguments["x"]], output(call).ndim)
    places = graph.constant(call.arguments["places"])
    name = graph.node("Gather", name, places, axis=order.index(1))
    graph.give(output(call), name, order)


@form("getitem")
def _(graph: Graph, call: Call) -> None:
    x, y, key = call.arguments["x"], output(call), call.arguments["key"]
    parts = list(key) if isinstance(key, tuple) else [key]
    arrays = [p for p in parts if isinstance(p, Value | Constant)]
    if arrays:
        _by_array(graph, call, parts)
        return
    used = sum(p is not None and p is not Ellipsis for p in parts)
    rest = [slice(None)] * (x.ndim - used)
    at = parts.index(Ellipsis) if Ellipsis in parts else len(parts)
    parts[at : at + 1] = rest
    (name,), order = graph.alike([x], x.ndim)
    axes = [p for p in parts if p is not None]
    name = _cut(graph, name, order, axes, lengths(x))
    single = [axis for axis, p in enumerate(axes) if not isinstance(p, slice)]
    left = [axis for axis in order if axis not in single]
    if single:
        places = sorted(order.index(axis) for axis in single)
        name = graph.node("Squeeze", name, graph.numbers(*places))
    new = [
        i
        for i, p in enumerate([p for p in parts if p is None or isinstance(p, slice)])
        if p is None
    ]
    places_of = [i for i in range(y.ndim) if i not in new]  # where each kept axis ends up
    kept = sorted(left)
    order = tuple(places_of[kept.index(axis)] for axis in left)
    if new:
        name = graph.node("Unsqueeze", name, graph.numbers(*range(y.ndim - len(new), y.ndim)))
        order = (*order, *new)
    graph.give(y, name, order)


def _cut(graph: Graph, name: str, order: Order, axes: list[Any], shape: Shape) -> str:
    """Return the part of a value that slices and numbers, one for each axis, leave of it."""
    cuts = []
    for axis, part in enumerate(axes):
        if isinstance(part, slice) and part in (slice(None), slice(0, None), slice(None, None, 1)):
            continue
        if is_batch(shape[axis]):
            raise StateError(
                f"export_onnx: {graph.where or 'the model'} cuts the batch with [{part}]: a graph "
                "takes batches of any size"
            )
        length = shape[axis].first
        if isinstance(part, slice):
            start, stop, step = part.indices(length)
            if (start, stop, step) == (0, length, 1):
                continue
            stop = -END if stop < 0 else stop
        else:
            start = int(part) % length
            stop, step = start + 1, 1
        cuts.append((start, stop, order.index(axis), step))
    if not cuts:
        return name
    return str(
        graph.node("Slice", name, *(graph.numbers(*column) for column in zip(*cuts, strict=True)))
    )


def _by_array(graph: Graph, call: Call, parts: list[Any]) -> None:
    """x[..., indices, ...]: rows along one axis."""
    x, y = call.arguments["x"], output(call)
    places = [i for i, p in enumerate(parts) if isinstance(p, Value | Constant)]
    axis = places[0]
    index = parts[axis]
    dtype = index.dtype if isinstance(index, Value) else index.array.dtype
    others = [p for i, p in enumerate(parts) if i != axis]
    if len(places) > 1 or dtype.kind not in "iu" or any(p != slice(None) for p in others):
        raise StateError(
            f"export_onnx: {call.where or 'the model'} takes elements by several arrays or a mask, "
            "which isn't exported: index one axis with whole numbers"
        )
    if isinstance(index, Constant):
        index = Constant(index.array.astype(np.int64))
    name = graph.node("Gather", graph.plain(x), graph.plain(index), axis=axis)
    graph.give(y, name, plain(y.ndim))
