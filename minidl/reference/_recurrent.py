"""What the recurrent layers' twins share.

lengths (N,): how many steps of each row count, None for all.  reverse: from the last to the first.
"""

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), computed so that nothing overflows."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def under_way(
    lengths: np.ndarray | None, n: int, steps: int, s: int, reverse: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that take part in step s, and the time at which each is then."""
    known = np.full(n, steps) if lengths is None else lengths
    rows = np.flatnonzero(known > s)
    return rows, known[rows] - 1 - s if reverse else np.full(len(rows), s)
