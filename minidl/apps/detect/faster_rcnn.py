"""Faster R-CNN: a network that proposes regions, and heads that look at each of them.

Source: Ren et al. 2015, "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal
Networks"; with a pyramid, Lin et al. 2017, "Feature Pyramid Networks for Object Detection".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import nn, ops
from minidl.apps.detect.backbone import Backbone, backbone_of
from minidl.apps.detect.detector import Detector, Target, box_loss, objects_of
from minidl.apps.detect.proposals import RegionProposals, sampled
from minidl.checks import flag
from minidl.nn import functional, init

__all__ = ["FasterRCNN"]

# Sides of anchors, in pixels of their map: of each map of a pyramid, and of one map alone
ANCHORS, ALONE = (3.0, 3.0 * 2**0.5), (1.5, 3.0, 6.0, 12.0)
CHANNELS, HIDDEN = 128, 512  # of the pyramid's maps; of the two layers over a region
SIDE = 7  # pixels of a region's map
SAMPLED, SHARE = 128, 0.25  # regions an image that are learned from; how many are of objects
MATCHED = 0.5  # IoU from which a region is an object's
BETA = 1 / 9  # where smooth L1 becomes linear
STRIDE = 16  # of the one map without a pyramid
BACKGROUND = 0


class FasterRCNN(Detector):
    """Two-stage detector on any body of the zoo.

    network: of `minidl.models`, whose head isn't used.
    num_classes: without the background.  size: (H, W) that images are resized to.
    pyramid: whether regions come from a feature pyramid over the maps at strides 8, 16 and 32,
        each from that which suits its size; otherwise from the map at stride 16 alone.
    Raises ArgumentError for what is no such network, and sizes out of range.
    """

    name = "faster_rcnn"

    losses = ("objectness", "proposal", "class", "box")

    def __init__(
        self, network: Any, num_classes: int, size: Any = (320, 320), *, pyramid: bool = True
    ) -> None:
        pyramid = flag("FasterRCNN", "pyramid", pyramid)
        super().__init__(network, num_classes, size, pyramid=pyramid)
        self.pyramid: nn.FeaturePyramid | None = None
        if pyramid:
            self.pyramid = nn.FeaturePyramid(self.body.channels, CHANNELS, "maxpool")
        else:
            kept = max(1, sum(stride <= STRIDE for stride in self.body.strides))
            self.body = Backbone(
                list(self.body.stages)[:kept], self.body.channels[:kept], self.body.strides[:kept]
            )
        channels = CHANNELS if pyramid else self.body.channels[-1]
        self.proposals = RegionProposals(channels, CHANNELS, ANCHORS if pyramid else ALONE)
        self.hidden = nn.Sequential(
            nn.Linear(SIDE * SIDE * channels, HIDDEN, activation="relu"),
            nn.Linear(HIDDEN, HIDDEN, activation="relu"),
        )
        self.score_head = _linear(HIDDEN, 1 + self.num_classes, 0.01)
        self.code_head = _linear(HIDDEN, 4 * self.num_classes, 0.001)

    def make_body(self, network: Any) -> Backbone:
        return backbone_of("FasterRCNN", network, even=True)

    def maps(self, x: Any) -> tuple[list[Any], list[int]]:
        """Return the maps (N, h, w, C) that regions come from, and their strides."""
        found = self.body(x)
        if self.pyramid is None:
            return found[-1:], list(self.body.strides[-1:])
        return list(self.pyramid(*found)), [*self.body.strides, 2 * self.body.strides[-1]]

    def loss(self, x: Any, targets: Sequence[Target]) -> dict[str, Any]:
        """Return {"objectness", "proposal", "class", "box"}: equation 1 of both stages.

        x: (N, H, W, 3), as `prepare` makes it; targets: with boxes in its pixels.
        """
        maps, strides = self.maps(x)
        objects = [objects_of(target) for target in targets]
        regions, parts = self.proposals.learn(maps, strides, x.shape[1:3], objects)
        chosen = [_assigned(*each) for each in zip(regions, objects, strict=True)]
        boxes, labels, codes = (np.concatenate(part) for part in zip(*chosen, strict=True))
        numbers = np.repeat(np.arange(len(chosen)), [len(each[0]) for each in chosen])
        scores, found = self.heads(maps, strides, boxes, numbers)
        rows = np.flatnonzero(labels > BACKGROUND)
        box = box_loss(found[rows, labels[rows] - 1], codes[rows], BETA)
        of_class = functional.cross_entropy(scores, labels)
        return {**parts, "class": of_class, "box": box / max(1, len(labels))}

    def heads(
        self, maps: Sequence[Any], strides: Sequence[int], boxes: np.ndarray, numbers: np.ndarray
    ) -> tuple[Any, Any]:
        """Return the scores (K, 1 + C) and codes (K, C, 4) of regions.

        boxes: (K, 4) in pixels of the batch's images.  numbers: (K,), of whose image.
        """
        rows = np.column_stack([numbers.astype(np.float32), boxes])
        used = max(1, len(maps) - 1)  # the last map of a pyramid has anchors alone
        maps, strides = maps[:used], strides[:used]
        levels = self._levels(boxes, strides)
        order, found = [], []
        for level, (map_, stride) in enumerate(zip(maps, strides, strict=True)):
            members = np.flatnonzero(levels == level)
            if len(members):
                order.append(members)
                found.append(ops.roi_align(map_, rows[members], SIDE, 1 / stride, 2, True))
        x = found[0]
        if len(found) > 1:
            x = ops.concatenate(*found)[np.argsort(np.concatenate(order))]
        x = self.hidden(x.reshape(len(boxes), -1))
        return self.score_head(x), self.code_head(x).reshape(len(boxes), -1, 4)

    @staticmethod
    def _levels(boxes: np.ndarray, strides: Sequence[int]) -> np.ndarray:
        """Return the number of the map of each region: equation 1 of the pyramid's paper.

        A region belongs to the level whose anchors are of its size, up to twice as large.
        """
        sides = np.sqrt(np.maximum(ops.box_area(boxes), 1e-6))
        level = np.floor(np.log2(sides / (ANCHORS[0] * strides[0])))
        return level.clip(0, len(strides) - 1).astype(np.int64)

    def raw(self, x: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        maps, strides = self.maps(x)
        regions = self.proposals.propose(maps, strides, x.shape[1:3])
        counts = [len(each) for each in regions]
        if not sum(counts):
            return [self._nothing() for _ in counts]
        boxes = np.concatenate(regions)
        scores, codes = self.heads(maps, strides, boxes, np.repeat(np.arange(len(counts)), counts))
        probabilities = functional.softmax(scores).data[:, 1:]
        each = np.repeat(boxes, self.num_classes, axis=0)
        decoded = ops.decode_boxes(codes.data.reshape(-1, 4), each)
        decoded = decoded.reshape(len(boxes), self.num_classes, 4)
        ends = np.cumsum(counts)[:-1]
        return list(zip(np.split(decoded, ends), np.split(probabilities, ends), strict=True))

    def _nothing(self) -> tuple[np.ndarray, np.ndarray]:
        classes = self.num_classes
        return np.zeros((0, classes, 4), np.float32), np.zeros((0, classes), np.float32)


def _assigned(
    regions: np.ndarray, objects: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sampled regions of an image, the objects' own boxes among them, with labels and codes.

    Labels are 0 for the background.
    """
    boxes, labels = objects
    regions = np.concatenate([regions, boxes])
    matches = ops.match_boxes(ops.box_iou(boxes, regions), high=MATCHED, low=MATCHED)
    rows = sampled(matches, SAMPLED, SHARE)
    regions, matches = regions[rows], matches[rows]
    if not len(boxes):
        return regions, np.zeros(len(regions), np.int64), np.zeros_like(regions)
    chosen = np.maximum(matches, 0)
    found = np.where(matches >= 0, 1 + labels[chosen], BACKGROUND)
    return regions, found, ops.encode_boxes(boxes[chosen], regions)


def _linear(inputs: int, outputs: int, std: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    init.normal(layer.weight, std=std)
    return layer
