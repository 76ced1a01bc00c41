"""MTCNN: faces and five landmarks, found by a cascade of three small networks.

Source: Zhang, Zhang, Li and Qiao 2016, "Joint face detection and alignment using multi-task
cascaded convolutional networks".
"""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl import nn, ops
from minidl.apps.detect.crops import Crops
from minidl.apps.pictures import Picture, rgb_pixels
from minidl.checks import real
from minidl.errors import ArgumentError, FileFormatError
from minidl.io.caffe import CaffeLayer, read_caffemodel
from minidl.nn import Module
from minidl.nn.modes import evaluating

__all__ = ["MTCNN", "ONet", "PNet", "RNet"]

CELL, STRIDE = 12, 2  # pixels: what P-Net sees, and between two places where it looks
POINTS = 5  # eyes, nose, corners of the mouth
BATCH = 256  # crops a pass
SAME_SCALE, SAME = 0.5, 0.7  # IoU above which two boxes are of one face
LARGEST = 2**23  # pixels of the first level of the pyramid, which take about 2 GB


class PNet(Module):
    """The proposal network.  (N, H, W, 3) -> scores (N, H', W', 2), codes (N, H', W', 4).

    6,632 parameters. Place (i, j) sees the 12 x 12 pixels from (2 i, 2 j) on.
    """

    size = CELL

    def __init__(self) -> None:
        self.features = nn.Sequential(
            nn.Conv2d(3, 10, 3), nn.PReLU(10), nn.MaxPool2d(2, 2, ceil_mode=True),
            nn.Conv2d(10, 16, 3), nn.PReLU(16),
            nn.Conv2d(16, 32, 3), nn.PReLU(32),
        )  # fmt: skip
        self.scores, self.boxes = nn.PointwiseConv2d(32, 2), nn.PointwiseConv2d(32, 4)

    def forward(self, x: Any) -> tuple[Any, ...]:
        x = self.features(x)
        return self.scores(x), self.boxes(x)


class RNet(Module):
    """The refining network.  (N, 24, 24, 3) -> scores (N, 2), codes (N, 4), points (N, 10).

    101,468 parameters with those of the points, which the cascade has no use for.
    """

    size = 24

    def __init__(self) -> None:
        self.features = nn.Sequential(
            nn.Conv2d(3, 28, 3), nn.PReLU(28), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(28, 48, 3), nn.PReLU(48), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(48, 64, 2), nn.PReLU(64),
            nn.Flatten(), nn.Linear(576, 128), nn.PReLU(128),
        )  # fmt: skip
        self.scores, self.boxes = nn.Linear(128, 2), nn.Linear(128, 4)
        self.points = nn.Linear(128, 2 * POINTS)

    def forward(self, x: Any) -> tuple[Any, ...]:
        x = self.features(x)
        return self.scores(x), self.boxes(x), self.points(x)


class ONet(Module):
    """The output network.  (N, 48, 48, 3) -> scores (N, 2), codes (N, 4), points (N, 10).

    389,040 parameters. Points are x1 to x5, then y1 to y5, in shares of the box.
    """

    size = 48

    def __init__(self) -> None:
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 3), nn.PReLU(32), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(32, 64, 3), nn.PReLU(64), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(64, 64, 3), nn.PReLU(64), nn.MaxPool2d(2, 2, ceil_mode=True),
            nn.Conv2d(64, 128, 2), nn.PReLU(128),
            nn.Flatten(), nn.Linear(1152, 256), nn.PReLU(256),
        )  # fmt: skip
        self.scores, self.boxes = nn.Linear(256, 2), nn.Linear(256, 4)
        self.points = nn.Linear(256, 2 * POINTS)

    def forward(self, x: Any) -> tuple[Any, ...]:
        x = self.features(x)
        return self.scores(x), self.boxes(x), self.points(x)


