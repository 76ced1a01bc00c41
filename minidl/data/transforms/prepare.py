"""The transforms that a network's weights ask for."""

from typing import Any

from minidl.data.transforms.base import Transform
from minidl.data.transforms.colour import ToBGR
from minidl.data.transforms.crop import CenterCrop
from minidl.data.transforms.normalize import Normalize

__all__ = ["prepare"]


def prepare(image_format: Any) -> list[Transform]:
    """What makes of RGB images (N, H, W, 3), 0 to 255, the input of a network.

    image_format: the network's, a `minidl.models.ImageFormat`.
    The centre of `size` x `size` pixels is cut out: images must be as large (ShapeError).
    """
    return [
        CenterCrop(image_format.size),
        *([ToBGR()] if image_format.order == "BGR" else []),
        Normalize(image_format.mean, image_format.std, image_format.scale),
    ]
