"""What a detector learns of its anchors: which box each belongs to, and the box's coordinates."""

import math
from typing import Any

import numpy as np

from minidl.checks import flag, real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.boxes import check_numbers, check_rows, columns_of

__all__ = ["decode_boxes", "encode_boxes", "hard_negatives", "match_boxes", "match_priors"]

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
MOST_GROWTH = math.log(1000 / 16)  # of a box relative to its anchor: 1000 pixels for one of 16


def encode_boxes(boxes: np.ndarray, anchors: np.ndarray, *, weights: Any = WEIGHTS) -> np.ndarray:
    """Return the codes of boxes relative to anchors.  (n, 4), (n, 4) -> (n, 4).

    The distance of the centers over the anchor's width and height, and the logarithms of width and
    height over the anchor's, each times its weight.
    Raises ArgumentError for boxes or anchors without an area.
    Source: Girshick et al. 2014, "Rich feature hierarchies", appendix C.
    """
    who = "encode_boxes"
    boxes, anchors = check_rows(who, "boxes", boxes), check_rows(who, "anchors", anchors)
    _check_same(who, "boxes", boxes, anchors)
    factors = _weights(who, weights, boxes.dtype)
    centers, sizes = _centers(columns_of(who, "boxes", boxes, positive=True))
    anchor_centers, anchor_sizes = _centers(columns_of(who, "anchors", anchors, positive=True))
    codes = np.empty((4, len(boxes)), boxes.dtype)
    np.divide((centers - anchor_centers) * factors[:2], anchor_sizes, out=codes[:2])
    np.multiply(np.log(sizes / anchor_sizes), factors[2:], out=codes[2:])
    return np.ascontiguousarray(codes.T)


def decode_boxes(codes: np.ndarray, anchors: np.ndarray, *, weights: Any = WEIGHTS) -> np.ndarray:
    """Return the boxes that have these codes: the inverse of `encode_boxes`.  (n, 4) -> (n, 4).

    A box is at most 1000 / 16 times as wide and as high as its anchor, so that none overflows.
    """
    who = "decode_boxes"
    codes, anchors = check_rows(who, "codes", codes), check_rows(who, "anchors", anchors)
    _check_same(who, "codes", codes, anchors)
    codes = np.ascontiguousarray(codes.T) / _weights(who, weights, codes.dtype)
    centers, sizes = _centers(columns_of(who, "anchors", anchors))
    centers = codes[:2] * sizes + centers
    halves = np.exp(np.minimum(codes[2:], MOST_GROWTH)) * sizes * codes.dtype.type(0.5)
    boxes = np.concatenate([centers - halves, centers + halves])
    return np.ascontiguousarray(boxes.T)


