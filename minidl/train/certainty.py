"""How sure a measured accuracy is: what few images can tell."""

import math
from typing import Any

import numpy as np

from minidl.errors import ShapeError

__all__ = ["accuracy_interval", "compared", "difference", "gain", "images_needed"]

Z = 1.959964  # 95 % of a normal distribution lie within as many standard deviations


def accuracy_interval(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of an accuracy, when `right` of `count` images are.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    share, spread = right / count, Z * Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def gain(before: Any, after: Any) -> tuple[float, float]:
    """Return by how much the accuracy on the same images rose, and half its 95 % interval.

    before, after: (N,) whether each image is right; of several networks, the share that are.
    Images that are right, or wrong, both times tell nothing of the difference, so that it is known
    better than either accuracy.
    Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched
    proportions": half an image is added to each of the four outcomes.
    """
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ShapeError(f"gain expected two arrays (N,), got {first.shape} and {second.shape}")
    difference, count = second - first, first.size + 2
    total, squares = float(difference.sum()), float((difference**2).sum()) + 1
    return total / first.size, Z * math.sqrt(squares - total**2 / count) / count


def compared(name: str, over: str, points: float, within: float, count: int) -> str:
    """Return a sentence on what `gain` found, over `count` images."""
    told = f"{abs(points) * 100:.1f} ± {within * 100:.1f} points"
    if abs(points) <= within:
        sign = "-" if points < 0 else ""
        return f"{count:,} images can't tell whether {name} beats the {over}: {sign}{told}"
    return f"{name} {'beats' if points > 0 else 'is behind'} the {over} by {told}"


def difference(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two accuracies, on different images.

    first, second: how many are right, of how many; the second is taken from the first.
    Source: Newcombe 1998, "Interval estimation for the difference between independent proportions:
    comparison of eleven methods", method 10.
    """
    (low, high), (lower, higher) = accuracy_interval(*first), accuracy_interval(*second)
    one, other = first[0] / first[1], second[0] / second[1]
    below, above = math.hypot(one - low, higher - other), math.hypot(high - one, other - lower)
    return one - other - below, one - other + above


def images_needed(share: float, within: float) -> int:
    """Return about how many images it takes to tell an accuracy of `share` to ± `within`."""
    return math.ceil(Z * Z * share * (1 - share) / within**2)
