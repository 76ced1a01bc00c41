"""`md.export_onnx`: a model as an ONNX file (extra `interop`)."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minidl import nn
from minidl.checks import is_whole
from minidl.errors import ArgumentError, MinidlError, StateError
from minidl.io.onnx.exported import fingerprint
from minidl.io.onnx.exporting import (  # noqa: F401 (each enters its forms into the table)
    convolution,
    linear,
    normalization,
    pointwise,
    pooling,
    reducing,
    shaping,
)
from minidl.io.onnx.exporting.graph import OPSET, Graph, lengths, library, plain, planes
from minidl.io.onnx.exporting.table import add_call, has_form
from minidl.io.onnx.exporting.tracing import BATCHES, Constant, Trace, Value, is_batch, trace
from minidl.io.onnx.exporting.writing import write_model
from minidl.io.onnx.graph import GraphModule
from minidl.io.onnx.messages import parse_model
from minidl.io.weights import check_module, told_of
from minidl.nn import Module
from minidl.version import __version__

__all__ = ["built", "export_onnx"]

LAYOUTS = ("NHWC", "NCHW")
IR_VERSION = 8  # of ONNX 1.12, the first with opset 17


def export_onnx(
    model: Module,
    path: str | os.PathLike[str],
    input_shape: Sequence[Any] | None = None,
    *,
    layout: str = "NHWC",
) -> None:
    """Write a model as an ONNX file (opset 17) for batches of any size, atomically.

    input_shape: of one example, such as (H, W, C) or (F,), or a list of these for several inputs;
        an axis for the batch before it may be left in where the model takes nothing else. Left
        out, the shape that a network of `minidl.models` was made for.
    layout: of the images that the file takes and gives: "NHWC", as the model, or "NCHW", as most
        ONNX files. Inside they are NCHW either way.
    Parameters and buffers have their names in `model.state_dict()`. Numbers that the model had
    from a `minidl.models` function stand in the file's metadata, from which it is made again.
    More than 2 GB of weights go to a file beside it, with ".data" after its name.
    Raises StateError for a model in training mode and for an op that ONNX doesn't have,
    ArgumentError for a shape that the model doesn't take, ImportError without the extra, and
    OSError where the system refuses; the file is then left as it was.
    Source: https://onnx.ai/onnx/operators
    """
    check_module(model, "export_onnx")
    if layout not in LAYOUTS:
        raise ArgumentError(f"export_onnx: layout is one of {', '.join(LAYOUTS)}, got {layout!r}")
    library()
    training = [name or "the model" for name, m in model.named_modules() if m.training]
    if training:
        raise StateError(
            f"export_onnx: {training[0]} is in training mode: call model.eval() first, so that "
            "the file computes what it then computes"
        )
    write_model(*built(model, _traced(model, input_shape), layout), path)


def built(model: Module, found: Trace, layout: str) -> tuple[Graph, Any]:
    """Return the graph of what a model was found to compute, and its onnx.ModelProto.

    The weights stand in the graph only: `writing.filled` puts them into the other.
    """
    graph, inputs = Graph(), []
    for i, value in enumerate(found.inputs):
        name = graph.free_name("input" if len(found.inputs) == 1 else f"input_{i}")
        graph.give(value, name, _border(value, layout))
        inputs.append((name, value))
    for call in found.calls:
        add_call(graph, call)
    graph.where = ""
    outputs = _outputs(graph, found, layout)
    return graph, _proto(graph, inputs, outputs, layout, model)


def _border(value: Any, layout: str) -> tuple[int, ...]:
    """Return the order of axes that an input or output has in the file."""
    return planes(4) if value.ndim == 4 and layout == "NCHW" else plain(value.ndim)


# The run


def _traced(model: Module, input_shape: Any) -> Trace:
    """Return what the model computes from inputs of a shape."""
    shapes = _shapes(model, input_shape)
    try:
        return _run(model, shapes)
    except (MinidlError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, StateError):
            if any(isinstance(each, GraphModule) for each in model.modules()):
                raise StateError(
                    "export_onnx can't write this network again, which was read from a file: keep "
                    "that file, and save what is trained with md.save_weights; of a file for "
                    f"batches of any size it may be possible. {error}"
                ) from error
            raise
        shorter = [shape[1:] for shape in shapes]
        if all(shape[:1] != () and len(shape) in (2, 4) for shape in shapes):
            with contextlib.suppress(MinidlError, TypeError, ValueError, IndexError):
                return _run(model, shorter)  # the first axis was the batch
        raise ArgumentError(
            f"export_onnx: input_shape={input_shape}: {type(model).__name__} doesn't run on a "
            f"batch of {shapes if len(shapes) > 1 else shapes[0]}: {error}"
        ) from error


def _shapes(model: Module, given: Any) -> list[tuple[int, ...]]:
    """Return the shape of one example of each input."""
    if given is None:
        given = getattr(model, "input_shape", None)
        if given is None:
            raise ArgumentError(
                "export_onnx: give an input_shape, such as (224, 224, 3): a "
                f"{type(model).__name__} doesn't tell its own"
            )
    several = isinstance(given, list) and all(isinstance(s, tuple | list) for s in given)
    shapes = given if several else [given]
    for shape in shapes:
        if not isinstance(shape, tuple | list) or not all(is_whole(n) and n > 0 for n in shape):
            raise ArgumentError(
                "export_onnx: input_shape must be whole numbers from 1 up, such as (224, 224, 3), "
                f"or a list of such shapes for several inputs, got {given!r:.80}"
            )
    return [tuple(int(n) for n in shape) for shape in shapes]


def _run(model: Module, shapes: list[tuple[int, ...]]) -> Trace:
    batches = [
        [_example(model, (count, *shape), seed) for shape in shapes]
        for seed, count in enumerate(BATCHES)
    ]
    return trace(model, batches, has_form)


def _example(model: Module, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return random numbers, or rows of a table for a model that begins with one.

    Their mean is 1 in the first run and -2 in the second: a model that branches on the sign of
    what it computes mostly runs other ops in the second, and is refused.
    """
    rng = np.random.default_rng(seed)
    layers = [module for module in model.modules() if next(module.children(), None) is None]
    if layers and isinstance(layers[0], nn.Embedding):
        return rng.integers(0, len(layers[0].weight.data), shape)
    parameter = next(model.parameters(), None)
    dtype = np.dtype(np.float32) if parameter is None else parameter.dtype
    x = rng.standard_normal(shape)
    return ((x - x.mean() + 1) * (1, -2)[seed]).astype(dtype)


