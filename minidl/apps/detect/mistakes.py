"""What is wrong with predictions: class, place, both, a duplicate, nothing there, or missed.

Source: Hoiem, Chodpathumwan, Dai 2012, "Diagnosing error in object detectors", which also says
how many predictions are looked at: of each class as many as it has objects, the best ones; and
Bolya, Foley, Hays, Hoffman 2020, "TIDE: a general toolbox for identifying object detection
errors", for the kinds and their limits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minidl.apps.detect.pairs import Prediction, Target
from minidl.data.detection.overlap import overlaps

__all__ = ["KINDS", "Sorted", "sorted_by_kind"]

CORRECT, IGNORED = "correct", "ignored"
KINDS = ("class", "place", "both", "duplicate", "background", "missed")
FOUND, NEAR = 0.5, 0.1  # overlaps from which an object is found, and something of it is there


class Sorted(NamedTuple):
    """The predictions of an image that are looked at, and what they are.

    numbers: of the predictions (by falling score), (n,).  kinds: "correct", "ignored" or an error.
    missed: numbers of the objects that no prediction comes near.
    """

    numbers: np.ndarray
    kinds: list[str]
    missed: np.ndarray

    @property
    def errors(self) -> int:
        """Return how many there are."""
        return sum(kind in KINDS for kind in self.kinds) + len(self.missed)


def sorted_by_kind(
    predictions: Sequence[Prediction], targets: Sequence[Target], least: np.ndarray
) -> list[Sorted]:
    """Return what the predictions of each image are.

    least: (classes,) the score from which predictions of a class are looked at.
    """
    return [_of_image(p, t, least) for p, t in zip(predictions, targets, strict=True)]


def _of_image(prediction: Prediction, target: Target, least: np.ndarray) -> Sorted:
    numbers = np.flatnonzero(prediction["scores"] >= least[prediction["labels"]])
    boxes, labels = prediction["boxes"][numbers], prediction["labels"][numbers]
    counts = ~(target["difficult"] | target["crowd"])
    shared = overlaps(boxes, target["boxes"], target["crowd"])  # (n, objects)
    same = labels[:, np.newaxis] == target["labels"]
    owner = _found(np.where(same & counts, shared, 0))
    kinds, excused = [], {int(i) for i in owner if i >= 0}
    for n, object_ in enumerate(owner):
        own = np.where(same[n] & counts, shared[n], 0)
        other = np.where(~same[n] & counts, shared[n], 0)
        aside = np.where(same[n] & ~counts, shared[n], 0)
        kind, about = _kind(own, other, aside, object_ >= 0)
        kinds.append(kind)
        if kind in ("class", "place"):
            excused.add(about)
    missed = [i for i in np.flatnonzero(counts) if int(i) not in excused]
    return Sorted(numbers, kinds, np.array(missed, np.int64))


def _found(shared: np.ndarray) -> np.ndarray:
    """Return the object that each prediction finds, -1 for none; each object is found once."""
    owner = np.full(len(shared), -1)
    free = np.ones(shared.shape[1], np.bool_)
    for n in range(len(shared)):
        worth = np.where(free, shared[n], 0)
        if worth.max(initial=0) >= FOUND:
            owner[n] = worth.argmax()
            free[owner[n]] = False
    return owner


def _kind(own: np.ndarray, other: np.ndarray, aside: np.ndarray, is_hit: bool) -> tuple[str, int]:
    """Return what a prediction is, and the object that it is about, -1 for none.

    own, other, aside: its overlaps with objects of its class, of others, and those to ignore.
    """
    if is_hit:
        return CORRECT, -1
    if aside.max(initial=0) >= FOUND:
        return IGNORED, -1
    best, beside = own.max(initial=0), other.max(initial=0)
    if NEAR <= best < FOUND:
        return "place", int(own.argmax())
    if beside >= FOUND:
        return "class", int(other.argmax())
    if best >= FOUND:
        return "duplicate", -1
    return ("both", -1) if beside >= NEAR else ("background", -1)
