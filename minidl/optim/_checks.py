"""What optim accepts: rules for settings, for lists of parameters and for loaded states."""

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from minidl.autograd import Tensor
from minidl.errors import ArgumentError, DTypeError, ShapeError, StateError


class Rule(NamedTuple):
    """What a value must be, in words, and how to bring it to plain Python (None: it doesn't fit).

    Plain Python floats matter: a np.float64 would draw float32 arithmetic up to float64.
    """

    wanted: str
    convert: Callable[[Any], Any]


def _scalar(value: Any) -> Any:
    """Files give numbers back as NumPy scalars, or as arrays without axes."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    return value.item() if isinstance(value, np.bool_) else value


def _number(fits: Callable[[float], bool]) -> Callable[[Any], float | None]:
    def convert(value: Any) -> float | None:
        value = _scalar(value)
        if isinstance(value, bool) or not isinstance(value, Real) or not fits(float(value)):
            return None
        return float(value)

    return convert


def _flag(value: Any) -> bool | None:
    value = _scalar(value)
    return value if isinstance(value, bool) else None


def _several(number: Callable[[Any], Any], count: int | None = None) -> Callable[[Any], Any]:
    """A tuple of `count` numbers, or of any count from 1."""

    def convert(value: Any) -> tuple[Any, ...] | None:
        value = _scalar(value)
        if not isinstance(value, list | tuple | np.ndarray) or len(value) != (count or len(value)):
            return None
        found = tuple(number(part) for part in value)
        return None if None in found or not found else found

    return convert


def _integer(least: int) -> Callable[[Any], int | None]:
    def convert(value: Any) -> int | None:
        value = _scalar(value)
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            return None
        return int(value)

    return convert


# NaN fails every comparison, so no rule lets it pass.
ANY_NUMBER = Rule("a number", _number(lambda x: not math.isnan(x)))
FROM_ZERO = Rule("a finite number from 0 up", _number(lambda x: 0 <= x < math.inf))
ABOVE_ZERO = Rule("a finite number above 0", _number(lambda x: 0 < x < math.inf))
POSITIVE_OR_INF = Rule("a number above 0, or inf", _number(lambda x: x > 0))
NORM_ORDER = Rule("a number from 1 up, or inf", _number(lambda x: x >= 1))
FRACTION = Rule("a number from 0 to 1", _number(lambda x: 0 <= x <= 1))
BELOW_ONE = Rule("a number from 0 to below 1", _number(lambda x: 0 <= x < 1))
BETWEEN = Rule("a number above 0 and below 1", _number(lambda x: 0 < x < 1))
BETAS = Rule("two numbers from 0 to below 1", _several(BELOW_ONE.convert, 2))
FLAG = Rule("True or False", _flag)
COUNT = Rule("a whole number from 0 up", _integer(0))
COUNT_FROM_ONE = Rule("a whole number from 1 up", _integer(1))
COUNTS_FROM_ONE = Rule("a list of whole numbers from 1 up", _several(_integer(1)))


def numbers_from_zero(count: int) -> Rule:
    return Rule(f"a list of {count} numbers from 0 up", _several(FROM_ZERO.convert, count))


def counts(wanted: Iterable[int]) -> Rule:
    """Exactly these whole numbers."""
    exact = tuple(wanted)
    convert = _several(_integer(0))
    return Rule(str(list(exact)), lambda value: exact if convert(value) == exact else None)


def one_of(*choices: str) -> Rule:
    text = " or ".join(repr(choice) for choice in choices)
    return Rule(text, lambda value: value if isinstance(value, str) and value in choices else None)


def alike(a: Any, b: Any) -> bool:
    """Whether two arrays or tensors have the same shape and dtype."""
    return bool(a.shape == b.shape and a.dtype == b.dtype)


def array_like(array: np.ndarray) -> Rule:
    """An array of this shape and dtype; converts to a copy."""

    def convert(value: Any) -> np.ndarray | None:
        if not isinstance(value, np.ndarray | np.generic):
            return None
        return np.array(value, order="C") if alike(value, array) else None

    return Rule(f"{array.dtype} of shape {array.shape}", convert)


def check(who: str, name: str, rule: Rule, value: Any) -> Any:
    """`value` in plain Python, or an ArgumentError."""
    found = rule.convert(value)
    if found is None:
        raise ArgumentError(f"{who} expected {name} to be {rule.wanted}, got {_describe(value)}")
    return found


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic) and np.ndim(value):
        return f"{value.dtype} of shape {value.shape}"
    return f"{value!r:.100}"


def listed(who: str, params: Any) -> list[Any]:
    """What `params` iterates over, for an iterable with an order and something in it."""
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
    """The leaves of nested dicts and lists of dicts by dotted name, as in "groups.0.lr"."""
    if isinstance(tree, list) and tree and all(isinstance(part, dict) for part in tree):
        tree = dict(enumerate(tree))
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    leaves: dict[str, Any] = {}
    for name, part in tree.items():
        leaves.update(flatten(part, f"{prefix}.{name}" if prefix else str(name)))
    return leaves


def load(who: str, state: Any, rules: Mapping[str, Rule], optional: Iterable[str] = ()) -> Any:
    """The values of `state` by dotted name, each as its rule converts it.

    Raises one StateError that lists every missing, unexpected and misfitting name.
    """
    if not isinstance(state, Mapping):
        raise StateError(f"{who} expected a dict from state_dict(), got a {type(state).__name__}")
    leaves = flatten(state)
    values = {name: rules[name].convert(leaves[name]) for name in rules if name in leaves}
    misfits = [
        f"{name} (expected {rules[name].wanted}, got {_describe(leaves[name])})"
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
