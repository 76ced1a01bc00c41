"""Calibration: whether a network is right as often as it says that it is."""

from typing import Any

import numpy as np

from minidl.checks import positive
from minidl.ops import softmax
from minidl.train.metrics import check_scores, scored

__all__ = ["calibration"]


def calibration(scores: Any, labels: Any, bins: int = 10) -> dict[str, Any]:
    """Return the expected calibration error, and what a reliability diagram shows.

    scores: (N, C), what softmax takes: of probabilities, give the logarithms.  labels: (N,).
    bins: of equal width, for the probability of each row's guess; the upper end belongs to a bin.
    Returns {"error", "bins"}: the mean distance between probability and accuracy, each bin weighted
    by its rows, and {"confidence", "accuracy", "count"} of each bin that has any, all means.
    Raises ArgumentError for NaN or +inf among the scores.
    Source: Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks",
    equations 1 to 3.
    """
    found, truths = scored("calibration", scores, labels)
    check_scores("calibration", found)
    bins = positive("calibration", "bins", bins)
    shares = softmax(found.astype(np.float64))
    sure, right = shares.max(axis=1), found.argmax(axis=1) == truths
    number = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    rows = []
    for i in np.unique(number).tolist():
        inside = number == i
        rows.append(
            {
                "confidence": float(sure[inside].mean()),
                "accuracy": float(right[inside].mean()),
                "count": int(inside.sum()),
            }
        )
    distance = sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in rows)
    return {"error": distance / len(found), "bins": rows}
