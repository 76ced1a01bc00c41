"""results.json: the figures of what was trained, and the images that it is most wrong about.

`Run` keeps the files of a run's folder; `minidl.analysis.report` reads them and makes the page.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.data.splits import name_of
from minidl.data.telling import Tell
from minidl.nn import Module
from minidl.train.calibration import calibration
from minidl.train.certainty import accuracy_interval
from minidl.train.metrics import (
    accuracy,
    confusion_matrix,
    precision_recall,
    rank_accuracy,
    worst_mistakes,
)  # fmt: skip
from minidl.train.run import Run
from minidl.train.showing import as_pixels, heat_maps, thumbnails

__all__ = ["figures", "mistakes", "save_results"]

RANK = 5
MOST_MISTAKES = 24


def figures(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy with its 95 % interval, rank-5 accuracy (None for few classes), loss, calibration,
    confusion matrix and per-class precision and recall of scores (N, C), before the softmax, for
    labels (N,)."""
    confusion = confusion_matrix(scores, labels, len(classes))
    shifted = scores - scores.max(axis=1, keepdims=True)
    normalised = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return {
        "accuracy": accuracy(scores, labels),
        "interval": accuracy_interval(int(np.trace(confusion)), len(labels)),
        "rank5": rank_accuracy(RANK)(scores, labels) if len(classes) > RANK else None,
        "loss": float(-normalised[np.arange(len(labels)), labels].mean()),
        "calibration": calibration(scores, labels),
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
    network: Module,
    prepare: Sequence[Any],
    left_out: Sequence[tuple[str, str]],
    tell: Tell,
    **more: Any,
) -> None:
    """Write results.json, and pictures of the worst mistakes.

    run: its results hold what `data_shown` gives.
    approaches: rows of `figures`, each with a name.  best: the one that was chosen, its scores,
        (N, C), and its network, which takes images that `prepare` transforms.
    validation: the N images with labels.
    left_out: (file, reason) of images that weren't used.
    more: further figures, by their names in results.json.
    """
    assert run.results is not None
    classes = run.results["classes"]
    labels = np.asarray(validation.batch(range(len(validation)))[1])
    wrong = mistakes(scores, labels, classes, MOST_MISTAKES)
    images = [validation[i][0] for i, _ in wrong]
    files = thumbnails(run, list(map(as_pixels, images)), "mistakes", tell) if images else []
    guesses = [int(scores[i].argmax()) for i, _ in wrong]
    maps = heat_maps(network, images, prepare, guesses) if files else []
    heat = thumbnails(run, maps, "heat", tell) if maps else []
    run.results |= {
        "approaches": approaches,
        "best": best,
        "mistakes": [
            {"image": file, "heat": map_, "file": name_of(validation, i), **found}
            for file, map_, (i, found) in zip(files, [*heat, *[None] * len(files)], wrong)
        ],
        "skipped": [{"file": name, "reason": reason} for name, reason in left_out],
        **more,
    }
    run.write("results", run.results)
