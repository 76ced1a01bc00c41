"""Average precision by the rules of Pascal VOC, and the curves of precision over recall.

Source: Everingham et al. 2010, "The Pascal visual object classes (VOC) challenge", section 4.2,
and the development kits of 2007 (11 points) and 2012 (area).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minidl.apps.detect.pairs import Prediction, Target
from minidl.data.detection.overlap import overlaps

__all__ = ["Curve", "voc_curve"]

POINTS = np.linspace(0, 1, 11)  # of recall


class Curve(NamedTuple):
    """Precision over recall of one class, as more and more predictions are taken.

    scores: (n,) falling.  recall, precision: (n,), NaN recall where there is no object.
    objects: how many there are, but for difficult ones and crowds.
    """

    scores: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    objects: int

    @property
    def area(self) -> float:
        """Return the area under the curve made monotonic (VOC 2010 and later)."""
        if not self.objects:
            return float("nan")
        recall = np.concatenate([[0], self.recall])
        return float((np.diff(recall) * self._envelope()).sum())

    @property
    def points(self) -> float:
        """Return the mean of the best precision at recall 0, 0.1, ..., 1 and above (VOC 2007)."""
        if not self.objects:
            return float("nan")
        envelope = np.concatenate([self._envelope(), [0]])
        places = np.searchsorted(self.recall, POINTS - 1e-12, side="left")
        return float(envelope[places].mean())

    def _envelope(self) -> np.ndarray:
        return np.maximum.accumulate(self.precision[::-1])[::-1]


def voc_curve(
    predictions: Sequence[Prediction], targets: Sequence[Target], label: int, threshold: float
) -> Curve:
    """Return the curve of a class, where a hit overlaps an object by `threshold` or more.

    Of all images together, the best prediction first, each goes to the object that it overlaps
    most: a hit, unless the object was found before. Difficult objects and crowds count neither for
    nor against.
    """
    scores, hits, ignored = [np.zeros(0)], [np.zeros(0, np.bool_)], [np.zeros(0, np.bool_)]
    objects = 0
    for prediction, target in zip(predictions, targets, strict=True):
        of = prediction["labels"] == label
        there = target["labels"] == label
        if not (of.any() or there.any()):
            continue
        aside = (target["difficult"] | target["crowd"])[there]
        objects += int((~aside).sum())
        shared = overlaps(prediction["boxes"][of], target["boxes"][there], target["crowd"][there])
        hit, skipped = _match(shared, aside, threshold)
        scores.append(prediction["scores"][of])
        hits.append(hit)
        ignored.append(skipped)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    counted = order[~np.concatenate(ignored)[order]]
    right = np.cumsum(np.concatenate(hits)[counted], dtype=np.float64)
    taken = np.arange(1, 1 + len(counted))
    recall = right / objects if objects else np.full(len(counted), np.nan)
    return Curve(np.concatenate(scores)[counted], recall, right / taken, objects)


def _match(
    shared: np.ndarray, aside: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return which predictions of an image are hits, and which are ignored.

    shared: (n, objects) overlaps, the best prediction first.  aside: (objects,) those to ignore.
    """
    hit = np.zeros(len(shared), np.bool_)
    ignored = np.zeros_like(hit)
    free = ~aside
    for n in np.flatnonzero(shared.max(axis=1, initial=0) >= threshold):
        best = int(shared[n].argmax())
        hit[n], ignored[n] = free[best], aside[best]
        free[best] = False
    return hit, ignored
