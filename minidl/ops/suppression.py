"""Non-maximum suppression: of boxes that overlap, the one with the best score stays."""

from typing import Any

import numpy as np

from minidl import kernels
from minidl.checks import real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.boxes import check_boxes, check_numbers

__all__ = ["batched_nms", "nms", "soft_nms"]

METHODS = ("gaussian", "linear")


def nms(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Return the indices of the boxes that stay, by falling score.

    A box stays unless its IoU with a box of a better score that stays is above `iou_threshold`. Of
    equal scores the first counts as the better.
    boxes: (n, 4), x1, y1, x2, y2.  scores: (n,).
    Raises ShapeError, DTypeError or ArgumentError for boxes or scores that aren't such, NaNs too.
    """
    boxes, scores = _scored("nms", boxes, scores)
    order = _falling(scores)
    return order[_stay("nms", boxes[order], iou_threshold)]


def batched_nms(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, iou_threshold: float
) -> np.ndarray:
    """Return the indices of the boxes that stay, by falling score: `nms` for each label alone.

    labels: (n,) whole numbers, such as classes, or images and classes.
    """
    boxes, scores = _scored("batched_nms", boxes, scores)
    labels = _labels("batched_nms", labels, len(boxes))
    order = _falling(scores)
    order = order[np.argsort(labels[order], kind="stable")]  # by label, then by falling score
    boxes, starts = boxes[order], np.flatnonzero(np.diff(labels[order])) + 1
    parts = np.split(boxes, starts)
    stay = np.concatenate([_stay("batched_nms", part, iou_threshold) for part in parts])
    kept = np.sort(order[stay])  # of equal scores, the first index comes first
    return kept[_falling(scores[kept])]


def soft_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the boxes that stay and their lowered scores, which fall.

    Each box lowers the scores of those it overlaps, instead of removing them: times
    exp(-IoU^2 / sigma) if `method` is "gaussian", times 1 - IoU where the IoU is above
    `iou_threshold` if it is "linear". Boxes whose score falls below `score_threshold` are left out.
    labels: (n,) whole numbers; boxes of different labels leave each other alone.
    Source: Bodla et al. 2017, "Soft-NMS", equations 2 and 3.
    """
    boxes, scores = _scored("soft_nms", boxes, scores)
    if not isinstance(method, str) or method not in METHODS:
        raise ArgumentError(f"soft_nms: method must be one of {METHODS}, got {method!r:.60}")
    sigma, score_threshold = (
        real("soft_nms", name, value)
        for name, value in (("sigma", sigma), ("score_threshold", score_threshold))
    )
    if sigma <= 0:
        raise ArgumentError(f"soft_nms: sigma must be larger than 0, got {sigma}")
    iou_threshold = _threshold("soft_nms", iou_threshold)
    labels = None if labels is None else _labels("soft_nms", labels, len(boxes))
    rest = np.flatnonzero(scores >= score_threshold)
    left = scores[rest]
    indices, lowered = [], []
    while len(rest):
        best = int(np.argmax(left))  # the first of equal ones
        box, label = rest[best], None if labels is None else labels[rest[best]]
        indices.append(box)
        lowered.append(left[best])
        rest, left = np.delete(rest, best), np.delete(left, best)
        iou = kernels.use("boxes").box_iou(boxes[box : box + 1], boxes[rest])[0]
        if method == "gaussian":
            factor = np.exp(-(iou**2) / sigma)
        else:
            factor = np.where(iou > iou_threshold, 1 - iou, 1).astype(iou.dtype)
        factor = factor if labels is None else np.where(labels[rest] == label, factor, 1)
        left = left * factor.astype(left.dtype)
        rest, left = rest[left >= score_threshold], left[left >= score_threshold]
    return np.array(indices, np.int64), np.array(lowered, scores.dtype)


def _falling(scores: np.ndarray) -> np.ndarray:
    """Return the order of falling scores; of equal ones, the first comes first."""
    return np.argsort(-scores, kind="stable")


def _stay(who: str, boxes: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Return which of those boxes, ordered by falling score, stay: (n,) bool."""
    return kernels.use("nms").nms(np.ascontiguousarray(boxes), _threshold(who, iou_threshold))


def _threshold(who: str, iou_threshold: Any) -> float:
    iou_threshold = real(who, "iou_threshold", iou_threshold)
    if not 0 <= iou_threshold <= 1:
        raise ArgumentError(f"{who}: iou_threshold must be from 0 to 1, got {iou_threshold}")
    return iou_threshold


def _scored(who: str, boxes: Any, scores: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes and their scores, checked."""
    boxes, scores = check_boxes(who, "boxes", boxes), check_numbers(who, "scores", scores)
    if scores.shape != boxes.shape[:1]:
        raise ShapeError(
            f"{who} expected a score for each of {len(boxes)} boxes, got scores of shape "
            f"{scores.shape}"
        )
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores))[0])
        raise ArgumentError(f"{who}: scores must be numbers, got NaN in row {row}")
    return boxes, scores


def _labels(who: str, labels: Any, count: int) -> np.ndarray:
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        got = getattr(labels, "dtype", type(labels).__name__)
        raise DTypeError(f"{who} expected an ndarray of whole numbers as labels, got {got}")
    if labels.shape != (count,):
        raise ShapeError(
            f"{who} expected a label for each of {count} boxes, got labels of shape {labels.shape}"
        )
    return labels
