"""What the pattern of a gradient's errors suggests: which of the usual mistakes explains it all.

Each look compares the gradient for one input, as it was computed, with the numerical one, and
answers only where its explanation leaves nothing unexplained.
"""

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["diagnosis", "of_backward"]

CLOSE = 1e-4  # relative to the largest entry: what is left over by rounding and differences
MOST_PERMUTED = 4  # axes
FEWEST = 2  # of so many or fewer a factor says nothing: 2 is in many formulas


def diagnosis(numerical: np.ndarray, computed: np.ndarray, sizes: dict[str, int]) -> str:
    """Return what may be wrong with the gradient `computed`, or "" where no pattern is seen.

    numerical, computed: of one input, of its shape.  sizes: what lengths of axes are called, such
    as {"the length of axis 0 of input 0": 32}: factors are compared with them.
    """
    scale = float(np.abs(numerical).max(initial=0.0))
    if not np.isfinite(computed).all():
        return "it holds NaNs or infinities: a division by 0, a logarithm or a root of 0?"
    if scale == 0:
        return "it should be 0 everywhere at these numbers"

    def close(a: np.ndarray, b: np.ndarray) -> bool:
        return bool(np.abs(a - b).max() <= CLOSE * scale)

    for look in (_missing, _factor, _transposed, _flipped, _by_axis, _some_entries):
        if found := look(numerical, computed, sizes, close):
            return found
    return ""


def of_backward(
    slopes: Callable[[list[np.ndarray]], np.ndarray],
    numerical: np.ndarray,
    position: int,
    backward: Callable[..., Any],
    g: Any,
    arrays: Sequence[Any],
    names: Sequence[str],
) -> str:
    """Return what is wrong with a backward, found by calling it with something else, or "".

    slopes: returns those to both sides, (2, ...), for other gradients of the outputs.
    numerical: that for g, the gradient of the output.  position: of the input.
    """

    def computed(g: Any, arrays: Sequence[Any]) -> np.ndarray | None:
        try:  # it may refuse what it wasn't made for
            found = backward(copy.deepcopy(g), *copy.deepcopy(arrays))
            part = found[position] if isinstance(found, tuple | list) else found
            part = np.asarray(0.0 if part is None else part, np.float64)
        except Exception:
            return None
        return part if part.shape == numerical.shape else None

    def close(part: np.ndarray | None, right: np.ndarray) -> bool:
        scale = float(np.abs(right).max(initial=0.0))
        return part is not None and bool(np.abs(part - right).max() <= CLOSE * scale)

    whole = computed(g, arrays)
    if whole is None:
        return ""
    zero = tuple(map(np.zeros_like, g)) if isinstance(g, tuple) else np.zeros_like(g)
    of_zero = computed(zero, arrays)
    if of_zero is not None and np.array_equal(of_zero, whole):
        return "it doesn't depend on the gradient of the output: is the product with it missing?"
    for i, x in enumerate(arrays):
        if isinstance(x, np.ndarray) and x.ndim == 2 and x.shape[0] == x.shape[1] > 1:
            turned = [*arrays[:i], np.ascontiguousarray(x.T), *arrays[i + 1 :]]
            if close(computed(g, turned), numerical):
                return f"it is right if input {names[i]} is transposed in it"
    for axis in range(g.ndim if isinstance(g, np.ndarray) else 0):
        for row in (0, -1) if g.shape[axis] > 1 else ():
            alone = np.zeros_like(g)
            at = tuple(row if a == axis else slice(None) for a in range(g.ndim))
            alone[at] = g[at]
            if close(computed(alone, arrays), whole) and close(whole, slopes([alone]).mean(axis=0)):
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
        if size > FEWEST and np.isclose(k, size, rtol=CLOSE):
            return f"it is {size} times too large, {name}: is a mean taken for a sum?"
        if size > FEWEST and np.isclose(k, 1 / size, rtol=CLOSE):
            return f"it is {size} times too small, {name}: is a sum taken for a mean?"
    # of a single number there is always a factor
    return f"it is {k:.6g} times what it should be, everywhere" if n.size > 1 else ""


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
    count, right = int(wrong.sum()), ~wrong & (n != 0)
    if not 0 < count <= min(n.size // 2, int(right.sum())):
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
