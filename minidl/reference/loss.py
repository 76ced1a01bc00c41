"""Softmax cross-entropy: -log of the probability that softmax gives to the label.

With p = softmax(logits) and targets t (1 at the label, 0 elsewhere, or smoothed), the loss of a row
is -sum(t log p), and its derivatives by the logits are p sum(t) - t.
"""

import numpy as np


def softmax_cross_entropy(
    logits: np.ndarray, labels: np.ndarray, row_weights: np.ndarray,
    class_weights: np.ndarray | None, smoothing: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the loss of each row, (N,), and its derivatives by the logits, (N, C).

    logits: (N, C).  labels: (N,) integers.  row_weights: (N,), 0 for a row that is ignored.
    class_weights: (C,) or None.  smoothing: how much of each target is shared by all classes.
    """
    rows, classes = logits.shape
    targets = np.full((rows, classes), smoothing / classes, logits.dtype)
    targets[np.arange(rows), labels] += 1 - smoothing
    if class_weights is not None:
        targets *= class_weights
    shifted = logits - logits.max(axis=1, keepdims=True)  # so that exp doesn't overflow
    e = np.exp(shifted)
    totals = e.sum(axis=1, keepdims=True)
    # where a target is 0 its logarithm may be infinite, and 0 * inf is no 0
    terms = np.zeros_like(logits)
    np.multiply(targets, np.log(totals) - shifted, where=targets != 0, out=terms)
    slopes = e / totals * targets.sum(axis=1, keepdims=True) - targets
    ignored = row_weights == 0
    losses = np.where(ignored, 0, terms.sum(axis=1) * row_weights)
    return losses, np.where(ignored[:, None], 0, slopes * row_weights[:, None])


def scaled_rows(x: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return each row of x (N, C) times its factor; factors: (N,), or (1,) for all rows."""
    return x * factors[:, None]
