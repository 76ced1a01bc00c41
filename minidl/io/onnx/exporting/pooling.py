"""Pooling, and normalization across channels."""

from typing import Any

import numpy as np

from minidl.io.onnx.exporting.convolution import pads
from minidl.io.onnx.exporting.graph import Graph, output, planes
from minidl.io.onnx.exporting.table import form
from minidl.io.onnx.exporting.tracing import Call, Constant
from minidl.ops.adaptive_pool import windows


def _reach(call: Call) -> list[tuple[int, int]]:
    """Return the padding that the windows reach, by which ONNX counts as many of them.

    A last window may stick out (minidl's ceil_mode); what it doesn't hold is no part of it.
    """
    found = []
    for i, (before, _) in enumerate(call.arguments["padding"]):
        k, s = (call.arguments[name][i] for name in ("kernel_size", "stride"))
        rows, size = call.arguments["x"].shape[1 + i].first, call.arguments["size"][i]
        found.append((before, max(0, (size - 1) * s + k - before - rows)))
    return found


def _windows(call: Call, padding: Any) -> dict[str, Any]:
    settings = call.arguments
    return {
        "kernel_shape": settings["kernel_size"],
        "strides": settings["stride"],
        "pads": pads(padding),
    }


@form("max_pool2d_forward")
def _(graph: Graph, call: Call) -> None:
    name = graph.node("MaxPool", graph.planes(call.arguments["x"]), **_windows(call, _reach(call)))
    graph.give(output(call), name, planes(4))


@form("avg_pool2d_forward")
def _(graph: Graph, call: Call) -> None:
    name, reach = graph.planes(call.arguments["x"]), _reach(call)
    declared = call.arguments["padding"]
    if call.arguments["count_include_pad"] and np.any(declared):
        # the declared padding counts as zeros, what a last window has beyond it doesn't count
        zeros = [(before, min(after, end[1])) for (before, after), end in zip(declared, reach)]
        widths = pads(zeros)
        name = graph.node("Pad", name, graph.numbers(0, 0, *widths[:2], 0, 0, *widths[2:]))
        reach = [(0, end[1] - zero[1]) for end, zero in zip(reach, zeros, strict=True)]
    name = graph.node("AveragePool", name, count_include_pad=0, **_windows(call, reach))
    graph.give(output(call), name, planes(4))


@form("adaptive_avg_pool2d_forward", "adaptive_max_pool2d_forward")
def _(graph: Graph, call: Call) -> None:
    kind = "Average" if call.op.startswith("adaptive_avg") else "Max"
    x = call.arguments["x"]
    sides = [n.first for n in x.shape[1:3]]
    size = call.arguments["size"]
    name = graph.planes(x)
    if tuple(size) == (1, 1):
        name = graph.node(f"Global{kind}Pool", name)
    elif all(n % out == 0 for n, out in zip(sides, size, strict=True)):
        kernel = [n // out for n, out in zip(sides, size, strict=True)]
        name = graph.node(f"{kind}Pool", name, kernel_shape=kernel, strides=kernel)
    else:
        reduce = "ReduceMean" if kind == "Average" else "ReduceMax"
        for axis in (0, 1):  # windows of several lengths, which are the same for all rows
            parts = []
            for window in windows(sides[axis], size[axis]):
                ends = [graph.numbers(n) for n in (window.start, window.stop, 2 + axis)]
                part = graph.node("Slice", name, *ends)
                parts.append(graph.node(reduce, part, axes=[2 + axis], keepdims=1))
            name = graph.node("Concat", *parts, axis=2 + axis)
    graph.give(output(call), name, planes(4))


@form("local_response_norm_sum")
def _(graph: Graph, call: Call) -> None:
    """A sum over a window of channels: a convolution of (N, 1, C, H * W) by ones."""
    x, before, after = (call.arguments[name] for name in ("x", "before", "after"))
    ones = Constant(np.ones((1, 1, before + after + 1, 1), x.dtype))
    name = graph.planes(x)
    rows = graph.node("Reshape", name, graph.numbers(0, 1, x.shape[-1].first, -1))
    rows = graph.node("Conv", rows, graph.constant(ones), pads=[before, 0, after, 0])
    rest = [n.first for n in x.shape[1:-1]]
    shape = graph.numbers(0, x.shape[-1].first, *rest)
    graph.give(output(call), graph.node("Reshape", rows, shape), planes(x.ndim))
