"""Figures and settings as JSON, which has no NaN and no infinity: both become null."""

import json
import math
import os
from typing import Any

import numpy as np

from minidl.errors import DTypeError
from minidl.io.atomic import atomic_write

__all__ = ["plain", "save_json", "to_json"]


def to_json(value: Any, where: str) -> str:
    """Return the JSON of text, numbers, arrays, paths, and lists and dicts of these.

    where: what errors call the value, such as "Run: settings".
    Raises DTypeError for anything else, naming its place.
    """
    return json.dumps(plain(value, where), indent=1, allow_nan=False)


def save_json(path: str | os.PathLike[str], value: Any, where: str) -> None:
    """Write `to_json(value, where)` to a file, whole or not at all.

    Raises OSError where the file can't be written.
    """
    text = to_json(value, where)
    with atomic_write(path) as temporary:
        temporary.write_bytes(f"{text}\n".encode())


def plain(value: Any, where: str) -> Any:
    """Return `value` in the types that JSON has: NaN and infinities are None.

    Raises as `to_json` does.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biufU":
        return plain(value.tolist(), where)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
    expected = "text, a number, an array, a path, a list or a dict with names as keys"
    raise DTypeError(f"{where} expected {expected}, got {type(value).__name__}")