# The file


def _outputs(graph: Graph, found: Trace, layout: str) -> list[tuple[str, Any]]:
    """Give the outputs their names, in the layout asked for."""
    if not found.outputs:
        raise StateError("export_onnx: the model gives no array")
    outputs = []
    for i, x in enumerate(found.outputs):
        held = graph.held(x, _border(x, layout))
        name = graph.free_name("output" if len(found.outputs) == 1 else f"output_{i}")
        graph.nodes.append(graph.onnx.helper.make_node("Identity", [held], [name], name=name))
        outputs.append((name, x))
    return outputs


def _proto(graph: Graph, inputs: Any, outputs: Any, layout: str, model: Module) -> Any:
    """Return the model as ONNX describes it, its weights left out."""
    helper = graph.onnx.helper
    made = helper.make_graph(
        graph.nodes, _name(model),
        [_described(graph, name, value, layout) for name, value in inputs],
        [_described(graph, name, value, layout) for name, value in outputs],
    )  # fmt: skip
    proto = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="minidl", producer_version=__version__,
    )  # fmt: skip
    read = parse_model(memoryview(proto.SerializeToString()), "export_onnx").graph
    read.tensors = graph.initialisers
    told = dict(_metadata(graph, model, layout))
    told["minidl.graph"] = fingerprint(read, model.state_dict().keys())
    helper.set_model_props(proto, told)
    return proto


def _described(graph: Graph, name: str, x: Value | Constant, layout: str) -> Any:
    """Return the name, type and shape of an input or output; "N" is the size of the batch."""
    shape = lengths(x)
    dims = [_length(shape[axis]) for axis in _border(x, layout)]
    dtype = x.dtype if isinstance(x, Value) else x.array.dtype
    kind = graph.onnx.helper.np_dtype_to_tensor_dtype(dtype)
    return graph.onnx.helper.make_tensor_value_info(name, kind, dims)


def _length(length: Any) -> Any:
    if not is_batch(length):
        return length.first
    times = length.first // BATCHES[0]
    return "N" if (length.first, length.second) == BATCHES else f"{times}N"


def _name(model: Module) -> str:
    made = getattr(model, "architecture", None)
    return made[0] if made else type(model).__name__


def _metadata(graph: Graph, model: Module, layout: str) -> Iterator[tuple[str, str]]:
    """Yield what minidl's HDF5 files say of a network, and how its arrays are turned here."""
    yield "minidl.layout", layout
    turned = {name: axes for name, axes in graph.axes.items() if axes != plain(len(axes))}
    yield "minidl.axes", json.dumps(turned)
    if (made := getattr(model, "architecture", None)) is not None:
        yield "minidl.architecture", made[0]
    for key, text in told_of(model).items():
        yield f"minidl.{key}", text
