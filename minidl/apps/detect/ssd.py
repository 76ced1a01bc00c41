"""SSD: all boxes of an image in one pass.

Source: Liu et al. 2016, "SSD: Single Shot MultiBox Detector".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

import minidl as md
from minidl import nn, ops
from minidl.apps.detect.backbone import Backbone, VGGBackbone, check_network
from minidl.apps.detect.detector import Detector, Target, box_loss, check_finite, objects_of
from minidl.checks import real
from minidl.errors import ArgumentError
from minidl.models.blocks import ConvBlock, conv_relu
from minidl.nn import functional, init

__all__ = ["SSD"]

# Sides of the priors on each map and of what would be the next, as shares of the shorter side of
# the image, and their aspect ratios besides 1: section 3.1 for 300 pixels
SCALES = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
RATIOS = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
# Channels of the layers after VGG, in the middle and at the end; the last two pad nothing
LEAST_VGG = 268  # pixels of a side, from which there is a map for the last of them
PAPER = ((256, 512), (128, 256), (128, 256), (128, 256))
MIDDLE, END = 128, 256  # of those after other bodies
MATCHED = 0.5  # IoU from which a prior is an object's
NEGATIVES = 3  # for each prior of an object
BACKGROUND = 0


class SSD(Detector):
    """One-shot detector on any body of the zoo.  (N, H, W, 3) -> scores and codes of all priors.

    network: of `minidl.models`, whose head isn't used. Its maps at strides 8, 16 and 32 are
        followed by layers that halve them, to six maps; after VGG-16 they are those of the paper.
    num_classes: without the background.  size: (H, W) that images are resized to; priors follow.
    scales: sides of the priors of each map, as shares of the shorter side of the image.
    SSD300 on VGG-16 has 26,285,486 parameters for the 20 classes of VOC, and 8,732 priors.
    Raises ArgumentError for what is no such network, and sizes out of range.
    """

    name = "ssd"

    losses = ("class", "box")

    def __init__(
        self,
        network: Any,
        num_classes: int,
        size: Any = (300, 300),
        *,
        scales: Sequence[float] = SCALES,
    ) -> None:
        self.scales = _scales(scales)
        super().__init__(network, num_classes, size, scales=list(self.scales))
        paper = isinstance(self.body, VGGBackbone)
        if paper and min(self.size) < LEAST_VGG:
            raise ArgumentError(
                f"SSD: size must be at least {LEAST_VGG} pixels, high and wide, for vgg16, whose "
                f"last layers don't pad, got {self.size}"
            )
        channels = list(self.body.channels)[-len(RATIOS) :]
        count = len(RATIOS) - len(channels)
        make = _paper_layers if paper else _halving_layers
        self.extras = nn.ModuleList(make(channels[-1], count))
        channels += [end for _, end in PAPER] if paper else [END] * count
        each = [2 + 2 * len(ratios) for ratios in RATIOS]
        self.score_heads, self.code_heads = (
            nn.ModuleList([_head(c, n * k) for c, n in zip(channels, each, strict=True)])
            for k in (1 + self.num_classes, 4)
        )
        self._priors: dict[Any, np.ndarray] = {}

    def make_body(self, network: Any) -> Backbone:
        check_network("SSD", network)
        if network.architecture[0] == "vgg16":
            return VGGBackbone(network)
        return super().make_body(network)

    def forward(self, x: Any) -> tuple[Any, Any, np.ndarray]:
        """Return scores (N, P, 1 + num_classes), codes (N, P, 4) and the priors (P, 4)."""
        maps = self.body(x)
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        maps = maps[-len(RATIOS) :]
        scores = _rows(self.score_heads, maps, 1 + self.num_classes)
        codes = _rows(self.code_heads, maps, 4)
        return scores, codes, self.priors([m.shape[1:3] for m in maps], x.shape[1:3])

    def priors(self, maps: Sequence[tuple[int, int]], size: tuple[int, int]) -> np.ndarray:
        """Return the priors (P, 4) of maps (h, w) of an image of `size`, in its pixels.

        Their shapes are those for a square of the shorter side, so that objects aren't distorted.
        """
        key = (*maps, size)
        if key not in self._priors:
            side = min(size)
            square = ops.prior_boxes(maps, side, self.scales, RATIOS, clip=False)
            centers = (square[:, :2] + square[:, 2:]) / 2
            moved = centers * (np.array(size[::-1], np.float32) / side - 1)  # to those of `size`
            self._priors[key] = square + np.tile(moved, 2)
        return self._priors[key]

    def loss(self, x: Any, targets: Sequence[Target]) -> dict[str, Any]:
        """Return {"class", "box"}: equations 1 to 3, over the number of priors of objects.

        x: (N, H, W, 3), as `prepare` makes it; targets: with boxes in its pixels.
        """
        scores, codes, priors = self(x)
        check_finite("SSD", scores, codes)
        labels, wanted = (
            np.concatenate(parts)
            for parts in zip(*(_assigned(priors, target) for target in targets), strict=True)
        )
        scores, codes = scores.reshape(-1, scores.shape[-1]), codes.reshape(-1, 4)  # (N P, ...)
        positive = labels > BACKGROUND
        count = max(1, int(positive.sum()))
        with md.no_grad():
            each = functional.cross_entropy(scores.detach(), labels, reduction="none").data
        shape = (len(targets), len(priors))
        negative = ops.hard_negatives(
            each.reshape(shape), positive.reshape(shape), ratio=NEGATIVES
        ).reshape(-1)
        objects, used = np.flatnonzero(positive), np.flatnonzero(positive | negative)
        box = box_loss(codes[objects], wanted[objects])
        if not len(used):  # no image has an object: the loss is 0, as the paper says
            return {"class": scores[used].sum(), "box": box}
        of_class = functional.cross_entropy(scores[used], labels[used], reduction="sum")
        return {"class": of_class / count, "box": box / count}

    def raw(self, x: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        scores, codes, priors = self(x)
        check_finite("SSD", scores, codes)
        probabilities = functional.softmax(scores).data[..., 1:]
        return [
            (ops.decode_boxes(code, priors)[:, None], each)
            for code, each in zip(codes.data, probabilities, strict=True)
        ]


def _scales(scales: Any) -> tuple[float, ...]:
    if not isinstance(scales, list | tuple):
        raise ArgumentError(f"SSD: scales must be a list of numbers, got {scales!r:.60}")
    found = tuple(real("SSD", "scales", scale) for scale in scales)
    if len(found) != len(SCALES) or not all(
        a < b for a, b in zip((0.0, *found), found, strict=False)
    ):
        raise ArgumentError(
            f"SSD: scales must be {len(SCALES)} rising numbers above 0, got {list(scales)}"
        )
    return found


def _paper_layers(channels: int, count: int) -> list[nn.Module]:
    """Return conv8 to conv11 of SSD300."""
    layers: list[nn.Module] = []
    for i, (middle, end) in enumerate(PAPER):
        stride, padding = (2, 1) if i < 2 else (1, 0)
        second = conv_relu(middle, end, 3, stride, padding)
        layers.append(nn.Sequential(conv_relu(channels, middle, 1), second))
        channels = end
    return layers


def _halving_layers(channels: int, count: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(count):
        first, second = ConvBlock(channels, MIDDLE, 1), ConvBlock(MIDDLE, END, 3, 2, 1)
        layers.append(nn.Sequential(first, second))
        channels = END
    return layers


def _head(channels: int, numbers: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, numbers, 3, padding=1)
    init.normal(layer.weight, std=0.01)
    return layer


def _rows(heads: Any, maps: Sequence[Any], numbers: int) -> Any:
    """Return what heads make of maps (N, h, w, C), a row a prior: (N, P, numbers)."""
    # (N, h, w, k * numbers) -> (N, h * w * k, numbers)
    rows = [head(m).reshape(m.shape[0], -1, numbers) for head, m in zip(heads, maps, strict=True)]
    return ops.concatenate(*rows, axis=1)


def _assigned(priors: np.ndarray, target: Target) -> tuple[np.ndarray, np.ndarray]:
    """Return each prior's label (P,), 0 for the background, and the code (P, 4) of its box.

    A prior is of the box that it overlaps most, from 0.5 up; each box has at least its best prior.
    """
    boxes, labels = objects_of(target)
    if not len(boxes):
        return np.zeros(len(priors), np.int64), np.zeros_like(priors)
    matched = ops.match_priors(ops.box_iou(boxes, priors), threshold=MATCHED)
    chosen = np.maximum(matched, 0)
    found = np.where(matched >= 0, 1 + labels[chosen], BACKGROUND)
    return found, ops.encode_boxes(boxes[chosen], priors)
