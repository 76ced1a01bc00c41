"""Where weights come from: other libraries' names for layers, and the images they expect."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minidl.checks import flag, positive, real
from minidl.errors import ArgumentError
from minidl.io.foreign import Found

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
    mirrored: whether its probabilities are to be averaged over an image and its mirror image, as
        `train.evaluate` and `train.predict` do.
    """

    size: int
    order: str
    scale: float
    mean: Sequence[float]
    std: Sequence[float]
    mirrored: bool = False

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
        object.__setattr__(self, "mirrored", flag("ImageFormat", "mirrored", self.mirrored))
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
    applies: whether a file with these names is of it, where several sources have them.
    images: what images a file's weights want, where that isn't `image_format` for all of them.
    numbered: names that Keras gives with a number, which it counts through a whole session: in
        `names`, the first layer in the file has the number 0.
    unscaled: whether its normalizations have no weight.
    """

    library: str
    names: Names
    image_format: ImageFormat
    torch: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)
    applies: Callable[[Found], bool] | None = None
    images: Callable[[Found], ImageFormat] | None = None
    numbered: Sequence[str] = ()
    unscaled: bool = False
    first: Mapping[str, int] = field(default_factory=dict)

    def saving(self, network: str) -> tuple[str, str]:
        """Return the call that saves this library's `model` to a file, and the file's name."""
        if self.torch:
            file = f"{network}.safetensors"
            return f"safetensors.torch.save_file(model.state_dict(), {file!r})", file
        return f"model.save('{network}.h5')", f"{network}.h5"

    def counted(self, names: Sequence[str]) -> "Source":
        """The source for a file with these names: with the first number of those it counts."""
        found: dict[str, int] = {}
        for name in names:
            base, number = _number(self._plain(name))
            if base in self.numbered:
                found[base] = min(number, found.get(base, number))
        return replace(self, first=found)

    def images_of(self, found: Found) -> ImageFormat:
        """What images a file's network wants, by what it does to them itself, if the file tells.

        Raises StateError where the weights may be for others.
        """
        if found.scaling is not None:
            return scaled_by(self.image_format, *found.scaling)
        return self.image_format if self.images is None else self.images(found)

    def knows(self, name: str) -> bool:
        """Return whether it is one of the library's names."""
        return self._find(name) is not None

    def translate(self, name: str) -> str | None:
        """The name in the network for a layer's name in the file, None for one to be left out."""
        found = self._find(name)
        if found is None:
            return name
        match, made = found
        return made(*(int(g) if g and g.isdigit() else g for g in match.groups()))

    def _find(self, name: str) -> tuple[re.Match[str], Callable[..., str | None]] | None:
        """The pattern that a name has; in Keras, a network may be a layer of another one."""
        for each in (name,) if self.torch else (name, self._plain(name)):
            base, number = _number(each)
            if base in self.numbered:
                each = f"{base}_{number - self.first.get(base, 0)}"
            for pattern, made in self.names:
                if match := re.fullmatch(pattern, each):
                    return match, made
        return None

    def _plain(self, name: str) -> str:
        return name if self.torch else name.rpartition(".")[2]


def _number(name: str) -> tuple[str, int]:
    """ "conv2d" has the number 0, "conv2d_3" the number 3."""
    match = re.fullmatch(r"(.*?)(?:_(\d{1,9}))?", name)
    assert match is not None
    return match[1], int(match[2] or 0)


def scaled_by(form: ImageFormat, a: Sequence[float], b: Sequence[float]) -> ImageFormat:
    """What a network wants that makes a * pixel + b of an image's pixels by itself.

    form: what it wants if it does nothing to them.
    """
    own, none = (_per_channel(a), _per_channel(b)), ((1.0,) * 3, (0.0,) * 3)
    usual = (
        [1 / (form.scale * std) for std in form.std],
        [-mean / std for mean, std in zip(form.mean, form.std, strict=True)],
    )
    for known in (none, usual):
        if all(np.allclose(x, y, rtol=1e-5, atol=1e-6) for x, y in zip(own, known, strict=True)):
            return form
    std = [1 / (form.scale * x) for x in own[0]]
    mean = [-y / (form.scale * x) for x, y in zip(*own, strict=True)]
    return replace(form, mean=mean, std=std)


def _per_channel(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(values) * 3 if len(values) == 1 else tuple(values)
