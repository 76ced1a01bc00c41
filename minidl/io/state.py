"""Nested states (dicts, lists, numbers, text, arrays) as JSON and arrays, and back."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from minidl.errors import FileFormatError, StateError

__all__ = ["pack", "unpack"]

ARRAY, TUPLE = "$array", "$tuple"  # what JSON has no form for


def pack(state: Any, arrays: dict[str, np.ndarray], path: str) -> Any:
    """`state` for `json.dumps`; its arrays are added to `arrays`, by paths that begin with `path`.

    Raises StateError, naming the place, for anything but dicts by name, lists, tuples, numbers,
    text, None, and arrays of numbers.
    """
    if isinstance(state, np.generic):
        state = state.item()
    if state is None or isinstance(state, bool | int | float | str):
        return state
    if isinstance(state, np.ndarray):
        if state.dtype.kind not in "iuf" or state.dtype.itemsize > 8:
            raise StateError(f"a checkpoint can't hold {state.dtype} arrays, found at {path}")
        arrays[path] = state
        return {ARRAY: path}
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
        return {key: pack(item, arrays, f"{path}/{_quoted(key)}") for key, item in state.items()}
    raise StateError(
        f"a checkpoint can't hold a {type(state).__name__}, found at {path}: give dicts, lists, "
        "numbers, text and arrays, never objects"
    )


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
