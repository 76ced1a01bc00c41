"""`train.explain`: what in an image a network's answer rests on."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl.analysis import grad_cam, guided_saliency, occlusion, plot_saliency
from minidl.checks import is_whole
from minidl.constants.tasks import CLASSES
from minidl.data import read_image
from minidl.errors import ArgumentError
from minidl.models import Network
from minidl.ops import softmax
from minidl.train.inference import Members, listed, load_members
from minidl.train.settings import check_paths

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True)
class Explanation:
    """Which parts of an image speak for a class.

    pixels: (H, W, C) uint8, as the network sees the image.  number, name: of the class.
    probability: that the network gives it.
    maps: (H, W) each, by name: "Grad-CAM" and, of a network with ReLUs, "guided saliency", from 0
        to 1, and "occlusion", the probability lost where a square hides the image.
    """

    pixels: np.ndarray
    number: int
    name: str
    probability: float
    maps: dict[str, np.ndarray]

    def figure(self) -> Any:
        """Return a matplotlib Figure of the image and its maps."""
        figure = plot_saliency(self.pixels, self.maps)
        figure.suptitle(f"{self.name}: {self.probability:.1%}", fontsize=10)
        return figure


def explain(
    weights: str | os.PathLike[str],
    image: str | os.PathLike[str],
    *,
    target: str | int | None = None,
    layer: str | None = None,
    classes: str | os.PathLike[str] | None = None,
) -> Explanation:
    """Explain the score that a network gives to an image's class, by maps of what speaks for it.

    weights: a file that `models.load` reads.  image: an image file.
    target: the class, by name or number; None for the likeliest one.
    layer: whose maps Grad-CAM shows; see `analysis.grad_cam`.
    classes: a file with the names of the classes, one a line; see `train.evaluate`.
    Raises ArgumentError for a class that the network doesn't know, FileFormatError or OSError for
    files that can't be read.
    """
    check_paths("train.explain", weights=weights, image=image, classes=classes or "")
    members = load_members([Path(weights)], None if classes is None else Path(classes))
    if members.task != CLASSES:
        raise ArgumentError(
            f"train.explain: {weights} gives {members.task}, and only what speaks for one of "
            "several classes is explained"
        )
    network = members.networks[0].eval()
    x = read_image(image, network.decoded_size)[None]  # (1, H, W, 3)
    for transform in network.preparation():
        x = transform(x)
    scores = network(x).data[0].astype(np.float64)
    number = int(scores.argmax()) if target is None else _number(members, target)
    maps = {"Grad-CAM": grad_cam(network, x, number, layer)}
    with contextlib.suppress(ArgumentError):  # a network without ReLUs
        maps["guided saliency"] = guided_saliency(network, x, number)
    maps["occlusion"] = occlusion(network, x, number)
    probability = float(softmax(scores)[number])
    return Explanation(_pixels(network, x[0]), number, members.called(number), probability, maps)


def _number(members: Members, target: str | int) -> int:
    """The number of a class by its name, or by its number, also as text."""
    if isinstance(target, str):
        if target in members.numbers:
            return members.numbers[target]
        if not target.isdecimal():
            known = f"it knows {listed(members.names)}" if members.names else "it names none"
            raise ArgumentError(
                f"train.explain: {members.files[0]} has no class {target!r}: {known}"
            )
        target = int(target)
    if not is_whole(target) or not 0 <= target < members.num_classes:
        raise ArgumentError(
            f"train.explain: {members.files[0]} has classes 0 to {members.num_classes - 1}, got "
            f"{target!r}"
        )
    return int(target)


def _pixels(network: Network, x: np.ndarray) -> np.ndarray:
    """The pixels that were prepared as x (H, W, C)."""
    wanted: Any = network.image_format
    pixels = (x * np.asarray(wanted.std) + np.asarray(wanted.mean)) * wanted.scale
    pixels = pixels[..., ::-1] if wanted.order == "BGR" else pixels
    return pixels.round().clip(0, 255).astype(np.uint8)
