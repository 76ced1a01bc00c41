"""From the records of an ONNX file to the steps and layers of a GraphModule."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minidl import ops
from minidl.errors import FileFormatError, MinidlError
from minidl.io.onnx import operators  # noqa: F401 (fills the table)
from minidl.io.onnx.graph import Step
from minidl.io.onnx.known import Image, image_inputs, image_of, is_view_of_images
from minidl.io.onnx.layers import Made, make, on_images_with_residual
from minidl.io.onnx.messages import Input, Model, Node
from minidl.io.onnx.naming import layer_path
from minidl.io.onnx.operators.arithmetic import two
from minidl.io.onnx.operators.products import linear_rows
from minidl.io.onnx.table import Call, Operator, check_node
from minidl.io.onnx.values import LAST, Value
from minidl.nn import BatchNorm2d, Buffer, Conv2d, DepthwiseConv2d, Linear, Module, Parameter

__all__ = ["Builder"]

MOST_FOLDED = 2**26  # numbers of what is computed when a file is read, of each array and of all
PASSING = {"Relu", "LeakyRelu", "Identity", "Dropout", "Sigmoid", "Tanh", "Clip", "HardSwish"}

# Attributes of products that turn or scale their weights, and what is usual
FORMS: dict[str, dict[str, Any]] = {"weight": {"transB": 0, "alpha": 1.0}, "bias": {"beta": 1.0}}

# What may go wrong with arrays of a damaged file
DAMAGE = (ValueError, TypeError, IndexError, KeyError, OverflowError, ArithmeticError, MemoryError)


class Builder:
    """Builds the steps of a graph, in its order.

    known: constants by name.  trained: those of them that are, or come from, the file's weights.
    """

    def __init__(self, model: Model) -> None:
        self.model, graph = model, model.graph
        self.known: dict[str, np.ndarray] = dict(graph.tensors)
        self.trained = {n for n, a in graph.tensors.items() if a.dtype.kind == "f"}
        self.steps: list[Step] = []
        self.layers: dict[str, Module] = {}
        self.held: dict[str, Any] = {}  # by name: an ndarray, Parameter or Buffer
        self.shared: dict[Any, Parameter | Buffer] = {}
        self.images: dict[str, Image] = {}
        self.left = MOST_FOLDED
        self.uses = Counter(name for node in graph.nodes for name in node.inputs)
        self.uses.update(x.name for x in graph.outputs)
        self.made_by: dict[str, Step] = {}
        self.inputs: list[Input] = []

    def build(self) -> None:
        graph = self.model.graph
        if not graph.outputs:
            raise FileFormatError(f"{self.model.where}: the graph has no outputs")
        self.inputs = [x for x in graph.inputs if x.name not in graph.tensors]
        images = image_inputs(graph)
        for x in self.inputs:
            if x.name in images:
                channels = x.shape[1] if x.shape and isinstance(x.shape[1], int) else None
                self.images[x.name] = Image(channels, x.name)
        defined = {"", *self.known, *(x.name for x in self.inputs)}
        for node in graph.nodes:
            found, call, attributes = check_node(node, self.model.opset, self.model.where)
            for name in node.inputs:
                if name not in defined:
                    call.refuse(f"it reads {name!r:.80}, which nothing before it gives")
            for name in node.outputs:
                if name and name in defined:
                    call.refuse(f"it gives {name!r:.80}, which there is already")
                defined.add(name)
            try:
                self._add(node, found, call, attributes)
            except FileFormatError:
                raise
            except (MinidlError, *DAMAGE) as error:
                call.refuse(f"{type(error).__name__}: {error}")
        missing = [x.name for x in graph.outputs if x.name not in defined]
        if missing:
            raise FileFormatError(
                f"{self.model.where}: nothing gives its output {missing[0]!r:.80}"
            )

    def _add(self, node: Node, found: Operator, call: Call, attributes: dict[str, Any]) -> None:
        arrays = [self.known.get(name) for name in node.inputs]
        constant = all(name in self.known or not name for name in node.inputs)
        if found.folds and constant and self._fold(node, found, call, attributes):
            return
        image = image_of(node, attributes, self.images, arrays)
        if is_view_of_images(self.model.graph.nodes, self.images, node):
            image = Image(None, None)
        if image is not None:
            self.images |= {name: image for name in node.outputs if name}
        if self._fused(node, call, attributes, arrays):
            return
        first = self.images.get(node.inputs[0]) if node.inputs else None
        made = make(call, attributes, arrays, first or (image if node.op != "PRelu" else None))
        if made is not None:
            self._add_layer(node, call, made, attributes)
            return
        for i, name in enumerate(node.inputs):
            if name in self.known:
                self._hold(name, i in found.settings)
        self._append(Step(call, found.run, node.inputs, node.outputs, attributes))

    def _append(self, step: Step) -> None:
        self.steps.append(step)
        self.made_by |= dict.fromkeys(step.outputs, step)

    def _fold(self, node: Node, found: Operator, call: Call, attributes: dict[str, Any]) -> bool:
        """Compute a node of constants now; False where that isn't small enough."""
        values = [Value(self.known[name]) if name else None for name in node.inputs]
        with np.errstate(all="ignore"):
            result = found.run(replace(call, most=self.left), *values, **attributes)
        results = [result] if isinstance(result, Value) else result
        trained = any(name in self.trained for name in node.inputs)
        for name, value in zip(node.outputs, results, strict=False):
            array = value.numbers()
            if not any(np.may_share_memory(array, v.data) for v in values if v is not None):
                self.left -= array.size
                if self.left < 0:
                    call.refuse("the constants that the graph computes are too large")
            self.known[name] = array
            if trained and array.dtype.kind == "f":
                self.trained.add(name)
        return True

    # Layers

    def _add_layer(self, node: Node, call: Call, made: Made, attributes: dict[str, Any]) -> None:
        turned = isinstance(made.module, Linear) and self._turn_rows(node, made.module)
        names = [node.inputs[i] for i in made.used if i < len(node.inputs)]
        for role, name in zip(made.arrays, names, strict=False):
            forms = FORMS.get(role, {}) if isinstance(made.module, Linear) else {}
            form = *(attributes.get(a, usual) for a, usual in forms.items()), turned
            self._share(made.module, role, name, form)
        path = layer_path(node, names, self.layers)
        self.layers[path] = made.module
        inputs = tuple(n for i, n in enumerate(node.inputs) if n and n not in self.known)[:1]
        self._append(Step(call, made.run, inputs, node.outputs, {}, path))

    def _share(self, module: Module, role: str, name: str, form: tuple[Any, ...]) -> None:
        """Give layers that have the same weight, in the same form, the same parameter."""
        held = getattr(module, role)
        key = (name, type(module), role, held.shape, form)
        if self.uses[name] > 1 and self.shared.setdefault(key, held) is not held:
            setattr(module, role, self.shared[key])

    def _turn_rows(self, node: Node, layer: Linear) -> bool:
        """Flatten images as they are stored, where this layer alone takes the features: its rows
        are put in that order once. Return whether they were."""
        name = node.inputs[0]
        while (step := self.made_by.get(name)) is not None and self.uses[name] == 1:
            if step.call.op not in PASSING or step.run is flattened:
                break
            name = step.inputs[0]
        step = self.made_by.get(name)
        if step is None or self.uses[name] != 1:
            return False
        image = self.images.get(step.inputs[0])
        rows = layer.in_features
        if image is None or not image.channels or rows % image.channels:
            return False
        if not _flattens(step, self.known, takes_matrix=node.op == "Gemm"):
            return False
        layer.weight.data = linear_rows(layer.weight.data, image.channels)
        step.run, step.attributes = flattened, {"rows": rows}
        step.inputs = step.inputs[:1]
        return True

    def _hold(self, name: str, is_setting: bool) -> None:
        """Keep a constant that a step computes with: a weight as a Parameter."""
        array = self.known[name]
        if is_setting or array.dtype.kind != "f":
            self.held.setdefault(name, array)
        elif not isinstance(self.held.get(name), Parameter | Buffer):
            is_weight = name in self.trained and array.size > 1 and bool(self.layers)
            self.held[name] = Parameter(array) if is_weight else Buffer(array)

    # Fusing

    def _fused(
        self, node: Node, call: Call, attributes: dict[str, Any], arrays: Sequence[Any]
    ) -> bool:
        """Let the layer before a node do its work, if it can."""
        if node.op == "Relu" or (node.op == "Clip" and _is_relu6(attributes, arrays)):
            activation = "relu" if node.op == "Relu" else "relu6"
            step = self._layer_before(node.inputs[0])
            if step is None:
                return activation == "relu" and self._fused_sum(node)
            layer: Any = self.layers[step.layer]  # type: ignore[index]
            if not isinstance(layer, Conv2d | DepthwiseConv2d | BatchNorm2d | Linear):
                return False
            layer.activation = activation
            self._rename(step, node.outputs)
            return True
        if node.op == "Add" and len(node.inputs) == 2:
            return self._fused_bias(node, arrays) or self._fused_residual(node)
        return False

    def _fused_sum(self, node: Node) -> bool:
        """A ReLU after the sum of two images of one shape runs with it."""
        step = self.made_by.get(node.inputs[0])
        if step is None or step.run is not two or step.call.op != "Add":
            return False
        if step.attributes["axis"] is not None:
            return False
        first, second = (self.images.get(name) for name in step.inputs)
        if self.uses[node.inputs[0]] != 1 or first is None or first != second or None in first:
            return False
        step.run, step.attributes = rectified_sum, {}
        self._rename(step, node.outputs)
        return True

    def _layer_before(self, name: str) -> Step | None:
        """Return the step of the layer, without an activation, whose output nothing else takes."""
        step = self.made_by.get(name)
        if step is None or step.layer is None or self.uses[name] != 1:
            return None
        return step if getattr(self.layers[step.layer], "activation", "") is None else None

    def _rename(self, step: Step, outputs: tuple[str, ...]) -> None:
        step.outputs = outputs
        self.made_by |= dict.fromkeys(outputs, step)

    def _fused_bias(self, node: Node, arrays: Sequence[Any]) -> bool:
        """A constant that is added to each channel is a convolution's or a product's bias."""
        for at, bias in enumerate(arrays):
            step = self._layer_before(node.inputs[1 - at])
            if bias is None or step is None or bias.dtype.kind != "f":
                continue
            layer: Any = self.layers[step.layer]  # type: ignore[index]
            if not isinstance(layer, Linear | Conv2d | DepthwiseConv2d) or layer.bias is not None:
                continue
            count, ones = layer.weight.shape[-1], (1,) * (bias.ndim - 1)
            if isinstance(layer, DepthwiseConv2d):
                count = layer.channels * layer.multiplier
            shapes = [(count,), (1, count)]
            if not isinstance(layer, Linear):
                shapes = [(count, 1, 1), (1, count, 1, 1)]
            if bias.shape not in shapes or (not ones and isinstance(layer, Linear) is False):
                continue
            layer.bias = Parameter(bias.reshape(-1))
            self._rename(step, node.outputs)
            return True
        return False

    def _fused_residual(self, node: Node) -> bool:
        """A sum of a normalization's output and an image of the same shape is the
        normalization's, which also moves to where both are there."""
        first, second = (self.images.get(name) for name in node.inputs)
        if first is None or first != second or None in first:
            return False
        for at in (0, 1):
            step = self._layer_before(node.inputs[at])
            if step is None or len(step.inputs) != 1 or node.inputs[0] == node.inputs[1]:
                continue
            if isinstance(self.layers[step.layer], BatchNorm2d):  # type: ignore[index]
                self.steps.remove(step)
                step.inputs = (*step.inputs, node.inputs[1 - at])
                step.run = on_images_with_residual
                step.outputs = node.outputs
                self._append(step)
                return True
        return False


