"""Dropout by numbers that anyone can work out again: the mask is never stored.

The random number of element i is a hash of seed + (i + 1) * GOLDEN, the generator SplitMix64: each
can be asked for by itself, so that threads share the work, and the gradient finds the same mask.

Sources: Srivastava et al. 2014, "Dropout"; Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators", figure 16.
"""

from typing import Any

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _limit_and_scale(p: float, dtype: Any) -> tuple[np.uint64, Any]:
    """Below which of 2**32 random numbers an element is dropped; 1 / (1 - p) for the others."""
    return np.uint64(round(p * 2**32)), np.dtype(dtype).type(1 / (1 - p) if p < 1 else 0)


def dropout(x: np.ndarray, seed: np.ndarray, p: float) -> np.ndarray:
    """x with a share p of its numbers put to 0 and the others multiplied by 1 / (1 - p).

    seed: a whole number of 64 bits, (1,), uint64.  The same seed drops the same elements.
    """
    z = seed + np.arange(1, x.size + 1, dtype=np.uint64) * GOLDEN  # modulo 2**64
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    z = (z ^ (z >> np.uint64(31))) >> np.uint64(32)
    limit, scale = _limit_and_scale(p, x.dtype)
    return np.where(z >= limit, x.reshape(-1) * scale, 0).astype(x.dtype).reshape(x.shape)
