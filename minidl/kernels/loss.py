"""Softmax and cross-entropy in one pass over the logits.

Shapes and names as in the twin, `minidl.reference.loss`.
"""

import functools
import math

import numpy as np

from minidl.kernels._jit import EXACT, kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty

ROWS_A_PART = 32
WORK = 8  # an exponential takes as long as handling so many numbers does elsewhere


# EXACT: reordered, a row's sum would depend on whether its arrays lie so close together that the
# compiled loop takes its way for arrays that may overlap.
@functools.partial(kernel, flags=EXACT)
def _cross_entropy(part, logits, labels, row_weights, class_weights, smoothing, losses, slopes):
    rows, classes = logits.shape
    kind = logits.dtype.type
    one, nothing = kind(1), kind(0)
    share = kind(smoothing) / kind(classes)
    rest = one - kind(smoothing)
    for row in range(part * ROWS_A_PART, min(rows, (part + 1) * ROWS_A_PART)):
        x, e, label, weight = logits[row], slopes[row], labels[row], row_weights[row]
        if weight == 0:
            losses[row] = nothing
            for k in range(classes):
                e[k] = nothing
        else:
            largest = x[0]
            for k in range(classes):
                largest = x[k] if x[k] > largest or x[k] != x[k] else largest
            total = 0.0  # in float64, however many classes there are
            for k in range(classes):
                e[k] = math.exp(x[k] - largest)
                total += e[k]
            log_total = kind(math.log(total))
            loss, targets = 0.0, 0.0
            for k in range(classes):
                target = share + rest if k == label else share
                if class_weights.size > 0:
                    target *= class_weights[k]
                targets += target
                if target != 0:  # 0 times an infinite logarithm is no 0
                    loss += target * (log_total - (x[k] - largest))
            losses[row] = loss * weight
            scale = kind(targets / total)
            for k in range(classes):
                target = share + rest if k == label else share
                if class_weights.size > 0:
                    target *= class_weights[k]
                e[k] = (e[k] * scale - target) * weight


def softmax_cross_entropy(
    logits: np.ndarray, labels: np.ndarray, row_weights: np.ndarray,
    class_weights: np.ndarray | None, smoothing: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the loss of each row, and its derivatives by the logits."""
    logits, labels = contiguous(logits), np.ascontiguousarray(labels, np.int64)
    losses, slopes = np.empty(len(logits), logits.dtype), empty(logits.shape, logits.dtype)
    weights = np.empty(0, logits.dtype) if class_weights is None else class_weights
    _cross_entropy(
        sized(-(-len(logits) // ROWS_A_PART), logits.size * WORK), logits, labels,
        contiguous(row_weights), contiguous(weights), float(smoothing), losses,
        slopes,
    )  # fmt: skip
    return losses, slopes


@functools.partial(kernel, flags=EXACT)
def _scale(part, x, factors, y):
    """Each row of x times its factor, or all times one."""
    rows, columns = x.shape
    for row in range(part * ROWS_A_PART, min(rows, (part + 1) * ROWS_A_PART)):
        factor = factors[row % len(factors)]
        for k in range(columns):
            y[row, k] = x[row, k] * factor


def scaled_rows(x: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return each row of x (N, C) times its factor; factors: (N,), or (1,) for all rows."""
    y = empty(x.shape, x.dtype)
    _scale(sized(-(-len(x) // ROWS_A_PART), x.size), contiguous(x), contiguous(factors), y)
    return y
