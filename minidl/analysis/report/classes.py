"""What the page says of each class, and of all of them alike, by the confusion matrix."""

import math
from typing import NamedTuple

import numpy as np

from minidl.analysis.report.reading import Approach, RunRecord

__all__ = ["ClassRow", "alike", "class_rows"]


class ClassRow(NamedTuple):
    """A class; None for what isn't measured. images: how many each part has."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    images: list[int | None]


def class_rows(run: RunRecord) -> tuple[list[str], list[ClassRow]]:
    """Return what the columns of images are called, and a row a class, the worst found first."""
    known = {} if run.best is None else {each.name: each for each in run.best.per_class}
    parts = [run.part(name).capitalize() for name in run.by_class]
    rows = []
    for i, name in enumerate(run.classes if parts else list(known)):
        each = known.get(name)
        counts: list[int | None] = [numbers[i] for numbers in run.by_class.values()]
        if each is None:
            rows.append(ClassRow(name, None, None, None, counts))
        else:
            both = each.precision, each.recall
            rows.append(ClassRow(name, *both, _f1(*both), counts or [each.images]))
    rows.sort(key=lambda row: 2 if row.recall is None else row.recall)
    return parts or ["Images"], rows


def alike(approach: Approach) -> list[float | None]:
    """Return balanced accuracy and macro F1, in which all classes count alike."""
    from minidl.train.metrics import balanced_accuracy, macro_f1  # on `train`, which imports this

    if not approach.confusion:
        return [None, None]
    confusion = np.array(approach.confusion)
    found = balanced_accuracy(confusion), macro_f1(confusion)
    return [None if math.isnan(each) else each for each in found]


def _f1(precision: float | None, recall: float | None) -> float | None:
    """Return the harmonic mean; 0 for a class that is never found, or never guessed."""
    if not precision or not recall:
        return None if precision is None and recall is None else 0.0
    return 2 * precision * recall / (precision + recall)
