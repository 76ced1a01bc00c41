"""What the page says of each class, and of all of them alike, by the confusion matrix."""

from typing import NamedTuple

from minidl.analysis.report.reading import Approach, RunRecord

__all__ = ["ClassRow", "balanced_accuracy", "class_rows", "macro_f1"]

Counts = list[list[int]]  # [truth][guess]


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


def balanced_accuracy(approach: Approach) -> float | None:
    """Return the mean recall of the classes that have images, each counting alike."""
    confusion = approach.confusion
    recalls = [row[i] / sum(row) for i, row in enumerate(confusion) if sum(row)]
    return sum(recalls) / len(recalls) if recalls else None


def macro_f1(approach: Approach) -> float | None:
    """Return the mean over classes of F1, 2 right / (images + guesses)."""
    confusion = approach.confusion
    guesses = [sum(column) for column in zip(*confusion)]
    found = [
        2 * row[i] / (sum(row) + guesses[i])
        for i, row in enumerate(confusion)
        if sum(row) + guesses[i]
    ]
    return sum(found) / len(found) if found else None


def _f1(precision: float | None, recall: float | None) -> float | None:
    """Return the harmonic mean; 0 for a class that is never found, or never guessed."""
    if not precision or not recall:
        return None if precision is None and recall is None else 0.0
    return 2 * precision * recall / (precision + recall)
