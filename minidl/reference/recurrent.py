"""The state that each step of a sequence begins with.

lengths (N,): how many steps of each row count, None for all.  reverse: from the last to the first.
"""

import numpy as np

from minidl.reference._recurrent import under_way

__all__ = ["entering"]


def entering(
    outputs: np.ndarray, start: np.ndarray, lengths: np.ndarray | None, reverse: bool
) -> np.ndarray:
    """The state with which each row enters each step, (N, T, H): `start` (N, H), then outputs."""
    found = np.zeros_like(outputs)
    for s in range(outputs.shape[1]):
        rows, t = under_way(lengths, len(outputs), outputs.shape[1], s, reverse)
        before = start[rows] if s == 0 else outputs[rows, t + 1 if reverse else t - 1]
        found[rows, t] = before
    return found
