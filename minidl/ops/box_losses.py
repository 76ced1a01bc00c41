"""Losses of boxes against boxes, x1, y1, x2, y2: by how they overlap, not by their coordinates."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.op import composite
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.autograd.tensor import Tensor
from minidl.checks import real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.activation import relu
from minidl.ops.checks import check_float
from minidl.ops.comparison import maximum, minimum
from minidl.ops.loss import check_reduction, reduced

__all__ = ["distance_box_iou_loss", "generalized_box_iou_loss"]


def _columns(boxes: Any) -> tuple[Any, ...]:
    return tuple(boxes[:, k] for k in range(4))


def _check(who: str, boxes1: Any, boxes2: Any, eps: float, reduction: str) -> float:
    """Return eps as a float. Raise unless both are boxes (n, 4) of one dtype."""
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        if not isinstance(boxes, Tensor | np.ndarray):
            raise DTypeError(f"{who} expected a Tensor or ndarray as {name}, got {boxes!r:.50}")
        check_float(who, boxes)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ShapeError(f"{who} expected {name} of shape (n, 4), got {boxes.shape}")
    if boxes1.shape != boxes2.shape:
        raise ShapeError(
            f"{who} expected a box of boxes2 for each of boxes1, got {len(boxes2)} and "
            f"{len(boxes1)}: box_iou compares all pairs"
        )
    if boxes1.dtype != boxes2.dtype:
        raise DTypeError(
            f"{who} expected boxes2 of the dtype of boxes1, {boxes1.dtype}, got {boxes2.dtype}: "
            "use .astype()"
        )
    check_reduction(who, reduction)
    eps = real(who, "eps", eps)
    if eps <= 0:
        raise ArgumentError(f"{who}: eps must be larger than 0, got {eps}")
    return eps


def _overlap(boxes1: Any, boxes2: Any, eps: float) -> tuple[Any, Any, Any, Any]:
    """Return IoU and union of each pair, and width and height of the smallest box around it."""
    (a1, b1, a2, b2), (c1, d1, c2, d2) = _columns(boxes1), _columns(boxes2)
    common = relu(minimum(a2, c2) - maximum(a1, c1)) * relu(minimum(b2, d2) - maximum(b1, d1))
    union = (a2 - a1) * (b2 - b1) + (c2 - c1) * (d2 - d1) - common
    width, height = maximum(a2, c2) - minimum(a1, c1), maximum(b2, d2) - minimum(b1, d1)
    return common / (union + eps), union, width, height


def _reduced(who: str, losses: Any, reduction: str) -> Any:
    """Return the losses reduced; without boxes, no losses and their sum 0."""
    if not len(losses) and reduction != "mean":
        return losses if reduction == "none" else losses.sum()
    return reduced(who, losses, reduction)


def _torch_overlap(torch: Any, boxes1: Any, boxes2: Any, eps: float) -> tuple[Any, Any, Any]:
    """Return IoU and union of each pair, and the two sides of the box around it, (n, 2)."""
    low, high = torch.max(boxes1[:, :2], boxes2[:, :2]), torch.min(boxes1[:, 2:], boxes2[:, 2:])
    common = (high - low).clamp(min=0).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (boxes1, boxes2)]
    union = areas[0] + areas[1] - common
    first = torch.min(boxes1[:, :2], boxes2[:, :2])
    around = torch.max(boxes1[:, 2:], boxes2[:, 2:]) - first
    return common / (union + eps), union, around


def _torch_reduced(losses: Any, reduction: str) -> Any:
    return losses if reduction == "none" else getattr(losses, reduction)()


def _torch_generalized(
    torch: Any, boxes1: Any, boxes2: Any, reduction: str = "mean", eps: float = 1e-7
) -> Any:
    iou, union, around = _torch_overlap(torch, boxes1, boxes2, eps)
    area = around.prod(1)
    return _torch_reduced(1 - iou + (area - union) / (area + eps), reduction)


@composite(oracle=_torch_generalized)
def generalized_box_iou_loss(boxes1, boxes2, *, reduction="mean", eps=1e-7):
    """Return 1 - the generalized IoU of boxes1[i] and boxes2[i].

    It falls as boxes come nearer, even where they don't overlap yet.
    boxes1, boxes2: (n, 4), of one dtype.  eps: added to the two areas that are divided by.
    reduction: "mean", "sum", or "none" for the losses (n,).
    Raises ShapeError or DTypeError where shapes or dtypes differ, or for the mean of no boxes;
    ArgumentError for another reduction, or an eps of 0 or less.
    Source: Rezatofighi et al. 2019, "Generalized Intersection over Union", algorithm 2.
    """
    who = "generalized_box_iou_loss"
    eps = _check(who, boxes1, boxes2, eps, reduction)
    iou, union, width, height = _overlap(boxes1, boxes2, eps)
    around = width * height
    return _reduced(who, 1 - iou + (around - union) / (around + eps), reduction)


def _torch_distance(
    torch: Any, boxes1: Any, boxes2: Any, reduction: str = "mean", eps: float = 1e-7
) -> Any:
    iou, _, around = _torch_overlap(torch, boxes1, boxes2, eps)
    apart = (boxes1[:, :2] + boxes1[:, 2:] - boxes2[:, :2] - boxes2[:, 2:]) / 2
    return _torch_reduced(1 - iou + (apart**2).sum(1) / ((around**2).sum(1) + eps), reduction)


@composite(oracle=_torch_distance)
def distance_box_iou_loss(boxes1, boxes2, *, reduction="mean", eps=1e-7):
    """Return 1 - the distance IoU of boxes1[i] and boxes2[i].

    boxes1, boxes2: (n, 4), of one dtype.  reduction: as for generalized_box_iou_loss.
    eps: added to the union and to the squared diagonal of the box around both.
    Raises as `generalized_box_iou_loss` does.
    Source: Zheng et al. 2020, "Distance-IoU Loss", equation 7.
    """
    who = "distance_box_iou_loss"
    eps = _check(who, boxes1, boxes2, eps, reduction)
    iou, _, width, height = _overlap(boxes1, boxes2, eps)
    apart = (boxes1[:, :2] + boxes1[:, 2:] - boxes2[:, :2] - boxes2[:, 2:]) / 2
    distance = (apart * apart).sum(axis=1)
    return _reduced(who, 1 - iou + distance / (width * width + height * height + eps), reduction)


def _boxes(draw: Draw, count: int) -> np.ndarray:
    corners, sides = draw.uniform(0, 5, count, 2), draw.uniform(1, 5, count, 2)
    return np.concatenate([corners, corners + sides], axis=1)


@generalized_box_iou_loss.samples
@distance_box_iou_loss.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(_boxes(draw, 6), _boxes(draw, 6))
    yield sample(_boxes(draw, 5), _boxes(draw, 5), reduction="none", eps=0.1)
    apart = _boxes(draw, 4)
    yield sample(apart, apart + draw.dtype.type(20), reduction="sum")
    yield sample(apart[:0], apart[:0], reduction="sum")


@generalized_box_iou_loss.errors
@distance_box_iou_loss.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    boxes = _boxes(draw, 3)
    yield ErrorInput(sample(boxes[:, :3], boxes), ShapeError, r"boxes1 of shape \(n, 4\)")
    yield ErrorInput(sample(boxes, boxes[:2]), ShapeError, "got 2 and 3: box_iou compares")
    yield ErrorInput(sample(boxes, boxes.astype(np.float64)), DTypeError, "dtype of boxes1")
    yield ErrorInput(sample(boxes.astype(int), boxes), DTypeError, "got int64")
    yield ErrorInput(sample(boxes, boxes, reduction="max"), ArgumentError, "got 'max'")
    yield ErrorInput(sample(boxes, boxes, eps=0), ArgumentError, "eps must be larger than 0")
    yield ErrorInput(sample(boxes[:0], boxes[:0]), ShapeError, "empty batch")
