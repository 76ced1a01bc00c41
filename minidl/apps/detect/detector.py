"""Detector: what SSD and Faster R-CNN share."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import models, nn, ops
from minidl.apps.detect.backbone import Backbone, backbone_of
from minidl.apps.pictures import Picture, rgb_pixels
from minidl.checks import lengths, positive, real
from minidl.constants.tasks import CLASSES
from minidl.data.transforms.geometry import resize_into
from minidl.errors import ArgumentError, GradError
from minidl.nn import functional
from minidl.nn.modes import evaluating

__all__ = ["SMALLEST", "Detector", "Prediction", "Target", "box_loss", "check_finite", "objects_of"]

Target = dict[str, np.ndarray]
Prediction = dict[str, np.ndarray]
CANDIDATES = 400  # boxes of a class that suppression looks at
MOST = 200  # boxes of an image
LARGEST = 2**12  # pixels of a side
SMALLEST = 32


class Detector(nn.Module):
    """Base of networks that find objects in images.

    size: (H, W) that images are resized to.  classes: the names of the classes, if they are known.
    image_format: how pixels are scaled.  architecture: the name and the arguments that files hold.
    losses: the names of what `loss` gives. Subclasses write `loss` and `raw`.
    Raises ArgumentError for a num_classes below 1 or a size that the network can't take.
    """

    name: str
    losses: tuple[str, ...]
    task = CLASSES
    classes: list[str] | None = None

    def __init__(self, network: Any, num_classes: int, size: Any, **arguments: Any) -> None:
        who = type(self).__name__
        self.num_classes = positive(who, "num_classes", num_classes)
        self.size = _size(who, size)
        self.body = self.make_body(network)
        self.image_format: models.ImageFormat = network.image_format
        body, made = network.architecture
        self.architecture = (self.name, {
            "body": body, "body_arguments": made, "num_classes": self.num_classes,
            "size": list(self.size), **arguments,
        })  # fmt: skip
        kind = self.image_format
        self._factor = np.float32(1 / (kind.scale * np.asarray(kind.std)))
        self._offset = np.float32(-np.asarray(kind.mean) / np.asarray(kind.std))

    def make_body(self, network: Any) -> Backbone:
        """Return the body of a network, cut into stages."""
        return backbone_of(type(self).__name__, network)

    def prepare(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return images (H, W, 3) uint8 of any sizes as one batch (N, *size, 3) float32."""
        pixels = np.empty((len(images), *self.size, 3), np.uint8)
        for row, image in zip(pixels, images, strict=True):
            resize_into(row, image)
        return self.scaled(pixels)

    def scaled(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels (N, H, W, 3), RGB from 0 to 255, as the body takes them."""
        x = pixels[..., ::-1] if self.image_format.order == "BGR" else pixels
        found: np.ndarray = x * self._factor + self._offset
        return found

    def loss(self, x: Any, targets: Sequence[Target]) -> dict[str, Any]:
        """Return the parts of the loss, by name, of a batch (N, H, W, 3) as `prepare` makes it.

        targets: with boxes in the pixels of x.
        """
        raise NotImplementedError

    def raw(self, x: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return (boxes (n, C, 4) or (n, 1, 4), probabilities (n, C)) of each image of a batch."""
        raise NotImplementedError

    def detect(
        self, image: Picture, *, score_threshold: float = 0.5, iou_threshold: float = 0.45
    ) -> Prediction:
        """Find objects in an image of any size.

        image: a file, or an array of uint8, (H, W), (H, W, 3) or (H, W, 4).
        score_threshold: the least probability of a box.
        iou_threshold: of two boxes of a class that overlap more, the one with less is dropped.
        Returns {"boxes" (n, 4), "labels" (n,), "scores" (n,)} by falling score, in the pixels of
        the image; at most 200.
        """
        return self.detect_all(
            [image], score_threshold=score_threshold, iou_threshold=iou_threshold
        )[0]

    def detect_all(
        self,
        images: Sequence[Picture],
        *,
        score_threshold: float = 0.01,
        iou_threshold: float = 0.45,
    ) -> list[Prediction]:
        """Return what `detect` does for each of several images, as one batch.

        images: files, or arrays of uint8, (H, W), (H, W, 3) or (H, W, 4).
        Raises ArgumentError for thresholds outside of 0 to 1.
        """
        for name, value in (("score_threshold", score_threshold), ("iou_threshold", iou_threshold)):
            if not 0 <= real("detect", name, value) <= 1:
                raise ArgumentError(f"detect: {name} must be from 0 to 1, got {value}")
        pictures = [rgb_pixels("detect", "image", image) for image in images]
        if not pictures:
            return []
        with evaluating(self):
            found = self.raw(self.prepare(pictures))
        return [
            self._kept(*each, picture.shape, score_threshold, iou_threshold)
            for each, picture in zip(found, pictures, strict=True)
        ]

    def _kept(
        self,
        boxes: np.ndarray,
        probabilities: np.ndarray,
        shape: tuple[int, ...],
        score_threshold: float,
        iou_threshold: float,
    ) -> Prediction:
        """Return the prediction of an image: suppression by class, then the best boxes."""
        rows, labels = [], []
        for label in range(self.num_classes):
            column = probabilities[:, label]
            chosen = np.flatnonzero(column >= score_threshold)
            best = np.argsort(-column[chosen], kind="stable")[:CANDIDATES]
            rows.append(chosen[best])
            labels.append(np.full(len(best), label, np.int64))
        row, label_ = np.concatenate(rows), np.concatenate(labels)
        scores = probabilities[row, label_]
        found = boxes[row, label_ if boxes.shape[1] > 1 else 0]
        found = ops.clip_boxes_to_image(found, self.size)
        kept = ops.batched_nms(found, scores, label_, iou_threshold)[:MOST]
        height, width = shape[:2]
        back = np.array([width / self.size[1], height / self.size[0]] * 2, np.float32)
        return {"boxes": found[kept] * back, "labels": label_[kept], "scores": scores[kept]}


def objects_of(target: Target) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes (n, 4) and labels (n,) of a target that stand for one object each."""
    boxes, labels = target["boxes"], target["labels"]
    single = ~target.get("crowd", np.zeros(len(labels), bool))
    return boxes[single], labels[single]


def box_loss(codes: Any, wanted: np.ndarray, beta: float = 1.0) -> Any:
    """Return the sum of the smooth L1 loss of codes (n, 4): 0 where no box is to be learned."""
    if not len(wanted):
        return codes.sum()
    return functional.smooth_l1_loss(codes, wanted, beta=beta, reduction="sum")


def check_finite(who: str, *outputs: Any) -> None:
    """Raise GradError where a network's outputs hold NaN or infinity."""
    if not all(np.isfinite(output.data).all() for output in outputs):
        raise GradError(
            f"{who}: its outputs aren't finite any more: lower lr=, the learning rate of its "
            "training; the file of the best epoch so far is kept"
        )


def _size(who: str, size: Any) -> tuple[int, int]:
    """Return a size as (H, W); a number stands for a square."""
    found = lengths(who, "size", size)
    found = found * 2 if len(found) == 1 else found
    if len(found) != 2 or not all(SMALLEST <= n <= LARGEST for n in found):
        raise ArgumentError(
            f"{who}: size must be (height, width), each from {SMALLEST} to {LARGEST} pixels, got "
            f"{size!r}"
        )
    return found[0], found[1]
