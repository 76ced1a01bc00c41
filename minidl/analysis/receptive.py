"""Receptive fields: how much of an image each layer of a network sees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minidl import nn
from minidl.analysis.summaries import example
from minidl.analysis.trace import trace
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

    Source: Araujo et al. 2019, "Computing Receptive Fields of Convolutional Neural Networks".
    """
    _, nodes = trace(model, example(model, input_shape))
    modules = dict(model.named_modules())
    fields = [ReceptiveField("input", "input", (1, 1), (1, 1), (0, 0))]
    for node in nodes[1:]:
        seen = [fields[i] for i in node.inputs]
        size = tuple(max(field.size[axis] for field in seen) for axis in (0, 1))
        start = tuple(min(field.start[axis] for field in seen) for axis in (0, 1))
        stride = tuple(max(field.stride[axis] for field in seen) for axis in (0, 1))
        module = modules.get(node.name)
        if isinstance(module, nn.Linear | nn.Flatten | nn.GlobalAvgPool2d):
            size, stride, start = (math.inf, math.inf), (1, 1), (0, 0)
        elif hasattr(module, "kernel_size") and not isinstance(module, nn.ConvTranspose2d):
            window = _window(module, nodes[node.inputs[0]].shape)
            size = tuple(n + w * s for n, (w, _), s in zip(size, window, stride))
            start = tuple(n - p * s for n, (_, p), s in zip(start, window, stride))
            stride = tuple(s * t for s, t in zip(stride, module.stride))  # type: ignore[union-attr]
        fields.append(ReceptiveField(node.name, node.kind, size, stride, start))  # type: ignore[arg-type]
    return fields[1:]


def _window(module: Any, input_shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """For each axis by how much a kernel widens what is seen, and the padding before it."""
    dilation = getattr(module, "dilation", (1, 1))
    padding = pad_pair(module.padding, module.kernel_size, module.stride, dilation, input_shape[:2])
    wider = [d * (k - 1) for d, k in zip(dilation, module.kernel_size)]
    return list(zip(wider, corner(padding)))
