"""What a captured call is given and gives back: arrays and tensors within tuples, lists, dicts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd import Tensor
from minidl.errors import CaptureError

__all__ = ["arrays_of", "mapped", "signature", "with_arrays"]


def arrays_of(tree: Any) -> list[np.ndarray]:
    """Return the arrays, and those of the tensors, in their order."""
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
    """Return the tree with `change` applied to all that is no tuple, list or dict."""
    if isinstance(tree, dict):
        return {key: mapped(value, change) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        values = [mapped(value, change) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return change(tree)


def with_arrays(tree: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """The tree with `change` applied to each array; tensors become new ones, without a graph."""
    if isinstance(tree, Tensor):
        return Tensor(change(tree._data), requires_grad=tree._requires_grad and tree._node is None)
    if isinstance(tree, np.ndarray):
        return change(tree)
    if isinstance(tree, dict | tuple | list):
        return mapped(tree, lambda x: with_arrays(x, change))
    return tree


def signature(tree: Any, arrays: list[np.ndarray], with_graph: bool) -> Any:
    """What tells calls that need recordings of their own apart: shapes, dtypes, other values.

    arrays: gets the tree's arrays added, as `arrays_of` finds them.  with_graph: whether the call
    would be part of a graph.
    Raises CaptureError for a tensor that wants a gradient then: the captured call gets a copy.
    """
    if isinstance(tree, np.ndarray):
        arrays.append(tree)
        return (np.ndarray, tree.shape, tree.dtype)
    if isinstance(tree, Tensor):
        data, needs = tree._data, tree._requires_grad
        if needs and with_graph:
            raise CaptureError(
                "md.compile: an argument requires a gradient, which wouldn't get to it: pass its "
                ".detach(), or let the function use the tensor without its being an argument"
            )
        arrays.append(data)
        return (Tensor, data.shape, data.dtype, needs)
    if isinstance(tree, dict):
        return (dict, *((key, signature(x, arrays, with_graph)) for key, x in tree.items()))
    if isinstance(tree, tuple | list):
        return (type(tree), *[signature(x, arrays, with_graph) for x in tree])
    try:
        hash(tree)
    except TypeError:
        raise CaptureError(
            f"md.compile: a captured call takes arrays, tensors and plain values, got a "
            f"{type(tree).__name__}"
        ) from None
    return (type(tree), tree)
