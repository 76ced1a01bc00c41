"""The steps of a graph as modules."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.io.onnx.building import Builder
from minidl.io.onnx.graph import GraphModule, Port, Step
from minidl.io.onnx.messages import Input
from minidl.io.onnx.naming import attach, attribute_name
from minidl.nn import Buffer, Parameter

__all__ = ["assemble", "live", "port"]


def live(steps: Sequence[Step], outputs: Sequence[str]) -> list[Step]:
    """Return the steps whose outputs are needed, and note after which a value isn't any more."""
    needed, kept = set(outputs), []
    seen = set(outputs)
    for step in reversed(steps):
        if not needed & set(step.outputs):
            continue
        needed |= set(step.inputs)
        last = {name for name in step.inputs if name and name not in seen}
        seen |= last
        step.finished = tuple(sorted(last))
        kept.append(step)
    return kept[::-1]


def port(builder: Builder, x: Input) -> Port:
    """Return an input or output as the module has it."""
    is_image = x.name in builder.images
    shape: Any = None
    if x.shape is not None:
        shape = tuple(n if isinstance(n, int) else None for n in x.shape)
        if is_image and len(shape) == 4:
            shape = (shape[0], shape[2], shape[3], shape[1])  # (N, C, H, W) -> (N, H, W, C)
    return Port(x.name, shape, is_image)


def assemble(
    builder: Builder, steps: Sequence[Step], inputs: Sequence[Port], outputs: Sequence[Port]
) -> GraphModule:
    """Return a module of these steps, with the layers and constants that they need."""
    module = GraphModule(inputs, outputs)
    module.steps = tuple(steps)
    attach(module, {s.layer: builder.layers[s.layer] for s in steps if s.layer is not None})
    names = {name for step in steps for name in step.inputs} | {port.name for port in outputs}
    held: dict[str, Any] = {}
    for name, value in builder.held.items():
        if name in names and isinstance(value, Parameter | Buffer):
            attribute = attribute_name(name, vars(module).keys())
            setattr(module, attribute, value)
            held[name] = attribute
        elif name in names:
            held[name] = value
    for each in outputs:  # constants that are handed out as they are
        if each.name in builder.known and each.name not in held:
            held[each.name] = np.asarray(builder.known[each.name])
    module.held = held
    return module
