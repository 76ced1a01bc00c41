"""Loading weights into a model, from whichever file holds them."""

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from minidl.errors import ArgumentError
from minidl.io.foreign import Found, read_file
from minidl.io.guarded import MAX_BYTES
from minidl.io.identify import MINIDL, identify
from minidl.io.layers import layers_of
from minidl.io.matching import match
from minidl.io.weights import check_module, naming, stored_state
from minidl.nn import LoadReport, Module

__all__ = ["load_found", "load_weights"]

Rename = Mapping[str, str | None] | Callable[[str], str | None]


def load_weights(
    model: Module,
    path: str | os.PathLike[str],
    strict: bool = True,
    max_bytes: int = MAX_BYTES,
    prefix: str = "",
    rename: Rename | None = None,
) -> LoadReport:
    """Load a file's weights into `model`: all of them or, where anything is wrong, nothing.

    The file, known by its content, is one of minidl's (weights or a checkpoint), Keras's (.h5,
    .weights.h5, .keras) or a safetensors file with PyTorch's names. Arrays of minidl's files and of
    safetensors are matched by name; layers of Keras's by name where names agree, and else in
    their order among those of the same kind and shape. A network of `minidl.models` also knows the
    names that Keras Applications, torchvision and timm give to its layers.

    strict: every name and shape must match; otherwise what matches is loaded, and the report
        lists the rest.
    max_bytes: the most memory that the file's arrays may take.
    prefix: read only what stands under this dotted name in the file, and take the name away.
    rename: new names for layers or groups of layers, as in {"fc": "head", "aux": None}, where None
        leaves out; or a function of a layer's name.
    Raises FileFormatError for files that can't be read, StateError for names, shapes and settings
    (eps, "same" padding) that don't match, OSError where the system refuses.
    """
    check_module(model, "load_weights")
    of_layer = _renamer(prefix, rename)
    with naming(path):
        if identify(path) == MINIDL:
            of_array = _of_arrays(of_layer) if callable(rename) else of_layer
            with stored_state(path, max_bytes, of_array) as state:
                return model.load_state_dict(state, strict)
        return load_found(model, read_file(path, max_bytes), of_layer, strict, rename is None)


def load_found(
    model: Module,
    found: Found,
    rename: Callable[[str], str | None] = lambda name: name,
    strict: bool = True,
    known: bool = True,
) -> LoadReport:
    """Load what a foreign file holds, as `load_weights` does.

    rename: gives a layer's name in the file its name in the model, or None to leave it out.
    known: look for the names that other libraries give to the layers of networks of
        `minidl.models`. Where they are found, nothing is matched by order.
    """
    network: Any = model if known and hasattr(model, "source_of") else None
    names = [name for layer in found.layers if (name := rename(layer.name)) is not None]
    source = network.source_of(names, found.torch) if network else None
    if source is None:
        return model.load_state_dict(match(found, layers_of(model), rename), strict)
    network.check_source(source)

    def translate(name: str) -> str | None:
        short = rename(name)
        return None if short is None else source.translate(short)

    state = match(found, layers_of(model), translate, names_only=True)
    report = model.load_state_dict(state, strict)
    network.image_format = source.image_format
    return report


def _renamer(prefix: str, rename: Any) -> Callable[[str], str | None]:
    """What gives a name in the file its name in the model, or None to leave it out."""
    if not isinstance(prefix, str):
        raise ArgumentError(f"load_weights: prefix is a dotted name, got {prefix!r}")
    if rename is not None and not isinstance(rename, Mapping) and not callable(rename):
        raise ArgumentError(f"load_weights: rename is a dict or a function, got {rename!r}")
    start = f"{prefix.rstrip('.')}." if prefix else ""

    def new_name(name: str) -> str | None:
        if not f"{name}.".startswith(start):
            return None
        name = name[len(start) :]
        return name if rename is None else _renamed(name, rename)

    return new_name


def _of_arrays(of_layer: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """New names for arrays, from those for layers."""
    of_layer = cache(of_layer)

    def new_name(name: str) -> str | None:
        layer, _, role = name.rpartition(".")
        new = of_layer(layer)
        return None if new is None else f"{new}.{role}" if new else role

    return new_name


def _renamed(name: str, rename: Any) -> str | None:
    if not isinstance(rename, Mapping):
        return rename(name)
    parts = name.split(".")
    for count in range(len(parts), 0, -1):  # the longest name given wins
        head, rest = ".".join(parts[:count]), parts[count:]
        if head in rename:
            new = rename[head]
            return None if new is None else ".".join([*filter(None, [new]), *rest])
    return name
