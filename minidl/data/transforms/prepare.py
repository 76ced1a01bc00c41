"""The transforms that a network's weights ask for."""

from typing import Any

from minidl.data.transforms.base import Transform
from minidl.data.transforms.colour import Grayscale, ToBGR
from minidl.data.transforms.crop import CenterCrop
from minidl.data.transforms.normalize import Normalize

__all__ = ["prepare"]


def prepare(image_format: Any, crop: bool = True) -> list[Transform]:
    """Return the transforms that turn images (N, H, W, 3 or 1), 0 to 255, into a network's input.

    image_format: the network's, a `minidl.models.ImageFormat`; with one mean for all, of a network
        that takes grey images.
    crop: whether the centre of `size` x `size` pixels is cut out; images must be as large
        (ShapeError). A network that takes any size may see the whole.
    """
    grey = len(image_format.mean) == 1
    return [
        *([CenterCrop(image_format.size)] if crop else []),
        *([Grayscale(channels=1)] if grey else [ToBGR()] if image_format.order == "BGR" else []),
        Normalize(image_format.mean, image_format.std, scale=image_format.scale),
    ]
