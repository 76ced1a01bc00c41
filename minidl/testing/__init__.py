"""Checks of gradients for everybody's tests: a decorator for pytest, and Hypothesis strategies.

Needs pytest and, for the strategies, Hypothesis: pip install 'minidl[test]'. Nothing else of minidl
imports this.
"""

from minidl.testing.gradchecks import gradchecks
from minidl.testing.strategies import (
    broadcastable,
    convolutions,
    images,
    numbers_apart,
    without_kinks,
)

__all__ = [
    "broadcastable", "convolutions", "gradchecks", "images", "numbers_apart", "without_kinks",
]  # fmt: skip
