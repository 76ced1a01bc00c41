"""Average precision and recall by COCO's rules.

Source: Lin et al. 2014, "Microsoft COCO: common objects in context", and the evaluation code that
the authors publish for it (cocodataset.org, Detection Evaluation).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minidl.apps.detect.pairs import Prediction, Target
from minidl.data.detection.overlap import overlaps

__all__ = ["COCO_FIGURES", "coco_figures"]

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of the overlap
RECALLS = np.linspace(0, 1, 101)
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
MOST = 100  # predictions of a class in an image that count
# name -> area, most predictions a class and image, threshold (None: all), precision or recall
COCO_FIGURES = {
    "AP": ("all", 100, None, True), "AP50": ("all", 100, 0, True), "AP75": ("all", 100, 5, True),
    "APs": ("small", 100, None, True), "APm": ("medium", 100, None, True),
    "APl": ("large", 100, None, True), "AR1": ("all", 1, None, False),
    "AR10": ("all", 10, None, False), "AR100": ("all", 100, None, False),
    "ARs": ("small", 100, None, False), "ARm": ("medium", 100, None, False),
    "ARl": ("large", 100, None, False),
}  # fmt: skip


class _Matched(NamedTuple):
    """The predictions of a class in an image: (areas, thresholds, n) but for scores (n,).

    hit: whether it found an object.  ignored: whether it counts neither for nor against.
    objects: (areas,) how many there are to find.
    """

    scores: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray


def coco_figures(
    predictions: Sequence[Prediction], targets: Sequence[Target], classes: int
) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Return the twelve figures, and AP and AP50 of each class, (classes,).

    A class without an object has NaN and isn't part of the means; a mean over none is NaN. Crowd
    regions are ignored, and so are predictions in them; difficult objects count as any other.
    """
    tables = {name: np.full(classes, np.nan) for name in COCO_FIGURES}
    for label in range(classes):
        found = [
            _match(*_of_class(p, t, label))
            for p, t in zip(predictions, targets, strict=True)
            if label in p["labels"] or label in t["labels"]
        ]
        curves = {}
        for name, (area, most, threshold, precise) in COCO_FIGURES.items():
            if (area, most) not in curves:
                curves[area, most] = _accumulate(found, list(AREAS).index(area), most)
            result = curves[area, most]
            if result is not None:
                values = result[0].mean(axis=1) if precise else result[1]  # (thresholds,)
                tables[name][label] = values.mean() if threshold is None else values[threshold]
    figures = {name: _mean(values) for name, values in tables.items()}
    return figures, tables["AP"], tables["AP50"]


def _mean(values: np.ndarray) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def _of_class(
    prediction: Prediction, target: Target, label: int
) -> tuple[np.ndarray, np.ndarray, Target]:
    chosen = np.flatnonzero(prediction["labels"] == label)[:MOST]
    there = target["labels"] == label
    objects = {name: target[name][there] for name in ("boxes", "area", "crowd")}
    return prediction["boxes"][chosen], prediction["scores"][chosen], objects


def _match(boxes: np.ndarray, scores: np.ndarray, objects: Target) -> _Matched:
    """Give each prediction, the best first, the object that it overlaps most and that is free.

    An object that counts goes before one that doesn't, however much it overlaps; of equal overlaps
    the last one is taken.
    """
    low, high = np.array(list(AREAS.values())).T[:, :, np.newaxis]  # (areas, 1)
    area, crowd = objects["area"], objects["crowd"]
    outside = (area < low) | (area > high) | crowd  # (areas, objects): those to ignore
    shared = overlaps(boxes, objects["boxes"], crowd)
    hit = np.zeros((len(AREAS), len(THRESHOLDS), len(boxes)), np.bool_)
    ignored = np.zeros_like(hit)
    taken = np.zeros((*hit.shape[:2], len(area)), np.bool_)
    limits = np.minimum(THRESHOLDS, 1 - 1e-10)[:, np.newaxis]  # (thresholds, 1)
    for n in np.flatnonzero(shared.max(axis=1, initial=0) >= limits[0]):
        free = (~taken | crowd) & (shared[n] >= limits)  # (areas, thresholds, objects)
        counting = free & ~outside[:, np.newaxis]
        which = np.where(counting.any(axis=2, keepdims=True), counting, free)
        worth = np.where(which, shared[n], -1.0)[..., ::-1]
        best = len(area) - 1 - worth.argmax(axis=2)  # (areas, thresholds)
        hit[..., n] = which.any(axis=2)
        a, t = np.nonzero(hit[..., n])
        taken[a, t, best[a, t]] = True
        ignored[a, t, n] = outside[a, best[a, t]]
    sizes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    ignored |= ~hit & ((sizes < low) | (sizes > high))[:, np.newaxis]
    return _Matched(scores, hit, ignored, (~outside).sum(axis=1))


def _accumulate(
    found: Sequence[_Matched], area: int, most: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return precision (thresholds, recalls) and the largest recall (thresholds,) of a class.

    None where there is no object to find.
    """
    objects = sum(int(each.objects[area]) for each in found)
    if not objects:
        return None
    order = np.argsort(-np.concatenate([e.scores[:most] for e in found]), kind="stable")
    hit = np.concatenate([e.hit[area, :, :most] for e in found], axis=1)[:, order]
    counted = ~np.concatenate([e.ignored[area, :, :most] for e in found], axis=1)[:, order]
    right = np.cumsum(hit & counted, axis=1, dtype=np.float64)
    wrong = np.cumsum(~hit & counted, axis=1, dtype=np.float64)
    recall = right / objects  # (thresholds, n)
    precision = right / (right + wrong + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    sampled = np.zeros((len(THRESHOLDS), len(RECALLS)))
    for row, of, at in zip(sampled, precision, recall, strict=True):
        places = np.searchsorted(at, RECALLS, side="left")
        there = places < len(at)
        row[there] = of[places[there]]
    return sampled, recall[:, -1] if len(order) else np.zeros(len(THRESHOLDS))
