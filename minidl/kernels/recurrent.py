"""The state a step begins with. Shapes and names as in the twin, `minidl.reference.recurrent`."""

import numpy as np

from minidl.kernels._jit import kernel, sized
from minidl.kernels._recurrent import order_of
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty

__all__ = ["entering"]


@kernel
def _enter(row, outputs, start, lengths, reverse, found):
    _, steps, size = outputs.shape
    first = lengths[row] - 1 if reverse else 0
    for t in range(steps):
        before = outputs[row, min(t + 1, steps - 1) if reverse else max(t - 1, 0)]
        target = found[row, t]
        if t >= lengths[row]:
            for j in range(size):
                target[j] = 0
        elif t == first:
            for j in range(size):
                target[j] = start[row, j]
        else:
            for j in range(size):
                target[j] = before[j]


def entering(
    outputs: np.ndarray, start: np.ndarray, lengths: np.ndarray | None, reverse: bool
) -> np.ndarray:
    """The state with which each row enters each step, (N, T, H): `start` (N, H), then outputs."""
    found = empty(outputs.shape, outputs.dtype)
    _, known = order_of(lengths, *outputs.shape[:2])
    _enter(
        sized(len(found), found.size), contiguous(outputs), contiguous(start), known, reverse, found
    )
    return found