def _centers(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the centers, and widths and heights: (2, n) each."""
    sizes = columns[2:] - columns[:2]
    return columns[:2] + sizes * columns.dtype.type(0.5), sizes


def _check_same(who: str, name: str, x: np.ndarray, anchors: np.ndarray) -> None:
    """Raise unless there is an anchor of x's dtype for each row of x."""
    if anchors.shape != x.shape:
        raise ShapeError(
            f"{who} expected an anchor for each of {len(x)} {name}, got {len(anchors)}: "
            "np.tile repeats the anchors of an image for a batch"
        )
    if anchors.dtype != x.dtype:
        raise DTypeError(
            f"{who} got {name} of {x.dtype} and anchors of {anchors.dtype}: give both the same "
            "dtype, for example with .astype(np.float32)"
        )


def _weights(who: str, weights: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """Return the weights as a column."""
    if not isinstance(weights, tuple | list) or len(weights) != 4:
        raise ArgumentError(f"{who}: weights must be four numbers, got {weights!r:.60}")
    found = np.array([[real(who, "weights", weight)] for weight in weights], dtype)
    if found.min() <= 0:
        raise ArgumentError(f"{who}: weights must be larger than 0, got {weights!r:.60}")
    return found


def match_boxes(
    iou: np.ndarray, *, high: float, low: float, allow_low_quality_matches: bool = False
) -> np.ndarray:
    """Return the number of each anchor's box, or -1 for background, -2 for neither.

    An anchor belongs to the box that it overlaps most if their IoU is at least `high`; it is
    background if that is below `low`.
    iou: (boxes, anchors).  Returns (anchors,) int64; without boxes, all are background.
    allow_low_quality_matches: whether the anchors that overlap a box most, ties included, belong to
        the box that they overlap most, whatever their IoU above 0.
    Source: Ren et al. 2015, "Faster R-CNN", section 3.1.2.
    """
    iou = _overlaps("match_boxes", iou)
    high, low = real("match_boxes", "high", high), real("match_boxes", "low", low)
    if not low <= high:
        raise ArgumentError(f"match_boxes: low must be at most high, got {low} and {high}")
    lenient = flag("match_boxes", "allow_low_quality_matches", allow_low_quality_matches)
    if not len(iou):
        return np.full(iou.shape[1], -1)
    nearest, best = iou.argmax(axis=0), iou.max(axis=0)
    matches = np.where(best >= high, nearest, np.where(best < low, -1, -2))
    if lenient and iou.size:
        of_box = iou.max(axis=1, keepdims=True)
        forced = ((iou == of_box) & (iou > 0)).any(axis=0)
        matches[forced] = nearest[forced]
    return matches


def match_priors(iou: np.ndarray, *, threshold: float = 0.5) -> np.ndarray:
    """Return the number of each prior's box, or -1 for background, as SSD matches them.

    Each box gets the prior that overlaps it most: pairs are made by falling IoU, so that no two
    boxes get the same. Then each other prior belongs to the box that it overlaps most, if their IoU
    is at least `threshold`. A box that overlaps no prior gets none.
    iou: (boxes, priors).  Returns (priors,) int64.
    Source: Liu et al. 2016, "SSD", section 2.2, "Matching strategy".
    """
    iou = _overlaps("match_priors", iou)
    threshold = real("match_priors", "threshold", threshold)
    matches = match_boxes(iou, high=threshold, low=threshold)
    left = iou.copy()
    for _ in range(min(iou.shape)):
        box, prior = np.unravel_index(left.argmax(), left.shape)
        if left[box, prior] <= 0:
            break
        matches[prior] = box
        left[box], left[:, prior] = 0, 0
    return matches


def _overlaps(who: str, iou: Any) -> np.ndarray:
    iou = check_numbers(who, "iou", iou)
    if iou.ndim != 2:
        raise ShapeError(f"{who} expected iou of shape (boxes, anchors), got {iou.shape}")
    if np.isnan(iou).any():
        raise ArgumentError(f"{who}: iou must be numbers, got NaN")
    return iou


def hard_negatives(loss: np.ndarray, positive: np.ndarray, *, ratio: float = 3) -> np.ndarray:
    """Return which negatives to learn from: those of the largest loss, `ratio` for each positive.

    loss: (..., priors).  positive: bool of the same shape; each image (row) is counted by itself.
    Returns bool of the same shape. Of equal losses the first is taken.
    Source: Liu et al. 2016, "SSD", section 2.2, "Hard negative mining".
    """
    loss, ratio = (
        check_numbers("hard_negatives", "loss", loss),
        real("hard_negatives", "ratio", ratio),
    )
    if not isinstance(positive, np.ndarray) or positive.dtype != bool:
        got = getattr(positive, "dtype", type(positive).__name__)
        raise DTypeError(f"hard_negatives expected an ndarray of bool as positive, got {got}")
    if positive.shape != loss.shape or not loss.ndim:
        raise ShapeError(
            f"hard_negatives expected loss and positive of one shape (..., priors), got "
            f"{loss.shape} and {positive.shape}"
        )
    if np.isnan(loss).any():
        raise ArgumentError("hard_negatives: loss must be numbers, got NaN")
    if ratio < 0:
        raise ArgumentError(f"hard_negatives: ratio must be 0 or more, got {ratio}")
    order = np.argsort(np.where(positive, np.inf, -loss), axis=-1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(loss.shape[-1]), order.shape), -1)
    return (rank < ratio * positive.sum(axis=-1, keepdims=True)) & ~positive
