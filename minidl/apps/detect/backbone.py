"""Bodies of the zoo as detectors use them: one map for each stride."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import minidl as md
from minidl import models, nn
from minidl.errors import ArgumentError, ShapeError
from minidl.models.blocks import conv_relu
from minidl.nn.modes import shadow

__all__ = ["Backbone", "L2Norm", "VGGBackbone", "backbone_of", "check_network"]

PROBE = 256  # pixels: the size of the image that tells which layer has which stride
UNEVEN = 1.15  # image pixels a map pixel over the stride, from which a map leaves out the edges
FINEST = 8  # stride of the first map
SCALE = 20.0  # that L2Norm starts with


class Backbone(nn.Module):
    """The layers of a network cut into stages.  (N, H, W, C) -> a list of maps (N, h, w, C_i).

    stages: each of them takes the map of the one before.  channels, strides: of each map.
    """

    def __init__(
        self, stages: Sequence[nn.Module], channels: Sequence[int], strides: Sequence[int]
    ) -> None:
        self.stages = nn.ModuleList(stages)
        self.channels, self.strides = tuple(channels), tuple(strides)

    def forward(self, x: Any) -> list[Any]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class L2Norm(nn.Module):
    """Division of each pixel's channels by their L2 norm, times a weight.  (N, H, W, C).

    Source: Liu, Rabinovich and Berg 2015, "ParseNet", section 3.3.
    """

    def __init__(self, channels: int, scale: float = SCALE) -> None:
        self.weight = nn.Parameter(np.full(channels, scale, np.float32))

    def forward(self, x: Any) -> Any:
        norm = ((x * x).sum(axis=-1, keepdims=True) + 1e-10) ** 0.5  # (N, H, W, 1)
        return x / norm * self.weight


class VGGBackbone(Backbone):
    """VGG-16 as in SSD's paper: conv4_3, normalized, and fc7 as a dilated convolution.

    The third pooling rounds up, so that 300 pixels give 38 x 38; the fifth keeps the size.
    fc6 and fc7 start as every fourth unit of the classifier's, fc6 at every third pixel, where the
    network has those for maps of 7 x 7.
    Source: Liu et al. 2016, "SSD: Single Shot MultiBox Detector", section 3; which weights are
    kept: Chen et al. 2015, "Semantic image segmentation with deep convolutional nets", section 3.1.
    """

    def __init__(self, network: models.Network) -> None:
        blocks: Any = network.features
        convolutions = [list(block)[:-1] for block in blocks]
        first: list[nn.Module] = []
        for i, block in enumerate(convolutions[:3]):
            first += [*block, nn.MaxPool2d(2, ceil_mode=i == 2)]
        fc6 = nn.Conv2d(512, 1024, 3, padding=6, dilation=6, activation="relu")
        fc7 = conv_relu(1024, 1024, 1)
        _subsample(network, fc6, fc7)
        second = [nn.MaxPool2d(2), *convolutions[4], nn.MaxPool2d(3, 1, padding=1), fc6, fc7]
        super().__init__(
            [nn.Sequential(*first, *convolutions[3]), nn.Sequential(*second)],
            (512, 1024), (8, 16),
        )  # fmt: skip
        self.norm = L2Norm(512)

    def forward(self, x: Any) -> list[Any]:
        conv4_3, fc7 = super().forward(x)
        return [self.norm(conv4_3), fc7]


def _subsample(network: models.Network, fc6: nn.Conv2d, fc7: nn.Module) -> None:
    """Start the two convolutions with a part of the weights of VGG's hidden linear layers."""
    hidden = [layer for layer in network.classifier.modules() if isinstance(layer, nn.Linear)]
    if [layer.weight.shape for layer in hidden[:2]] != [(7 * 7 * 512, 4096), (4096, 4096)]:
        return  # it was made for images of another size, or with another head
    # (7 * 7 * 512, 4096) -> (7, 7, 512, 4096) -> (3, 3, 512, 1024)
    first = hidden[0].weight.data.reshape(7, 7, 512, 4096)[::3, ::3, :, ::4]
    # (4096, 4096) -> (1, 1, 1024, 1024)
    second = hidden[1].weight.data[np.newaxis, np.newaxis, ::4, ::4]
    for source, weight, target in zip(hidden, (first, second), (fc6, fc7), strict=False):
        parameters = dict(target.named_parameters())
        parameters["weight"].data[...] = weight
        if source.bias is not None:
            parameters["bias"].data[...] = source.bias.data[::4]


def backbone_of(who: str, network: Any, even: bool = False) -> Backbone:
    """Return the body of a network of `minidl.models`, cut into stages.

    Each stage ends with the last layer of its stride, from 8 up.
    even: whether maps must lie over the whole image, as where regions are cut out of them.
    Raises ArgumentError as `check_network` does, and for maps that don't where they must.
    """
    check_network(who, network)
    return Backbone(*_cut(who, network, even))


def check_network(who: str, network: Any) -> None:
    """Raise ArgumentError unless it is a network of the zoo for RGB images of a known format."""
    if not isinstance(network, models.Network) or network.architecture is None:
        raise ArgumentError(
            f"{who} expected a network of minidl.models, such as models.create('mobilenet_v1'), "
            f"got {type(network).__name__}"
        )
    name = network.architecture[0]
    if network.image_format is None:
        raise ArgumentError(
            f"{who}: {name} doesn't say what images it takes: set network.image_format to a "
            "models.ImageFormat"
        )
    if network.input_shape[2] != 3 or len(network.image_format.mean) != 3:
        raise ArgumentError(f"{who} expected a network for RGB images, {name} takes others")


def _cut(who: str, network: Any, even: bool) -> tuple[list[nn.Module], list[int], list[int]]:
    """Return the stages of a network's body, their channels and strides."""
    sizes, channels = _trace(who, network)
    strides = [2 ** round(np.log2(PROBE / size)) for size in sizes]
    ends = [i for i, stride in enumerate(strides) if strides[i + 1 : i + 2] != [stride]]
    ends = [i for i in ends if strides[i] >= FINEST] or ends[-1:]
    if even and any(PROBE / sizes[end] > UNEVEN * strides[end] for end in ends):
        raise ArgumentError(
            f"{who}: layers of {network.architecture[0]} don't pad, so that its maps leave out the "
            "edges of images: take a body that pads, such as mobilenet_v1 or resnet18"
        )
    starts = [0, *(end + 1 for end in ends)]
    stages = [network.features[start : end + 1] for start, end in zip(starts, ends, strict=False)]
    return stages, [channels[end] for end in ends], [strides[end] for end in ends]


def _trace(who: str, network: Any) -> tuple[list[int], list[int]]:
    """Return the height of the map after each layer, and its channels."""
    sizes, channels = [], []
    twin: Any = shadow(network, hooks=False).eval()
    x: Any = np.zeros((1, PROBE, PROBE, 3), np.float32)
    try:
        # Weights that are yet to be read hold anything, and only shapes are asked for.
        with md.no_grad(), np.errstate(all="ignore"):
            for layer in twin.features:
                x = layer(x)
                sizes.append(int(x.shape[1]))
                channels.append(int(x.shape[-1]))
    except ShapeError as error:
        name = network.architecture[0]
        raise ArgumentError(f"{who}: {name} takes no images of {PROBE} pixels") from error
    return sizes, channels
