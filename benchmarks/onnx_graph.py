"""The description written as an ONNX graph, channels first: what in_onnx and in_openvino run."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks import networks as described
from benchmarks.networks import Network, planes_first

OPSET = 17


class Graph:
    """An ONNX graph as it grows; `x` below is always the name of a value in it."""

    def __init__(self, state: Iterator[dict[str, np.ndarray]]) -> None:
        self.state = state
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.planes = (0, 0, 0)  # (height, width, channels) before a Flatten

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def array(self, array: np.ndarray) -> str:
        """Add a constant; returns its name."""
        name = f"a{len(self.arrays)}"
        self.arrays.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def row(self, layers: Any, x: str) -> str:
        """Add layers one after the other."""
        for layer in layers:
            match layer:
                case described.Residual(body, shortcut):
                    y = self.row(body, x)
                    x = self.node("Relu", self.node("Add", y, self.row(shortcut, x)))
                case described.DenseBlock(bodies):
                    for body in bodies:
                        x = self.node("Concat", x, self.row(body, x), axis=1)
                case described.SqueezeExcite():
                    gate = self.row(layer.convs, self.node("GlobalAveragePool", x))
                    x = self.node("Mul", x, self.node("Sigmoid", gate))
                case _:
                    x = self.layer(layer, next(self.state), x)
                    if getattr(layer, "relu", False):
                        x = self.node("Relu", x)
        return x

    def layer(self, layer: Any, own: dict[str, np.ndarray], x: str) -> str:
        """Add one layer."""
        match layer:
            case described.Conv(_, _, k, stride, padding):
                weights = self.array(own["weight"].transpose(3, 2, 0, 1))  # (O, I, kh, kw)
                bias = [self.array(own["bias"])] if layer.bias else []
                window = _window(k, stride, padding)
                return self.node("Conv", x, weights, *bias, group=layer.groups, **window)
            case described.Depthwise(c, k, stride, padding):
                weights = self.array(own["weight"].transpose(2, 3, 0, 1))  # (C, 1, kh, kw)
                return self.node("Conv", x, weights, group=c, **_window(k, stride, padding))
            case described.BatchNorm():
                names = ("weight", "bias", "running_mean", "running_var")
                return self.node("BatchNormalization", x, *(self.array(own[n]) for n in names))
            case described.MaxPool(k, stride, padding):
                return self.node("MaxPool", x, **_window(k, stride, padding))
            case described.AvgPool(k):
                return self.node("AveragePool", x, **_window(k, k, 0))
            case described.GlobalAvgPool():
                return self.node("Flatten", self.node("GlobalAveragePool", x))
            case described.Flatten(height, width, channels):
                self.planes = (height, width, channels)
                return self.node("Flatten", x)
            case described.Linear():
                weights = self.array(planes_first(own["weight"], self.planes))
                self.planes = (0, 0, 0)
                return self.node("Gemm", x, weights, self.array(own["bias"]))
            case described.Subsample(stride, before, after):
                return self.subsampled(x, stride, before, after)
        raise TypeError(f"onnx_graph has no layer for {layer}: add it to Graph.layer")

    def subsampled(self, x: str, stride: int, before: int, after: int) -> str:
        """Add the shortcut of option A."""
        ends = ([0, 0], [2**31, 2**31], [2, 3], [stride, stride])  # starts, ends, axes, steps
        x = self.node("Slice", x, *(self.array(np.array(e, np.int64)) for e in ends))
        widths = np.array([0, before, 0, 0, 0, after, 0, 0], np.int64)
        return self.node("Pad", x, self.array(widths))


def _window(k: int, stride: int, padding: int) -> dict[str, Any]:
    return {"kernel_shape": [k, k], "strides": [stride] * 2, "pads": [padding] * 4}


def model(network: Network, state: list[dict[str, np.ndarray]]) -> bytes:
    """The network as the content of an ONNX file; its input is "images", (N, C, H, W)."""
    graph = Graph(iter(state))
    output = graph.row(network.layers, "images")
    shape: list[Any] = ["N", network.channels, network.size, network.size]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", network.classes])]
    made = helper.make_graph(graph.nodes, "network", inputs, outputs, graph.arrays)
    opsets = [helper.make_opsetid("", OPSET)]
    content = helper.make_model(made, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(content)
    return bytes(content.SerializeToString())


def images(network: Network, batch: int) -> np.ndarray:
    """A batch of noise, (N, C, H, W)."""
    shape = (batch, network.channels, network.size, network.size)
    return np.random.default_rng(0).standard_normal(shape, np.float32)
