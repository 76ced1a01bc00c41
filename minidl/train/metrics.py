"""Metrics: functions of outputs and targets (ndarrays) that give the mean over the batch."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, ShapeError

__all__ = ["accuracy"]

Metric = Callable[[np.ndarray, np.ndarray], float]


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """The share of rows whose largest score is the target's class.

    outputs: (N, C) scores; targets: (N,) labels or (N, C) probabilities.
    """
    outputs, targets = (np.asarray(getattr(a, "data", a)) for a in (outputs, targets))
    rows = outputs.shape[:1]
    if outputs.ndim != 2 or targets.shape not in (rows, outputs.shape):
        raise ShapeError(
            "accuracy expected scores (N, C) and labels (N,) or probabilities (N, C), "
            f"got shapes {outputs.shape} and {targets.shape}"
        )
    labels = targets.argmax(axis=1) if targets.ndim == 2 else targets
    return float((outputs.argmax(axis=1) == labels).mean())


BY_NAME: dict[str, Metric] = {"accuracy": accuracy}
COLUMNS = ("epoch", "lr", "loss", "seconds")  # of the history, beside the metrics


def by_name(metrics: Iterable[str | Metric]) -> dict[str, Metric]:
    """Metrics given as names or functions, by name.

    Raises ArgumentError for what is neither, and for two columns of the history with one name.
    """
    if isinstance(metrics, str):
        metrics = (metrics,)
    found: dict[str, Metric] = {}
    for metric in metrics:
        function = BY_NAME.get(metric) if isinstance(metric, str) else metric
        if not callable(function):
            raise ArgumentError(
                f"Trainer: metrics are functions or names of {list(BY_NAME)}, got {metric!r}"
            )
        name = metric if isinstance(metric, str) else _name(metric)
        if name in found or name in COLUMNS:
            raise ArgumentError(
                f"Trainer: a metric is called {name!r} like another column of the history: "
                "give it its own __name__"
            )
        found[name] = function
    return found


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
