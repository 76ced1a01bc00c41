"""Settings: a signature that declares them, and what a rule for one is.

The rules themselves stand in `minidl.optim.optimizer`.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any, NamedTuple, get_args, get_type_hints

import numpy as np

from minidl.checks import is_whole
from minidl.errors import ArgumentError

__all__ = [
    "Rule", "check", "counts", "described", "flag", "one_of", "real",
    "set_by_signature", "several", "whole",
]  # fmt: skip


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


def real(fits: Callable[[float], bool]) -> Callable[[Any], float | None]:
    """Convert to a float that `fits`. NaN fails every comparison."""

    def convert(value: Any) -> float | None:
        value = _scalar(value)
        if isinstance(value, bool) or not isinstance(value, Real) or not fits(float(value)):
            return None
        return float(value)

    return convert


def flag(value: Any) -> bool | None:
    """Convert to a bool."""
    value = _scalar(value)
    return value if isinstance(value, bool) else None


def several(number: Callable[[Any], Any], count: int | None = None) -> Callable[[Any], Any]:
    """Convert to a tuple of `count` numbers, or of any count from 1."""

    def convert(value: Any) -> tuple[Any, ...] | None:
        value = _scalar(value)
        if not isinstance(value, list | tuple | np.ndarray) or len(value) != (count or len(value)):
            return None
        found = tuple(number(part) for part in value)
        return None if None in found or not found else found

    return convert


def whole(least: int) -> Callable[[Any], int | None]:
    """Convert to an int of at least `least`."""

    def convert(value: Any) -> int | None:
        value = _scalar(value)
        if not is_whole(value) or value < least:
            return None
        return int(value)

    return convert


def counts(wanted: Iterable[int]) -> Rule:
    """Exactly these whole numbers."""
    exact = tuple(wanted)
    convert = several(whole(0))
    return Rule(str(list(exact)), lambda value: exact if convert(value) == exact else None)


def one_of(*choices: str) -> Rule:
    """Return one of these texts."""
    text = " or ".join(repr(choice) for choice in choices)
    return Rule(text, lambda value: value if isinstance(value, str) and value in choices else None)


def check(who: str, name: str, rule: Rule, value: Any) -> Any:
    """`value` in plain Python, or an ArgumentError."""
    found = rule.convert(value)
    if found is None:
        raise ArgumentError(f"{who} expected {name} to be {rule.wanted}, got {described(value)}")
    return found


def described(value: Any) -> str:
    """Return a value in an error."""
    if isinstance(value, np.ndarray | np.generic) and np.ndim(value):
        return f"{value.dtype} of shape {value.shape}"
    return f"{value!r:.100}"


def set_by_signature(init: Callable[..., None]) -> Callable[..., None]:
    """Decorator: the signature of an empty `__init__` declares the settings of its class.

        @set_by_signature
        def __init__(self, params: Params, lr: FromZero = 1e-3, *, eps: FromZero = 0) -> None: ...

    An annotation holds the rule. What is called is `self._begin(params, {"lr": ..., "eps": ...})`;
    the rules by name are in `__init__.settings`, what may be None in `__init__.optional`.
    """
    signature = inspect.signature(init)
    hints = get_type_hints(init, include_extras=True)
    _, first, *names = signature.parameters

    @functools.wraps(init)
    def made(self: Any, *args: Any, **named: Any) -> None:
        try:
            bound = signature.bind(self, *args, **named)
        except TypeError as error:
            takes = ", ".join((first, *names))
            raise TypeError(f"{type(self).__name__}: {error}; it takes {takes}") from None
        bound.apply_defaults()
        values = bound.arguments
        self._begin(values[first], {name: values[name] for name in names})

    shown: Any = made
    shown.settings = {name: _rule(name, hints[name]) for name in names}
    shown.optional = frozenset(n for n in names if signature.parameters[n].default is None)
    plain = get_type_hints(init)  # without the rules, for `help`
    shown.__signature__ = signature.replace(
        parameters=[
            each.replace(annotation=plain.get(name, each.annotation))
            for name, each in signature.parameters.items()
        ]
    )
    return made


def _rule(name: str, hint: Any) -> Rule:
    """Return the rule in the annotation Annotated[type, rule], or Annotated[type, rule] | None."""
    for part in (hint, *get_args(hint)):
        for note in getattr(part, "__metadata__", ()):
            if isinstance(note, Rule):
                return note
    raise TypeError(f"the setting {name} has no rule: annotate it with Annotated[..., Rule(...)]")
