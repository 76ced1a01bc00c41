"""Weights for classes of different sizes."""

from typing import Any

import numpy as np

from minidl.checks import positive
from minidl.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["class_weights"]


def class_weights(labels: Any, num_classes: int | None = None) -> np.ndarray:
    """Weights (C,) float32 for `CrossEntropyLoss(weight=...)` by which all classes count alike.

    w[c] = N / (C count[c]), whose mean over the items is 1.
    labels: (N,) whole numbers, such as a dataset's `.labels`.  num_classes: C; one more than the
    largest label where left out.
    Raises ShapeError or DTypeError for other labels, ArgumentError, naming it, for a class without
    item, and for a label outside 0..C-1.
    Source: King and Zeng 2001, "Logistic regression in rare events data".
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or not labels.size:
        raise ShapeError(f"class_weights expected labels (N,), N from 1, got shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"class_weights expected whole numbers, got {labels.dtype}")
    least, most = int(labels.min()), int(labels.max())
    classes = most + 1 if num_classes is None else positive("class_weights", "C", num_classes)
    if least < 0 or most >= classes:
        wrong = least if least < 0 else most
        raise ArgumentError(f"class_weights expected labels from 0 to {classes - 1}, got {wrong}")
    counts = np.bincount(labels.astype(np.int64), minlength=classes)
    if not counts.all():
        empty = ", ".join(str(c) for c in np.flatnonzero(counts == 0)[:10])
        raise ArgumentError(
            f"class_weights: no item is of class {empty}: leave such classes out, or give them "
            "a weight yourself"
        )
    return (labels.size / (classes * counts)).astype(np.float32)
