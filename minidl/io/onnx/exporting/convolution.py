"""Convolutions and what is fused with them."""

from typing import Any

from minidl.io.onnx.exporting.graph import Graph, output, planes
from minidl.io.onnx.exporting.pointwise import activated
from minidl.io.onnx.exporting.table import form
from minidl.io.onnx.exporting.tracing import Call

KERNEL = (3, 2, 0, 1)  # (kh, kw, in, out) -> (out, in, kh, kw)
DEPTHWISE = (2, 3, 0, 1)  # (kh, kw, C, multiplier) -> (C, multiplier, kh, kw)


def pads(padding: Any) -> list[int]:
    """Return ((top, bottom), (left, right)) as ONNX orders it: all beginnings, then all ends."""
    return [padding[axis][end] for end in (0, 1) for axis in (0, 1)]


def _convolved(graph: Graph, call: Call, weight: str, groups: int, size: Any) -> str:
    settings = call.arguments
    bias = [] if settings["bias"] is None else [graph.plain(settings["bias"])]
    name = graph.node(
        "Conv", graph.planes(settings["x"]), weight, *bias,
        kernel_shape=size, strides=settings["stride"], pads=pads(settings["padding"]),
        dilations=settings["dilation"], group=groups,
    )  # fmt: skip
    return activated(graph, name, settings.get("activation"), output(call))


def _full(graph: Graph, call: Call) -> str:
    weight = call.arguments["weight"]
    size = [n if isinstance(n, int) else n.first for n in shape_of(weight)[:2]]
    return _convolved(graph, call, graph.held(weight, KERNEL), call.arguments["groups"], size)


def shape_of(x: Any) -> tuple[int, ...]:
    """Return the shape of an array that doesn't depend on the batch."""
    return x.array.shape if hasattr(x, "array") else tuple(n.first for n in x.shape)


@form("conv2d_forward", "conv2d_activation")
def _(graph: Graph, call: Call) -> None:
    graph.give(output(call), _full(graph, call), planes(4))


@form("conv2d_relu_max_pool_forward")
def _(graph: Graph, call: Call) -> None:
    name = graph.node("Relu", _full(graph, call))
    name = graph.node("MaxPool", name, kernel_shape=[2, 2], strides=[2, 2])
    graph.give(output(call), name, planes(4))


@form("depthwise_conv2d_forward", "depthwise_conv2d_activation")
def _(graph: Graph, call: Call) -> None:
    weight = call.arguments["weight"]
    kh, kw, channels, multiplier = shape_of(weight)
    name = graph.held(weight, DEPTHWISE)
    if multiplier != 1:  # (C, multiplier, kh, kw) -> (C * multiplier, 1, kh, kw)
        if hasattr(weight, "array"):
            shape = (channels * multiplier, 1, kh, kw)
            name = graph.constant(weight, DEPTHWISE, shape)
        else:
            name = graph.node("Reshape", name, graph.numbers(channels * multiplier, 1, kh, kw))
    graph.give(output(call), _convolved(graph, call, name, channels, [kh, kw]), planes(4))


@form("conv2d_input_grad")
def _(graph: Graph, call: Call) -> None:
    """A transposed convolution: weight (kh, kw, out, in), x in the place of the gradient."""
    settings, y = call.arguments, output(call)
    weight, stride, dilation = settings["weight"], settings["stride"], settings["dilation"]
    size = shape_of(weight)[:2]
    ends, more = [], []
    for i, (before, after) in enumerate(settings["padding"]):
        rows = settings["dy"].shape[1 + i].first
        made = (rows - 1) * stride[i] + dilation[i] * (size[i] - 1) + 1 - before - after
        missing = y.shape[1 + i].first - made
        ends.append((before, after - min(missing, 0)))
        more.append(max(missing, 0))
    name = graph.node(
        "ConvTranspose", graph.planes(settings["dy"]), graph.held(weight, KERNEL),
        kernel_shape=size, strides=stride, pads=pads(ends), dilations=dilation,
        group=settings["groups"], output_padding=more,
    )  # fmt: skip
    graph.give(y, name, planes(4))
