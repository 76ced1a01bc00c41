"""Networks that find points in pictures: a body of `minidl.models` with a head for points."""

import os
from dataclasses import replace
from typing import Any

import numpy as np

from minidl import models, nn, ops
from minidl.apps.landmarks.faceapi import FacePoints, load_face_points
from minidl.autograd import no_grad
from minidl.checks import positive
from minidl.errors import ArgumentError, FileFormatError, MinidlError, ShapeError, StateError
from minidl.io.guarded import MAX_BYTES
from minidl.io.load import load_weights
from minidl.io.weights import read_architecture, stored_state
from minidl.models import ImageFormat, Network
from minidl.models.sources import SIGNED
from minidl.nn import Module, init
from minidl.nn.modes import shadow

__all__ = ["HEADS", "LandmarkNetwork", "load_landmarks"]

NAME = "landmarks"  # of the architecture in files
STRIDE = 4  # pixels of the image between two of a heatmap
CHANNELS = 64  # of the maps between the body and the heatmaps
MOST_POINTS, LARGEST = 10_000, 1024  # that a file may ask for


class DirectHead(Module):
    """A linear layer on the flattened maps.  (N, h, w, C) -> (N, points, 2)."""

    def __init__(self, shape: tuple[int, int, int], size: int, points: int) -> None:
        height, width, channels = shape
        self.points = points
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(height * width * channels, 2 * points)

    def forward(self, x: Any) -> Any:
        return self.linear(self.flatten(x)).reshape(-1, self.points, 2)  # (N, 2 P) -> (N, P, 2)

    def start_at(self, points: np.ndarray) -> None:
        """Begin with the answer `points` (P, 2) for every picture, but for small weights."""
        assert self.linear.bias is not None
        self.linear.bias.data[...] = points.reshape(-1)  # (P, 2) -> (2 P,)
        self.linear.weight.data *= 0.1


class HeatmapHead(Module):
    """Heatmaps at a quarter of the image's size, and their centres.  (N, h, w, C) -> (N, P, 2).

    Transposed convolutions enlarge the body's maps; a 1x1 convolution makes a map for each point,
    whose softmax is a distribution over places. The point is its mean, which has a gradient.
    Source: Sun, Xiao, Wei, Liang and Wei 2018, "Integral human pose regression", equation 2; the
    layers are those of Xiao, Wu and Wei 2018, "Simple baselines for human pose estimation".
    """

    def __init__(self, shape: tuple[int, int, int], size: int, points: int) -> None:
        height, width, channels = shape
        layers: list[Module] = []
        while height * STRIDE < size:
            layers += [
                nn.ConvTranspose2d(channels, CHANNELS, 4, 2, padding=1, bias=False),
                nn.BatchNorm2d(CHANNELS, activation="relu"),
            ]
            channels, height, width = CHANNELS, 2 * height, 2 * width
        self.enlarge = nn.Sequential(*layers)
        self.maps = nn.PointwiseConv2d(channels, points)

    def forward(self, x: Any) -> Any:
        maps = self.heatmaps(x)  # (N, h, w, P)
        _, height, width, points = maps.shape
        # (N, h, w, P) -> (N, h * w, P) -> (N, P, h * w)
        shares = maps.reshape(-1, height * width, points).transpose(0, 2, 1)
        return shares @ _centres(height, width, maps.dtype)

    def heatmaps(self, x: Any) -> Any:
        """Return the distributions of points over places, (N, h, w, P)."""
        scores = self.maps(self.enlarge(x))
        _, height, width, points = scores.shape
        found = ops.softmax(scores.reshape(-1, height * width, points), axis=1)
        return found.reshape(-1, height, width, points)

    def start_at(self, points: np.ndarray) -> None:
        """Nothing: all maps begin flat."""


def _centres(height: int, width: int, dtype: Any) -> np.ndarray:
    """x and y of the places of a map, in shares of its sides, (h * w, 2)."""
    y, x = np.mgrid[:height, :width]
    centres = np.stack([(x + 0.5) / width, (y + 0.5) / height], axis=2)  # (h, w, 2)
    return centres.reshape(-1, 2).astype(dtype)


HEADS: dict[str, type[DirectHead] | type[HeatmapHead]] = {
    "heatmap": HeatmapHead, "direct": DirectHead,
}  # fmt: skip


