"""Dropout by numbers that anyone can work out again: the mask is never stored.

The random number of element i is a hash of seed + (i + 1) * GOLDEN, the generator SplitMix64: each
can be asked for by itself, so that threads share the work, and the gradient finds the same mask.

Sources: Srivastava et al. 2014, "Dropout"; Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators", figure 16.
"""

import numpy as np

from minidl.constants.splitmix64 import FIRST, GOLDEN, SECOND


def dropout(x: np.ndarray, seed: np.ndarray, p: float) -> np.ndarray:
    """x with a share p of its numbers put to 0 and the others multiplied by 1 / (1 - p).

    seed: a whole number of 64 bits, (1,), uint64.  The same seed drops the same elements.
    """
    z = seed + np.arange(1, x.size + 1, dtype=np.uint64) * GOLDEN  # modulo 2**64
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    z = (z ^ (z >> np.uint64(31))) >> np.uint64(32)
    dropped = z < np.uint64(round(p * 2**32))  # a share p of the 2**32 numbers
    scale = x.dtype.type(1 / (1 - p) if p < 1 else 0)
    return np.where(dropped, 0, x.reshape(-1) * scale).astype(x.dtype).reshape(x.shape)
