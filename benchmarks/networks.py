"""The networks that are measured: one description each, from which every side builds its own.

A description is a row of layers, in plain data. Sizes and weights are given in minidl's layout
(channels last); a side that wants another turns them itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Conv:
    """A convolution; relu: and the activation after it."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = True
    relu: bool = False
    groups: int = 1


@dataclass(frozen=True)
class Depthwise:
    """A convolution of each channel by itself, without bias."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation; relu: and the activation after it."""

    channels: int
    relu: bool = False


@dataclass(frozen=True)
class MaxPool:
    """The largest of each window."""

    kernel: int
    stride: int
    padding: int = 0


@dataclass(frozen=True)
class AvgPool:
    """The mean of each window of kernel x kernel pixels, which don't overlap."""

    kernel: int


@dataclass(frozen=True)
class GlobalAvgPool:
    """The mean of each channel: images to rows."""


@dataclass(frozen=True)
class Flatten:
    """Images of this size to rows."""

    height: int
    width: int
    channels: int


@dataclass(frozen=True)
class Linear:
    """A fully connected layer; relu: and the activation after it."""

    inputs: int
    outputs: int
    relu: bool = False


@dataclass(frozen=True)
class Subsample:
    """Every stride-th pixel, and channels of zeros put around: ResNet's shortcut of option A."""

    stride: int
    before: int
    after: int


@dataclass(frozen=True)
class SqueezeExcite:
    """Channels weighed by what two 1x1 convolutions make of their means: ReLU, then sigmoid."""

    channels: int
    reduction: int

    @property
    def convs(self) -> tuple[Conv, Conv]:
        """The two, without the sigmoid."""
        inner = self.channels // self.reduction
        return Conv(self.channels, inner, 1, relu=True), Conv(inner, self.channels, 1)


@dataclass(frozen=True)
class DenseBlock:
    """Bodies that each see all maps before them, in channels: x, then what each one adds."""

    bodies: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Residual:
    """relu(body(x) + shortcut(x)); no shortcut is x itself.

    The body ends in a BatchNorm, or in a SqueezeExcite behind one.
    """

    body: tuple[Any, ...]
    shortcut: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Network:
    """Layers for images of (size, size, channels)."""

    layers: tuple[Any, ...]
    size: int
    channels: int
    classes: int


def leaves(layers: tuple[Any, ...]) -> Iterator[Any]:
    """The layers that hold no others: a body's come before its shortcut's."""
    for layer in layers:
        match layer:
            case Residual(body, shortcut):
                yield from leaves(body + shortcut)
            case DenseBlock(bodies):
                yield from leaves(sum(bodies, ()))
            case SqueezeExcite():
                yield from layer.convs
            case _:
                yield layer


