"""Weights with a normalisation folded in, and digests that tell whether weights have changed.

Shapes and names as in the twin, `minidl.reference.fold`.
"""

import functools

import numpy as np

from minidl.kernels._jit import EXACT, PART, kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import prepared

WORDS_A_DIGEST = 32 * 1024  # of 4 bytes
LANES = 64  # sums that run side by side: whole vectors of any CPU
FACTOR, SHIFT = 0x9E3779B1, 16  # odd, its bits well mixed
LONG_FACTOR, LONG_SHIFT = 0x9E3779B97F4A7C15, 32


@functools.partial(kernel, flags=EXACT)
def _weight(part, weight, scale, folded):
    columns = len(scale)
    rows = max(1, PART // columns)
    for row in range(part * rows, min(weight.size // columns, (part + 1) * rows)):
        source, target = weight[row * columns :], folded[row * columns :]
        for k in range(columns):
            target[k] = source[k] * scale[k]


@functools.partial(kernel, flags=EXACT)
def _bias(part, bias, scale, shift, folded):
    for k in range(len(shift)):
        folded[k] = bias[k] * scale[k] + shift[k]


@kernel
def _digest(part, bits, digests, at):
    """digests[at + part] = a number that stands for WORDS_A_DIGEST words of `bits`."""
    states = np.zeros(LANES, np.uint32)
    first, last = part * WORDS_A_DIGEST, min(bits.size, (part + 1) * WORDS_A_DIGEST)
    whole = first + (last - first) // LANES * LANES
    for start in range(first, whole, LANES):
        words = bits[start : start + LANES]
        for k in range(LANES):
            state = np.uint32((states[k] ^ words[k]) * np.uint32(FACTOR))
            states[k] = state ^ (state >> np.uint32(SHIFT))
    for i in range(whole, last):
        states[i - whole] = (states[i - whole] ^ bits[i]) * np.uint32(FACTOR)
    total = np.uint64(0)
    for k in range(LANES):
        total = (total ^ np.uint64(states[k])) * np.uint64(LONG_FACTOR)
        total = total ^ (total >> np.uint64(LONG_SHIFT))
    digests[at + part] = np.int64(total)


def folded_weight(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """weight times scale, along its last axes; scale is flat."""
    folded = prepared(weight.shape, weight.dtype)
    rows = max(1, PART // len(scale))
    parts = sized(-(-weight.size // (len(scale) * rows)), weight.size)
    _weight(parts, contiguous(weight).reshape(-1), contiguous(scale), folded.reshape(-1))
    return folded


def folded_bias(bias: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """bias * scale + shift, each flat."""
    folded = prepared(shift.shape, shift.dtype)
    _bias(-1, contiguous(bias), contiguous(scale), contiguous(shift), folded)
    return folded


def digest(array: np.ndarray, digests: np.ndarray, at: int) -> None:
    """Write a number for each WORDS_A_DIGEST words of an array to digests, from `at` on."""
    bits = array.reshape(-1).view(np.uint32)
    _digest(sized(-(-bits.size // WORDS_A_DIGEST), bits.size), bits, digests, at)
