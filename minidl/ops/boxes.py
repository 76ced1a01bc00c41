"""Boxes x1, y1, x2, y2 in pixels, x to the right: their areas, formats and overlaps.

These functions take and return ndarrays; losses of boxes, which have gradients, are in
`box_losses`. Whole numbers are taken as float32. Overlaps have no "+1": a box over a whole image of
W x H pixels is 0, 0, W, H.
"""

import math
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.tensor import Tensor
from minidl.checks import real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.geometry import pair

__all__ = [
    "box_area", "box_convert", "box_iou", "clip_boxes_to_image", "complete_box_iou",
    "distance_box_iou", "generalized_box_iou", "remove_small_boxes",
]  # fmt: skip

FORMATS = ("xyxy", "xywh", "cxcywh")


def check_numbers(who: str, name: str, x: Any) -> np.ndarray:
    """Return an array of floats; whole numbers become float32. Raise DTypeError for others."""
    if isinstance(x, Tensor):
        raise DTypeError(
            f"{who} expected an ndarray as {name}, got a Tensor: no gradient goes through it, "
            "pass its .data"
        )
    if not isinstance(x, np.ndarray):
        raise DTypeError(f"{who} expected an ndarray as {name}, got {type(x).__name__}")
    if x.dtype.kind in "iu":
        return x.astype(np.float32)
    if x.dtype not in (np.float32, np.float64):
        raise DTypeError(
            f"{who} expected float32, float64 or whole numbers as {name}, got {x.dtype}"
        )
    return x


def check_rows(who: str, name: str, x: Any, width: int = 4) -> np.ndarray:
    """Return an array of finite floats (n, width). Raise for anything else."""
    x = check_numbers(who, name, x)
    if x.ndim != 2 or x.shape[1] != width:
        raise ShapeError(f"{who} expected {name} of shape (n, {width}), got {x.shape}")
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise ArgumentError(f"{who}: {name} must be finite, got {x[row].tolist()} in row {row}")
    return x


def check_boxes(who: str, name: str, x: Any, positive: bool = False) -> np.ndarray:
    """Return boxes (n, 4) as floats. Raise unless they are finite and x2 >= x1, y2 >= y1.

    positive: whether width and height must be larger than 0.
    """
    x = check_rows(who, name, x)
    columns_of(who, name, x, positive)
    return x


def columns_of(who: str, name: str, x: np.ndarray, positive: bool = False) -> np.ndarray:
    """Return the columns of boxes, (4, n), side by side in memory; raise as check_boxes does."""
    columns = np.ascontiguousarray(x.T)  # NumPy is slow on rows of two
    wrong = columns[2:] <= columns[:2] if positive else columns[2:] < columns[:2]
    if wrong.any():
        row, sign = int(np.flatnonzero(wrong.any(axis=0))[0]), ">" if positive else ">="
        raise ArgumentError(
            f"{who}: {name} must be x1, y1, x2, y2 with x2 {sign} x1 and y2 {sign} y1, got "
            f"{x[row].tolist()} in row {row}: box_convert takes other formats, remove_small_boxes "
            "leaves empty boxes out"
        )
    return columns


