"""Normalization. Its ops are composites, taken whole so that names of the state stay."""

from typing import Any

import numpy as np

from minidl.errors import StateError
from minidl.io.onnx.exporting.graph import Graph, output, plain, planes
from minidl.io.onnx.exporting.pointwise import activated
from minidl.io.onnx.exporting.table import form
from minidl.io.onnx.exporting.tracing import Call, Constant


def _column(given: Any, like: np.ndarray, fill: float) -> Constant:
    return Constant(np.full_like(like, fill)) if given is None else given


@form("batch_norm")
def _(graph: Graph, call: Call) -> None:
    settings, y = call.arguments, output(call)
    if settings["training"]:
        raise StateError(
            f"export_onnx: {call.where or 'the model'} normalizes by the statistics of the batch, "
            "as in training: a graph needs the running ones"
        )
    x, mean = settings["x"], settings["running_mean"]
    columns = (
        _column(settings["weight"], mean.array, 1), _column(settings["bias"], mean.array, 0),
        mean, settings["running_var"],
    )  # fmt: skip
    name = graph.node(
        "BatchNormalization", graph.planes(x), *(graph.constant(c) for c in columns),
        epsilon=float(settings["eps"]),
    )  # fmt: skip
    order = planes(x.ndim)
    if settings["residual"] is not None:
        name = graph.node("Add", name, graph.held(settings["residual"], order))
    graph.give(y, activated(graph, name, settings["activation"], y), order)


@form("instance_norm", when=lambda arguments: arguments["x"].size > 0)
def _(graph: Graph, call: Call) -> None:
    settings, y = call.arguments, output(call)
    ones = np.ones(settings["x"].shape[-1].first, y.dtype)
    columns = (_column(settings["weight"], ones, 1), _column(settings["bias"], ones, 0))
    name = graph.node(
        "InstanceNormalization", graph.planes(settings["x"]),
        *(graph.constant(c) for c in columns), epsilon=float(settings["eps"]),
    )  # fmt: skip
    graph.give(y, name, planes(4))


@form("layer_norm")
def _(graph: Graph, call: Call) -> None:
    settings, y = call.arguments, output(call)
    x = settings["x"]
    shape = tuple(n.first for n in x.shape[-len(_several(settings["normalized_shape"])) :])
    weight = settings["weight"] or Constant(np.ones(shape, x.dtype))
    bias = [] if settings["bias"] is None else [graph.plain(settings["bias"])]
    name = graph.node(
        "LayerNormalization", graph.plain(x), graph.plain(weight), *bias,
        axis=-len(shape), epsilon=float(settings["eps"]),
    )  # fmt: skip
    graph.give(y, name, plain(x.ndim))


def _several(shape: Any) -> tuple[Any, ...]:
    return tuple(shape) if isinstance(shape, tuple | list) else (shape,)


# an even window leans to the other side in ONNX
@form("local_response_norm", when=lambda arguments: arguments["size"] % 2 == 1)
def _(graph: Graph, call: Call) -> None:
    settings, y = call.arguments, output(call)
    x, order = settings["x"], planes(y.ndim)
    name = graph.node(
        "LRN", graph.planes(x), size=int(settings["size"]), alpha=float(settings["alpha"]),
        beta=float(settings["beta"]), bias=float(settings["k"]),
    )  # fmt: skip
    graph.give(y, name, order)
