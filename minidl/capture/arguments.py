"""What a captured call is given and gives back: arrays and tensors within tuples, lists, dicts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd import Tensor
from minidl.errors import CaptureError

__all__ = ["arrays_of", "signature", "with_arrays"]


def arrays_of(tree: Any) -> list[np.ndarray]:
    """The arrays, and those of the tensors, in their order."""
    if isinstance(tree, Tensor):
        return [tree.data]
    if isinstance(tree, np.ndarray):
        return [tree]
    if isinstance(tree, dict):
        return [x for value in tree.values() for x in arrays_of(value)]
    if isinstance(tree, tuple | list):
        return [x for value in tree for x in arrays_of(value)]
    return []


def with_arrays(tree: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """The tree with `change` applied to each array; tensors become new ones, without a graph."""
    if isinstance(tree, Tensor):
        return Tensor(change(tree.data), requires_grad=tree.requires_grad and tree._node is None)
    if isinstance(tree, np.ndarray):
        return change(tree)
    if isinstance(tree, dict):
        return {key: with_arrays(value, change) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        values = [with_arrays(value, change) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return tree


def signature(tree: Any) -> Any:
    """What tells calls that need recordings of their own apart: shapes, dtypes, other values."""
    if isinstance(tree, Tensor):
        return ("tensor", tree.shape, tree.dtype.str, tree.requires_grad)
    if isinstance(tree, np.ndarray):
        return ("array", tree.shape, tree.dtype.str)
    if isinstance(tree, dict):
        return ("dict", *((key, signature(value)) for key, value in tree.items()))
    if isinstance(tree, tuple | list):
        return (type(tree).__name__, *map(signature, tree))
    try:
        hash(tree)
    except TypeError:
        raise CaptureError(
            f"md.compile: a captured call takes arrays, tensors and plain values, got a "
            f"{type(tree).__name__}"
        ) from None
    return (type(tree).__name__, tree)
