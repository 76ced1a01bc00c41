"""What checks are made of: calling an answer safely, and comparing what it returns.

A check names the mistakes that learners are likely to make, with the numbers that each gives:
`compare` recognises them. Whatever else is wrong is told from the pattern of the errors.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import minidl as md
from course.checks.registry import Wrong
from minidl.autograd.diagnosis import diagnosis
from minidl.errors import MinidlError

__all__ = ["agrees", "call", "compare", "near", "parts"]

CLOSE = 1e-6  # of the largest entry


def call(answer: Callable[..., Any], *inputs: Any, **settings: Any) -> Any:
    """Return what an answer makes of copies of its inputs; raise Wrong if it writes to them."""
    given = [np.array(x) if isinstance(x, np.ndarray) else x for x in inputs]
    found = answer(*given, **settings)
    for number, (x, before) in enumerate(zip(given, inputs, strict=True), 1):
        if isinstance(x, np.ndarray) and not _same(x, before):
            raise Wrong(
                f"argument {number} of {answer.__name__} isn't what it was before the call: the "
                "function writes into an array that belongs to its caller, as `x -= 1` or "
                "`x[0] = 1` do. Compute a new array, or begin with a copy"
            )
    return found


def _same(x: np.ndarray, before: np.ndarray) -> bool:
    """Return whether two arrays are equal; only floats may be NaN, and texts can't be asked."""
    return np.array_equal(x, before, equal_nan=x.dtype.kind in "fc")


def parts(found: Any, names: Sequence[str]) -> tuple[Any, ...]:
    """Return the results of an answer that should return a tuple of those called `names`."""
    wanted = f"it should return {len(names)} results, {', '.join(names)}"
    if found is None:
        raise Wrong(f"{wanted}, and returned None: is `return` missing?")
    if not isinstance(found, tuple | list) or len(found) != len(names):
        got = f"{len(found)}" if isinstance(found, tuple | list) else f"one {type(found).__name__}"
        raise Wrong(f"{wanted}, and returned {got}")
    return tuple(found)


def near(found: Any, wanted: Any, close: float = CLOSE) -> bool:
    """Return whether two arrays of one shape differ by `close` times the largest entry at most."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return False
    scale = np.abs(wanted).max(initial=0.0) or 1.0
    return bool(np.abs(found - wanted).max(initial=0.0) <= close * scale)


def compare(
    found: Any,
    wanted: Any,
    mistakes: Mapping[str, Any] | None = None,
    *,
    what: str = "the result",
    close: float = CLOSE,
) -> None:
    """Raise Wrong unless `found`, what an answer returned, equals `wanted`.

    mistakes: what to say -> the numbers that this mistake gives; the first that fits is told.
    what: what messages call the numbers.  close: how near they must be, relative to the largest.
    """
    found, wanted = _array(found, what), np.asarray(wanted)
    if near(found, wanted, close):
        return
    for message, numbers in (mistakes or {}).items():
        if near(found, numbers, close):
            raise Wrong(message)
    if found.shape != wanted.shape:
        raise Wrong(f"{what} has shape {found.shape}; it should have shape {wanted.shape}")
    if wanted.dtype.kind == "f" and found.ndim:
        sizes = {f"the length of axis {axis}": n for axis, n in enumerate(found.shape)}
        if pattern := diagnosis(wanted, found.astype(np.float64), sizes):
            raise Wrong(f"{what} isn't right: {pattern}")
    raise Wrong(_worst(found, wanted, what))


def agrees(
    function: Callable[..., Any], inputs: Sequence[Any], backward: Callable[..., Any]
) -> None:
    """Raise Wrong with what `md.gradcheck` says of a backward, unless it is right."""
    try:
        md.gradcheck(function, list(inputs), backward=backward)
    except MinidlError as error:
        raise Wrong(f"md.gradcheck compared it with finite differences: {error}") from None


def _array(found: Any, what: str) -> np.ndarray:
    if found is None:
        raise Wrong(f"{what} is None: is `return` missing?")
    if isinstance(found, md.Tensor):
        found = found.data
    try:
        array = np.asarray(found)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise Wrong(f"{what} should be an array of numbers, got {type(found).__name__}")
    return array


def _worst(found: np.ndarray, wanted: np.ndarray, what: str) -> str:
    if not found.ndim:
        return f"{what} is {found:.7g}; it should be {wanted:.7g}"
    apart = np.abs(found - wanted.astype(np.float64))
    at = np.unravel_index(np.argmax(np.where(np.isnan(apart), np.inf, apart)), found.shape)
    place = ", ".join(map(str, at))
    return (
        f"{what} isn't right; the worst entry is [{place}]: {found[at]:.7g}, where it should be "
        f"{wanted[at]:.7g}"
    )
