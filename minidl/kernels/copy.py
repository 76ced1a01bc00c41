"""Copies between arrays whose numbers lie anywhere. Shapes and names as in `minidl.reference.copy`.

What NumPy does at once when it copies a transposed array or fills a new one, as kernels: these can
be recorded and run again with others.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.kernels._jit import kernel, sized
from minidl.kernels.memory import empty

__all__ = ["contiguous", "copied", "copy_to", "fill", "joined"]

AXES = 5  # of a copy, after axes that lie in one piece were joined
NUMBERS_A_PART = 16 * 1024


@kernel
def _copy(part, source, at, source_steps, target, to, target_steps, shape, lines):
    """target[to + i . target_steps] = source[at + i . source_steps] for the indices i of `lines`
    lines, which run along the last axis."""
    length, step, target_step = shape[4], source_steps[4], target_steps[4]
    total = shape[0] * shape[1] * shape[2] * shape[3]
    for line in range(part * lines, min(total, (part + 1) * lines)):
        d = line % shape[3]
        rest = line // shape[3]
        c = rest % shape[2]
        rest = rest // shape[2]
        a, b = rest // shape[1], rest % shape[1]
        x = at + a * source_steps[0] + b * source_steps[1] + c * source_steps[2]
        y = to + a * target_steps[0] + b * target_steps[1] + c * target_steps[2]
        x, y = x + d * source_steps[3], y + d * target_steps[3]
        if step == 1 and target_step == 1:
            from_here, to_here = source[x : x + length], target[y : y + length]
            for i in range(length):
                to_here[i] = from_here[i]
        else:
            for i in range(length):
                target[y + i * target_step] = source[x + i * step]


@kernel
def _fill(part, target, values):
    """Every number is values[0]."""
    mine = target[part * NUMBERS_A_PART : (part + 1) * NUMBERS_A_PART]
    value = values[0]
    for i in range(mine.size):
        mine[i] = value


def _memory(x: np.ndarray) -> tuple[np.ndarray, int, tuple[int, ...]]:
    """The memory that an array lies in, flat; where its first number stands; steps in numbers."""
    steps = tuple(s // x.itemsize for s in x.strides)
    low = sum(min(0, (n - 1) * s) for n, s in zip(x.shape, steps, strict=True))
    high = sum(max(0, (n - 1) * s) for n, s in zip(x.shape, steps, strict=True))
    first = x[(..., *(slice(None, None, -1) if s < 0 else slice(None) for s in steps))]
    flat = np.lib.stride_tricks.as_strided(first, (high - low + 1,), (x.itemsize,))
    return flat, -low, steps


def _joined(shape: Any, first: Any, second: Any) -> tuple[Any, Any, Any]:
    """Shape and steps with axes that follow one another in both arrays made one, AXES in all."""
    axes: list[list[int]] = []
    for n, a, b in zip(shape, first, second, strict=True):
        if n == 1:
            continue
        if axes and axes[-1][1] == n * a and axes[-1][2] == n * b:
            axes[-1] = [axes[-1][0] * n, a, b]
        else:
            axes.append([n, a, b])
    axes = [[1, 0, 0]] * (AXES - len(axes)) + axes
    lengths, of_first, of_second = zip(*axes, strict=True)
    return lengths, of_first, of_second


def copy_to(target: np.ndarray, x: np.ndarray) -> None:
    """target[...] = x, of one dtype; x is broadcast to the target's shape. They don't overlap."""
    x = np.broadcast_to(x, target.shape)
    if target.size == 0:
        return
    (source, at, source_steps), (memory, to, steps) = _memory(x), _memory(target)
    shape, source_steps, steps = _joined(target.shape, source_steps, steps)
    if len(shape) > AXES:  # rare: the first axis one by one
        for part, of in zip(target, x, strict=True):
            copy_to(part, of)
        return
    count = math.prod(shape[:-1])
    lines = max(1, NUMBERS_A_PART // shape[-1])
    _copy(
        sized(-(-count // lines), target.size), source, at, source_steps, memory, to, steps, shape,
        lines,
    )  # fmt: skip


def copied(x: np.ndarray) -> np.ndarray:
    """Return a C-contiguous copy."""
    y = empty(x.shape, x.dtype)
    copy_to(y, x)
    return y


def contiguous(x: np.ndarray) -> np.ndarray:
    """x itself if it is C-contiguous, otherwise a copy that is."""
    return x if x.flags.c_contiguous else copied(x)


def fill(target: np.ndarray, value: float) -> None:
    """target[...] = value; the target is C-contiguous."""
    parts = -(-target.size // NUMBERS_A_PART)
    _fill(sized(parts, target.size), target.reshape(-1), np.array([value], target.dtype))


def joined(arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Return the arrays, of one dtype, one after the other along an axis."""
    shape = list(arrays[0].shape)
    shape[axis] = sum(x.shape[axis] for x in arrays)
    y = empty(tuple(shape), arrays[0].dtype)
    end = 0
    for x in arrays:
        start, end = end, end + x.shape[axis]
        copy_to(y[(slice(None),) * axis + (slice(start, end),)], x)
    return y
