"""Reductions, and ops along one axis."""

from typing import Any

from minidl.io.onnx.exporting.graph import Graph, Order, lengths, moved, output, plain, planes
from minidl.io.onnx.exporting.table import form
from minidl.io.onnx.exporting.tracing import Call, Value

REDUCTIONS = {
    "logsumexp": "ReduceLogSumExp",
    "max": "ReduceMax",
    "mean": "ReduceMean",
    "min": "ReduceMin",
    "sum": "ReduceSum",
}


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes of a reduction, from 0 up."""
    if axis is None:
        return plain(ndim)
    return tuple(sorted(a % ndim for a in (axis if isinstance(axis, tuple | list) else (axis,))))


def _left(order: Order, axes: tuple[int, ...]) -> Order:
    """Return the order of what a reduction over `axes` leaves."""
    rest = [axis for axis in order if axis not in axes]
    return tuple(sorted(rest).index(axis) for axis in rest)


@form(*REDUCTIONS)
def _(graph: Graph, call: Call) -> None:
    x, y = call.arguments["x"], output(call)
    keepdims = bool(call.arguments["keepdims"])
    axes = _axes(call.arguments["axis"], x.ndim)
    if call.op == "mean" and x.ndim == 4 and axes == (1, 2):
        name = graph.node("GlobalAveragePool", graph.planes(x))
        if keepdims:
            graph.give(y, name, planes(4))
        else:
            graph.give(y, graph.node("Flatten", name, axis=1), plain(2))
        return
    (name,), order = graph.alike([x], x.ndim)
    places = sorted(order.index(axis) for axis in axes)
    if call.op == "sum":
        name = graph.node("ReduceSum", name, graph.numbers(*places), keepdims=keepdims)
    else:
        name = graph.node(REDUCTIONS[call.op], name, axes=places, keepdims=keepdims)
    graph.give(y, name, order if keepdims else _left(order, axes))


@form("all", "any")
def _(graph: Graph, call: Call) -> None:
    x, y = call.arguments["x"], output(call)
    axes = _axes(call.arguments["axis"], x.ndim)
    (name,), order = graph.alike([x], x.ndim)
    types = graph.onnx.TensorProto
    numbers = graph.node("Cast", graph.node("Cast", name, to=types.BOOL), to=types.INT32)
    keepdims = bool(call.arguments["keepdims"])
    kind = "ReduceMin" if call.op == "all" else "ReduceMax"
    places = sorted(order.index(axis) for axis in axes)
    name = graph.node(kind, numbers, axes=places, keepdims=keepdims)
    name = graph.node("Cast", name, to=types.BOOL)
    graph.give(y, name, order if keepdims else _left(order, axes))


@form("argmax", "argmin")
def _(graph: Graph, call: Call) -> None:
    x, y = call.arguments["x"], output(call)
    axis, keepdims = call.arguments["axis"], bool(call.arguments["keepdims"])
    kind = "ArgMax" if call.op == "argmax" else "ArgMin"
    if axis is None:
        name = graph.node("Reshape", graph.plain(x), graph.numbers(-1))
        name = graph.node(kind, name, axis=0, keepdims=0)
        if keepdims:
            name = graph.node("Reshape", name, graph.numbers(*(1,) * x.ndim))
        graph.give(y, name, plain(y.ndim))
        return
    (name,), order = graph.alike([x], x.ndim)
    name = graph.node(kind, name, axis=moved(order, axis), keepdims=keepdims)
    graph.give(y, name, order if keepdims else _left(order, _axes(axis, x.ndim)))


@form("softmax", "log_softmax")
def _(graph: Graph, call: Call) -> None:
    (name,), order = graph.alike([call.arguments["x"]], output(call).ndim)
    kind = "Softmax" if call.op == "softmax" else "LogSoftmax"
    axis = moved(order, call.arguments["axis"])
    graph.give(output(call), graph.node(kind, name, axis=axis), order)


@form("cumsum")
def _(graph: Graph, call: Call) -> None:
    (name,), order = graph.alike([call.arguments["x"]], output(call).ndim)
    place = graph.numbers(moved(order, call.arguments["axis"]))
    place = graph.node("Squeeze", place)
    graph.give(output(call), graph.node("CumSum", name, place), order)


@form("argsort")
def _(graph: Graph, call: Call) -> None:
    x = call.arguments["x"]
    (name,), order = graph.alike([x], x.ndim)
    axis = moved(order, call.arguments["axis"])
    count = graph.node("Gather", graph.node("Shape", name), graph.numbers(axis), axis=0)
    largest = int(bool(call.arguments["descending"]))
    _, places = graph.node("TopK", name, count, outputs=2, axis=axis, largest=largest)
    graph.give(output(call), places, order)


@form("sum_to")
def _(graph: Graph, call: Call) -> None:
    """Sum over the axes that broadcasting added or lengthened."""
    x, y = call.arguments["x"], output(call)
    more = x.ndim - y.ndim
    shape: Any = lengths(x)
    kept = tuple(i for i in range(more, x.ndim) if y.shape[i - more] != shape[i])
    name = graph.plain(x)
    if kept:
        name = graph.node("ReduceSum", name, graph.numbers(*kept), keepdims=1)
    if more:
        name = graph.node("ReduceSum", name, graph.numbers(*range(more)), keepdims=0)
    assert isinstance(y, Value)
    graph.give(y, name, plain(y.ndim))
