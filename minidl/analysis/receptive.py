"""Receptive fields: how much of an image each layer of a network sees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minidl import nn
from minidl.analysis.summaries import example
from minidl.analysis.trace import Node, trace
from minidl.errors import ArgumentError
from minidl.geometry import corner, pad_pair
from minidl.nn import Module

__all__ = ["ReceptiveField", "receptive_fields"]


@dataclass(frozen=True)
class ReceptiveField:
    """What one value of a layer's output depends on, in pixels of the image, along each axis.

    size: (rows, columns), math.inf for the whole image.  stride: by how much it moves from one
    value to the next.  start: where that of the first value begins; negative in the padding.
    Where branches join, the largest; it is what can be seen at all, and the weights decide how much
    of it counts (Luo et al. 2016).
    """

    name: str
    kind: str
    size: tuple[float, float]
    stride: tuple[int, int]
    start: tuple[float, float]


def receptive_fields(
    model: Module, input_shape: Sequence[int] | None = None
) -> list[ReceptiveField]:
    """The receptive field of each layer, in the order they run; input_shape as for `md.summary`.

    Indexing is taken for every n-th pixel, if it makes maps n times smaller.
    Raises ArgumentError for layers that make maps larger.
    Source: Araujo et al. 2019, "Computing Receptive Fields of Convolutional Neural Networks".
    """
    _, nodes = trace(model, example(model, input_shape))
    modules = dict(model.named_modules())
    fields = [ReceptiveField("input", "input", (1, 1), (1, 1), (0, 0))]
    for node in nodes[1:]:
        module = modules.get(node.name)
        inputs = [nodes[i].shape for i in node.inputs]
        axes = zip(*(_along(fields[i]) for i in node.inputs))
        size, stride, start = zip(
            *(_seen(node, module, axis, list(seen), inputs) for axis, seen in enumerate(axes))
        )
        fields.append(ReceptiveField(node.name, node.kind, size, stride, start))
    return fields[1:]


def _along(field: ReceptiveField) -> list[tuple[float, int, float]]:
    """Size, stride and start along each axis."""
    return list(zip(field.size, field.stride, field.start))


def _seen(
    node: Node,
    module: Any,
    axis: int,
    seen: list[tuple[float, int, float]],
    inputs: list[tuple[int, ...]],
) -> tuple[float, int, float]:
    """Size, stride and start along an axis, from those of the inputs."""
    start = min(first for _, _, first in seen)
    size = max(first + n for n, _, first in seen) - start
    stride = max(step for _, step, _ in seen)
    maps = [shape for shape in inputs if len(shape) == 3]
    if size == math.inf or not maps or len(node.shape) != 3:  # flattened, or a mean over all
        return math.inf, 1, 0
    if isinstance(module, nn.GlobalAvgPool2d):
        return math.inf, 1, 0
    before, after = max(shape[axis] for shape in maps), node.shape[axis]
    if isinstance(module, nn.ConvTranspose2d | nn.Upsample):
        raise ArgumentError(
            f"receptive_fields: {node.name} ({node.kind}) makes maps larger: give the part of the "
            "model before it"
        )
    if module is not None and hasattr(module, "kernel_size"):
        wider, padding = _window(module, axis, inputs[0])
        return size + wider * stride, stride * module.stride[axis], start - padding * stride
    if isinstance(module, nn.ZeroPad2d):
        return size, stride, start - module.padding[axis][0] * stride
    if node.kind == "getitem" and after:
        return size, stride * round(before / after), start
    return size, stride, start


def _window(module: Any, axis: int, input_shape: tuple[int, ...]) -> tuple[int, int]:
    """By how much a kernel widens what is seen along an axis, and the padding before it."""
    dilation = getattr(module, "dilation", (1, 1))
    padding = pad_pair(module.padding, module.kernel_size, module.stride, dilation, input_shape[:2])
    return dilation[axis] * (module.kernel_size[axis] - 1), corner(padding)[axis]
