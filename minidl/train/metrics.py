"""Metrics: functions of outputs and targets (ndarrays) that give the mean over the batch."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minidl.errors import ArgumentError

__all__ = ["accuracy"]

Metric = Callable[[np.ndarray, np.ndarray], float]


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """The share of rows whose largest score is the target's class.

    outputs: (N, C) scores; targets: (N,) labels or (N, C) probabilities.
    """
    labels = targets.argmax(axis=1) if targets.ndim == 2 else targets
    return float((outputs.argmax(axis=1) == labels).mean())


BY_NAME: dict[str, Metric] = {"accuracy": accuracy}


def by_name(metrics: Iterable[str | Metric]) -> dict[str, Metric]:
    """Metrics given as names or functions, by name."""
    if isinstance(metrics, str):
        metrics = (metrics,)
    found: dict[str, Metric] = {}
    for metric in metrics:
        if isinstance(metric, str):
            if metric not in BY_NAME:
                raise ArgumentError(
                    f"Trainer: metrics are functions or names of {list(BY_NAME)}, got {metric!r}"
                )
            found[metric] = BY_NAME[metric]
        elif callable(metric):
            found[getattr(metric, "__name__", type(metric).__name__)] = metric
        else:
            raise ArgumentError(
                f"Trainer: metrics are functions or names of {list(BY_NAME)}, got {metric!r}"
            )
    return found


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
