"""What optim accepts: lists of parameters, gradients, and states to load.

The rules for hyper-parameters are at the top of `optimizer.py`; `_settings.py` applies them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minidl.autograd import Tensor
from minidl.errors import ArgumentError, DTypeError, ShapeError, StateError
from minidl.optim._settings import Rule, described


def alike(a: Any, b: Any) -> bool:
    """Return whether two arrays or tensors have the same shape and dtype."""
    return bool(a.shape == b.shape and a.dtype == b.dtype)


def array_like(array: np.ndarray) -> Rule:
    """Return an array of this shape and dtype; converts to a copy."""

    def convert(value: Any) -> np.ndarray | None:
        if not isinstance(value, np.ndarray | np.generic):
            return None
        return np.array(value, order="C") if alike(value, array) else None

    return Rule(f"{array.dtype} of shape {array.shape}", convert)


def listed(who: str, params: Any) -> list[Any]:
    """Return what `params` iterates over, for an iterable with an order and something in it."""
    mend = ""
    if isinstance(params, Tensor | dict):
        mend = ": put it in a list"
    elif isinstance(params, set | frozenset):
        mend = ", which has no order: put them in a list"
    elif hasattr(params, "named_parameters"):
        mend = ": pass its .parameters()"
    if mend or not isinstance(params, Iterable):
        raise DTypeError(
            f"{who} expected an iterable of tensors, got a {type(params).__name__}{mend}"
        )
    found = list(params)
    if not found:
        raise ArgumentError(
            f"{who} got no parameters (a generator, such as model.parameters(), "
            "can be read only once: make it afresh, or a list of it)"
        )
    return found


def tensors(who: str, params: Any) -> list[Tensor]:
    """`params` as a list of different Tensors.

    Raises DTypeError for what is no iterable or no Tensor, ArgumentError for nothing at all or a
    tensor given twice.
    """
    found = listed(who, params)
    places: dict[Tensor, int] = {}
    for i, p in enumerate(found):
        if not isinstance(p, Tensor):
            raise DTypeError(f"{who} expected Tensors, got a {type(p).__name__} at position {i}")
        if p in places:
            raise ArgumentError(
                f"{who} got the same tensor at positions {places[p]} and {i}: give it once"
            )
        places[p] = i
    return found


def check_float(who: str, p: Tensor) -> None:
    """Raise DTypeError unless it is a float tensor."""
    if p.dtype.kind != "f":
        raise DTypeError(f"{who} expected float32 or float64, got {p.dtype}: use .astype()")


def check_gradient(who: str, p: Tensor) -> None:
    """Raise DTypeError or ShapeError unless `.grad` is None or an ndarray like `.data`."""
    g = p.grad
    if g is None:
        return
    if not isinstance(g, np.ndarray):
        raise DTypeError(f"{who} expected .grad to be an ndarray or None, got a {type(g).__name__}")
    if g.dtype != p.dtype:
        raise DTypeError(f"{who} expected .grad of dtype {p.dtype}, got {g.dtype}: use .astype()")
    if g.shape != p.shape:
        raise ShapeError(f"{who} expected .grad of shape {p.shape}, got {g.shape}")


def gradients(who: str, params: Any) -> list[tuple[int, np.ndarray]]:
    """The gradients of `params`, each with its tensor's place; those that are None left out."""
    found = tensors(who, params)
    for i, p in enumerate(found):
        check_gradient(f"{who}, parameter {i},", p)
    return [(i, p.grad) for i, p in enumerate(found) if p.grad is not None]


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested dicts and lists of dicts by dotted name, as in "groups.0.lr"."""
    if isinstance(tree, list) and tree and all(isinstance(part, dict) for part in tree):
        tree = dict(enumerate(tree))
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    leaves: dict[str, Any] = {}
    for name, part in tree.items():
        leaves.update(flatten(part, f"{prefix}.{name}" if prefix else str(name)))
    return leaves


def load(who: str, state: Any, rules: Mapping[str, Rule], optional: Iterable[str] = ()) -> Any:
    """Return the values of `state` by dotted name, each as its rule converts it.

    Raises one StateError that lists every missing, unexpected and misfitting name.
    """
    if not isinstance(state, Mapping):
        raise StateError(f"{who} expected a dict from state_dict(), got a {type(state).__name__}")
    leaves = flatten(state)
    values = {name: rules[name].convert(leaves[name]) for name in rules if name in leaves}
    misfits = [
        f"{name} (expected {rules[name].wanted}, got {described(leaves[name])})"
        for name, value in values.items()
        if value is None
    ]
    problems = {
        "missing": [name for name in rules if name not in leaves and name not in set(optional)],
        "unexpected": [name for name in leaves if name not in rules],
        "misshaped or out of range": misfits,
    }
    if any(problems.values()):
        text = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in problems.items() if names)
        raise StateError(f"{who} loaded nothing, since the state doesn't fit. {text}")
    return values