def _two(who: str, boxes1: Any, boxes2: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return two sets of boxes of one dtype."""
    boxes1, boxes2 = check_boxes(who, "boxes1", boxes1), check_boxes(who, "boxes2", boxes2)
    if boxes1.dtype != boxes2.dtype:
        raise DTypeError(
            f"{who} got boxes1 of {boxes1.dtype} and boxes2 of {boxes2.dtype}: give both the same "
            "dtype, for example with .astype(np.float32)"
        )
    return boxes1, boxes2


def box_area(boxes: np.ndarray) -> np.ndarray:
    """Return width times height of each box.  (n, 4) -> (n,), in square pixels.

    Raises ArgumentError for boxes whose ends are the wrong way round or not finite.
    """
    boxes = check_boxes("box_area", "boxes", boxes)
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def box_convert(boxes: np.ndarray, in_fmt: str, out_fmt: str) -> np.ndarray:
    """Return boxes (n, 4) in another format.

    in_fmt, out_fmt: "xyxy" (two corners), "xywh" (upper left corner, width, height) or "cxcywh"
        (center, width, height).
    Raises ArgumentError for other formats, and for boxes with a negative width or height.
    """
    for name, fmt in (("in_fmt", in_fmt), ("out_fmt", out_fmt)):
        if not isinstance(fmt, str) or fmt not in FORMATS:
            raise ArgumentError(f"box_convert: {name} must be one of {FORMATS}, got {fmt!r:.60}")
    boxes = check_rows("box_convert", "boxes", boxes)
    first, second = boxes[:, :2], boxes[:, 2:]
    sizes = second - first if in_fmt == "xyxy" else second
    if (sizes < 0).any():
        row = int(np.flatnonzero((sizes < 0).any(axis=1))[0])
        raise ArgumentError(
            f"box_convert: boxes must have a width and height of 0 or more, got "
            f"{boxes[row].tolist()} as {in_fmt!r} in row {row}"
        )
    if in_fmt == out_fmt:
        return boxes.copy()
    corner = first - sizes / 2 if in_fmt == "cxcywh" else first
    end = second if in_fmt == "xyxy" else corner + sizes
    if in_fmt == "cxcywh":
        end = first + sizes / 2
    halves = {"xyxy": (corner, end), "xywh": (corner, sizes), "cxcywh": ((corner + end) / 2, sizes)}
    return np.concatenate(halves[out_fmt], axis=1)


def clip_boxes_to_image(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return boxes (n, 4) clipped to an image of `size` (height, width)."""
    boxes = check_boxes("clip_boxes_to_image", "boxes", boxes)
    height, width = pair(size, "clip_boxes_to_image: size", 0)
    found = np.empty_like(boxes)
    for k, most in enumerate((width, height, width, height)):
        np.clip(boxes[:, k], 0, most, out=found[:, k])
    return found


def remove_small_boxes(boxes: np.ndarray, min_size: float) -> np.ndarray:
    """Return the indices of boxes (n, 4) whose width and height are at least `min_size` pixels.

    Boxes whose ends are the wrong way round have a negative size and are left out.
    """
    boxes = check_rows("remove_small_boxes", "boxes", boxes)
    min_size = real("remove_small_boxes", "min_size", min_size)
    wide, high = (boxes[:, 2 + k] - boxes[:, k] >= min_size for k in range(2))
    return np.flatnonzero(wide & high)


def box_iou(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each pair of boxes.  (n, 4), (m, 4) -> (n, m).

    Two boxes without an area have an overlap of 0.
    """
    boxes1, boxes2 = _two("box_iou", boxes1, boxes2)
    return kernels.use("boxes").box_iou(boxes1, boxes2)


def _enclosing(boxes1: np.ndarray, boxes2: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return width and height of the smallest box around each pair: (n, m) each."""
    first = [np.minimum(boxes1[:, None, k], boxes2[:, k]) for k in range(2)]
    last = [np.maximum(boxes1[:, None, k], boxes2[:, k]) for k in range(2, 4)]
    return last[0] - first[0], last[1] - first[1]


def generalized_box_iou(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Return the generalized IoU of each pair of boxes, from -1 to 1.  (n, 4), (m, 4) -> (n, m).

    The IoU less the share of the smallest enclosing box that neither box covers.
    Source: Rezatofighi et al. 2019, "Generalized Intersection over Union", algorithm 1.
    """
    boxes1, boxes2 = _two("generalized_box_iou", boxes1, boxes2)
    iou = kernels.use("boxes").box_iou(boxes1, boxes2)
    first = [np.maximum(boxes1[:, None, k], boxes2[:, k]) for k in range(2)]
    last = [np.minimum(boxes1[:, None, k], boxes2[:, k]) for k in range(2, 4)]
    common = (last[0] - first[0]).clip(0) * (last[1] - first[1]).clip(0)  # (n, m)
    union = box_area(boxes1)[:, None] + box_area(boxes2) - common
    width, height = _enclosing(boxes1, boxes2)
    around = width * height
    missed = np.divide(around - union, around, out=np.zeros_like(around), where=around > 0)
    return iou - missed


def distance_box_iou(boxes1: np.ndarray, boxes2: np.ndarray, eps: float = 1e-7) -> np.ndarray:
    """Return the distance IoU of each pair of boxes.  (n, 4), (m, 4) -> (n, m).

    The IoU less (distance of the centers / diagonal of the smallest enclosing box)^2.
    eps: added to the squared diagonal.
    Source: Zheng et al. 2020, "Distance-IoU Loss", equation 6.
    """
    boxes1, boxes2 = _two("distance_box_iou", boxes1, boxes2)
    eps = real("distance_box_iou", "eps", eps)
    return _distance_iou(boxes1, boxes2, eps)[1]


def _distance_iou(
    boxes1: np.ndarray, boxes2: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return IoU and distance IoU."""
    iou = kernels.use("boxes").box_iou(boxes1, boxes2)
    width, height = _enclosing(boxes1, boxes2)
    distance = np.zeros_like(iou)
    for k in range(2):
        first, second = ((boxes[:, k] + boxes[:, 2 + k]) / 2 for boxes in (boxes1, boxes2))
        distance += (first[:, None] - second) ** 2
    return iou, iou - distance / (width**2 + height**2 + eps)


def complete_box_iou(boxes1: np.ndarray, boxes2: np.ndarray, eps: float = 1e-7) -> np.ndarray:
    """Return the complete IoU of each pair of boxes.  (n, 4), (m, 4) -> (n, m).

    The distance IoU less alpha * v, where v compares the boxes' shapes.
    eps: as for distance_box_iou, and added to the denominator of alpha.
    Source: Zheng et al. 2020, "Distance-IoU Loss", equations 8 to 11.
    """
    boxes1, boxes2 = _two("complete_box_iou", boxes1, boxes2)
    eps = real("complete_box_iou", "eps", eps)
    iou, distance = _distance_iou(boxes1, boxes2, eps)
    angles = [
        np.arctan2(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        for boxes in (boxes1, boxes2)
    ]
    v = 4 / math.pi**2 * (angles[0][:, None] - angles[1]) ** 2
    return distance - v / (1 - iou + v + eps) * v
