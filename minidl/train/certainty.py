"""How sure a measured accuracy is: what few images can tell."""

import math
from typing import Any

import numpy as np

from minidl.errors import ShapeError

__all__ = ["accuracy_interval", "compared", "gain"]

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

    before, after: (N,) bool, which images are right. Images that are right, or wrong, both times
    tell nothing of the difference, so that it is known better than either accuracy.
    Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched
    proportions": half an image is added to each of the four outcomes.
    """
    first, second = np.asarray(before, bool), np.asarray(after, bool)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ShapeError(f"gain expected two arrays (N,), got {first.shape} and {second.shape}")
    won, lost = float((second & ~first).sum()), float((first & ~second).sum())
    count, won_more, lost_more = first.size + 2, won + 0.5, lost + 0.5
    variance = (won_more + lost_more - (won_more - lost_more) ** 2 / count) / count**2
    return (won - lost) / first.size, Z * math.sqrt(variance)


def compared(name: str, over: str, points: float, within: float, count: int) -> str:
    """Return a sentence on what `gain` found, over `count` images."""
    told = f"{abs(points) * 100:.1f} ± {within * 100:.1f} points"
    if abs(points) <= within:
        sign = "-" if points < 0 else ""
        return f"{count:,} images can't tell whether {name} beats the {over}: {sign}{told}"
    return f"{name} {'beats' if points > 0 else 'is behind'} the {over} by {told}"
