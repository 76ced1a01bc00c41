"""AlexNet and ZFNet: Krizhevsky et al. 2012; Zeiler and Fergus 2014."""

from minidl import nn
from minidl.models.blocks import conv_relu
from minidl.models.network import Network
from minidl.models.plain import classifier
from minidl.models.registry import register

__all__ = ["alexnet", "zfnet"]


def _response_norm() -> nn.LocalResponseNorm:
    """Return the paper's section 3.3, where alpha = 1e-4 isn't divided by n = 5."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


@register()
def alexnet(
    num_classes: int = 1000, in_channels: int = 3, towers: int = 2, input_size: int = 227
) -> Network:
    """AlexNet.  (N, 227, 227, in_channels) -> (N, num_classes).

    Krizhevsky, Sutskever and Hinton 2012, "ImageNet Classification with Deep Convolutional Neural
    Networks", figure 2. Its two GPUs are two groups of channels in conv2, conv4 and conv5
    (`towers=2`, 60,965,224 parameters); `towers=1` connects all of them (62,378,344). The paper
    says 224, but its numbers work out with 227. torchvision's is the later one of Krizhevsky 2014,
    with fewer filters and without normalisation.
    """
    features = nn.Sequential(
        conv_relu(in_channels, 96, 11, stride=4, padding=0),  # 55x55
        _response_norm(),
        nn.MaxPool2d(3, 2),  # 27x27
        conv_relu(96, 256, 5, groups=towers),
        _response_norm(),
        nn.MaxPool2d(3, 2),  # 13x13
        conv_relu(256, 384, 3),
        conv_relu(384, 384, 3, groups=towers),
        conv_relu(384, 256, 3, groups=towers),
        nn.MaxPool2d(3, 2),  # 6x6
    )
    return classifier(features, (input_size, input_size, in_channels), [4096, 4096], num_classes)


@register()
def zfnet(num_classes: int = 1000, in_channels: int = 3, input_size: int = 224) -> Network:
    """ZFNet.  (N, 224, 224, in_channels) -> (N, num_classes).

    Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks": figure 3 with
    the larger layers 3 to 5 of table 3 (512, 1024, 512).  107,627,624 parameters.
    """
    features = nn.Sequential(
        conv_relu(in_channels, 96, 7, stride=2, padding=1),  # 110x110
        nn.MaxPool2d(3, 2, ceil_mode=True),  # 55x55
        _response_norm(),
        conv_relu(96, 256, 5, stride=2, padding=0),  # 26x26
        nn.MaxPool2d(3, 2, ceil_mode=True),  # 13x13
        _response_norm(),
        conv_relu(256, 512, 3),
        conv_relu(512, 1024, 3),
        conv_relu(1024, 512, 3),
        nn.MaxPool2d(3, 2),  # 6x6
    )
    return classifier(features, (input_size, input_size, in_channels), [4096, 4096], num_classes)
