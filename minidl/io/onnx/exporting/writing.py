"""Writing an ONNX model: its weights within it, or beside it where they are more than 2 GB."""

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from minidl.errors import StateError
from minidl.io.atomic import atomic_write
from minidl.io.onnx.exporting.graph import Graph

__all__ = ["filled", "write_model"]

MOST_WITHIN = 2**31 - 2**24  # bytes: Protocol Buffers end at 2 GB; 16 MB are left for the nodes
PAGE = 4096  # bytes that an array's place is a multiple of, so that runtimes can map it


def write_model(graph: Graph, proto: Any, path: str | os.PathLike[str]) -> None:
    """Write a model with the weights of its graph, once onnx's checker has passed it."""
    target, weights = Path(os.path.realpath(path)), None
    old = _weights_of(target)
    if sum(array.nbytes for array in graph.initialisers.values()) > MOST_WITHIN:
        weights = _write_beside(graph, proto, target, old)
    else:
        filled(graph, proto)
        _check(graph, proto)
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(proto.SerializeToString())
            if weights is not None:
                _check(graph, os.fspath(temporary))
    except BaseException:
        if weights is not None:
            weights.unlink(missing_ok=True)
        raise
    for file in old:
        with contextlib.suppress(OSError):
            file.unlink()


def filled(graph: Graph, proto: Any) -> Any:
    """Put the weights of a graph into its model, and return that."""
    for name, array in graph.initialisers.items():
        proto.graph.initializer.append(graph.onnx.numpy_helper.from_array(array, name))
    return proto


def _check(graph: Graph, proto: Any) -> None:
    """Raise StateError unless onnx's checker passes a model, or the file of one."""
    try:
        graph.onnx.checker.check_model(proto, full_check=True)
    except (graph.onnx.checker.ValidationError, graph.onnx.shape_inference.InferenceError) as error:
        raise StateError(f"export_onnx: onnx's checker refuses the graph: {error}") from error


# Weights in a file of their own


def _weights_of(target: Path) -> list[Path]:
    """Return the files of weights that earlier exports to `target` left beside it."""
    own = re.compile(re.escape(target.name) + r"(\.\d+)?\.data")
    with contextlib.suppress(OSError):
        return [file for file in target.parent.iterdir() if own.fullmatch(file.name)]
    return []


def _write_beside(graph: Graph, proto: Any, target: Path, old: list[Path]) -> Path:
    """Write the weights to a new file beside `target`, which the model then names.

    An old model at `target` keeps its own weights until the new one has taken its place.
    """
    names = (f"{target.name}{f'.{i}' if i else ''}.data" for i in range(len(old) + 1))
    name = next(name for name in names if target.with_name(name) not in old)
    with atomic_write(target.with_name(name)) as temporary, temporary.open("wb") as file:
        for key, array in graph.initialisers.items():
            at = file.tell() + -file.tell() % PAGE
            file.seek(at)
            file.write(np.ascontiguousarray(array).data)
            proto.graph.initializer.append(_elsewhere(graph, key, array, name, at))
    return target.with_name(name)


def _elsewhere(graph: Graph, name: str, array: np.ndarray, file: str, at: int) -> Any:
    """Return an initialiser whose numbers stand in another file."""
    tensor = graph.onnx.TensorProto(name=name, dims=array.shape)
    tensor.data_type = graph.onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.data_location = graph.onnx.TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", at), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
