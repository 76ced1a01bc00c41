"""Network in network: Lin, Chen and Yan 2014."""

from minidl import nn
from minidl.models.blocks import conv_relu
from minidl.models.network import Network
from minidl.models.registry import register

__all__ = ["nin", "nin_cifar"]


def _mlpconv(
    in_channels: int, widths: tuple[int, int, int], kernel_size: int, stride: int = 1,
    padding: int | None = None,
) -> nn.Sequential:  # fmt: skip
    """The paper's section 3.1: a convolution, then a small network on every pixel: two 1x1 ones."""
    first, second, third = widths
    return nn.Sequential(
        conv_relu(in_channels, first, kernel_size, stride, padding),
        conv_relu(first, second, 1),
        conv_relu(second, third, 1),
    )


def _head(in_channels: int, num_classes: int, activation: str | None) -> nn.Sequential:
    scores = nn.Conv2d(in_channels, num_classes, 1, activation=activation)
    return nn.Sequential(scores, nn.GlobalAvgPool2d())


@register()
def nin(
    num_classes: int = 1000, in_channels: int = 3, score_activation: str | None = "relu"
) -> Network:
    """Network in network for ImageNet.  (N, 224, 224, in_channels) -> (N, num_classes).

    The authors' published network (not in the paper): four mlpconv layers, the last of which gives
    a map a class; the scores are the maps' means (section 3.2).  7,595,176 parameters.
    score_activation: what comes after the last convolution; None suits scores that may be negative.
    Source: Lin, Chen and Yan 2014, "Network In Network".
    """
    features = nn.Sequential(
        _mlpconv(in_channels, (96, 96, 96), 11, stride=4, padding=0),  # 54x54
        nn.MaxPool2d(3, 2, ceil_mode=True),  # 27x27
        _mlpconv(96, (256, 256, 256), 5),
        nn.MaxPool2d(3, 2, ceil_mode=True),  # 13x13
        _mlpconv(256, (384, 384, 384), 3),
        nn.MaxPool2d(3, 2, ceil_mode=True),  # 6x6
        nn.Dropout(0.5),
        conv_relu(384, 1024, 3),
        conv_relu(1024, 1024, 1),
    )
    head = _head(1024, num_classes, score_activation)
    return Network(features, head, (224, 224, in_channels))


@register()
def nin_cifar(
    num_classes: int = 10, in_channels: int = 3, score_activation: str | None = "relu"
) -> Network:
    """Network in network for CIFAR-10.  (N, 32, 32, in_channels) -> (N, num_classes).

    The paper's section 4.2 with the sizes that its authors published.  966,986 parameters.
    score_activation: see `nin`.
    Source: Lin, Chen and Yan 2014, "Network In Network".
    """
    features = nn.Sequential(
        _mlpconv(in_channels, (192, 160, 96), 5),  # 32x32
        nn.MaxPool2d(3, 2, ceil_mode=True),  # 16x16
        nn.Dropout(0.5),
        _mlpconv(96, (192, 192, 192), 5),
        nn.AvgPool2d(3, 2, ceil_mode=True),  # 8x8
        nn.Dropout(0.5),
        conv_relu(192, 192, 3),
        conv_relu(192, 192, 1),
    )
    head = _head(192, num_classes, score_activation)
    return Network(features, head, (32, 32, in_channels))
