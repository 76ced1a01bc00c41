"""Large arrays a piece at a time."""

from collections.abc import Iterator

import numpy as np

__all__ = ["PIECE", "pieces"]

# Bytes of an array worked on at a time. Temporaries then stay in the L2 cache, and are small enough
# (below 128 KiB) for malloc to reuse memory without asking the system for it.
PIECE = 96 * 1024


def pieces(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the same stretch of every array in turn, as flat views to write into.

    What is done to them is elementwise, so it doesn't matter to the result where arrays are cut.
    One that isn't contiguous has no flat view; then all come whole.
    """
    if not all(a.flags.c_contiguous for a in arrays):
        yield arrays
        return
    flat = [a.reshape(-1) for a in arrays]
    count = PIECE // flat[0].itemsize
    for start in range(0, flat[0].size, count):
        yield tuple(a[start : start + count] for a in flat)
