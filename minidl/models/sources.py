"""Where weights come from: other libraries' names for layers, and the images they expect."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minidl.checks import positive, real
from minidl.errors import ArgumentError

__all__ = ["CAFFE", "IMAGENET", "SIGNED", "ImageFormat", "Names", "Source"]

# (pattern of a layer's name in a file, what makes of its groups the name in the network, or None to
# leave the layer out). Groups of digits are given as numbers.
Names = Sequence[tuple[str, Callable[..., str | None]]]


LARGEST = 2**16  # pixels


@dataclass(frozen=True)
class ImageFormat:
    """What images a network's weights were trained on.

    A network takes (pixel / scale - mean) / std, with pixels from 0 to 255, of images of `size` x
    `size` pixels; `order` is that of the channels, "RGB" or "BGR", also in mean and std.
    """

    size: int
    order: str
    scale: float
    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", positive("ImageFormat", "size", self.size))
        if self.order not in ("RGB", "BGR"):
            raise ArgumentError(f"ImageFormat: order must be 'RGB' or 'BGR', got {self.order!r}")
        for name in ("mean", "std"):
            values = tuple(real("ImageFormat", name, value) for value in getattr(self, name))
            object.__setattr__(self, name, values)
        if not self.mean or len(self.mean) != len(self.std):
            raise ArgumentError("ImageFormat: mean and std must have one number for each channel")
        object.__setattr__(self, "scale", real("ImageFormat", "scale", self.scale))
        if min(self.scale, *self.std) <= 0 or self.size > LARGEST:
            raise ArgumentError(
                f"ImageFormat: scale and std must be above 0, size {LARGEST} at most, got {self}"
            )


# What torchvision's and timm's networks and Keras's DenseNets take
IMAGENET = ImageFormat(224, "RGB", 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# What Keras's VGGs and ResNets take, as Caffe's did
CAFFE = ImageFormat(224, "BGR", 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))
# What Keras's MobileNets take: from -1 to 1
SIGNED = ImageFormat(224, "RGB", 127.5, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Source:
    """Another library's weights for a network.

    names: how its names for layers translate.  torch: whether they are PyTorch's files, not
    Keras's.  arguments: what the network must be made with to compute the same.
    """

    library: str
    names: Names
    image_format: ImageFormat
    torch: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def knows(self, name: str) -> bool:
        """Return whether it is one of the library's names."""
        return self._find(name) is not None

    def translate(self, name: str) -> str | None:
        """The name in the network for a layer's name in the file, None for one to be left out."""
        found = self._find(name)
        if found is None:
            return name
        match, made = found
        return made(*(int(g) if g.isdigit() else g for g in match.groups()))

    def _find(self, name: str) -> tuple[re.Match[str], Callable[..., str | None]] | None:
        """Return the pattern that a name has; in Keras, a network may be a layer of another one."""
        for each in (name,) if self.torch else (name, name.rpartition(".")[2]):
            for pattern, made in self.names:
                if match := re.fullmatch(pattern, each):
                    return match, made
        return None
