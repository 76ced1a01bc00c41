"""Labels that are likely wrong: confident learning.

Source: Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in dataset
labels".
"""

import numpy as np

from minidl import ops
from minidl.train.linear import LinearClassifier, deal

__all__ = ["doubtful_labels", "held_out_probabilities"]

FOLDS = 5  # of cross-validation, or as many as the smallest class has images


def held_out_probabilities(features: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the probabilities (N, C) that logistic regression on the other rows gives each row.

    features: (N, D).  labels: (N,), 0..C-1 with two rows or more of each.  seed: of the folds.
    """
    folds = min(FOLDS, int(np.bincount(labels).min()))
    found = LinearClassifier.cross_validated(features, labels, folds=folds, seed=seed)
    parts = deal("held_out_probabilities", labels, folds, seed)
    probabilities = np.empty((len(labels), int(labels.max()) + 1))
    for part in range(folds):
        held = parts == part
        rest = LinearClassifier(found.strength).fit(features[~held], labels[~held])
        probabilities[held] = ops.softmax(rest.predict_scores(features[held]))
    return probabilities


def doubtful_labels(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows whose label is likely wrong, the likeliest first, and what class each may be of.

    probabilities: (N, C), of models that haven't seen the row.  labels: (N,), each class occurring.
    How many are wrong is how many rows are confidently of another class than their label: those
    whose likeliest class, among the ones with at least the mean probability that rows labelled so
    have, is another. Those rows are returned whose label has the least probability; that finds more
    than the rows that were counted, among which those are missing that no class is sure of.
    """
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    thresholds = np.bincount(labels, own) / np.bincount(labels)  # (C,)
    likely = np.where(probabilities >= thresholds, probabilities, -1.0)
    count = int(((likely.max(axis=1) >= 0) & (likely.argmax(axis=1) != labels)).sum())
    others = probabilities.copy()
    others[rows, labels] = -1
    found = np.argsort(own, kind="stable")[:count]
    found = found[own[found] < others[found].max(axis=1)]
    return found, others[found].argmax(axis=1)
