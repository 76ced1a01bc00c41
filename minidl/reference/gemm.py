"""Matrix multiplication."""

import numpy as np


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b.  a: (rows, depth);  b: (depth, columns)."""
    return a @ b
