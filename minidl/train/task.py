"""What is asked of an image: which of several classes it is of, which labels it has, or numbers.

A class a task, with all in which they differ: what is minimised, how several views of an image are
joined, how good an answer is, and the figures that tell it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minidl import nn
from minidl.constants.tasks import CLASSES, LABELS, NUMBERS
from minidl.models import Network
from minidl.nn import Module
from minidl.train import linear_fit
from minidl.train.calibration import calibration
from minidl.train.certainty import accuracy_interval
from minidl.train.label_metrics import label_report, number_report
from minidl.train.linear import STRENGTHS, deal
from minidl.train.metrics import (
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    precision_recall,
    rank_accuracy,
    worst_mistakes,
)  # fmt: skip

__all__ = ["TASKS", "Classes", "Labels", "Numbers", "Task"]

RANK = 5


class Task:
    """Base of the tasks.

    targets: of the images to train on, as a data set's `labels`.
    metrics: what Trainer shows beside the loss.
    objective: of the linear probe.  strengths: of the data against its penalty, to choose from.
    standard_unit: mean and standard deviation of each number in training, as `Network.standard`.
    heads: of the columns that tables have of `figures`, the first being what it is judged by.
    rightness: what the mean of `right` is called.
    """

    name: str
    metrics: tuple[str, ...] = ()
    heads: tuple[str, ...]
    rightness: str = "accuracy"
    objective: linear_fit.Objective
    strengths: tuple[float, ...] = STRENGTHS
    standard_unit: tuple[list[float], list[float]] | None = None

    def __init__(self, targets: np.ndarray) -> None:
        self.targets = targets

    def counts(self, targets: np.ndarray) -> np.ndarray:
        """Return how much each image counts, (N,) float64, of mean 1."""
        return np.ones(len(targets))

    @property
    def outputs(self) -> int:
        """Return how many scores an image has, C."""
        return int(self.targets.shape[1])

    def loss(self) -> Module:
        """Return what training minimises, of outputs (N, C) and targets."""
        raise NotImplementedError

    def shown(self, mixed: bool) -> tuple[str, ...]:
        """Return what of `metrics` says something; mixed: of a training on mixtures of images."""
        return self.metrics

    @staticmethod
    def joined(views: np.ndarray) -> np.ndarray:
        """Return scores (..., C) of scores (..., V, C) of V views or networks."""
        raise NotImplementedError

    def losses(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the loss of each image, (..., N), of scores (..., N, C)."""
        raise NotImplementedError

    def right(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return how right each image is, (..., N), of scores (..., N, C): 1 is all that can be."""
        raise NotImplementedError

    def figures(
        self, scores: np.ndarray, targets: np.ndarray, names: Sequence[str]
    ) -> dict[str, Any]:
        """Return what results.json has of scores (N, C); names: of the C."""
        raise NotImplementedError

    @staticmethod
    def cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the cells of a table, under `heads`."""
        raise NotImplementedError

    def told(self, figures: Mapping[str, Any]) -> str:
        """Return the first of `heads` in a sentence."""
        return f"{self.heads[0]} {self.cells(figures)[0]}"

    def mistakes(
        self, scores: np.ndarray, targets: np.ndarray, names: Sequence[str], count: int
    ) -> list[tuple[int, dict[str, Any]]]:
        """Return the number of each image that the scores are most wrong about, at most `count`,
        the worst first, with {"truth", "guess", "probability"}: texts, and how sure it was."""
        worst = np.argsort(-self.losses(scores, targets), kind="stable")
        wrong = worst[self.right(scores, targets)[worst] < 1][:count]
        return [
            (
                int(i),
                {
                    "truth": self.answer(targets[i], names),
                    "guess": self.answer(scores[i], names),
                    "probability": None,
                },
            )
            for i in wrong
        ]

    def answer(self, scores: np.ndarray, names: Sequence[str]) -> str:
        """Return scores or targets (C,) of an image as a text."""
        raise NotImplementedError

    def folds(self, most: int) -> int:
        """Return how many parts, at most `most`, the images can be dealt to."""
        return min(most, len(self.targets))

    def dealt(self, folds: int, seed: int) -> np.ndarray:
        """Return the part, 0..folds-1, of each image, (N,)."""
        order = np.random.default_rng(seed).permutation(len(self.targets))
        parts = np.empty(len(order), np.int64)
        parts[order] = np.arange(len(order)) % folds
        return parts

    def standard(self, targets: np.ndarray) -> np.ndarray:
        """Return targets as the probe is fitted to them."""
        return targets

    def to_standard(self, network: Network) -> None:
        """Let the network give what `loss` takes, in place of what is asked for."""

    def from_standard(self, network: Network) -> None:
        """The reverse of `to_standard`."""


class Classes(Task):
    """One of several classes; targets (N,) int64, scores before the softmax.

    weights: how much each class counts, (C,) float32; None: as much as it has images.
    """

    name, metrics = CLASSES, ("accuracy",)
    heads = ("accuracy", "95 % interval", "balanced", "macro F1")
    objective = staticmethod(linear_fit.cross_entropy)
    weights: np.ndarray | None = None

    @property
    def outputs(self) -> int:
        return int(self.targets.max()) + 1

    def counts(self, targets: np.ndarray) -> np.ndarray:
        if self.weights is None:
            return super().counts(targets)
        return self.weights.astype(np.float64)[targets]

    def loss(self) -> Module:
        return nn.CrossEntropyLoss(self.weights)

    @staticmethod
    def joined(views: np.ndarray) -> np.ndarray:
        """The logarithms of the mean probabilities."""
        logs = _log_softmax(views)
        found = np.logaddexp.reduce(logs, axis=-2) - np.log(views.shape[-2])
        return np.asarray(found)

    def losses(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        own = np.broadcast_to(targets[:, np.newaxis], (*scores.shape[:-1], 1))  # (..., N, 1)
        return np.asarray(-np.take_along_axis(_log_softmax(scores), own, axis=-1)[..., 0])

    def right(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.asarray(scores.argmax(axis=-1) == targets)

    def figures(
        self, scores: np.ndarray, targets: np.ndarray, names: Sequence[str]
    ) -> dict[str, Any]:
        """Accuracy with its 95 % interval, balanced accuracy, macro F1, rank-5 accuracy (None for
        few classes), loss, calibration, confusion matrix, and each class's precision, recall and
        F1."""
        confusion = confusion_matrix(scores, targets, len(names))
        right, count = int(np.trace(confusion)), len(targets)
        return {
            "accuracy": right / count,
            "interval": [*accuracy_interval(right, count)],
            "balanced_accuracy": balanced_accuracy(confusion),
            "macro_f1": macro_f1(confusion),
            "rank5": rank_accuracy(RANK)(scores, targets) if len(names) > RANK else None,
            "loss": float(self.losses(scores, targets).mean()),
            "calibration": calibration(scores, targets),
            "confusion": confusion.tolist(),
            "per_class": precision_recall(confusion, list(names)),
        }

    @staticmethod
    def cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
        interval = "{:.1%} to {:.1%}".format(*figures["interval"])
        names = ("accuracy", "balanced_accuracy", "macro_f1")
        share, *others = (f"{figures[name]:.2%}" for name in names)
        return share, interval, *others

    def mistakes(
        self, scores: np.ndarray, targets: np.ndarray, names: Sequence[str], count: int
    ) -> list[tuple[int, dict[str, Any]]]:
        """Those it is surest of first."""
        shares = np.exp(_log_softmax(scores))
        found = []
        for i in worst_mistakes(scores, targets, count).tolist():
            guess = int(scores[i].argmax())
            sure = {"guess": names[guess], "probability": float(shares[i, guess])}
            found.append((i, {"truth": names[int(targets[i])], **sure}))
        return found

    def folds(self, most: int) -> int:
        return min(most, int(np.bincount(self.targets).min()))

    def dealt(self, folds: int, seed: int) -> np.ndarray:
        return deal("Transfer", self.targets, folds, seed)


class Labels(Task):
    """Any of several labels; targets (N, C) of 0 and 1, scores before the sigmoid."""

    name, metrics = LABELS, ("binary_accuracy",)
    heads = ("mean average precision", "F1", "labels right", "all right")
    rightness = "labels right"
    objective = staticmethod(linear_fit.label_entropy)

    def loss(self) -> Module:
        return nn.BCEWithLogitsLoss()

    def shown(self, mixed: bool) -> tuple[str, ...]:
        return () if mixed else self.metrics  # of mixed images no label is right or wrong

    @staticmethod
    def joined(views: np.ndarray) -> np.ndarray:
        """The log-odds of the mean probabilities."""
        views = views.astype(np.float64)
        present = np.logaddexp.reduce(-np.logaddexp(0, -views), axis=-2)
        absent = np.logaddexp.reduce(-np.logaddexp(0, views), axis=-2)
        return np.asarray(present - absent)

    def losses(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The mean over the labels of the binary cross-entropies."""
        scores = scores.astype(np.float64)
        return np.asarray((np.logaddexp(0, scores) - targets * scores).mean(axis=-1))

    def right(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The share of the labels that are."""
        return np.asarray(((scores > 0) == (targets > 0)).mean(axis=-1))

    def figures(
        self, scores: np.ndarray, targets: np.ndarray, names: Sequence[str]
    ) -> dict[str, Any]:
        """See `label_report`; the loss too."""
        loss = float(self.losses(scores, targets).mean())
        return label_report(scores, targets, names) | {"loss": loss}

    @staticmethod
    def cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
        names = ("average_precision", "f1", "accuracy", "exact")
        return tuple(f"{figures[name]:.2%}" for name in names)

    def answer(self, scores: np.ndarray, names: Sequence[str]) -> str:
        """The labels that it has."""
        given = [name for name, score in zip(names, scores, strict=True) if score > 0]
        return ", ".join(given) or "none"


class Numbers(Task):
    """Numbers; targets and scores (N, C), in the same unit.

    Training and the probe see them less their mean, in standard deviations, so that neither rates
    nor penalties depend on the unit.
    """

    name, heads = NUMBERS, ("R2", "mean absolute error")
    rightness = "variance told"
    objective = staticmethod(linear_fit.squares)
    strengths = (1e-6, 1e-5, *STRENGTHS)  # of many numbers nothing can be told
    standard_unit: tuple[list[float], list[float]]

    def __init__(self, targets: np.ndarray) -> None:
        super().__init__(targets)
        exact = targets.astype(np.float64)
        self.mean, scale = exact.mean(axis=0), exact.std(axis=0)
        self.scale = np.where(scale > 0, scale, 1.0)
        self.standard_unit = self.mean.tolist(), self.scale.tolist()

    def loss(self) -> Module:
        return StandardizedLoss(self.mean, self.scale)

    @staticmethod
    def joined(views: np.ndarray) -> np.ndarray:
        """The means."""
        return np.asarray(views.mean(axis=-2, dtype=np.float64))

    def losses(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The mean squared error, in standard deviations of the training images."""
        return np.asarray((((scores - targets) / self.scale) ** 2).mean(axis=-1))

    def right(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """One less the loss: its mean is the share of the variance that is told."""
        return 1 - self.losses(scores, targets)

    def figures(
        self, scores: np.ndarray, targets: np.ndarray, names: Sequence[str]
    ) -> dict[str, Any]:
        """See `number_report`; the loss too."""
        loss = float(self.losses(scores, targets).mean())
        return number_report(scores, targets, names) | {"loss": loss}

    @staticmethod
    def cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
        errors = ", ".join(_told(row["mae"]) for row in figures["per_class"])
        return f"{figures['r2']:.4f}", errors

    def answer(self, scores: np.ndarray, names: Sequence[str]) -> str:
        """Each number after its name."""
        return ", ".join(f"{name} {_told(x)}" for name, x in zip(names, scores, strict=True))

    def standard(self, targets: np.ndarray) -> np.ndarray:
        return np.asarray((targets - self.mean) / self.scale)

    def to_standard(self, network: Network) -> None:
        network.to_standard(self.standard_unit)

    def from_standard(self, network: Network) -> None:
        network.standard = self.standard_unit
        network.to_unit()


class StandardizedLoss(Module):
    """The mean squared error of outputs in standard units, of targets (N, C) as they are."""

    def __init__(self, mean: np.ndarray, scale: np.ndarray) -> None:
        self.mean, self.scale = nn.Buffer(mean), nn.Buffer(scale)
        self.loss = nn.MSELoss()

    def forward(self, outputs: Any, targets: Any) -> Any:
        standard = (np.asarray(targets) - self.mean.data) / self.scale.data
        return self.loss(outputs, standard.astype(outputs.dtype))


def _told(number: float) -> str:
    """Four digits, or all before the point of a number below a million."""
    return f"{number:.0f}" if 1e4 <= abs(number) < 1e6 else f"{number:.4g}"


TASKS: dict[str, type[Task]] = {each.name: each for each in (Classes, Labels, Numbers)}


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    scores = scores.astype(np.float64)
    return np.asarray(scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True))
