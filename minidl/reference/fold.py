"""Weights with a normalisation folded in, and digests that tell whether weights have changed.

After a convolution, y = (x * w) scale + shift is a convolution again, by the weights w scale.
"""

import numpy as np

LANES = 64
WORDS_A_DIGEST = 32 * 1024
FACTOR, SHIFT = 0x9E3779B1, 16  # odd, its bits well mixed
LONG_FACTOR, LONG_SHIFT = 0x9E3779B97F4A7C15, 32


def folded_weight(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """weight times scale, along its last axes; scale is flat."""
    return (weight.reshape(-1, len(scale)) * scale).reshape(weight.shape)


def folded_bias(bias: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """bias * scale + shift, each flat."""
    return bias * scale + shift


def digest(array: np.ndarray, digests: np.ndarray, at: int) -> None:
    """Write a number for each WORDS_A_DIGEST words of an array to digests, from `at` on.

    Every LANES-th 32-bit word goes into one state: exclusive or, times FACTOR, and the high half
    into the low one, so that each bit of a word reaches all of the state. Then these into one of 64
    bits, in the same way.
    """
    bits = array.reshape(-1).view(np.uint32)
    for part in range(-(-len(bits) // WORDS_A_DIGEST)):
        words = bits[part * WORDS_A_DIGEST : (part + 1) * WORDS_A_DIGEST]
        whole = len(words) // LANES * LANES
        states = np.zeros(LANES, np.uint32)
        for row in words[:whole].reshape(-1, LANES):
            states = (states ^ row) * np.uint32(FACTOR)
            states ^= states >> np.uint32(SHIFT)
        rest = words[whole:]
        states[: len(rest)] = (states[: len(rest)] ^ rest) * np.uint32(FACTOR)
        total = 0
        for state in states.tolist():
            total = ((total ^ state) * LONG_FACTOR) % 2**64
            total ^= total >> LONG_SHIFT
        digests[at + part] = np.uint64(total).astype(np.int64)
