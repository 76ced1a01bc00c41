"""What a captured call is given and gives back: arrays and tensors within tuples, lists, dicts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd import Tensor
from minidl.errors import CaptureError

__all__ = ["arrays_of", "check_no_graph", "mapped", "signature", "with_arrays"]


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


def mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """The tree with `change` applied to all that is no tuple, list or dict."""
    if isinstance(tree, dict):
        return {key: mapped(value, change) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        values = [mapped(value, change) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return change(tree)


def with_arrays(tree: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """The tree with `change` applied to each array; tensors become new ones, without a graph."""

    def of(x: Any) -> Any:
        if isinstance(x, Tensor):
            return Tensor(change(x.data), requires_grad=x.requires_grad and x._node is None)
        return change(x) if isinstance(x, np.ndarray) else x

    return mapped(tree, of)


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


def check_no_graph(tree: Any) -> None:
    """A CaptureError for a tensor that wants a gradient: the captured call gets a copy of it."""
    if isinstance(tree, Tensor) and tree.requires_grad:
        raise CaptureError(
            "md.compile: an argument requires a gradient, which wouldn't get to it: pass its "
            ".detach(), or let the function use the tensor without its being an argument"
        )
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        for value in tree:
            check_no_graph(value)