class MTCNN(Module):
    """The cascade: P-Net at all scales proposes boxes, R-Net and O-Net sort out and move them.

    Boxes are kept as edges, without the "+1" of the published code, and a level's pixels are those
    of the image over the ratio of their sizes; both move a box by less than a pixel.
    """

    classes = ("face",)

    def __init__(self) -> None:
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "MTCNN":
        """Return the cascade with the published weights: det1, det2 and det3.caffemodel.

        Raises FileFormatError for files of other layers; OSError where one is missing.
        """
        made = cls()
        for i, network in enumerate((made.pnet, made.rnet, made.onet), 1):
            path = Path(folder) / f"det{i}.caffemodel"
            _load(network, read_caffemodel(path), os.fspath(path))
        made.eval()
        return made

    def detect(
        self,
        image: Picture,
        *,
        min_size: float = 20,
        thresholds: Sequence[float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
    ) -> dict[str, np.ndarray]:
        """Return the faces in a picture, those of the highest scores first.

        image: a file, or an array of uint8, (H, W), (H, W, 3) or (H, W, 4).
        min_size: of faces, in pixels.  thresholds: scores from which P-, R- and O-Net keep a box.
        factor: the size of each level of the pyramid, as a share of the one before.
        Returns {"boxes": (n, 4), "labels": (n,), "scores": (n,), "points": (n, 5, 2)}: x, y in
        pixels of the left and the right eye, the nose, the left and the right corner of the mouth,
        as they are seen in the picture. Raises ArgumentError for other settings.
        """
        least, wanted, factor = _settings(min_size, thresholds, factor)
        pixels = rgb_pixels("MTCNN.detect", "image", image)
        levels = _levels(pixels.shape[:2], least, factor)
        crops = Crops(pixels)
        with evaluating(self):
            boxes = self._propose(crops, levels, wanted[0])
            squares, scores, codes, _ = _seen(self.rnet, crops, boxes, wanted[1])
            kept = ops.nms(squares, scores, SAME)
            boxes = _moved(squares[kept], codes[kept])
            squares, scores, codes, points = _seen(self.onet, crops, boxes, wanted[2])
        # (n, 10) -> (n, 2, 5) -> (n, 5, 2), shares of the square -> pixels
        shares = points.reshape(-1, 2, POINTS).transpose(0, 2, 1)
        points = squares[:, np.newaxis, :2] + shares * _sides(squares)[:, np.newaxis]
        boxes = _clipped(_moved(squares, codes), pixels.shape[:2])
        kept = ops.remove_small_boxes(boxes, 1)
        kept = kept[_distinct(boxes[kept], scores[kept], SAME)]
        return {
            "boxes": boxes[kept],
            "labels": np.zeros(len(kept), np.int64),
            "scores": scores[kept],
            "points": points[kept],
        }

    def _propose(self, crops: Crops, levels: list[tuple[int, int]], threshold: float) -> np.ndarray:
        """Boxes (n, 4) that P-Net takes for faces, on all levels."""
        height, width = crops.size
        whole = np.array([[0, 0, width, height]])
        found = []
        for h, w in levels:
            logits, codes = self.pnet(_normalized(crops(whole, (h, w))))
            score = _probabilities(logits.data[0])  # (h', w')
            row, column = np.nonzero(score >= threshold)
            score = score[row, column]
            corner = STRIDE * np.stack([column, row, column, row], axis=1)
            boxes = corner + np.array([0, 0, CELL, CELL])
            # In whole pixels of the level: overlaps of exactly a half are frequent there
            kept = ops.nms(boxes, score, SAME_SCALE)
            boxes = (boxes[kept] * ([width / w, height / h] * 2)).astype(np.float32)
            found.append((boxes, score[kept], codes.data[0, row, column][kept]))
        if not found:
            return np.zeros((0, 4), np.float32)
        boxes, score, code = (np.concatenate(each) for each in zip(*found, strict=True))
        kept = ops.nms(boxes, score, SAME)
        return _moved(boxes[kept], code[kept])


def _seen(
    network: RNet | ONet, crops: Crops, boxes: np.ndarray, threshold: float
) -> tuple[np.ndarray, ...]:
    """What a network makes of the squares around boxes: squares, scores, codes and points of those
    whose score reaches the threshold."""
    squares = _squares(boxes)
    parts: list[list[np.ndarray]] = [[np.zeros((0, n), np.float32)] for n in (2, 4, 2 * POINTS)]
    for start in range(0, len(squares), BATCH):
        x = _normalized(crops(squares[start : start + BATCH], (network.size, network.size)))
        for part, found in zip(parts, network(x), strict=True):
            part.append(found.data)
    logits, codes, points = (np.concatenate(part) for part in parts)
    scores = _probabilities(logits)
    kept = scores >= threshold
    return squares[kept].astype(np.float32), scores[kept], codes[kept], points[kept]


def _normalized(pixels: np.ndarray) -> np.ndarray:
    """From 0..255 to -1..1."""
    pixels -= np.float32(127.5)
    pixels *= np.float32(1 / 128)
    return pixels


def _probabilities(logits: np.ndarray) -> np.ndarray:
    """The softmax of a face's class: (..., 2) -> (...)."""
    found: np.ndarray = ops.sigmoid(logits[..., 1] - logits[..., 0])
    return found


def _sides(boxes: np.ndarray) -> np.ndarray:
    """Widths and heights, (n, 2)."""
    found: np.ndarray = boxes[:, 2:] - boxes[:, :2]
    return found


def _moved(boxes: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Boxes whose edges are moved by `codes`, in shares of the sides."""
    found: np.ndarray = boxes + codes * np.tile(_sides(boxes), 2)
    return found


def _clipped(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes clipped to an image; unlike the op's, their ends may be the wrong way round."""
    return boxes.clip(0, np.array([size[1], size[0]] * 2, boxes.dtype))


def _squares(boxes: np.ndarray) -> np.ndarray:
    """Squares (n, 4) of whole pixels around the centres of boxes, as large as the longer sides."""
    side = np.rint(_sides(boxes).max(axis=1, keepdims=True)).clip(1)
    corner = np.rint((boxes[:, :2] + boxes[:, 2:] - side) / 2)
    return np.concatenate([corner, corner + side], axis=1).astype(np.int64)


def _distinct(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Non-maximum suppression by the share of the smaller box that the other one covers.

    So that a box inside another one is no second face. Returns indices, by falling score.
    """
    order = np.argsort(-scores, kind="stable")
    area = _sides(boxes).prod(axis=1)
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = (high - low).clip(0).prod(axis=1)
        order = order[shared <= threshold * np.minimum(area[best], area[order])]
    return np.array(kept, np.int64)


def _settings(
    min_size: float, thresholds: Sequence[float], factor: float
) -> tuple[float, list[float], float]:
    who = "MTCNN.detect"
    least, factor = real(who, "min_size", min_size), real(who, "factor", factor)
    if least <= 0:
        raise ArgumentError(f"{who}: min_size must be pixels, above 0, got {min_size!r}")
    if not 0 < factor < 1:
        raise ArgumentError(f"{who}: factor must be between 0 and 1, got {factor!r}")
    if not isinstance(thresholds, Sequence) or len(thresholds) != 3:
        raise ArgumentError(f"{who}: thresholds must be three numbers, got {thresholds!r:.60}")
    wanted = [real(who, "thresholds", value) for value in thresholds]
    if not all(0 < value < 1 for value in wanted):
        raise ArgumentError(f"{who}: thresholds must be between 0 and 1, got {wanted}")
    return least, wanted, factor


def _levels(size: tuple[int, ...], least: float, factor: float) -> list[tuple[int, int]]:
    """Heights and widths of the pyramid, on which faces from `least` pixels fill P-Net's view."""
    height, width = size
    fits = math.sqrt(height * width / LARGEST) * CELL  # the smallest min_size
    if least < fits:
        raise ArgumentError(
            f"MTCNN.detect: an image of {width} x {height} pixels is too large for "
            f"min_size={least:g}: a min_size of {math.ceil(fits)} would do"
        )
    found, scale = [], CELL / least
    while min(height, width) * scale >= CELL:
        found.append((math.ceil(height * scale), math.ceil(width * scale)))
        scale *= factor
    return found


def _load(network: Module, layers: list[CaffeLayer], path: str) -> None:
    """Load a network with Caffe's layers, in their order."""
    try:
        names = [name for name, _ in network.named_parameters()]
        arrays = dict(zip(names, _turned(layers), strict=True))
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("there are NaNs or infinities among the weights")
        network.load_state_dict(arrays)
    except ValueError as error:
        raise FileFormatError(
            f"{path}: expected the layers of MTCNN's {type(network).__name__}, found "
            f"{', '.join(layer.name for layer in layers)}: {error}"
        ) from error


def _turned(layers: list[CaffeLayer]) -> Iterator[np.ndarray]:
    """Yield the arrays of layers in minidl's layouts.

    They were trained on images in MATLAB's order, columns first: H and W change places.
    """
    channels = 0  # of the maps that the next matrix takes, flattened
    for layer in layers:
        weight, *rest = layer.blobs
        if weight.ndim == 4:  # (out, in, W, H) -> (H, W, in, out)
            channels = len(weight)
            weight = weight.transpose(3, 2, 1, 0)
        elif weight.ndim == 2 and channels:
            side = math.isqrt(weight.shape[1] // channels)
            # (out, C W H) -> (out, C, W, H) -> (H, W, C, out) -> (H W C, out)
            maps = weight.reshape(-1, channels, side, side).transpose(3, 2, 1, 0)
            weight, channels = maps.reshape(-1, len(weight)), 0
        elif weight.ndim == 2:  # (out, in) -> (in, out)
            weight = weight.T
        yield np.ascontiguousarray(weight)
        yield from rest