def state_shapes(layer: Any) -> dict[str, Shape]:
    """What a layer holds, by minidl's names."""
    match layer:
        case Conv(inputs, outputs, k):
            weight = {"weight": (k, k, inputs // layer.groups, outputs)}
            return weight | ({"bias": (outputs,)} if layer.bias else {})
        case Depthwise(channels, k):
            return {"weight": (k, k, channels, 1)}
        case Linear(inputs, outputs):
            return {"weight": (inputs, outputs), "bias": (outputs,)}
        case BatchNorm(channels):
            names = ("weight", "bias", "running_mean", "running_var")
            return dict.fromkeys(names, (channels,))
    return {}


def draw_state(layers: tuple[Any, ...], seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Random values for every leaf, with which activations keep their scale."""
    random = np.random.default_rng(seed)
    return [
        {name: _draw(random, name, shape) for name, shape in state_shapes(leaf).items()}
        for leaf in leaves(layers)
    ]


def _draw(random: np.random.Generator, name: str, shape: Shape) -> np.ndarray:
    if name == "weight" and len(shape) > 1:
        fan_in = np.prod(shape[:2]) if shape[-1] == 1 else np.prod(shape[:-1])
        return random.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / fan_in))
    ones = name in ("weight", "running_var")
    return (np.ones if ones else np.zeros)(shape, np.float32)


def planes_first(weight: np.ndarray, planes: tuple[int, int, int]) -> np.ndarray:
    """A linear layer's weight whose rows stood for (H, W, C), for rows of (C, H, W)."""
    if not any(planes):
        return weight
    return weight.reshape(*planes, -1).transpose(2, 0, 1, 3).reshape(weight.shape)


# The networks


def lenet5() -> Network:
    """LeCun et al. 1998, with ReLU and max-pooling."""
    layers = (
        Conv(1, 6, 5, relu=True), MaxPool(2, 2),
        Conv(6, 16, 5, relu=True), MaxPool(2, 2), Flatten(5, 5, 16),
        Linear(400, 120, relu=True), Linear(120, 84, relu=True), Linear(84, 10),
    )  # fmt: skip
    return Network(layers, 32, 1, 10)


def _vgg(plan: list[int | str]) -> list[Any]:
    """3x3 convolutions of so many channels; "M" is a max-pool."""
    layers: list[Any] = []
    channels = 3
    for item in plan:
        if isinstance(item, str):
            layers.append(MaxPool(2, 2))
        else:
            layers.append(Conv(channels, item, 3, padding=1, relu=True))
            channels = item
    return layers


def vgg_cifar() -> Network:
    """A small VGG for 32x32 pixels."""
    features = _vgg([64, 64, "M", 128, 128, "M", 256, 256, 256, "M"])
    head = [Flatten(4, 4, 256), Linear(4096, 512, relu=True), Linear(512, 10)]
    return Network((*features, *head), 32, 3, 10)


def vgg16(size: int = 224) -> Network:
    """Simonyan and Zisserman 2014, without dropout, which is no matrix work."""
    plan: list[int | str] = [
        64,
        64,
        "M",
        128,
        128,
        "M",
        *[256] * 3,
        "M",
        *[512] * 3,
        "M",
        *[512] * 3,
        "M",
    ]
    side = size // 32
    head = [
        Flatten(side, side, 512), Linear(side * side * 512, 4096, relu=True),
        Linear(4096, 4096, relu=True), Linear(4096, 1000),
    ]  # fmt: skip
    return Network((*_vgg(plan), *head), size, 3, 1000)


def _block(inputs: int, outputs: int, stride: int, shortcut: tuple[Any, ...]) -> Residual:
    """Two 3x3 convolutions, each with its normalisation."""
    body = (
        Conv(inputs, outputs, 3, stride, 1, bias=False), BatchNorm(outputs, relu=True),
        Conv(outputs, outputs, 3, 1, 1, bias=False), BatchNorm(outputs),
    )  # fmt: skip
    return Residual(body, shortcut)


def resnet20() -> Network:
    """He et al. 2015, section 4.2, for 32x32 pixels; shortcuts of option A."""
    layers: list[Any] = [Conv(3, 16, 3, padding=1, bias=False), BatchNorm(16, relu=True)]
    channels = 16
    for width in (16, 32, 64):
        for _ in range(3):
            added = (width - channels) // 2
            shortcut = (Subsample(2, added, added),) if added else ()
            layers.append(_block(channels, width, 2 if added else 1, shortcut))
            channels = width
    return Network((*layers, GlobalAvgPool(), Linear(64, 10)), 32, 3, 10)


def resnet18(size: int = 224) -> Network:
    """He et al. 2015; shortcuts of option B, 1x1 convolutions where the size changes."""
    layers: list[Any] = [
        Conv(3, 64, 7, 2, 3, bias=False), BatchNorm(64, relu=True), MaxPool(3, 2, 1),
    ]  # fmt: skip
    channels = 64
    for width in (64, 128, 256, 512):
        stride = 1 if width == channels else 2
        project = (Conv(channels, width, 1, stride, bias=False), BatchNorm(width))
        layers.append(_block(channels, width, stride, project if stride == 2 else ()))
        layers.append(_block(width, width, 1, ()))
        channels = width
    return Network((*layers, GlobalAvgPool(), Linear(512, 1000)), size, 3, 1000)


def _bottlenecks(size: int, groups: int, group_width: int, reduction: int) -> Network:
    """50 layers of 1x1, 3x3 and 1x1; the stride is in the 3x3. reduction 0: without excitation."""
    layers: list[Any] = [
        Conv(3, 64, 7, 2, 3, bias=False), BatchNorm(64, relu=True), MaxPool(3, 2, 1),
    ]  # fmt: skip
    channels = 64
    for width, depth in ((64, 3), (128, 4), (256, 6), (512, 3)):
        inner, outputs = width * group_width // 64 * groups, 4 * width
        excite = (SqueezeExcite(outputs, reduction),) if reduction else ()
        for block in range(depth):
            stride = 2 if block == 0 and width > 64 else 1
            body = (
                Conv(channels, inner, 1, bias=False), BatchNorm(inner, relu=True),
                Conv(inner, inner, 3, stride, 1, bias=False, groups=groups),
                BatchNorm(inner, relu=True),
                Conv(inner, outputs, 1, bias=False), BatchNorm(outputs), *excite,
            )  # fmt: skip
            project = (Conv(channels, outputs, 1, stride, bias=False), BatchNorm(outputs))
            layers.append(Residual(body, () if block else project))
            channels = outputs
    return Network((*layers, GlobalAvgPool(), Linear(2048, 1000)), size, 3, 1000)


def resnet50(size: int = 224) -> Network:
    """He et al. 2015; the stride in the 3x3, as in torchvision."""
    return _bottlenecks(size, 1, 64, 0)


def se_resnext50(size: int = 224) -> Network:
    """Hu et al. 2018: ResNeXt-50 (32x4d) of Xie et al. 2017 with squeeze and excitation."""
    return _bottlenecks(size, 32, 4, 16)


def densenet121(size: int = 224) -> Network:
    """Huang et al. 2017: DenseNet-BC, growth 32, compression 1/2."""
    layers: list[Any] = [
        Conv(3, 64, 7, 2, 3, bias=False), BatchNorm(64, relu=True), MaxPool(3, 2, 1),
    ]  # fmt: skip
    channels = 64
    for depth in (6, 12, 24, 16):
        if channels > 64:  # a transition from the block before
            layers += [
                BatchNorm(channels, relu=True),
                Conv(channels, channels // 2, 1, bias=False), AvgPool(2),
            ]  # fmt: skip
            channels //= 2
        layers.append(DenseBlock(tuple(_dense(channels + i * 32) for i in range(depth))))
        channels += depth * 32
    head = (BatchNorm(channels, relu=True), GlobalAvgPool(), Linear(channels, 1000))
    return Network((*layers, *head), size, 3, 1000)


def _dense(inputs: int) -> tuple[Any, ...]:
    """1x1 to 128 channels, 3x3 to 32, each behind its normalisation."""
    return (
        BatchNorm(inputs, relu=True), Conv(inputs, 128, 1, bias=False),
        BatchNorm(128, relu=True), Conv(128, 32, 3, 1, 1, bias=False),
    )  # fmt: skip


def mobilenet_v1(size: int = 224, grouped: bool = False) -> Network:
    """Howard et al. 2017, width 1. grouped: depthwise layers spelt as convolutions in groups."""
    layers: list[Any] = [Conv(3, 32, 3, 2, 1, bias=False), BatchNorm(32, relu=True)]
    channels = 32
    widths = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    for width, stride in [*widths, (1024, 2), (1024, 1)]:
        depthwise = (
            Conv(channels, channels, 3, stride, 1, bias=False, groups=channels)
            if grouped
            else Depthwise(channels, 3, stride, 1)
        )
        layers += [
            depthwise, BatchNorm(channels, relu=True),
            Conv(channels, width, 1, bias=False), BatchNorm(width, relu=True),
        ]  # fmt: skip
        channels = width
    return Network((*layers, GlobalAvgPool(), Linear(1024, 1000)), size, 3, 1000)


NETWORKS: dict[str, Callable[..., Network]] = {
    "lenet5": lenet5, "vgg-cifar": vgg_cifar, "resnet20": resnet20, "resnet18": resnet18,
    "mobilenet": mobilenet_v1, "mobilenet-grouped": partial(mobilenet_v1, grouped=True),
    "vgg16": vgg16, "resnet50": resnet50, "se-resnext50": se_resnext50,
    "densenet121": densenet121,
}  # fmt: skip
