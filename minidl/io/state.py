"""Nested states (dicts, lists, numbers, text, arrays) as JSON and arrays, and back."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from minidl.errors import FileFormatError, StateError

__all__ = ["pack", "parse", "unpack"]

ARRAY, BOOL, TUPLE = "$array", "$bool", "$tuple"  # what JSON has no form for
MAX_DEPTH = 28  # of HDF5's groups; a file that minidl reads has at most 32 levels
MAX_AXES = 32  # HDF5's
MAX_BITS = 14_000  # Python reads integers of 4,300 digits


def pack(state: Any, arrays: dict[str, np.ndarray], path: str) -> Any:
    """`state` for `json.dumps`; its arrays are added to `arrays`, by paths that begin with `path`.

    Raises StateError, naming the place, for anything but dicts by name, lists, tuples, numbers,
    text, None, and arrays of numbers.
    """
    if path.count("/") > MAX_DEPTH:
        raise StateError(f"a checkpoint can't hold what is nested deeper than {path:.200}")
    if isinstance(state, np.generic) and not isinstance(state, np.void):
        state = state.item()
    if state is None or isinstance(state, bool | float):
        return state
    if isinstance(state, str):
        return _text(state, path)
    if isinstance(state, int):
        if state.bit_length() > MAX_BITS:
            raise StateError(f"a checkpoint can't hold an integer of {MAX_BITS} bits, at {path}")
        return state
    if isinstance(state, np.ndarray):
        return _array(state, arrays, path)
    if isinstance(state, list | tuple):
        items = [pack(item, arrays, f"{path}/{i}") for i, item in enumerate(state)]
        return {TUPLE: items} if isinstance(state, tuple) else items
    if isinstance(state, Mapping):
        wrong = [k for k in state if not isinstance(k, str) or k.startswith("$")]
        if wrong:
            raise StateError(
                f"a checkpoint can't hold the key {wrong[0]!r}, found at {path}: keys are strings "
                "that don't begin with '$'"
            )
        return {
            _text(key, path): pack(item, arrays, f"{path}/{_quoted(key)}")
            for key, item in state.items()
        }
    raise StateError(
        f"a checkpoint can't hold a {type(state).__name__}, found at {path}: give dicts, lists, "
        "numbers, text and arrays, never objects"
    )


def _text(text: str, path: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise StateError(f"a checkpoint can't hold the text {text!r:.40}, at {path}") from error
    return text


def _array(array: np.ndarray, arrays: dict[str, np.ndarray], path: str) -> dict[str, str]:
    plain = array.dtype.kind in "iufb" and array.dtype.itemsize <= 8 and array.ndim <= MAX_AXES
    if not plain or isinstance(array, np.ma.MaskedArray):
        raise StateError(
            f"a checkpoint can't hold a {type(array).__name__} of {array.dtype} and {array.ndim} "
            f"axes, found at {path}"
        )
    is_bool = array.dtype.kind == "b"  # for which HDF5 has no type of its own
    arrays[path] = array.astype(np.uint8) if is_bool else array
    return {BOOL if is_bool else ARRAY: path}


def _quoted(key: str) -> str:
    """A key as part of a path in an HDF5 file."""
    return {"": "%", ".": "%2E", "..": "%2E."}.get(key) or quote(key, safe=" ")


def unpack(packed: Any, read: Callable[[str], np.ndarray]) -> Any:
    """What `pack` was given; `read` gives the array of a path."""
    if isinstance(packed, list):
        return [unpack(item, read) for item in packed]
    if not isinstance(packed, dict):
        return packed
    if ARRAY in packed:
        return read(packed[ARRAY])
    if BOOL in packed:
        return read(packed[BOOL]).astype(bool)
    if TUPLE in packed:
        return tuple(unpack(item, read) for item in packed[TUPLE])
    return {key: unpack(item, read) for key, item in packed.items()}


def parse(text: bytes, path: str) -> dict[str, Any]:
    """The JSON document of a checkpoint."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: its document can't be read: {error}") from error
    if not isinstance(document, dict):
        raise FileFormatError(f"{path}: expected a document by name, found {text[:40]!r}")
    return document
