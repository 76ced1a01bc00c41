"""face-api.js's detector of faces: SSD with a MobileNet.

Source: Liu et al. 2016, "SSD: single shot multibox detector", with the body of Howard et al. 2017,
"MobileNets", as TensorFlow's Object Detection API builds it, and weights of face-api.js.
"""

import os
from typing import Any

import numpy as np

from minidl import nn, ops
from minidl.apps.pictures import Picture, rgb_pixels
from minidl.checks import real
from minidl.data.images import fit_pixels
from minidl.errors import ArgumentError, FileFormatError
from minidl.io.tfjs import read_tfjs
from minidl.models.mobilenet import LAYERS
from minidl.nn import Module
from minidl.nn.modes import evaluating

__all__ = ["FaceSSD"]

SIZE = 512
PRIORS, CLASSES = 5118, 3
EPS = 1e-3
FIRST_MAP = 11  # the layer of the body whose maps are the first to look at
# Channels and kernel of the layers after the body; those of 3 x 3 have stride 2 and are looked at
EXTRA = ((256, 1), (512, 3), (128, 1), (256, 3), (128, 1), (256, 3), (64, 1), (128, 3))
# The coordinates of a box, y, x, h and w, are told over these
SCALES = np.array([10, 10, 5, 5], np.float32)


class FaceSSD(Module):
    """Finds faces at once, at six sizes.  (N, 512, 512, 3) -> (N, 5118, 3), (N, 5118, 4).

    That is scores before the sigmoid, of which the second is the face's, and codes of boxes.
    5.6 million parameters. Maps of 32, 16, 8, 4, 2 and 1 places a side have 3 priors a place, or 6.
    """

    classes = ("face",)

    def __init__(self) -> None:
        self.stem = _convolution(3, 32, 3, 2)
        channels, body = 32, []
        for filters, stride in LAYERS:
            body.append(Separable(channels, filters, stride))
            channels = filters
        self.body = nn.ModuleList(body)
        seen, extra = [body[FIRST_MAP - 1].out_channels, channels], []
        for filters, kernel in EXTRA:
            extra.append(_convolution(channels, filters, kernel, 1 if kernel == 1 else 2))
            channels = filters
            if kernel == 3:
                seen.append(channels)
        self.extra = nn.ModuleList(extra)
        counts = [3, *[6] * (len(seen) - 1)]  # priors a place
        pairs = list(zip(seen, counts, strict=True))
        self.scores = nn.ModuleList([nn.PointwiseConv2d(c, n * CLASSES) for c, n in pairs])
        self.boxes = nn.ModuleList([nn.PointwiseConv2d(c, n * 4) for c, n in pairs])
        self.priors = nn.Buffer(np.zeros((PRIORS, 4), np.float32))  # y1, x1, y2, x2 from 0 to 1

    def forward(self, x: Any) -> tuple[Any, Any]:
        maps, x = [], self.stem(x)
        for number, layer in enumerate(self.body, 1):
            x = layer(x)
            if number == FIRST_MAP:
                maps.append(x)
        maps.append(x)
        for i, layer in enumerate(self.extra):
            x = layer(x)
            if i % 2:
                maps.append(x)
        return _rows(self.scores, maps, CLASSES), _rows(self.boxes, maps, 4)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "FaceSSD":
        """Return the detector with face-api.js's weights.

        path: ssd_mobilenetv1_model-weights_manifest.json, or its folder.
        Raises FileFormatError for weights of another network.
        """
        made = cls()
        if os.path.isdir(path):
            path = os.path.join(path, "ssd_mobilenetv1_model-weights_manifest.json")
        arrays = read_tfjs(path)
        try:
            made.load_state_dict(_translated(arrays))
        except (KeyError, IndexError, ValueError) as error:
            raise FileFormatError(
                f"{os.fspath(path)}: expected face-api.js's SSD-MobileNet: {error}"
            ) from error
        made.eval()
        return made

    def detect(
        self, image: Picture, *, score_threshold: float = 0.5, iou_threshold: float = 0.5
    ) -> dict[str, np.ndarray]:
        """Return the faces in a picture, those of the highest scores first.

        image: a file, or an array of uint8, (H, W), (H, W, 3) or (H, W, 4); its longer side is
        resized to 512 pixels. Returns {"boxes": (n, 4), "labels": (n,), "scores": (n,)}.
        Raises ArgumentError for thresholds outside of 0 to 1.
        """
        who = "FaceSSD.detect"
        least = real(who, "score_threshold", score_threshold)
        most = real(who, "iou_threshold", iou_threshold)
        if not (0 <= least <= 1 and 0 <= most <= 1):
            raise ArgumentError(f"{who}: thresholds must be from 0 to 1, got {least} and {most}")
        pixels = rgb_pixels(who, "image", image)
        x, ratio = _square(pixels)
        with evaluating(self):
            logits, codes = self(x)
        scores = ops.sigmoid(logits.data[0, :, 1])
        kept = scores > least
        boxes = _decoded(codes.data[0, kept], self.priors.data[kept]) * (SIZE / ratio)
        scores, size = scores[kept], pixels.shape[:2]
        boxes = ops.clip_boxes_to_image(boxes.astype(np.float32), size)
        found = ops.nms(boxes, scores, most)
        return {
            "boxes": boxes[found],
            "labels": np.zeros(len(found), np.int64),
            "scores": scores[found],
        }


