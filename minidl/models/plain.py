"""Plain networks: layers in a row, the last of them linear; and a builder for the usual pattern."""

from collections.abc import Sequence
from itertools import count

from minidl import nn
from minidl.checks import positive, whole
from minidl.errors import ArgumentError, ShapeError
from minidl.geometry import output_size, pad_pair
from minidl.models.blocks import conv_relu
from minidl.models.network import Network
from minidl.models.registry import register

__all__ = ["classifier", "plain_cnn"]

MOST_LAYERS = 1000  # of a kind; a file may ask for any number
MOST_BLOCKS = 10  # each halves the maps: ten leave one of 1024 pixels


def classifier(
    features: nn.Sequential,
    input_shape: tuple[int, int, int],
    hidden: Sequence[int],
    num_classes: int,
) -> Network:
    """Return a network of `features` and, on their flattened maps, linear layers.

    hidden: widths of the layers before the last, each with ReLU and then dropout.
    Raises ShapeError where the features leave nothing of images of `input_shape`, (H, W, C).
    """
    rows = _flattened(features, input_shape)
    layers: list[nn.Module] = [nn.Flatten()]
    for width in hidden:
        layers += [nn.Linear(rows, width, activation="relu"), nn.Dropout(0.5)]
        rows = width
    head = nn.Sequential(*layers, nn.Linear(rows, num_classes))
    return Network(features, head, input_shape)


def _flattened(features: nn.Sequential, input_shape: tuple[int, int, int]) -> int:
    """Return how many numbers the features of an image are."""
    height, width, channels = input_shape
    positive("input_size", "the size", height)
    found = _size_after(features, (height, width))
    if found is None:
        smallest = next(n for n in count(height) if _size_after(features, (n, n)))
        raise ShapeError(
            f"input_size: nothing is left of images of {height}x{width} pixels after the "
            f"convolutions and poolings; the smallest that works is {smallest}"
        )
    for module in features.modules():
        channels = getattr(module, "out_channels", channels)
    return found[0] * found[1] * channels


def _size_after(features: nn.Sequential, size: tuple[int, int]) -> tuple[int, int] | None:
    """The height and width of the maps that the features make of an image, if any are left."""
    for module in features.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d):
            step = (module.kernel_size, module.stride)
            dilation = getattr(module, "dilation", (1, 1))
            padding = pad_pair(module.padding, *step, dilation, size)
            rounded_up = getattr(module, "ceil_mode", False)
            try:
                size = output_size("", size, *step, padding, dilation, rounded_up)
            except ShapeError:
                return None
    return size


@register()
def plain_cnn(
    num_classes: int = 10,
    in_channels: int = 3,
    input_size: int = 32,
    n: int = 2,
    m: int = 2,
    k: int = 1,
    widths: Sequence[int] | None = None,
    hidden: int = 256,
) -> Network:
    """`((conv-relu)*n - pool)*m - (fc-relu)*k - fc`.  (N, H, W, C) -> (N, num_classes).

    The pattern of most networks before GoogLeNet: m blocks of n convolutions 3x3 of `widths[i]`
    channels (left out: 32, 64, ... 512), each block halved by pooling, then k linear layers of
    `hidden` features with dropout. With m=5, widths 64 to 512 and k=2 of 4096 it is a VGG network.
    Raises ArgumentError for more layers than can be, or another number of widths than m.
    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", for the pattern at m=5.
    """
    n, m = positive("plain_cnn", "n", n), positive("plain_cnn", "m", m)
    k = whole("plain_cnn", "k", k, 0)
    if max(n * m, k) > MOST_LAYERS or m > MOST_BLOCKS:
        raise ArgumentError(
            f"plain_cnn: n * m and k must be {MOST_LAYERS} at most and m {MOST_BLOCKS}, got "
            f"{n, m, k}"
        )
    widths = [min(32 * 2**i, 512) for i in range(m)] if widths is None else list(widths)
    if len(widths) != m:
        raise ArgumentError(f"plain_cnn: widths must be one number for each of m={m} blocks, "
                            f"got {widths}")  # fmt: skip
    layers: list[nn.Module] = []
    channels = in_channels
    for width in widths:
        for _ in range(n):
            layers.append(conv_relu(channels, width, 3))
            channels = width
        layers.append(nn.MaxPool2d(2))
    features = nn.Sequential(*layers)
    return classifier(features, (input_size, input_size, in_channels), [hidden] * k, num_classes)
