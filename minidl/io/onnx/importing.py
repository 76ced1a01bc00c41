"""From an ONNX file to modules: one of the whole graph, or a classifier's body and head."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from minidl.io.guarded import MAX_BYTES
from minidl.io.onnx.assembling import assemble, live, port
from minidl.io.onnx.batches import fixed_batch
from minidl.io.onnx.building import Builder
from minidl.io.onnx.graph import GraphModule, Port, Step
from minidl.io.onnx.messages import Model, read_model
from minidl.nn import Conv2d, Linear, PointwiseConv2d

__all__ = ["Parts", "import_model", "read_onnx"]

# What may stand after the last layer of a classifier, and before it in its head
AFTER = {"Flatten", "Reshape", "Squeeze", "Softmax", "LogSoftmax", "Sigmoid", "Identity", "Relu",
         "GlobalAveragePool", "ReduceMean", "AveragePool"}  # fmt: skip
HEAD = {"Gemm", "MatMul", "Dropout", "Flatten", "Reshape", "Squeeze", "GlobalAveragePool",
        "ReduceMean", "Relu", "Identity", "Tanh", "HardSwish", "Clip"}  # fmt: skip
PROBABILITIES = ("Softmax", "LogSoftmax")


class Parts(NamedTuple):
    """A graph in one piece, or a classifier's body and head.

    ending: "Softmax" or "LogSoftmax", which a classifier's graph ends with and the head leaves
    out; None where there is none.
    """

    body: GraphModule
    head: GraphModule | None
    ending: str | None


def read_onnx(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Parts:
    """Return the modules of an ONNX file.

    Raises FileFormatError for what is none, is damaged, is larger than `max_bytes`, or holds
    what minidl doesn't know; it names the node.
    """
    return import_model(read_model(path, max_bytes))


def import_model(model: Model) -> Parts:
    """Return the modules of a model that was read."""
    builder = Builder(model)
    builder.build()
    inputs = [port(builder, x) for x in builder.inputs]
    outputs = [port(builder, x) for x in model.graph.outputs]
    steps = live(builder.steps, [x.name for x in outputs])
    batch, in_parts = fixed_batch(builder, steps, inputs, outputs)
    cut = _cut(builder, steps, inputs, outputs) if batch is None else None
    if cut is None:
        whole = assemble(builder, steps, inputs, outputs)
        whole.batch, whole.in_parts = batch, in_parts
        return Parts(whole, None, None)
    name, ending = steps[cut].inputs[0], None
    if steps[-1].call.op in PROBABILITIES and _over_classes(steps[-1], outputs[0]):
        ending = steps[-1].call.op
        outputs = [outputs[0]._replace(name=steps[-1].inputs[0])]
    middle = Port(name, None, name in builder.images)
    body = assemble(builder, live(steps[:cut], [name]), inputs, [middle])
    head = assemble(builder, live(steps[cut:], [outputs[0].name]), [middle], outputs)
    return Parts(body, head, ending)


def _cut(
    builder: Builder, steps: Sequence[Step], inputs: Sequence[Port], outputs: Sequence[Port]
) -> int | None:
    """Return where a classifier's head begins among the steps, None where there is none.

    The head is a row of steps that each take what the one before gave, and ends in a matrix.
    """
    if len(inputs) != 1 or len(outputs) != 1 or not steps:
        return None
    shape = inputs[0].shape
    if shape is None or len(shape) != 4 or shape[3] is None or not _is_image(builder, inputs[0]):
        return None
    if outputs[0].shape is not None and len(outputs[0].shape) != 2:
        return None
    at, scoring = len(steps) - 1, None
    needed = outputs[0].name
    while at > 0 and steps[at].outputs[0] == needed and len(steps[at].outputs) == 1:
        step = steps[at]
        layer = builder.layers.get(step.layer or "")
        flowing = [n for n in step.inputs if n and n not in builder.held]
        if len(flowing) != 1 or flowing[0] != step.inputs[0]:
            break
        if scoring is None and isinstance(layer, Linear | Conv2d):
            small = isinstance(layer, Linear | PointwiseConv2d) or layer.kernel_size == (1, 1)
            if not small or not _gives_matrix(steps[at:]):
                return None
            scoring = at
        elif step.call.op not in (AFTER if scoring is None else HEAD):
            break
        needed = step.inputs[0]
        if builder.uses[needed] != 1:
            at -= 1
            break
        at -= 1
    begin = at + 1
    return begin if scoring is not None and 0 < begin <= scoring else None


def _over_classes(step: Step, output: Port) -> bool:
    """Return whether a softmax that gives the output is along its last axis."""
    axis = step.attributes["axis"]
    if axis is None:
        axis = -1 if step.call.opset >= 13 else 1
    return axis == -1 or (axis == 1 and output.shape is not None)  # which then has two axes


def _is_image(builder: Builder, given: Port) -> bool:
    """Return whether an input is of images, which a file may also have as (N, H, W, C)."""
    first = [step for step in builder.steps if given.name in step.inputs]
    moved = [step.call.op == "Transpose" and step.outputs[0] in builder.images for step in first]
    return given.channels_last or (bool(moved) and all(moved))


def _gives_matrix(steps: Sequence[Step]) -> bool:
    """Return whether what a scoring layer gives ends as (N, classes)."""
    return steps[0].call.op in ("Gemm", "MatMul") or any(
        step.call.op in ("Flatten", "Reshape", "Squeeze")
        or (step.call.op == "ReduceMean" and not step.attributes["keepdims"])
        for step in steps[1:]
    )
