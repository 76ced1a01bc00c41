"""minidl's side: layers as its own models have them, activations and residuals handed over."""

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl as md
from benchmarks import networks as described
from benchmarks.networks import Network
from minidl import nn, optim
from minidl.bench.captured import captured
from minidl.models.blocks import SqueezeExcite
from minidl.models.densenet import DenseBlock

Step = Callable[[], Any]


def set_threads(count: int) -> None:
    """Let kernels use so many threads."""
    md.set_num_threads(count)


def choose(**settings: Any) -> None:
    """Settings of `md.config`, such as which kernels take part."""
    for name, value in settings.items():
        setattr(md.config, name, value)


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)), whatever the body ends in."""

    def __init__(self, body: Any, shortcut: Any) -> None:
        self.body, self.shortcut = build(body), build(shortcut)

    def forward(self, x: Any) -> Any:
        return md.ops.relu(self.body(x) + self.shortcut(x))


class NormedResidual(nn.Module):
    """The normalisation at the body's end adds the shortcut and does the activation."""

    def __init__(self, body: Any, shortcut: Any) -> None:
        *first, last = body
        self.body = build(first)
        self.norm = nn.BatchNorm2d(last.channels, activation="relu")
        self.shortcut = build(shortcut)

    def forward(self, x: Any) -> Any:
        return self.norm(self.body(x), residual=self.shortcut(x))


class ExcitedResidual(nn.Module):
    """The body ends in a squeeze-and-excitation, which adds the shortcut and does the ReLU."""

    def __init__(self, body: Any, shortcut: Any) -> None:
        *first, last = body
        self.body = build(first)
        self.excite = SqueezeExcite(last.channels, last.reduction, "relu")
        self.shortcut = build(shortcut)

    def forward(self, x: Any) -> Any:
        return self.excite(self.body(x), residual=self.shortcut(x))


class Subsample(nn.Module):
    """Every stride-th pixel, with channels of zeros around."""

    def __init__(self, stride: int, before: int, after: int) -> None:
        self.stride, self.widths = stride, ((0, 0), (0, 0), (0, 0), (before, after))

    def forward(self, x: Any) -> Any:
        return nn.functional.pad(x[:, :: self.stride, :: self.stride], widths=self.widths)


def build(layers: Any) -> nn.Sequential:
    """The layers as a module."""
    return nn.Sequential(*map(_layer, layers))


def _layer(layer: Any) -> nn.Module:
    activation = "relu" if getattr(layer, "relu", False) else None
    match layer:
        case described.Conv(i, o, 1, 1, 0, groups=1):
            return nn.PointwiseConv2d(i, o, layer.bias, activation=activation)
        case described.Conv(i, o, k, stride, padding):
            return nn.Conv2d(
                i, o, k, stride, padding,
                groups=layer.groups, bias=layer.bias, activation=activation,
            )  # fmt: skip
        case described.Depthwise(c, k, stride, padding):
            return nn.DepthwiseConv2d(c, k, stride, padding, bias=False)
        case described.BatchNorm(c):
            return nn.BatchNorm2d(c, activation=activation)
        case described.MaxPool(k, stride, padding):
            return nn.MaxPool2d(k, stride, padding)
        case described.AvgPool(k):
            return nn.AvgPool2d(k)
        case described.GlobalAvgPool():
            return nn.GlobalAvgPool2d()
        case described.Flatten():
            return nn.Flatten()
        case described.Linear(i, o):
            return nn.Linear(i, o, activation=activation)
        case described.Subsample(stride, before, after):
            return Subsample(stride, before, after)
        case described.Residual(body, shortcut):
            kinds = {described.BatchNorm: NormedResidual, described.SqueezeExcite: ExcitedResidual}
            return kinds.get(type(body[-1]), Residual)(body, shortcut)
        case described.SqueezeExcite(channels, reduction):
            return SqueezeExcite(channels, reduction)
        case described.DenseBlock(bodies):
            return DenseBlock(*map(build, bodies))
    raise TypeError(f"in_minidl has no layer for {layer}: add it to _layer")


def train_step(network: Network, batch: int, lr: float, eager: bool = False) -> Step:
    """zero_grad, forward, cross-entropy, backward, SGD with momentum; captured unless eager."""
    model, loss_function = build(network.layers), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr, momentum=0.9)
    images, labels = _images(network, batch), np.arange(batch) % network.classes

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_function(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    run = step if eager else captured(step)
    return lambda: run(images, labels)


def inference(network: Network, batch: int, eager: bool = False) -> Step:
    """The scores of a batch, without a tape; captured unless eager."""
    model, images = build(network.layers).eval(), _images(network, batch)
    run = model if eager else captured(model)

    def step() -> None:
        with md.no_grad():
            run(images)

    return step


def operation(layers: Any, shape: Any, direction: str) -> tuple[Step, Callable[..., Any]]:
    """One direction of a layer: what prepares it, and what is timed with what that returned.

    "forward" as in training; "input" and "weight": that gradient alone; "backward": all of them.
    """
    model = build(layers)
    random = np.random.default_rng(0)
    x = md.tensor(random.standard_normal(shape, np.float32))
    x.requires_grad = direction != "weight"
    for parameter in model.parameters():
        parameter.requires_grad = direction != "input"
    if direction == "forward":
        return tuple, lambda: model(x)
    g = random.standard_normal(model(x).shape, np.float32)

    def prepare() -> tuple[Any]:
        model.zero_grad()
        x.grad = None
        return (model(x),)

    return prepare, lambda y: y.backward(g)


def _images(network: Network, batch: int) -> np.ndarray:
    shape = (batch, network.size, network.size, network.channels)
    return np.random.default_rng(0).standard_normal(shape, np.float32)
