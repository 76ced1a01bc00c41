"""Networks of `minidl.models` in ONNX files that `md.export_onnx` wrote: made again as they were.

Such a file notes how its network was made, how its arrays are turned, and a fingerprint of its
graph. A graph that somebody changed has another, and is then imported as any other.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from minidl.errors import FileFormatError
from minidl.io.onnx.messages import Graph, Model
from minidl.io.weights import Architecture, as_architecture

__all__ = ["architecture_of", "fingerprint", "notes", "state_of"]

PREFIX = "minidl."
ARCHITECTURE = ("arguments", "image_format", "classes", "task")
MOST_BYTES = 2**20  # of a note


def notes(model: Model) -> dict[str, str]:
    """Return what `md.export_onnx` noted in a file."""
    found = {
        key.removeprefix(PREFIX): value
        for key, value in model.metadata.items()
        if key.startswith(PREFIX)
    }
    return found if all(len(text) <= MOST_BYTES for text in found.values()) else {}


def architecture_of(model: Model) -> Architecture | None:
    """Return which network of `minidl.models` a file says it is; None if it doesn't say."""
    told = notes(model)
    if "architecture" not in told:
        return None
    texts = {key: told[key] for key in ARCHITECTURE if key in told}
    try:
        return as_architecture(told["architecture"], texts, model.where)
    except FileFormatError:
        return None


def fingerprint(graph: Graph, state: Collection[str]) -> str:
    """Return a digest of a graph's nodes and constants, those of the names in `state` left out."""
    digest = hashlib.sha256()
    for node in graph.nodes:
        attributes = sorted((name, repr(value)) for name, value in node.attributes.items())
        digest.update(repr((node.op, node.domain, node.inputs, node.outputs, attributes)).encode())
    digest.update(repr([x.name for x in (*graph.inputs, *graph.outputs)]).encode())
    for name in sorted(graph.tensors.keys() - set(state)):
        array = graph.tensors[name]
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def state_of(model: Model, state: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """Return the state of a network that was made as the file says, out of the file.

    state: the network's own, for its names, shapes and dtypes.  None where the graph was changed,
    or doesn't hold all of it.
    """
    told, tensors = notes(model), model.graph.tensors
    if not state.keys() <= tensors.keys():
        return None
    if told.get("graph") != fingerprint(model.graph, state.keys()):
        return None
    try:
        axes = json.loads(told.get("axes", ""))
        return {name: _turned(tensors[name], axes.get(name), own) for name, own in state.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _turned(array: np.ndarray, axes: Any, own: Any) -> np.ndarray:
    """Return an array of the file in minidl's layout. Raise ValueError where it doesn't fit."""
    order = list(range(own.ndim)) if axes is None else axes
    if sorted(order) != list(range(own.ndim)) or array.dtype != own.dtype:
        raise ValueError
    held = array.reshape([own.shape[axis] for axis in order])
    return np.ascontiguousarray(held.transpose(np.argsort(order)))