def _is_relu6(attributes: dict[str, Any], arrays: Sequence[Any]) -> bool:
    low, high = attributes["min"], attributes["max"]
    if len(arrays) == 3 and arrays[1] is not None and arrays[2] is not None:
        low, high = arrays[1].reshape(-1), arrays[2].reshape(-1)
        return low.size == high.size == 1 and (low[0], high[0]) == (0, 6)
    return len(arrays) == 1 and (low, high) == (0, 6)


def _flattens(step: Step, known: dict[str, np.ndarray], takes_matrix: bool) -> bool:
    """Return whether a step makes a matrix of images, one row for each image, or fails.

    takes_matrix: whether what takes its output takes nothing but matrices.
    """
    if step.call.op == "Flatten":
        return bool(step.attributes.get("axis", 1) == 1)
    if step.call.op != "Reshape" or len(step.inputs) != 2:
        return False
    shape = known.get(step.inputs[1])
    return takes_matrix if shape is None else shape.size == 2


def rectified_sum(call: Call, x: Value, y: Value) -> Value:
    """Return relu(x + y) of images of one shape, in one pass."""
    data = x.stored_as(LAST)
    ones, zeros = (np.full(data.shape[-1], number, data.dtype) for number in (1, 0))
    added = y.stored_as(LAST)
    return Value(ops.norm.scale_shift(data, ones, zeros, added, activation="relu"), LAST)


def flattened(call: Call, x: Value, *, rows: int) -> Value:
    """Return images as (N, H * W * C), in the order in which they are stored."""
    data = x.stored_as(LAST)
    n, h, w, c = data.shape
    if h * w * c != rows:
        call.refuse(f"images of {h}x{w} pixels and {c} channels don't make {rows} features")
    return Value(ops.reshape(data, shape=(n, rows)))
