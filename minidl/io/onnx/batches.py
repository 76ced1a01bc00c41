"""Files that are made for a fixed number of images at a time, and what of them takes any number.

Exporters write shapes such as (1, 256) into a file. Where each value of a graph has the images
along its first axis, that 1 is the number of images, and may be another.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.io.onnx.building import Builder, flattened
from minidl.io.onnx.graph import Port, Step
from minidl.io.onnx.known import ELEMENTWISE, SPATIAL

__all__ = ["fixed_batch"]

ONE = ELEMENTWISE - {"Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow"}


def fixed_batch(
    builder: Builder, steps: Sequence[Step], inputs: Sequence[Port], outputs: Sequence[Port]
) -> tuple[int | None, bool]:
    """Return how many images the steps take at a time, None for any number.

    And whether more of them may be run in parts: where all inputs are images, and every output
    has as many rows.

    Shapes are rewritten to keep the first axis where that is the same.
    """
    batches = {x.shape[0] if x.shape else None for x in inputs}
    if len(batches) != 1 or None in batches:
        return None, False
    (batch,) = batches
    assert batch is not None
    rewritten: list[tuple[Step, np.ndarray]] = []
    ranks = {x.name: len(x.shape) for x in inputs if x.shape}
    images = all(x.channels_last for x in inputs)
    if images and all(_keeps(builder, step, batch, ranks, rewritten) for step in steps):
        for step, shape in rewritten:
            name = f"{step.inputs[1]} for any number of images, {step.outputs[0]}"
            builder.held[name] = shape
            step.inputs = (step.inputs[0], name)
        return None, False
    return batch, images and all(x.shape and x.shape[0] == batch for x in outputs)


def _keeps(
    builder: Builder, step: Step, batch: int, ranks: dict[str, int],
    rewritten: list[tuple[Step, np.ndarray]],
) -> bool:  # fmt: skip
    """Return whether a step works on each image for itself; notes the ranks of its outputs."""
    op, given = step.call.op, step.attributes
    first = ranks.get(step.inputs[0]) if step.inputs else None
    constants = [builder.known.get(name) for name in step.inputs[1:]]
    if first is None or first < 2:
        return False
    if _mixes(step):
        return False
    rank: int | None = None
    if step.run is flattened:
        rank = 2
    elif step.layer is not None:
        others = [ranks.get(name) for name in step.inputs[1:]]
        rank = first if all(other == first for other in others) else None
    elif op in ONE or op in SPATIAL:
        rank = first if _smaller(constants, step, builder, first) else None
    elif op in ELEMENTWISE:
        same = all(
            ranks.get(name) == first or _is_small(builder.known.get(name), first)
            for name in step.inputs
        )
        rank = first if same else None
    else:
        rank = _moved(builder, step, batch, first, constants, ranks, rewritten)
    if rank is None or op == "RoiAlign" or (op.endswith("oftmax") and not _inner(given["axis"])):
        return False
    ranks |= dict.fromkeys(step.outputs, rank)
    return True


def _mixes(step: Step) -> bool:
    """Return whether an operator of images or of elements may join images, or count them."""
    op, given = step.call.op, step.attributes
    if op == "MeanVarianceNormalization":
        return not all(axis >= 1 for axis in given["axes"])
    if op == "Resize" and len(step.inputs) > 3:  # the new sizes, that of the batch among them
        return not (given["axes"] and all(axis >= 1 for axis in given["axes"]))
    return op == "BatchNormalization" and bool(given.get("training_mode"))


def _inner(axis: Any) -> bool:
    """Return whether an axis, counted from either end, isn't the first of two or more."""
    return axis is None or axis >= 1 or axis == -1


def _is_small(array: Any, rank: int) -> bool:
    """Return whether a constant doesn't reach the first axis of arrays with `rank` axes."""
    return array is not None and (array.ndim < rank or array.shape[0] == 1)


def _smaller(constants: Any, step: Step, builder: Builder, rank: int) -> bool:
    return all(name in builder.known or not name for name in step.inputs[1:])


def _moved(
    builder: Builder, step: Step, batch: int, first: int, constants: Any, ranks: dict[str, int],
    rewritten: list[tuple[Step, np.ndarray]],
) -> int | None:  # fmt: skip
    """Return the rank of what an operator of shapes gives, if the first axis stays."""
    op, given = step.call.op, step.attributes
    if op == "Reshape" and len(constants) == 1 and constants[0] is not None:
        shape = constants[0].reshape(-1)
        if shape.size < 2 or given["allowzero"] or shape[0] not in (0, batch):
            return None
        rewritten.append((step, np.concatenate([[0], shape[1:]]).astype(np.int64)))
        return int(shape.size)
    if op == "Flatten":
        return 2 if given["axis"] == 1 else None
    if op == "Transpose":
        return first if given["perm"] and given["perm"][0] == 0 else None
    if op == "Concat":
        same = all(ranks.get(name) == first for name in step.inputs)
        return first if same and given["axis"] % first else None
    if op in ("Squeeze", "Unsqueeze"):
        axes = given["axes"] if len(step.inputs) == 1 else constants[0]
        if axes is None or not all(int(axis) >= 1 for axis in np.reshape(axes, -1)):
            return None
        return first + len(np.reshape(axes, -1)) * (1 if op == "Unsqueeze" else -1)
    if op.startswith("Reduce"):
        axes = given["axes"] if len(step.inputs) == 1 else constants[0]
        axes = np.reshape(() if axes is None else axes, -1)
        if not axes.size or not all(int(axis) % first for axis in axes):
            return None
        return first if given["keepdims"] else first - axes.size
    if op == "Split":
        return first if given["axis"] % first else None
    return None
