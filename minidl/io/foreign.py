"""The layers in any file of weights: minidl's, Keras's, safetensors."""

import contextlib
import lzma
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from minidl.errors import FileFormatError, MinidlError
from minidl.io import keras
from minidl.io.expression import Expression, Roots
from minidl.io.expression import layer as layer_of
from minidl.io.guarded import MAX_BYTES, check_max_bytes
from minidl.io.identify import (
    CAFFE,
    HDF5,
    KERAS,
    MINIDL,
    ONNX,
    PROTOTXT,
    SAFETENSORS,
    identify,
)
from minidl.io.isolated import Listing, read_isolated
from minidl.io.keras_config import layer_configs
from minidl.io.keras_graph import in_graph
from minidl.io.layers import Layer
from minidl.io.safetensors import read_arrays, torch_layers
from minidl.io.weights import read_layers

__all__ = ["Found", "read_file"]

NETWORKS = {
    ONNX: "an ONNX file, which holds a network together with its weights",
    CAFFE: "a .caffemodel, which holds a network of Caffe's together with its weights",
    PROTOTXT: "a .prototxt, which describes a network of Caffe's and holds no weights",
}
MAX_CONFIG = 2**26  # bytes of a Keras model's configuration
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,
)
PIECE = 2**20  # bytes unpacked at a time


@dataclass
class Found:
    """What a file holds. torch: its arrays have PyTorch's names and layouts, not minidl's.

    ending: what its network does to its outputs after the last layers with weights, as in
    `effects`; None where the file doesn't tell.
    endings: the same of each output as an expression.  roots: as `expression.roots` gives them.
    input_shapes: of one example, (H, W, C) for images, where the file tells all of them.
    scaling: (a, b) of the a * x + b that its network makes of its inputs, as in
    `effects.rescaling`; None where the file doesn't tell, or inputs are scaled differently.
    """

    layers: list[Layer]
    torch: bool
    writer: str
    ending: frozenset[str] | None = None
    endings: list[Expression] = field(default_factory=list)
    roots: Roots = field(default_factory=dict)
    input_shapes: list[tuple[int, ...]] | None = None
    scaling: tuple[Any, Any] | None = None


def read_file(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Found:
    """Read a file of weights, which is known by its content.

    max_bytes: the most memory that its arrays may take.
    Raises FileFormatError for files that can't be read, and OSError where the system refuses.
    """
    try:
        return _read(path, max_bytes)
    except MinidlError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # What a file says of its layers is text that can hold anything.
        raise FileFormatError(
            f"{os.fspath(path)}: the file is damaged: what it says of its layers makes no sense: "
            f"{error!r}"
        ) from error


def _read(path: str | os.PathLike[str], max_bytes: int) -> Found:
    check_max_bytes(max_bytes)
    kind = identify(path)
    if kind == MINIDL:
        return Found(read_layers(path, max_bytes), False, "minidl")
    if kind in NETWORKS:
        raise FileFormatError(f"{os.fspath(path)}: {NETWORKS[kind]}: models.load(path) makes it")
    if kind == SAFETENSORS:
        arrays = read_arrays(path, max_bytes)
        if keras.has_names(arrays):
            return Found(keras.named_layers(arrays), False, "safetensors with Keras's names")
        return Found(torch_layers(arrays), True, "safetensors")
    if kind == HDF5:
        return _keras(path, os.fspath(path), None, max_bytes)
    assert kind == KERAS
    with _unpacked(path, max_bytes) as (weights, config):
        return _keras(weights, os.fspath(path), config, max_bytes)


def _keras(path: Any, name: str, config: str | None, max_bytes: int) -> Found:
    """The layers in Keras's HDF5 file `path`, which errors call `name`."""
    layers: list[keras.KerasLayer] = []
    texts: list[Any] = []

    def wanted(listing: Listing) -> list[str]:
        texts.append(listing.attributes["/"].get("model_config") if config is None else config)
        layers.extend(keras.find_layers(listing, name, layer_configs(texts[0])))
        return [dataset for layer in layers for dataset in layer.arrays.values()]

    listing, read = read_isolated(path, wanted, max_bytes, name)
    attributes = listing.attributes.get("model_weights", {}) | listing.attributes["/"]
    backend, version = attributes.get("backend"), attributes.get("keras_version")
    found = []
    graph = in_graph(layers, texts[0], str(backend), read)
    for layer, place in zip(layers, graph.told, strict=True):
        parts = keras.build(layer, read, str(backend))
        for part in parts:
            part.told = replace(
                part.told, group=layer.group, guessed=layer.guessed, placed=layer.placed, **place
            )
        if len(parts) == 2 and "before" in place:  # a separable convolution
            parts[1].told = replace(
                parts[1].told, before=frozenset({(parts[0].name, 0)}), effects=frozenset(),
                pads=(0, 0, 0, 0), scale=(1.0, 0.0), expression=layer_of(parts[0].name),
            )  # fmt: skip
        found += parts
    writer = f"Keras {version}" if version else "Keras"
    writer = f"{writer} on {backend}" if backend else writer
    return Found(
        found, False, writer, graph.ending, graph.endings, graph.roots, graph.input_shapes,
        graph.scaling,
    )  # fmt: skip


@contextlib.contextmanager
def _unpacked(path: str | os.PathLike[str], max_bytes: int) -> Iterator[tuple[Path, str]]:
    """The weights of a .keras archive as a file of their own, and its configuration."""
    with tempfile.TemporaryDirectory(prefix="minidl-") as folder:
        weights = Path(folder) / "model.weights.h5"
        config = b"".join(_member(path, "config.json", MAX_CONFIG)).decode(errors="replace")
        with weights.open("wb") as file:
            file.writelines(_member(path, weights.name, max_bytes + MAX_CONFIG))
        yield weights, config


def _member(path: str | os.PathLike[str], name: str, most: int) -> Iterator[bytes]:
    """The bytes of a file in an archive, piece by piece; at most `most`."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            while piece := file.read(PIECE):
                most -= len(piece)
                if most < 0:
                    raise ValueError(f"{name} in the archive unpacks to more than it may")
                yield piece
    except DAMAGE as error:
        raise FileFormatError(
            f"{os.fspath(path)}: the Keras archive is damaged or hostile: {error}"
        ) from error