class Separable(Module):
    """Depthwise 3 x 3 with batch normalization, then 1 x 1.  (N, H, W, in) -> (N, H', W', out)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        self.out_channels = out_channels
        self.depthwise = nn.DepthwiseConv2d(in_channels, 3, stride, "same", bias=False)
        self.norm = nn.BatchNorm2d(in_channels, EPS, activation="relu6")
        self.pointwise = _convolution(in_channels, out_channels, 1, 1)

    def forward(self, x: Any) -> Any:
        return self.pointwise(self.norm(self.depthwise(x)))


def _convolution(in_channels: int, out_channels: int, kernel: int, stride: int) -> nn.Conv2d:
    """A convolution with the normalization of its training in kernel and bias."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, "same", activation="relu6")


def _rows(layers: nn.ModuleList, maps: list[Any], width: int) -> Any:
    """What a layer makes of each map, as rows of priors: (N, 5118, width)."""
    # (N, h, w, priors * width) -> (N, h * w * priors, width)
    found = [layer(x).reshape(len(x), -1, width) for layer, x in zip(layers, maps, strict=True)]
    return ops.concatenate(*found, axis=1)


def _square(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture in the upper left of a black square, from -1 to 1, and how much larger it is."""
    height, width = pixels.shape[:2]
    ratio = SIZE / max(height, width)
    size = max(1, round(height * ratio)), max(1, round(width * ratio))
    x = np.zeros((1, SIZE, SIZE, 3), np.float32)
    x[0, : size[0], : size[1]] = fit_pixels(pixels, size, "stretch")
    x *= np.float32(2 / 255)
    x -= 1
    return x, ratio


def _decoded(codes: np.ndarray, priors: np.ndarray) -> np.ndarray:
    """Boxes x1, y1, x2, y2 of codes y, x, h, w, in shares of the square."""
    sides = priors[:, 2:] - priors[:, :2]  # h, w
    centre = priors[:, :2] + sides / 2  # y, x
    codes = codes / SCALES
    centre = centre + codes[:, :2] * sides
    sides = sides * np.exp(codes[:, 2:])
    low, high = centre - sides / 2, centre + sides / 2
    found: np.ndarray = np.concatenate([low[:, ::-1], high[:, ::-1]], axis=1)
    return found


def _translated(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """face-api.js's arrays under the names of `FaceSSD`."""
    state = {"priors": arrays["Output/extra_dim"][0]}

    def convolution(name: str, theirs: str) -> None:
        state[f"{name}.weight"] = arrays[f"{theirs}/weights"]
        state[f"{name}.bias"] = arrays[f"{theirs}/convolution_bn_offset"]

    convolution("stem", "MobilenetV1/Conv2d_0_pointwise")
    for i in range(len(LAYERS)):
        name, theirs = f"body.{i}", f"MobilenetV1/Conv2d_{i + 1}"
        norm = f"{theirs}_depthwise/BatchNorm"
        state[f"{name}.depthwise.weight"] = arrays[f"{theirs}_depthwise/depthwise_weights"]
        state[f"{name}.norm.weight"] = arrays[f"{norm}/gamma"]
        state[f"{name}.norm.bias"] = arrays[f"{norm}/beta"]
        state[f"{name}.norm.running_mean"] = arrays[f"{norm}/moving_mean"]
        state[f"{name}.norm.running_var"] = arrays[f"{norm}/moving_variance"]
        convolution(f"{name}.pointwise", f"{theirs}_pointwise")
    for i in range(len(EXTRA)):
        convolution(f"extra.{i}", f"Prediction/Conv2d_{i}_pointwise")
    for i in range(6):
        theirs = f"Prediction/BoxPredictor_{i}"
        for ours, kind in (("scores", "ClassPredictor"), ("boxes", "BoxEncodingPredictor")):
            state[f"{ours}.{i}.weight"] = arrays[f"{theirs}/{kind}/weights"]
            state[f"{ours}.{i}.bias"] = arrays[f"{theirs}/{kind}/biases"]
    return state