class LandmarkNetwork(Module):
    """A body with a head for points.  (N, size, size, C) -> (N, points, 2).

    Points are x, y in shares of the image's width and height, (0, 0) its upper left corner.
    body: a network of `minidl.models`; its own head isn't used.
    head: "heatmap", which is finer, or "direct", which costs less and also finds what isn't seen.
    size: height and width of the images, in pixels.
    `md.save_weights` saves it, `load_landmarks` brings it back.
    Raises ArgumentError for another head, ShapeError for a body that gives no maps of such images.
    """

    def __init__(
        self, body: Network, points: int, *, head: str = "heatmap", size: int = 96
    ) -> None:
        who = "LandmarkNetwork"
        if not isinstance(body, Network):
            raise ArgumentError(
                f"{who} expected a network of minidl.models as body, got {type(body).__name__}"
            )
        if not isinstance(head, str) or head not in HEADS:
            raise ArgumentError(f"{who}: head must be one of {', '.join(HEADS)}, got {head!r}")
        self.points, self.size = positive(who, "points", points), positive(who, "size", size)
        features = _features(body)
        shape = _maps_of(features, body, self.size)
        self.features, self.head = features, HEADS[head](shape, self.size, self.points)
        name, arguments = body.architecture or ("", {})
        self.architecture = NAME, {
            "body": name, "arguments": arguments, "points": self.points, "head": head,
            "size": self.size,
        }  # fmt: skip
        known = body.image_format or _plain_format(body.input_shape[2])
        self.image_format: ImageFormat = replace(known, size=self.size)

    def forward(self, x: Any) -> Any:
        return self.head(self.features(x))

    def preparation(self) -> list[Any]:
        """Return the transforms that turn images (N, size, size, 3) uint8 into its input."""
        from minidl.data.transforms import prepare

        return [*prepare(self.image_format, crop=False)]


def _features(body: Network) -> Module:
    """The layers of a body that give maps."""
    features = body.features
    if isinstance(features, nn.Sequential) and isinstance(features[-1], nn.Flatten):
        return features[:-1]
    return features


def _plain_format(channels: int) -> ImageFormat:
    """What a new body takes: numbers from -1 to 1."""
    if channels not in (1, 3):
        raise ArgumentError(
            f"LandmarkNetwork expected a body for images of 1 or 3 channels, got {channels}"
        )
    return replace(SIGNED, mean=(1.0,) * channels, std=(1.0,) * channels)


def _maps_of(features: Module, body: Network, size: int) -> tuple[int, int, int]:
    """The shape (h, w, C) of the maps that the body makes of an image."""
    images = np.zeros((1, size, size, body.input_shape[2]), next(body.parameters()).dtype)
    with no_grad():
        found = shadow(features, hooks=False).eval()(images).shape
    if len(found) != 4:
        name = body.architecture[0] if body.architecture else type(body).__name__
        raise ShapeError(f"LandmarkNetwork expected a body that gives maps, {name} gives {found}")
    return found[1], found[2], found[3]


def load_landmarks(path: str | os.PathLike[str]) -> LandmarkNetwork | FacePoints:
    """Return the network in a file that `train_landmarks` or `md.save_weights` made.

    path: that, or a manifest (.json) of face-api.js's weights for 68 points.
    Raises FileFormatError for files of other networks, and damaged ones.
    """
    if os.path.splitext(path)[1].lower() == ".json":
        return load_face_points(path)
    found = read_architecture(path)
    where, given = os.fspath(path), found.arguments
    if found.name != NAME:
        raise FileFormatError(
            f"{where}: expected a network that finds points, found {found.name!r:.80}: minidl "
            "landmarks train makes one"
        )
    try:
        if not given["points"] <= MOST_POINTS or not given["size"] <= LARGEST:
            raise ArgumentError("too many points or pixels")
        with init.skipped():
            body = models.create(given["body"], **given["arguments"])
            if found.image_format is not None:
                body.image_format = ImageFormat(**found.image_format)
            _check_body(body, path)
            made = LandmarkNetwork(body, given["points"], head=given["head"], size=given["size"])
    except (MinidlError, TypeError, KeyError, ValueError, MemoryError) as error:
        raise FileFormatError(
            f"{where}: no network can be made with {given!r:.200}: {error}"
        ) from error
    load_weights(made, path)
    made.eval()
    return made


def _check_body(body: Network, path: str | os.PathLike[str]) -> None:
    """Raise StateError unless the file has the body's arrays, before memory is touched."""
    with stored_state(path, MAX_BYTES, lambda name: name) as state:
        for name, parameter in _features(body).named_parameters():
            found = state.get(f"features.{name}")
            if found is None or found.shape != parameter.shape:
                shape = None if found is None else found.shape
                raise StateError(f"features.{name} should be {parameter.shape}, and is {shape}")
