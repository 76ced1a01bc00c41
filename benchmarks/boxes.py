"""The pieces of object detection, beside PyTorch and torchvision on the same cores.

    python -m benchmarks.boxes                    # all, about five minutes
    python -m benchmarks.boxes nms roi_align --rounds 5

10,000 boxes in an image of 600 pixels; for `box_iou` 20 of them against 8,732; regions: 256 boxes
in two feature maps of 38 x 50 pixels and 256 channels, each to 7 x 7 with four points a bin. "grad"
is the forward pass and the gradient. "torch" is written out in PyTorch, "torchvision" its own
functions, where it can be imported. In each round every side runs once, in a process of its own;
printed are the medians of milliseconds a call, and how many times as long the others take.
"""

import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl as md
from benchmarks.apps import timed
from benchmarks.rounds import Rounds
from minidl import ops
from minidl.config import config

CASES = (
    "nms", "batched_nms", "box_iou", "encode", "decode",
    "roi_align", "roi_align grad", "roi_pool", "roi_pool grad",
)  # fmt: skip
SIDES = ("minidl", "torch", "torchvision")
COUNT, CLASSES, IOU = 10_000, 20, 0.5
SIZE, SCALE = (7, 7), 1 / 16


def boxes(seed: int = 0, count: int = COUNT, size: tuple[int, int] = (600, 600)) -> np.ndarray:
    """Boxes (count, 4) in an image of `size` (width, height)."""
    random = np.random.default_rng(seed)
    sides = random.uniform(10, 120, (count, 2))
    corners = random.uniform(0, 1, (count, 2)) * (np.array(size) - sides)
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def scores() -> np.ndarray:
    return np.random.default_rng(2).random(COUNT).astype(np.float32)


def labels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, CLASSES, COUNT)


def codes() -> np.ndarray:
    return np.random.default_rng(4).standard_normal((COUNT, 4)).astype(np.float32)


def pairs() -> tuple[np.ndarray, np.ndarray]:
    return boxes(5, 20), boxes(6, 8732)


def maps() -> np.ndarray:
    return np.random.default_rng(7).standard_normal((2, 38, 50, 256)).astype(np.float32)


def regions() -> np.ndarray:
    """256 boxes with the number of their image before them, image by image."""
    images = np.repeat([[0], [1]], 128, axis=0).astype(np.float32)
    return np.concatenate([images, boxes(8, 256, (800, 608))], axis=1)


def _gradient(pool: Callable[[Any], Any]) -> Callable[[], Any]:
    x = md.from_numpy(maps(), requires_grad=True)

    def call() -> Any:
        y = pool(x)
        return md.grad(y, [x], grad_outputs=[np.ones(y.shape, np.float32)])

    return call


def in_minidl(case: str) -> Callable[[], Any]:
    """Return a call of the case."""
    a, anchors, x, rois = boxes(), boxes(1), maps(), regions()

    def aligned(x: Any) -> Any:
        return ops.roi_align(x, rois, SIZE, SCALE, 2, True)

    def pooled(x: Any) -> Any:
        return ops.roi_pool(x, rois, SIZE, SCALE)

    calls: dict[str, Callable[[], Any]] = {
        "nms": lambda: ops.nms(a, scores_, IOU),
        "batched_nms": lambda: ops.batched_nms(a, scores_, labels_, IOU),
        "box_iou": lambda: ops.box_iou(*pair),
        "encode": lambda: ops.encode_boxes(a, anchors),
        "decode": lambda: ops.decode_boxes(codes_, anchors),
        "roi_align": lambda: aligned(x), "roi_align grad": _gradient(aligned),
        "roi_pool": lambda: pooled(x), "roi_pool grad": _gradient(pooled),
    }  # fmt: skip
    scores_, labels_, codes_, pair = scores(), labels(), codes(), pairs()
    return calls[case]


def one(case: str, side: str, seconds: float) -> float | None:
    """Return milliseconds a call, or None where the side isn't installed or hasn't the case."""
    if side == "minidl":
        return timed(in_minidl(case), seconds)
    try:
        import torch

        from benchmarks import boxes_in_torch

        torch.set_num_threads(config.num_threads)
        calls = getattr(boxes_in_torch, "written_out" if side == "torch" else "by_torchvision")()
    except ImportError:
        return None
    return timed(calls[case](), seconds) if case in calls else None


def row_of(case: str, found: dict[str, list[float]]) -> tuple[str, ...]:
    """Return a case's row: each side's median, and how many times as long the others take."""
    middle = {side: statistics.median(times) for side, times in found.items() if times}
    shown = [f"{middle[side]:.2f}" if side in middle else "-" for side in SIDES]
    ratios = [
        f"{middle[side] / middle['minidl']:.2f}" if side in middle else "-" for side in SIDES[1:]
    ]
    return case, *shown, *ratios


def main(given: list[str] | None = None) -> int:
    """Run the cases, and print the table."""
    heads = ("ms/call", *SIDES, "torch / minidl", "torchvision / minidl")
    return Rounds(
        "benchmarks.boxes", "Pieces of detection.", CASES, SIDES, heads, 1.0, one, row_of
    ).run(given)


if __name__ == "__main__":
    sys.exit(main())
