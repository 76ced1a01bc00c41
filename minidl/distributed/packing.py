"""Values as bytes that one rank sends another: JSON, and the arrays' bytes after it.

    length of the JSON in 8 bytes | JSON | array 0 | array 1 | ...

In the JSON an array is {"array": [dtype, shape]}, and a dict is {"dict": ...}, so that neither is
taken for the other. Nothing of it is ever run, as what Python's own pickles hold can be.
"""

import json
import math
from typing import Any

import numpy as np

from minidl.errors import DTypeError

__all__ = ["packed", "unpacked"]

HEAD = 8  # bytes that tell the JSON's length


def packed(value: Any) -> bytes:
    """Return text, numbers, None, arrays, and lists, tuples and dicts of these as bytes.

    Raises DTypeError for anything else.
    """
    arrays: list[bytes] = []
    text = json.dumps(_told(value, arrays)).encode()
    return b"".join([len(text).to_bytes(HEAD, "little"), text, *arrays])


def unpacked(message: bytes) -> Any:
    """Return what `packed` made the bytes of; tuples are lists."""
    start = HEAD + int.from_bytes(message[:HEAD], "little")
    return _read(json.loads(message[HEAD:start]), message, [start])


def _told(value: Any, arrays: list[bytes]) -> Any:
    """Return what the JSON has for a value, and add the bytes of its arrays to `arrays`."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_told(each, arrays) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _told(each, arrays) for key, each in value.items()}}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        arrays.append(value.tobytes())
        return {"array": [value.dtype.str, list(value.shape)]}
    raise DTypeError(f"ranks can't send each other a {type(value).__name__}")


def _read(told: Any, message: bytes, at: list[int]) -> Any:
    """Return the value that a part of the JSON tells; at: where the next array's bytes begin."""
    if isinstance(told, list):
        return [_read(each, message, at) for each in told]
    if not isinstance(told, dict):
        return told
    if "dict" in told:
        return {key: _read(each, message, at) for key, each in told["dict"].items()}
    kind, shape = told["array"]
    found = np.frombuffer(message, kind, math.prod(shape), at[0]).reshape(shape)
    at[0] += found.nbytes
    return found.copy()  # that can be written to, and is aligned
