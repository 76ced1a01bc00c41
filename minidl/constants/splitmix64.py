"""The numbers of the generator SplitMix64.

Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 16.
"""

import numpy as np

__all__ = ["FIRST", "GOLDEN", "SECOND"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio, made odd
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
