"""Cases of `benchmarks.boxes` in PyTorch: written out, and by torchvision. Each returns a call."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.boxes import (
    CLASSES,
    IOU,
    SCALE,
    SIZE,
    boxes,
    codes,
    labels,
    maps,
    pairs,
    regions,
    scores,
)

Call = Callable[[], Any]


def _tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(x) for x in arrays]


def iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    low, high = torch.max(a[:, None, :2], b[:, :2]), torch.min(a[:, None, 2:], b[:, 2:])
    common = (high - low).clamp(min=0).prod(2)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (a, b)]
    return common / (areas[0][:, None] + areas[1] - common)


def _nms(b: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    rest, kept = s.argsort(descending=True, stable=True), []
    while len(rest):
        kept.append(rest[0])
        rest = rest[1:][iou(b[rest[:1]], b[rest[1:]])[0] <= IOU]
    return torch.stack(kept)


def nms() -> Call:
    b, s = _tensors(boxes(), scores())
    return lambda: _nms(b, s)


def batched_nms() -> Call:
    b, s, number = _tensors(boxes(), scores(), labels())

    def call() -> list[torch.Tensor]:
        groups = [torch.where(number == label)[0] for label in range(CLASSES)]
        return [rows[_nms(b[rows], s[rows])] for rows in groups]

    return call


def box_iou() -> Call:
    a, b = _tensors(*pairs())
    return lambda: iou(a, b)


def encoded(b: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    sizes, own = b[:, 2:] - b[:, :2], anchors[:, 2:] - anchors[:, :2]
    apart = (b[:, :2] + 0.5 * sizes) - (anchors[:, :2] + 0.5 * own)
    return torch.cat([10 * apart / own, 5 * torch.log(sizes / own)], 1)


def decoded(code: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    sizes = anchors[:, 2:] - anchors[:, :2]
    centers = code[:, :2] / 10 * sizes + anchors[:, :2] + 0.5 * sizes
    halves = 0.5 * torch.exp((code[:, 2:] / 5).clamp(max=4.135)) * sizes
    return torch.cat([centers - halves, centers + halves], 1)


def encode() -> Call:
    b, anchors = _tensors(boxes(), boxes(1))
    return lambda: encoded(b, anchors)


def decode() -> Call:
    code, anchors = _tensors(codes(), boxes(1))
    return lambda: decoded(code, anchors)


def _aligned(x: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
    """RoIAlign of four points a bin, by grid_sample: (K, C, *SIZE)."""
    found = []
    for image in range(len(x)):
        corners = rois[rois[:, 0] == image, 1:] * SCALE - 0.5
        axes = []
        for axis, pixels in ((0, x.shape[3]), (1, x.shape[2])):
            points = 2 * SIZE[1 - axis]
            low, high = corners[:, axis, None], corners[:, 2 + axis, None]
            places = low + (high - low) * (torch.arange(points) + 0.5) / points
            axes.append((2 * places + 1) / pixels - 1)
        across, down = axes
        grid = torch.stack(torch.broadcast_tensors(across[:, None], down[:, :, None]), -1)
        flat = grid.reshape(1, -1, grid.shape[2], 2)  # (1, K * points, points, 2)
        y = torch.nn.functional.grid_sample(
            x[image : image + 1], flat, padding_mode="border", align_corners=False
        )
        y = y[0].unflatten(1, grid.shape[:2]).movedim(0, 1)
        found.append(torch.nn.functional.avg_pool2d(y, 2))
    return torch.cat(found)


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    """Return feature maps (N, C, H, W) and regions."""
    x, rois = _tensors(maps(), regions())
    return x.permute(0, 3, 1, 2).contiguous(), rois


def _forward(pool: Any) -> Call:
    x, rois = _images()
    return lambda: pool(x, rois)


def _gradient(pool: Any) -> Call:
    x, rois = _images()
    x.requires_grad_()

    def call() -> Any:
        y = pool(x, rois)
        return torch.autograd.grad(y, x, torch.ones_like(y))

    return call


def written_out() -> dict[str, Callable[[], Call]]:
    """Return the cases in PyTorch alone; RoIPool would be a loop over boxes, and take seconds."""
    return {
        "nms": nms, "batched_nms": batched_nms, "box_iou": box_iou, "encode": encode,
        "decode": decode,
        "roi_align": lambda: _forward(_aligned), "roi_align grad": lambda: _gradient(_aligned),
    }  # fmt: skip


def by_torchvision() -> dict[str, Callable[[], Call]]:
    """Return the cases by torchvision. Raises ImportError where it is missing or doesn't load."""
    try:
        from torchvision import ops
        from torchvision.models.detection._utils import BoxCoder
    except RuntimeError as error:  # made for another PyTorch
        raise ImportError(str(error)) from error
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))

    def of(function: Any, *arrays: np.ndarray) -> Callable[[], Call]:
        tensors = _tensors(*arrays)
        return lambda: lambda: function(*tensors)

    def aligned(x: Any, rois: Any) -> Any:
        return ops.roi_align(x, rois, SIZE, SCALE, 2, True)

    def pooled(x: Any, rois: Any) -> Any:
        return ops.roi_pool(x, rois, SIZE, SCALE)

    return {
        "nms": of(lambda b, s: ops.nms(b, s, IOU), boxes(), scores()),
        "batched_nms": of(
            lambda b, s, number: ops.batched_nms(b, s, number, IOU), boxes(), scores(), labels()
        ),
        "box_iou": of(ops.box_iou, *pairs()),
        "encode": of(coder.encode_single, boxes(), boxes(1)),
        "decode": of(coder.decode_single, codes(), boxes(1)),
        "roi_align": lambda: _forward(aligned), "roi_align grad": lambda: _gradient(aligned),
        "roi_pool": lambda: _forward(pooled), "roi_pool grad": lambda: _gradient(pooled),
    }  # fmt: skip
