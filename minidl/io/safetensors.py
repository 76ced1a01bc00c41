"""safetensors files, and layers with PyTorch's names and layouts (extra `interop`)."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidl.errors import FileFormatError, StateError
from minidl.io.atomic import atomic_write
from minidl.io.layers import Layer, to_torch, torch_kind

__all__ = ["read_arrays", "torch_layers", "write_torch"]

CONVERT = "convert float8 to float32 first"
TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
LEFT_OUT = ("num_batches_tracked",)  # PyTorch counts batches; nothing in minidl depends on them


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "safetensors files need the package safetensors: pip install 'minidl[interop]'"
        ) from error
    return safetensors


def read_arrays(path: str | os.PathLike[str], max_bytes: int) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file by their names, in natural order.

    bfloat16 becomes float32, which holds it exactly.
    Raises FileFormatError for a damaged file, for more than `max_bytes`, and for types that NumPy
    doesn't have.
    """
    library = _library()
    name = os.fspath(path)
    size = os.path.getsize(path)
    if size > max_bytes:
        raise FileFormatError(
            f"{name}: it has {size} bytes, more than max_bytes={max_bytes}: raise max_bytes if you "
            "trust the file"
        )
    try:
        stored = dict(library.deserialize(Path(path).read_bytes()))
        odd = [key for key, entry in stored.items() if entry["dtype"] not in TYPES]
        if odd:
            raise FileFormatError(f"{name}: {odd[0]} is {stored[odd[0]]['dtype']}: {CONVERT}")
        # The file itself keeps no order.
        return {key: _array(stored.pop(key)) for key in sorted(stored, key=_natural)}
    except (library.SafetensorError, TypeError, ValueError, KeyError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"{name}: the safetensors file is damaged, or holds a type that NumPy doesn't have "
            f"({CONVERT}): {error}"
        ) from error


def _array(entry: Mapping[str, Any]) -> np.ndarray:
    array = np.frombuffer(entry["data"], TYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array


def torch_layers(arrays: Mapping[str, np.ndarray]) -> list[Layer]:
    """The layers that arrays with PyTorch's names belong to, in their order.

    Raises StateError for names that aren't text and values that aren't arrays of numbers.
    """
    arrays = {key: np.asarray(array) for key, array in arrays.items()}
    wrong = [k for k, a in arrays.items() if not isinstance(k, str) or a.dtype.kind not in "iufb"]
    if wrong:
        raise StateError(f"weights: expected arrays of numbers by name, got {wrong[0]!r}")
    owners: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        owner, _, role = key.rpartition(".")
        if role not in LEFT_OUT:
            owners.setdefault(owner, {})[role] = array
    return [Layer(owner, torch_kind(owner, own), own) for owner, own in owners.items()]


def _natural(name: str) -> list[tuple[int, str]]:
    """conv2 before conv10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def write_torch(layers: list[Layer], path: str | os.PathLike[str]) -> None:
    """Write layers as a safetensors file with PyTorch's names and layouts, atomically.

    PyTorch's `load_state_dict` takes it. Raises OSError where the system refuses.
    """
    library = _library()
    arrays = {}
    for layer in layers:
        for role, array in to_torch(layer).items():
            key = f"{layer.name}.{role}" if layer.name else role
            if key in arrays:
                raise StateError(f"{os.fspath(path)}: two arrays would be called {key!r}")
            # The library writes views in the order of their memory, so they are copied.
            arrays[key] = np.ascontiguousarray(array).reshape(array.shape)
    data = library.numpy.save(arrays, metadata={"format": "pt"})
    with atomic_write(path) as temporary:
        Path(temporary).write_bytes(data)
