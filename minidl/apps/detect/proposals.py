"""The region proposal network of Faster R-CNN.

Source: Ren et al. 2015, "Faster R-CNN", section 3.1.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import nn, ops, random
from minidl.apps.detect.detector import box_loss, check_finite
from minidl.models.blocks import conv_relu
from minidl.nn import functional, init

__all__ = ["RegionProposals", "sampled"]

RATIOS = (0.5, 1.0, 2.0)
HIGH, LOW = 0.7, 0.3  # IoU from which an anchor is an object's, below which it is background
SAMPLED, SHARE = 256, 0.5  # anchors an image that are learned from; how many are of objects
BEFORE, AFTER = 1000, 300  # boxes of a map before suppression, of an image after it
OVERLAP = 0.7
LEAST = 1.0  # pixels of a proposal's side
BETA = 1 / 9
WEIGHTS = (1.0, 1.0, 1.0, 1.0)

Objects = tuple[np.ndarray, np.ndarray]


class RegionProposals(nn.Module):
    """Scores and codes of the anchors of maps; the layers are the same for all of them.

    sides: of anchors, in pixels of their map.
    """

    def __init__(self, in_channels: int, channels: int, sides: Sequence[float]) -> None:
        self.sides = tuple(sides)
        anchors = len(sides) * len(RATIOS)
        self.shared = conv_relu(in_channels, channels, 3)
        self.scores = nn.PointwiseConv2d(channels, anchors)
        self.codes = nn.PointwiseConv2d(channels, 4 * anchors)
        for layer in (self.shared, self.scores, self.codes):
            init.normal(layer.weight, std=0.01)  # biases are 0 already

    def forward(
        self, maps: Sequence[Any], strides: Sequence[int]
    ) -> tuple[Any, Any, list[np.ndarray]]:
        """Return scores (N, A), codes (N, A, 4) and the anchors (a, 4) of each map."""
        scores, codes, anchors = [], [], []
        for map_, stride in zip(maps, strides, strict=True):
            x = self.shared(map_)
            scores.append(self.scores(x).reshape(x.shape[0], -1))
            codes.append(self.codes(x).reshape(x.shape[0], -1, 4))
            sizes = [stride * side for side in self.sides]
            anchors.append(ops.anchor_boxes(map_.shape[1:3], stride, sizes, RATIOS))
        return ops.concatenate(*scores, axis=1), ops.concatenate(*codes, axis=1), anchors

    def propose(
        self, maps: Sequence[Any], strides: Sequence[int], size: tuple[int, int]
    ) -> list[np.ndarray]:
        """Return the proposals (n, 4) for each image of a batch of `size`."""
        scores, codes, anchors = self(maps, strides)
        return self._best(scores, codes, anchors, size)

    def learn(
        self,
        maps: Sequence[Any],
        strides: Sequence[int],
        size: tuple[int, int],
        objects: Sequence[Objects],
    ) -> tuple[list[np.ndarray], dict[str, Any]]:
        """Return the proposals for each image, and the loss: {"objectness", "proposal"}."""
        scores, codes, anchors = self(maps, strides)
        check_finite("FasterRCNN", scores, codes)
        joined = np.concatenate(anchors)
        rows, positive, wanted = [], [], []
        for i, (boxes, _) in enumerate(objects):
            matches = ops.match_boxes(
                ops.box_iou(boxes, joined), high=HIGH, low=LOW, allow_low_quality_matches=True
            )
            chosen = sampled(matches, SAMPLED, SHARE)
            found = chosen[matches[chosen] >= 0]
            rows.append(i * len(joined) + chosen)
            positive.append(i * len(joined) + found)
            if len(found):
                wanted.append(
                    ops.encode_boxes(boxes[matches[found]], joined[found], weights=WEIGHTS)
                )
        row, of_object = np.concatenate(rows), np.concatenate(positive)
        truth = np.isin(row, of_object).astype(np.float32)
        objectness = functional.binary_cross_entropy_with_logits(scores.reshape(-1)[row], truth)
        parts = {"objectness": objectness}
        target = np.concatenate([np.zeros((0, 4), np.float32), *wanted])
        box = box_loss(codes.reshape(-1, 4)[of_object], target, BETA)
        parts["proposal"] = box / max(1, len(row))
        return self._best(scores, codes, anchors, size), parts

    @staticmethod
    def _best(
        scores: Any, codes: Any, anchors: Sequence[np.ndarray], size: tuple[int, int]
    ) -> list[np.ndarray]:
        """Return each image's proposals: the best of each map, after suppression within it."""
        joined = np.concatenate(anchors)
        level = np.repeat(np.arange(len(anchors)), [len(each) for each in anchors])
        starts = np.cumsum([0, *(len(each) for each in anchors)])
        found = []
        for score, code in zip(scores.data, codes.data, strict=True):
            best = np.concatenate([
                a + np.argsort(-score[a:b], kind="stable")[:BEFORE]
                for a, b in itertools.pairwise(starts)
            ])  # fmt: skip
            boxes = ops.decode_boxes(code[best], joined[best], weights=WEIGHTS)
            boxes = ops.clip_boxes_to_image(boxes, size)
            large = ops.remove_small_boxes(boxes, LEAST)
            boxes, best = boxes[large], best[large]
            kept = ops.batched_nms(boxes, score[best], level[best], OVERLAP)[:AFTER]
            found.append(boxes[kept])
        return found


def sampled(matches: np.ndarray, count: int, share: float) -> np.ndarray:
    """Return up to `count` anchors or regions, at most `share` of them of objects, in random order.

    matches: of each, the number of its box, -1 for background, -2 for neither.
    """
    generator = random.generator()
    positive = generator.permutation(np.flatnonzero(matches >= 0))[: int(count * share)]
    negative = generator.permutation(np.flatnonzero(matches == -1))[: count - len(positive)]
    return np.concatenate([positive, negative])
