"""results.json: the figures of what was trained, and the images that it is most wrong about.

`Run` keeps the files of a run's folder; `minidl.analysis.report` reads them and makes the page.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.analysis import report
from minidl.data.splits import name_of
from minidl.data.telling import Tell
from minidl.train.metrics import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    precision_recall,
    rank_accuracy,
    worst_mistakes,
)  # fmt: skip
from minidl.train.run import Run

__all__ = ["figures", "mistakes", "save_report", "save_results"]

RANK = 5
MOST_MISTAKES = 24


def figures(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """The figures of scores (N, C), before the softmax, for labels (N,): accuracy, balanced
    accuracy, macro F1, rank-5 accuracy (None for few classes), loss, confusion matrix, and each
    class's precision, recall and F1."""
    confusion = confusion_matrix(scores, labels, len(classes))
    shifted = scores - scores.max(axis=1, keepdims=True)
    normalised = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return {
        "accuracy": accuracy(scores, labels),
        "balanced_accuracy": balanced_accuracy(confusion),
        "macro_f1": macro_f1(confusion),
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


def save_results(
    run: Run,
    approaches: list[dict[str, Any]],
    best: str,
    scores: np.ndarray,
    validation: Any,
    classes: Sequence[str],
    counts: dict[str, int],
    left_out: Sequence[tuple[str, str]],
    tell: Tell,
    verdict: str = "",
) -> None:
    """Write results.json, and pictures of the worst mistakes.

    approaches: rows of `figures`, each with a name.  best: the one that was chosen, and its scores,
        (N, C).  verdict: a sentence on how sure it is that it is.
    validation: the N images with labels.  counts: of images, by part.
    left_out: (file, reason) of images that weren't used.
    """
    labels = np.asarray(validation.batch(range(len(validation)))[1])
    wrong = mistakes(scores, labels, classes, MOST_MISTAKES)
    images = [_picture(validation[i][0]) for i, _ in wrong]
    try:
        files = run.thumbnails(images) if images else []
    except ImportError as error:  # minidl itself trains without Pillow
        tell(f"no pictures of mistakes: {error}")
        wrong, files = [], []
    run.results = {
        "classes": list(classes),
        "count": counts,
        "approaches": approaches,
        "best": best,
        "verdict": verdict,
        "mistakes": [
            {"image": file, "file": name_of(validation, i), **found}
            for file, (i, found) in zip(files, wrong, strict=True)
        ],
        "skipped": [{"file": name, "reason": reason} for name, reason in left_out],
    }
    run.write("results", run.results)


def _picture(image: np.ndarray) -> np.ndarray:
    """Pixels for people to look at: what was standardized gets its own range."""
    if image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    return np.rint((image - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)


def save_report(run: Run, tell: Tell) -> None:
    """Write report.html and set `run.report`, unless a package that it needs is missing."""
    try:
        run.report = report(run.folder)
    except ImportError as error:
        tell(f"no report.html: {error}")
