"""How good predicted labels and numbers are: figures of multi-label images and of regression."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, ShapeError

__all__ = ["average_precision", "label_report", "number_report"]


def average_precision(scores: Any, truths: Any) -> float:
    """Return the mean precision over the recalls that rising thresholds give.

    scores: (N,), the larger the likelier.  truths: (N,), 0 or 1.  NaN where no truth is 1.
    The sum of (R[k] - R[k-1]) P[k] over the different scores, from the largest down, where P and R
    are precision and recall of what scores as much or more.
    Source: Manning, Raghavan and Schütze 2008, "Introduction to information retrieval", section
    8.4; scikit-learn's average_precision_score.
    """
    scores, truths = np.asarray(scores), np.asarray(truths)
    if scores.ndim != 1 or scores.shape != truths.shape or not scores.size:
        raise ShapeError(
            f"average_precision expected scores and truths (N,), got {scores.shape} and "
            f"{truths.shape}"
        )
    if np.isnan(scores).any():
        raise ArgumentError("average_precision: the scores hold NaN")
    if not truths.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(truths[order] > 0)
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # of equal scores
    precision, recall = found[last] / (last + 1), found[last] / found[-1]
    return float((np.diff(recall, prepend=0) * precision).sum())


def label_report(scores: np.ndarray, truths: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Return the figures of labels: scores (N, C), above 0 where one is given; truths 0 and 1.

    accuracy: the share of all N C labels that are right.  exact: of images whose C all are.
    average_precision, f1: the means over the labels that occur.
    per_class: {"class", "precision", "recall", "f1", "average_precision", "count"} of each label;
        NaN where that can't be told.
    """
    given, truths = scores > 0, truths > 0
    rows = [
        _of_label(name, given[:, i], truths[:, i], scores[:, i]) for i, name in enumerate(names)
    ]
    occurring = [row for row in rows if row["count"]]
    return {
        "accuracy": float((given == truths).mean()),
        "exact": float((given == truths).all(axis=1).mean()),
        "average_precision": _mean([row["average_precision"] for row in occurring]),
        "f1": _mean([row["f1"] for row in occurring]),
        "per_class": rows,
    }


def _of_label(name: str, given: np.ndarray, truth: np.ndarray, scores: np.ndarray) -> Any:
    right, guessed, count = (int(each.sum()) for each in (given & truth, given, truth))
    return {
        "class": name,
        "precision": right / guessed if guessed else math.nan,
        "recall": right / count if count else math.nan,
        "f1": 2 * right / (guessed + count) if guessed + count else math.nan,
        "average_precision": average_precision(scores, truth),
        "count": count,
    }


def number_report(scores: np.ndarray, truths: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Return the figures of numbers: predicted (N, C) and true ones.

    r2: the mean over the columns of the share of the variance that is told; a constant, the true
        mean, has 0.  mae, rmse: of each column the mean absolute and the root of the mean squared
        error, in its unit.
    per_class: {"class", "r2", "mae", "rmse", "spread", "count"} of each column, where spread is the
        mean absolute error of their median; r2 is NaN of a column of one number.
    """
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(names):
        truth = truths[:, i].astype(np.float64)
        error = scores[:, i] - truth
        variance = float(((truth - truth.mean()) ** 2).mean())
        squared = float((error**2).mean())
        rows.append(
            {
                "class": name,
                "r2": 1 - squared / variance if variance else math.nan,
                "mae": float(np.abs(error).mean()),
                "rmse": math.sqrt(squared),
                "spread": float(np.abs(truth - np.median(truth)).mean()),
                "count": len(truth),
            }
        )
    return {"r2": _mean([row["r2"] for row in rows]), "per_class": rows}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
