"""What trainings came to, as figures that a report shows and a file can hold."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.train.metrics import (
    accuracy,
    confusion_matrix,
    precision_recall,
    rank_accuracy,
    worst_mistakes,
)  # fmt: skip

__all__ = ["figures", "mistakes"]

RANK = 5


def figures(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy, rank-5 accuracy (None for few classes), loss, confusion matrix and per-class
    precision and recall of scores (N, C), before the softmax, for labels (N,)."""
    confusion = confusion_matrix(scores, labels, len(classes))
    shifted = scores - scores.max(axis=1, keepdims=True)
    normalised = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return {
        "accuracy": accuracy(scores, labels),
        "rank5": rank_accuracy(RANK)(scores, labels) if len(classes) > RANK else None,
        "loss": float(-normalised[np.arange(len(labels)), labels].mean()),
        "confusion": confusion.tolist(),
        "per_class": precision_recall(confusion, list(classes)),
    }


def mistakes(
    scores: np.ndarray, labels: np.ndarray, classes: Sequence[str], count: int
) -> list[tuple[int, dict[str, Any]]]:
    """The images that a network is most wrong about: number, and what it took them for."""
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    found = []
    for i in worst_mistakes(scores, labels, count).tolist():
        guess = int(scores[i].argmax())
        of_guess = {"guess": classes[guess], "probability": float(shares[i, guess])}
        found.append((i, {"truth": classes[int(labels[i])], **of_guess}))
    return found
