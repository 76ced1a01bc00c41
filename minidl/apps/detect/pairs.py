"""Predictions and targets of a set of images, checked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minidl.data.detection.dataset import checked_target
from minidl.data.detection.overlap import areas
from minidl.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["Prediction", "Target", "by_score", "checked"]

Prediction = dict[str, np.ndarray]
Target = dict[str, np.ndarray]


def checked(
    who: str, predictions: Sequence[Any], targets: Sequence[Any], classes: int
) -> tuple[list[Prediction], list[Target]]:
    """Return predictions, each by falling score, and targets, with all their fields; or raise.

    who: what errors call the caller.  classes: how many there are.
    """
    if len(predictions) != len(targets) or not len(targets):
        raise ShapeError(
            f"{who} expected a prediction for each target, at least one, got "
            f"{len(predictions)} predictions and {len(targets)} targets"
        )
    return (
        [_prediction(who, i, each, classes) for i, each in enumerate(predictions)],
        [_target(who, i, each, classes) for i, each in enumerate(targets)],
    )


def _target(who: str, index: int, target: Any, classes: int) -> Target:
    found = checked_target(who, f"target {index}", target, classes)
    count = len(found["boxes"])
    for name in ("difficult", "crowd"):
        found.setdefault(name, np.zeros(count, np.bool_))
    found["boxes"] = found["boxes"].astype(np.float64)
    found["area"] = found.get("area", areas(found["boxes"])).astype(np.float64)
    return found


def _prediction(who: str, index: int, prediction: Any, classes: int) -> Prediction:
    what = f"{who}: prediction {index}"
    if not isinstance(prediction, Mapping) or not {"boxes", "labels", "scores"} <= {*prediction}:
        raise DTypeError(f'{what}: expected a dict with "boxes", "labels" and "scores"')
    boxes = np.asarray(prediction["boxes"], np.float64)
    labels, scores = (np.asarray(prediction[name]) for name in ("labels", "scores"))
    if not boxes.size:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or {labels.shape, scores.shape} != {boxes.shape[:1]}:
        raise ShapeError(
            f"{what}: expected boxes (n, 4), labels (n,) and scores (n,), got {boxes.shape}, "
            f"{labels.shape} and {scores.shape}"
        )
    if scores.size and scores.dtype.kind not in "fiu":
        raise DTypeError(f"{what}: scores must be numbers, got {scores.dtype}")
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        name = "scores" if np.isfinite(boxes).all() else "boxes"
        raise ArgumentError(
            f"{what}: {name} must be finite numbers, got NaN or infinity: the training diverged, "
            "or a box was decoded from numbers too large"
        )
    if len(labels) and labels.dtype.kind not in "iu":
        raise DTypeError(f"{what}: labels must be whole numbers, got {labels.dtype}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ArgumentError(
            f"{what}: expected labels from 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
        )
    arrays = {"boxes": boxes, "labels": labels.astype(np.int64)}
    return by_score(arrays | {"scores": scores.astype(np.float64)})


def by_score(prediction: Mapping[str, np.ndarray]) -> Prediction:
    """Return a prediction with its boxes by falling score; equal ones keep their order."""
    order = np.argsort(-np.asarray(prediction["scores"], np.float64), kind="stable")
    return {name: np.asarray(array)[order] for name, array in prediction.items()}
