"""What the pattern of a gradient's errors suggests: which of the usual mistakes explains it all.

Each look compares the gradient for one input, as it was computed, with the numerical one, and
answers only where its explanation leaves nothing unexplained.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["diagnosis", "of_backward"]

CLOSE = 1e-4  # relative to the largest entry: what is left over by rounding and differences
MOST_PERMUTED = 4  # axes


def diagnosis(numerical: np.ndarray, computed: np.ndarray, sizes: dict[str, int]) -> str:
    """Return what may be wrong with the gradient `computed`, or "" where no pattern is seen.

    numerical, computed: of one input, of its shape.  sizes: what lengths of axes are called, such
    as {"the length of axis 0 of input 0": 32}: factors are compared with them.
    """
    scale = float(np.abs(numerical).max(initial=0.0))
    if not np.isfinite(computed).all():
        return "it holds NaNs or infinities: a division by 0, a logarithm or a root of 0?"
    if scale == 0:
        return "it should be 0 everywhere: the output doesn't depend on this input"

    def close(a: np.ndarray, b: np.ndarray) -> bool:
        return bool(np.abs(a - b).max() <= CLOSE * scale)

    for look in (_missing, _factor, _transposed, _flipped, _by_axis, _some_entries):
        if found := look(numerical, computed, sizes, close):
            return found
    return ""


def of_backward(
    numerical: np.ndarray,
    position: int,
    backward: Callable[..., Any],
    g: Any,
    arrays: Sequence[Any],
    names: Sequence[str],
) -> str:
    """Return what is wrong with a backward, found by calling it with something else, or "".

    g: the gradient of its output.  position: of the input whose gradient is wrong.
    """

    def computed(g: Any, arrays: Sequence[Any]) -> np.ndarray:
        found = backward(g, *arrays)
        part = found[position] if isinstance(found, tuple | list) else found
        return np.asarray(0.0 if part is None else part, np.float64)

    scale = float(np.abs(numerical).max(initial=0.0))
    for i, x in enumerate(arrays):
        if isinstance(x, np.ndarray) and x.ndim == 2 and x.shape[0] == x.shape[1] > 1:
            part = computed(g, [*arrays[:i], np.ascontiguousarray(x.T), *arrays[i + 1 :]])
            if part.shape == numerical.shape and np.abs(part - numerical).max() <= CLOSE * scale:
                return f"it is right if input {names[i]} is transposed in it"
    if not isinstance(g, np.ndarray) or not g.ndim or not scale:
        return ""
    whole = computed(g, arrays)
    for axis in range(g.ndim):
        for row in (0, -1) if g.shape[axis] > 1 else ():
            alone = np.zeros_like(g)
            at = tuple(row if a == axis else slice(None) for a in range(g.ndim))
            alone[at] = g[at]
            if np.array_equal(computed(alone, arrays), whole):
                which = "first" if row == 0 else "last"
                return (
                    f"it uses only the {which} row along axis {axis} of the output's gradient: is "
                    "a sum over that axis missing, or overwritten in a loop?"
                )
    return ""


Close = Callable[[np.ndarray, np.ndarray], bool]


def _missing(n: np.ndarray, c: np.ndarray, sizes: dict[str, int], close: Close) -> str:
    return "" if c.any() else "it is 0 everywhere: the gradient of this input is left out"


def _factor(n: np.ndarray, c: np.ndarray, sizes: dict[str, int], close: Close) -> str:
    """One factor for all entries."""
    k = float((n * c).sum() / (n * n).sum())
    if abs(k) < CLOSE or not close(c / k, n):
        return ""
    if np.isclose(k, -1, rtol=CLOSE):
        return "its sign is wrong"
    for name, size in sizes.items():
        if size > 1 and np.isclose(k, size, rtol=CLOSE):
            return f"it is {size} times too large, {name}: is a mean taken for a sum?"
        if size > 1 and np.isclose(k, 1 / size, rtol=CLOSE):
            return f"it is {size} times too small, {name}: is a sum taken for a mean?"
    return f"it is {k:.6g} times what it should be, everywhere"


def _transposed(n: np.ndarray, c: np.ndarray, sizes: dict[str, int], close: Close) -> str:
    """Axes in another order, of one shape."""
    if not 2 <= n.ndim <= MOST_PERMUTED:
        return ""
    for order in itertools.permutations(range(n.ndim)):
        other = c.transpose(order)
        if order != tuple(range(n.ndim)) and other.shape == n.shape and close(other, n):
            return f"it is transposed: its axes in the order {order} are right"
    return ""


def _flipped(n: np.ndarray, c: np.ndarray, sizes: dict[str, int], close: Close) -> str:
    """Axes backwards, as where a convolution is taken for a correlation."""
    for count in range(1, n.ndim + 1):
        for axes in itertools.combinations(range(n.ndim), count):
            if close(np.flip(c, axes), n):
                told = ", ".join(map(str, axes))
                return f"it is backwards along axis {told}: is a kernel flipped, or not?"
    return ""


def _by_axis(n: np.ndarray, c: np.ndarray, sizes: dict[str, int], close: Close) -> str:
    """What is right but for something that is the same along an axis."""
    for axis in range(n.ndim):
        if n.shape[axis] < 2:
            continue
        left = (c - n).mean(axis=axis, keepdims=True)
        if close(c - left, n):
            return (
                f"it is off by a number that is the same along axis {axis}: is a term missing, "
                f"such as the mean's or the maximum's own gradient?"
            )
    return ""


def _some_entries(n: np.ndarray, c: np.ndarray, sizes: dict[str, int], close: Close) -> str:
    """Most entries are right."""
    wrong = np.abs(c - n) > CLOSE * np.abs(n).max()
    count = int(wrong.sum())
    if not 0 < count <= n.size // 2:
        return ""
    zeros = bool((c[wrong] == 0).all())
    for axis in range(n.ndim):
        rows = np.flatnonzero(wrong.any(axis=tuple(a for a in range(n.ndim) if a != axis)))
        if len(rows) < n.shape[axis] and 2 * len(rows) <= n.shape[axis]:
            what = "0" if zeros else "wrong"
            return (
                f"only {count} of its {n.size} entries are wrong, at {rows.tolist()[:8]} of axis "
                f"{axis}, where it is {what}: are entries that are used twice, or at an edge, set "
                "where they should be added up?"
            )
    return f"only {count} of its {n.size} entries are wrong: an edge, or a case of a condition?"
