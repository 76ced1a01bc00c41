"""face-api.js's networks for the 68 points of faces, in two sizes."""

import os
from typing import Any

import numpy as np

from minidl import nn, ops
from minidl.errors import FileFormatError
from minidl.io.tfjs import read_tfjs
from minidl.models import ImageFormat
from minidl.nn import Module

__all__ = ["FacePoints", "load_face_points"]

POINTS = 68
# (channels of each block, its layers)
SIZES = {"full": ((32, 64, 128, 256), 4), "tiny": ((32, 64, 128), 3)}
FORMAT = ImageFormat(112, "RGB", 255.0, (122.782 / 255, 117.001 / 255, 104.298 / 255), (1.0,) * 3)


class FacePoints(Module):
    """Blocks of separable convolutions, each over the sum of all before it, and a linear layer.

    (N, 112, 112, 3) -> (N, 68, 2): x, y in shares of the image's width and height.
    """

    points, size = POINTS, FORMAT.size
    image_format = FORMAT

    def __init__(self, channels: tuple[int, ...], layers: int) -> None:
        here, blocks = 3, []
        for there in channels:
            blocks.append(Block(here, there, layers))
            here = there
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.GlobalAvgPool2d()
        self.fc = nn.Linear(here, 2 * POINTS)

    def forward(self, x: Any) -> Any:
        return self.fc(self.pool(self.blocks(x))).reshape(-1, POINTS, 2)  # (N, 136) -> (N, 68, 2)

    def preparation(self) -> list[Any]:
        """Return the transforms that turn images (N, 112, 112, 3) uint8 into its input."""
        from minidl.data.transforms import prepare

        return [*prepare(self.image_format, crop=False)]


class Block(Module):
    """A layer of stride 2, then more, each of which sees the ReLU of the sum of all before it."""

    def __init__(self, in_channels: int, out_channels: int, layers: int) -> None:
        first: Module
        if in_channels == 3:
            first = nn.Conv2d(3, out_channels, 3, 2, "same", activation="relu")
        else:
            first = nn.SeparableConv2d(in_channels, out_channels, 3, 2, "same", activation="relu")
        self.first = first
        self.rest = nn.ModuleList(
            [nn.SeparableConv2d(out_channels, out_channels, 3, 1, 1) for _ in range(layers - 1)]
        )

    def forward(self, x: Any) -> Any:
        x = total = self.first(x)
        for layer in self.rest:
            total = total + layer(x)
            x = ops.relu(total)
        return x


def load_face_points(path: str | os.PathLike[str]) -> FacePoints:
    """Return the network with face-api.js's weights.

    path: face_landmark_68_model-weights_manifest.json, or face_landmark_68_tiny_model-....
    Raises FileFormatError for weights of another network.
    """
    arrays = read_tfjs(path)
    size = "full" if any(name.startswith("dense3/") for name in arrays) else "tiny"
    made = FacePoints(*SIZES[size])
    try:
        made.load_state_dict(_translated(arrays, *SIZES[size]))
    except (KeyError, ValueError) as error:
        raise FileFormatError(
            f"{os.fspath(path)}: expected face-api.js's network of 68 points: {error}"
        ) from error
    made.eval()
    return made


def _translated(
    arrays: dict[str, np.ndarray], channels: tuple[int, ...], layers: int
) -> dict[str, np.ndarray]:
    """face-api.js's arrays under the names of `FacePoints`."""
    state = {"fc.weight": arrays["fc/weights"], "fc.bias": arrays["fc/bias"]}
    for block in range(len(channels)):
        for layer in range(layers):
            theirs = f"dense{block}/conv{layer}"
            name = f"blocks.{block}." + (f"rest.{layer - 1}" if layer else "first")
            if block == layer == 0:
                state[f"{name}.weight"] = arrays[f"{theirs}/filters"]
                state[f"{name}.bias"] = arrays[f"{theirs}/bias"]
                continue
            state[f"{name}.depthwise.weight"] = arrays[f"{theirs}/depthwise_filter"]
            state[f"{name}.pointwise.weight"] = arrays[f"{theirs}/pointwise_filter"]
            state[f"{name}.pointwise.bias"] = arrays[f"{theirs}/bias"]
    return state
