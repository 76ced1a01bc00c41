"""Weights with a normalisation folded in, and digests that tell whether weights have changed.

After a convolution, y = (x * w) scale + shift is a convolution again, by the weights w scale.
"""

import numpy as np

LANES = 64
WORDS_A_DIGEST = 32 * 1024
FACTOR = 31


def folded_weight(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """weight times scale, along its last axes; scale is flat."""
    return (weight.reshape(-1, len(scale)) * scale).reshape(weight.shape)


def folded_bias(bias: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """bias * scale + shift, each flat."""
    return bias * scale + shift


def digest(array: np.ndarray, digests: np.ndarray, at: int) -> None:
    """Write a number for each WORDS_A_DIGEST words of an array to digests, from `at` on.

    Polynomials in FACTOR of the array's 32-bit words, every LANES-th word in one; then of these.
    """
    bits = array.reshape(-1).view(np.int32)
    for part in range(-(-len(bits) // WORDS_A_DIGEST)):
        words = bits[part * WORDS_A_DIGEST : (part + 1) * WORDS_A_DIGEST]
        whole = len(words) // LANES * LANES
        sums = np.zeros(LANES, np.int32)
        with np.errstate(over="ignore"):
            for row in words[:whole].reshape(-1, LANES):
                sums = sums * np.int32(FACTOR) + row
            rest = words[whole:]
            sums[: len(rest)] = sums[: len(rest)] * np.int32(FACTOR) + rest
            total = np.int64(0)
            for number in sums:
                total = total * np.int64(FACTOR) + np.int64(number)
        digests[at + part] = total
