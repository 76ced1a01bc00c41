"""Saving a model's weights, in minidl's format or another."""

import os
from typing import Any

from minidl.errors import ArgumentError, StateError
from minidl.io.compose import Content
from minidl.io.dataflow import follow
from minidl.io.keras_write import write_keras
from minidl.io.layers import Layer, layers_of, unknown_order, unordered
from minidl.io.safetensors import write_torch
from minidl.io.sealed import write_sealed
from minidl.io.weights import FORMAT, FORMATS, add_architecture, add_layers, check_module
from minidl.nn import Module

__all__ = ["format_of", "save_weights", "write_layers"]

FORMS = ("minidl", "keras", "safetensors")
SUFFIXES = {".safetensors": "safetensors", ".weights.h5": "keras"}  # which their readers go by


def save_weights(
    model: Module,
    path: str | os.PathLike[str],
    format: str = "minidl",
    compression: str | None = None,
    *,
    input_shape: Any = None,
) -> None:
    """Write every parameter and buffer of `model` to the file `path`, atomically.

    format: "minidl", HDF5 that `load_weights` verifies; "keras", a .weights.h5 that a Keras model
        of the same layers loads; or "safetensors", with PyTorch's names and layouts.
    compression: None, or "gzip" for minidl's files that are smaller and take longer.
    input_shape: as in `load_weights`; only PyTorch's files need it.
    Raises ArgumentError for another format or compression, and for a path that ends in another
    format's suffix; StateError for arrays that can't be stored, or whose order in PyTorch isn't
    known, and OSError where the system refuses; either way an old file at `path` is left as it was.
    """
    check_module(model, "save_weights")
    if format not in FORMS:
        raise ArgumentError(f"save_weights: format is one of {', '.join(FORMS)}, got {format!r}")
    if compression not in (None, "gzip") or (compression and format != "minidl"):
        raise ArgumentError(
            'save_weights: compression is None or, for format "minidl", "gzip", '
            f"got {compression!r}"
        )
    _check_suffix(os.fspath(path), format)
    flow = follow(model, input_shape) if format == "safetensors" else None
    layers = layers_of(model, flow)
    unknown = [what for layer in layers if (what := unknown_order(layer, layer.arrays)) is not None]
    if flow is not None and unknown:
        otherwise = 'save minidl\'s own format, format="minidl"'
        raise StateError(f"save_weights: {unordered(unknown, 'PyTorch flattens', flow, otherwise)}")
    write_layers(layers, path, format, model, compression)


def _check_suffix(name: str, format: str) -> None:
    """Raise ArgumentError if a name ends as the files of another format do."""
    for suffix, theirs in SUFFIXES.items():
        if name.endswith(suffix) and format != theirs:
            raise ArgumentError(
                f"save_weights: {name} would hold another format than its name says: give "
                f'format="{theirs}", or a name that ends in .h5'
                + (" and not in .weights.h5" if theirs == "keras" else "")
            )


def write_layers(
    layers: list[Layer],
    path: str | os.PathLike[str],
    format: str,
    model: Module | None = None,
    compression: str | None = None,
) -> None:
    """Write layers, in minidl's layouts.

    model: whose architecture minidl's format is to name.
    """
    if format == "keras":
        write_keras(layers, path)
    elif format == "safetensors":
        write_torch(layers, path)
    else:
        content = Content()
        add_layers(content, layers, "")
        if model is not None:
            add_architecture(content, model, "")
        write_sealed(path, content, (FORMAT, FORMATS[FORMAT]), compression)


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a new file's name asks for."""
    name = os.fspath(path)
    if name.endswith(".weights.h5"):
        return "keras"
    if name.endswith(".safetensors"):
        return "safetensors"
    if name.endswith((".h5", ".hdf5")):
        return "minidl"
    raise ArgumentError(
        f"{name}: a new file's name ends in .h5 (minidl), .weights.h5 (Keras) or .safetensors; "
        "md.export_onnx(model, path) and `minidl convert` write .onnx"
    )
