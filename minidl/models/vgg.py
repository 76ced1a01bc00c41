"""VGG: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1."""

from typing import Any

from minidl import nn
from minidl.models.blocks import ConvBlock, conv_relu
from minidl.models.network import Network
from minidl.models.plain import classifier
from minidl.models.registry import register
from minidl.models.sources import CAFFE, IMAGENET, Names, Source

__all__ = [
    "vgg11", "vgg11_bn", "vgg11_lrn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg16c",
    "vgg16c_bn", "vgg19", "vgg19_bn",
]  # fmt: skip

# Table 1: how many convolutions 3x3 each of the five blocks has
BLOCKS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


def _vgg(
    depth: int,
    num_classes: int,
    in_channels: int,
    input_size: int,
    norm: str | None = None,
    pointwise: bool = False,
) -> Network:
    """VGG with `depth` layers.  features[i] is block i, which ends in a pooling.

    norm: "batch" after each convolution (of Ioffe and Szegedy 2015, not in the paper) or
    "response" after the first (column A-LRN).  pointwise: each block's third convolution is 1x1
    (column C).
    """
    blocks: list[nn.Module] = []
    channels = in_channels
    for count, width in zip(BLOCKS[depth], WIDTHS, strict=True):
        layers: list[nn.Module] = []
        for i in range(count):
            size = 1 if pointwise and i == 2 else 3
            convolution = ConvBlock if norm == "batch" else conv_relu
            # Biases stay, as in torchvision, though a batch normalisation makes them idle.
            settings: dict[str, Any] = {"bias": True} if norm == "batch" else {}
            layers.append(convolution(channels, width, size, **settings))
            channels = width
        if norm == "response" and not blocks:
            layers.append(nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0))
        blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
    input_shape = (input_size, input_size, in_channels)
    return classifier(nn.Sequential(*blocks), input_shape, [4096, 4096], num_classes)


def _torchvision(depth: int, batch_norm: bool = False) -> Source:
    """torchvision's names: a row that counts convolutions, normalisations, ReLUs and poolings."""
    places: dict[int, str] = {}
    position = 0
    for block, count in enumerate(BLOCKS[depth]):
        for i in range(count):
            if batch_norm:
                places[position] = f"features.{block}.{i}.conv"
                places[position + 1] = f"features.{block}.{i}.norm"
            else:
                places[position] = f"features.{block}.{i}"
            position += 3 if batch_norm else 2
        position += 1
    names: Names = (
        (r"features\.(\d+)", lambda i: places.get(i, f"features.{i}")),
        (r"classifier\.([036])", lambda i: f"classifier.{1 + 2 * i // 3}"),
    )
    return Source("torchvision", names, IMAGENET)


KERAS = Source(
    "Keras Applications",
    (
        (r"block(\d)_conv(\d)", lambda block, i: f"features.{block - 1}.{i - 1}"),
        (r"fc([12])", lambda i: f"classifier.{2 * i - 1}"),
        (r"predictions", lambda: "classifier.5"),
    ),
    CAFFE,
    torch=False,
)


@register(_torchvision(11))
def vgg11(num_classes: int = 1000, in_channels: int = 3, input_size: int = 224) -> Network:
    """VGG-11, column A.  (N, 224, 224, C) -> (N, num_classes).  132,863,336 parameters.

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1.
    """
    return _vgg(11, num_classes, in_channels, input_size)


@register()
def vgg11_lrn(num_classes: int = 1000, in_channels: int = 3, input_size: int = 224) -> Network:
    """VGG-11 with local response normalisation, column A-LRN.  Same shapes and parameters.

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1.
    """
    return _vgg(11, num_classes, in_channels, input_size, "response")


@register(_torchvision(11, batch_norm=True))
def vgg11_bn(num_classes: int = 1000, in_channels: int = 3, input_size: int = 224) -> Network:
    """VGG-11 with batch normalisation.  (N, 224, 224, in_channels) -> (N, num_classes).

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1; Ioffe and
    Szegedy 2015, "Batch Normalization".
    """
    return _vgg(11, num_classes, in_channels, input_size, "batch")


@register(_torchvision(13))
def vgg13(num_classes: int = 1000, in_channels: int = 3, input_size: int = 224) -> Network:
    """VGG-13, column B.  (N, 224, 224, C) -> (N, num_classes).  133,047,848 parameters.

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1.
    """
    return _vgg(13, num_classes, in_channels, input_size)


@register(_torchvision(13, batch_norm=True))
def vgg13_bn(num_classes: int = 1000, in_channels: int = 3, input_size: int = 224) -> Network:
    """VGG-13 with batch normalisation.  (N, 224, 224, in_channels) -> (N, num_classes).

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1; Ioffe and
    Szegedy 2015, "Batch Normalization".
    """
    return _vgg(13, num_classes, in_channels, input_size, "batch")


@register()
def vgg16c(num_classes: int = 1000, in_channels: int = 3, input_size: int = 224) -> Network:
    """VGG-16 with 1x1 convolutions, column C.  Shapes as vgg16.  133,638,952 parameters.

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1.
    """
    return _vgg(16, num_classes, in_channels, input_size, pointwise=True)


@register()
def vgg16c_bn(num_classes: int = 1000, in_channels: int = 3, input_size: int = 224) -> Network:
    """VGG-16 of column C with batch normalisation.  Shapes as vgg16.

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1; Ioffe and
    Szegedy 2015, "Batch Normalization".
    """
    return _vgg(16, num_classes, in_channels, input_size, "batch", pointwise=True)


@register(_torchvision(16), KERAS)
def vgg16(num_classes: int = 1000, in_channels: int = 3, input_size: int = 224) -> Network:
    """VGG-16, column D.  (N, 224, 224, C) -> (N, num_classes).  138,357,544 parameters.

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1.
    """
    return _vgg(16, num_classes, in_channels, input_size)


@register(_torchvision(16, batch_norm=True))
def vgg16_bn(num_classes: int = 1000, in_channels: int = 3, input_size: int = 224) -> Network:
    """VGG-16 with batch normalisation.  (N, 224, 224, in_channels) -> (N, num_classes).

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1; Ioffe and
    Szegedy 2015, "Batch Normalization".
    """
    return _vgg(16, num_classes, in_channels, input_size, "batch")


@register(_torchvision(19), KERAS)
def vgg19(num_classes: int = 1000, in_channels: int = 3, input_size: int = 224) -> Network:
    """VGG-19, column E.  (N, 224, 224, C) -> (N, num_classes).  143,667,240 parameters.

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1.
    """
    return _vgg(19, num_classes, in_channels, input_size)


@register(_torchvision(19, batch_norm=True))
def vgg19_bn(num_classes: int = 1000, in_channels: int = 3, input_size: int = 224) -> Network:
    """VGG-19 with batch normalisation.  (N, 224, 224, in_channels) -> (N, num_classes).

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1; Ioffe and
    Szegedy 2015, "Batch Normalization".
    """
    return _vgg(19, num_classes, in_channels, input_size, "batch")
