"""Metrics: functions of outputs and targets (ndarrays) that give the mean over the batch."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from minidl.autograd import Tensor
from minidl.checks import positive
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.foreign import METRICS
from minidl.text import table

__all__ = [
    "accuracy",
    "balanced_accuracy",
    "binary_accuracy",
    "classification_report",
    "confusion_matrix",
    "macro_f1",
    "precision_recall",
    "rank_accuracy",
    "worst_mistakes",
]

Metric = Callable[[np.ndarray, np.ndarray], float]


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """The share of rows whose largest score is the target's class.

    outputs: (N, C) scores, C from 2; a row with a NaN is never right.
    targets: (N,) labels from 0 to C - 1, or (N, C) probabilities, whose rows sum to 1.
    For one logit a row, or several labels a row, see `binary_accuracy`.
    Raises ShapeError, DTypeError or ArgumentError for anything else.
    """
    scores, labels = scored("accuracy", outputs, targets)
    return float(((scores.argmax(axis=1) == labels) & ~np.isnan(scores).any(axis=1)).mean())


def binary_accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """The share of entries whose logit is above 0 where the target is 1, and only there.

    outputs: logits, of any shape, as `BCEWithLogitsLoss` takes them: a probability of 0.5 is a
        logit of 0. A NaN is never right.
    targets: 0 or 1, of the same shape.
    Raises ShapeError for other shapes, ArgumentError for targets that are neither 0 nor 1.
    """
    logits, truths = (_array(a) for a in (outputs, targets))
    if logits.shape != truths.shape or not logits.size:
        raise ShapeError(
            "binary_accuracy expected targets of the logits' shape, which holds one or more, got "
            f"shapes {logits.shape} and {truths.shape}"
        )
    if not ((truths == 0) | (truths == 1)).all():
        raise ArgumentError(
            "binary_accuracy expected targets of 0 and 1, got others, such as "
            f"{truths[(truths != 0) & (truths != 1)][0]}"
        )
    return float((((logits > 0) == (truths == 1)) & ~np.isnan(logits)).mean())


def rank_accuracy(k: int) -> Metric:
    """A metric: the share of rows whose target's class is among the `k` with the largest scores.

    outputs: scores (N, C); targets: labels (N,) or probabilities (N, C).
    Of equal scores that of the lower class counts as larger, as in `accuracy`. A row with a NaN is
    never right; all others are where there are no more than k classes.
    Trainer also takes its name: metrics=["rank5"] is metrics=[rank_accuracy(5)] but for the column,
    which is "rank5" instead of "rank5_accuracy".
    Raises ArgumentError for a k below 1.
    """
    k = positive("rank_accuracy", "k", k)

    def metric(outputs: np.ndarray, targets: np.ndarray) -> float:
        scores, labels = scored("rank_accuracy", outputs, targets)
        own = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)  # (N, 1)
        before = np.arange(scores.shape[1]) < labels[:, np.newaxis]  # (N, C)
        rank = ((scores > own) | ((scores == own) & before)).sum(axis=1)  # from 0
        return float(((rank < k) & ~np.isnan(scores).any(axis=1)).mean())

    metric.__name__ = f"rank{k}_accuracy"
    return metric


BY_NAME: dict[str, Metric] = {"accuracy": accuracy, "binary_accuracy": binary_accuracy}
ROUNDING = 1e-2  # of a sum of probabilities, in whatever dtype
COLUMNS = ("epoch", "lr", "loss", "seconds")  # of the history, beside the metrics


def by_name(metrics: Iterable[str | Metric]) -> dict[str, Metric]:
    """Metrics given as names or functions, by name.

    Raises ArgumentError for what is neither, and for two columns of the history with one name.
    """
    if isinstance(metrics, str):
        metrics = (metrics,)
    found: dict[str, Metric] = {}
    for metric in metrics:
        function = _named(metric) if isinstance(metric, str) else metric
        if not callable(function) or isinstance(function, type):
            known = METRICS.get(metric) if isinstance(metric, str) else None
            raise ArgumentError(
                f"Trainer: metrics are functions or names of {list(BY_NAME)}, got {metric!r}"
                + (
                    f": use {known!r}"
                    if known
                    else " (or 'rank5' and the like, for the five best classes)"
                )
            )
        name = metric if isinstance(metric, str) else _name(metric)
        if name in found or name in COLUMNS or name.startswith("val_"):
            raise ArgumentError(
                f"Trainer: a metric is called {name!r} like another column of the history: "
                "give it its own __name__"
            )
        found[name] = function
    return found


def _named(name: str) -> Metric | None:
    rank = re.fullmatch(r"rank([1-9][0-9]{0,8})", name)
    return rank_accuracy(int(rank[1])) if rank else BY_NAME.get(name)


def _name(metric: Metric) -> str:
    return str(getattr(metric, "__name__", type(metric).__name__))


class Means:
    """Running means of several numbers over batches of different sizes."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._count = 0

    def add(self, size: int, numbers: dict[str, Any]) -> None:
        """Count the means `numbers` of a batch of `size` rows."""
        self._count += size
        for name, value in numbers.items():
            self._totals[name] = self._totals.get(name, 0.0) + float(value) * size

    def result(self) -> dict[str, float]:
        return {name: total / self._count for name, total in self._totals.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"totals": dict(self._totals), "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._totals, self._count = dict(state["totals"]), int(state["count"])


def confusion_matrix(outputs: Any, targets: Any, num_classes: int | None = None) -> np.ndarray:
    """How often rows of each class were taken for each class: int64 (C, C), [truth, guess].

    outputs: scores (N, C) or guessed classes (N,); targets: labels (N,) or probabilities (N, C).
    num_classes: C, if it isn't to be that of the scores or one more than the largest class.
    Raises ShapeError where there isn't a guess for each target, ArgumentError for NaN among the
    scores and for classes that are not 0..C-1.
    """
    who = "confusion_matrix"
    guesses, truths = _classes(who, outputs), _truths(who, targets)
    if guesses.shape != truths.shape or not len(guesses):
        raise ShapeError(
            f"{who} expected a guess for each target, got {len(guesses)} and {len(truths)}"
        )
    if num_classes is None:
        widths = [a.shape[1] for a in (outputs, targets) if np.ndim(a) == 2]
        num_classes = max([int(guesses.max()) + 1, int(truths.max()) + 1, *widths])
    count = positive(who, "num_classes", num_classes)
    for classes in (guesses, truths):
        check_labels(who, classes, count)
    return np.bincount(truths * count + guesses, minlength=count**2).reshape(count, count)


def precision_recall(
    confusion: np.ndarray, classes: Sequence[Any] | None = None
) -> list[dict[str, Any]]:
    """Rows {"class", "precision", "recall", "f1", "count"}, one for each class.

    confusion: (C, C), as `confusion_matrix` gives it; classes: their names, the numbers if left
    out.
    precision: the share of what was taken for the class that is of it; recall: the share of the
    class that was found; NaN where nothing was. f1: the harmonic mean of both, NaN for a class that
    nothing is of and nothing was taken for. count: rows of the class.
    Raises ShapeError for other than a square matrix and a name for each class.
    """
    confusion = np.asarray(confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ShapeError(f"precision_recall expected a matrix (C, C), got shape {confusion.shape}")
    names = list(range(len(confusion)) if classes is None else classes)
    if len(names) != len(confusion):
        raise ShapeError(
            f"precision_recall expected names of {len(confusion)} classes, got {len(names)}"
        )
    guessed, count = confusion.sum(axis=0).tolist(), confusion.sum(axis=1).tolist()
    right = np.diagonal(confusion).tolist()
    return [
        {
            "class": name,
            "precision": right[i] / guessed[i] if guessed[i] else math.nan,
            "recall": right[i] / count[i] if count[i] else math.nan,
            "f1": 2 * right[i] / (guessed[i] + count[i]) if guessed[i] + count[i] else math.nan,
            "count": count[i],
        }
        for i, name in enumerate(names)
    ]


def balanced_accuracy(confusion: np.ndarray) -> float:
    """The mean recall of the classes that have rows, so that small classes count as large ones.

    confusion: (C, C), as `confusion_matrix` gives it, of all rows: a mean over batches would be
    another number.  NaN without rows.
    """
    return _class_mean(confusion, "recall")


def macro_f1(confusion: np.ndarray) -> float:
    """The mean F1 of the classes that have rows; see `balanced_accuracy`.

    confusion: (C, C), as `confusion_matrix` gives it. NaN without rows.
    """
    return _class_mean(confusion, "f1")


def _class_mean(confusion: np.ndarray, figure: str) -> float:
    found = [row[figure] for row in precision_recall(confusion) if row["count"]]
    return float(np.mean(found)) if found else math.nan


def classification_report(confusion: np.ndarray, classes: Sequence[Any] | None = None) -> str:
    """`precision_recall` as a table for people, with the accuracy and the classes' means below.

    confusion: (C, C), as `confusion_matrix` gives it; classes: their names.
    Raises as `precision_recall` does.
    """
    rows = precision_recall(confusion, classes)
    cells = [("class", "precision", "recall", "f1", "count")]
    for row in rows:
        cells.append((row["class"], *(_share(row[n]) for n in cells[0][1:4]), str(row["count"])))
    lines = table(cells, rules=(1,)).splitlines()
    right, total = int(np.trace(confusion)), int(np.sum(confusion))
    last = [
        f"accuracy {_share(right / total if total else math.nan)}, {right} of {total}",
        f"balanced accuracy {_share(balanced_accuracy(confusion))}, "
        f"macro F1 {_share(macro_f1(confusion))}",
    ]
    return "\n".join([*lines, lines[1], *last])


def _share(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.4f}"


def worst_mistakes(scores: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` rows that are wrong, int64, with the surest of them first.

    scores: (N, C), what softmax takes: of probabilities, give the logarithms. labels: (N,).
    A row is as sure as its largest class's probability; of equally sure rows the first is first.
    Raises ArgumentError for NaN or +inf among the scores.
    """
    scores, labels = scored("worst_mistakes", scores, labels)
    count = positive("worst_mistakes", "count", count)
    check_scores("worst_mistakes", scores)
    guess, exact = scores.argmax(axis=1), scores.astype(np.float64)
    # What the other classes have, relative to the guess: where that has probability 1 but for
    # rounding, this still tells who is surer.
    others = np.exp(exact - exact.max(axis=1, keepdims=True))
    others[np.arange(len(scores)), guess] = 0
    wrong = np.flatnonzero(guess != labels)
    return wrong[np.argsort(others[wrong].sum(axis=1), kind="stable")[:count]]


def _classes(who: str, array: Any) -> np.ndarray:
    """Classes, int64 (N,): as they are, or those of the largest scores (N, C)."""
    found = _array(array)
    if found.ndim == 2 and found.shape[1] > 1:
        if found.dtype.kind == "f" and np.isnan(found).any():
            row = np.flatnonzero(np.isnan(found).any(axis=1))[0]
            raise ArgumentError(f"{who}: row {row} of the scores holds NaN")
        return found.argmax(axis=1)
    if found.ndim != 1:
        raise ShapeError(
            f"{who} expected classes (N,) or scores (N, C), C from 2, got shape {found.shape}"
        )
    if found.dtype.kind not in "iu":
        raise DTypeError(f"{who} expected classes as integers, got dtype {found.dtype}")
    return found.astype(np.int64)


def _truths(who: str, targets: Any) -> np.ndarray:
    """The classes of targets, int64 (N,): labels, or probabilities, whose rows sum to 1."""
    found = _array(targets)
    if found.ndim == 2:
        sums = found.sum(axis=1, dtype=np.float64)
        wrong = ~(np.abs(sums - 1) < ROUNDING) | (found < 0).any(axis=1)
        if wrong.any():
            row = int(wrong.argmax())
            raise ArgumentError(
                f"{who} expected labels, or probabilities whose rows sum to 1; row {row} of the "
                f"targets is {found[row]}: for several labels a row use binary_accuracy"
            )
    return _classes(who, found)


def _array(a: Any) -> np.ndarray:
    return np.asarray(a.data if isinstance(a, Tensor) else a)


def scored(who: str, outputs: Any, targets: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, C) and the targets' classes, int64 (N,), checked."""
    scores, truths = _array(outputs), _array(targets)
    fits = scores.ndim == 2 and truths.shape in (scores.shape[:1], scores.shape)
    if not fits or scores.size == 0 or scores.shape[1] == 1:
        mend = ": for one logit a row use binary_accuracy" if scores.shape[1:] in ((), (1,)) else ""
        raise ShapeError(
            f"{who} expected scores (N, C), C from 2, and labels (N,) or probabilities (N, C), "
            f"got shapes {scores.shape} and {truths.shape}{mend}"
        )
    labels = _truths(who, truths)
    check_labels(who, labels, scores.shape[1])
    return scores, labels


def check_labels(who: str, labels: np.ndarray, classes: int) -> None:
    """Raise ArgumentError unless all labels are 0..classes-1."""
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ArgumentError(
            f"{who} expected classes from 0 to {classes - 1}, got {wrong}: leave out rows that "
            "don't count, as a Trainer does with its loss's ignore_index"
        )


def check_scores(who: str, scores: np.ndarray) -> None:
    """Raise ArgumentError for a row of scores that softmax can make no probabilities of."""
    bad = np.flatnonzero(~np.isfinite(scores.max(axis=1)))  # NaN is a maximum as well
    if len(bad):
        raise ArgumentError(
            f"{who}: row {bad[0]} of the scores has the largest score {scores[bad[0]].max()}, "
            "which softmax can't make a probability of"
        )


def one_number(name: str, found: Any) -> float:
    """What a metric returned, which must be one number."""
    if np.size(found) != 1:
        raise ArgumentError(
            f"Trainer: the metric {name!r} must return one number for a batch, got an array of "
            f"shape {np.shape(found)}: take its mean"
        )
    return float(np.asarray(found).reshape(()))


def measured(
    loss: Any, metrics: Mapping[str, Metric], x: Any, outputs: np.ndarray, target: Any, value: float
) -> tuple[int, dict[str, float]]:
    """How many rows of a batch count, and the loss and metrics over them."""
    target, rows = np.asarray(target), len(x)
    ignored = getattr(loss, "ignore_index", None)
    if ignored is not None and target.dtype.kind in "iu" and target.shape == outputs.shape[:1]:
        counted = target != ignored
        outputs, target, rows = outputs[counted], target[counted], int(counted.sum())
    found = {name: one_number(name, metric(outputs, target)) for name, metric in metrics.items()}
    return rows, {"loss": value} | found
