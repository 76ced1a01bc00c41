"""PyTorch's side, written as torchvision's models are: activations in place."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import networks as described
from benchmarks.networks import Network

Step = Callable[[], Any]


def set_threads(count: int) -> None:
    """Let PyTorch use so many threads."""
    torch.set_num_threads(count)


class Residual(nn.Module):
    """relu(body(x) + shortcut(x))."""

    def __init__(self, body: Any, shortcut: Any) -> None:
        super().__init__()
        self.body, self.shortcut = build(body), build(shortcut)

    def forward(self, x: Any) -> Any:
        y = self.body(x)
        y += self.shortcut(x)
        return F.relu(y, inplace=True)


class Subsample(nn.Module):
    """Every stride-th pixel, with channels of zeros around."""

    def __init__(self, stride: int, before: int, after: int) -> None:
        super().__init__()
        self.stride, self.widths = stride, (0, 0, 0, 0, before, after)

    def forward(self, x: Any) -> Any:
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.widths)


class SqueezeExcite(nn.Module):
    """Channels weighed by what two convolutions make of their means."""

    def __init__(self, down: Any, up: Any) -> None:
        super().__init__()
        self.gate = nn.Sequential(*build([down, up]), nn.Sigmoid())

    def forward(self, x: Any) -> Any:
        return x * self.gate(x.mean((2, 3), keepdim=True))


class DenseBlock(nn.Module):
    """Each body sees the maps of all before it; they are put side by side for it."""

    def __init__(self, bodies: Any) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(map(build, bodies))

    def forward(self, x: Any) -> Any:
        maps = [x]
        for body in self.bodies:
            maps.append(body(torch.cat(maps, 1)))
        return torch.cat(maps, 1)


class GlobalAvgPool(nn.Module):
    """(N, C, H, W) -> (N, C)."""

    def forward(self, x: Any) -> Any:
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


def build(layers: Any) -> Any:
    """The layers as a module (untyped: PyTorch's stubs don't know `to(memory_format=)`)."""
    found = []
    for layer in layers:
        found.append(_layer(layer))
        if getattr(layer, "relu", False):
            found.append(nn.ReLU(inplace=True))
    return nn.Sequential(*found)


def _layer(layer: Any) -> nn.Module:
    match layer:
        case described.Conv(i, o, k, stride, padding):
            groups = layer.groups
            return nn.Conv2d(i, o, k, stride, padding, groups=groups, bias=layer.bias)
        case described.Depthwise(c, k, stride, padding):
            return nn.Conv2d(c, c, k, stride, padding, groups=c, bias=False)
        case described.BatchNorm(c):
            return nn.BatchNorm2d(c)
        case described.MaxPool(k, stride, padding):
            return nn.MaxPool2d(k, stride, padding)
        case described.AvgPool(k):
            return nn.AvgPool2d(k)
        case described.GlobalAvgPool():
            return GlobalAvgPool()
        case described.Flatten():
            return nn.Flatten()
        case described.Linear(i, o):
            return nn.Linear(i, o)
        case described.Subsample(stride, before, after):
            return Subsample(stride, before, after)
        case described.Residual(body, shortcut):
            return Residual(body, shortcut)
        case described.SqueezeExcite():
            return SqueezeExcite(*layer.convs)
        case described.DenseBlock(bodies):
            return DenseBlock(bodies)
    raise TypeError(f"in_torch has no layer for {layer}: add it to _layer")


def train_step(network: Network, batch: int, lr: float, last: bool = False) -> Step:
    """zero_grad, forward, cross-entropy, backward, SGD with momentum; last: channels last."""
    model, loss_function = (
        build(network.layers).to(memory_format=_layout(last)),
        nn.CrossEntropyLoss(),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    images, labels = _images(network, batch, last), torch.arange(batch) % network.classes

    def step() -> None:
        optimizer.zero_grad()
        loss_function(model(images), labels).backward()
        optimizer.step()

    return step


def inference(network: Network, batch: int, last: bool = False) -> Step:
    """The scores of a batch, without a tape."""
    model = build(network.layers).to(memory_format=_layout(last)).eval()
    images = _images(network, batch, last)

    def step() -> None:
        with torch.inference_mode():
            model(images)

    return step


def operation(
    layers: Any, shape: Any, direction: str, last: bool = False
) -> tuple[Callable[[], Any], Callable[..., Any]]:
    """One direction of a layer, as in_minidl.operation; shape is (N, H, W, C) or (N, C)."""
    model = build(layers).to(memory_format=_layout(last))
    x = _laid(torch.randn(shape if len(shape) == 2 else _planes(shape)), last)
    x.requires_grad_(direction != "weight")
    for parameter in model.parameters():
        parameter.requires_grad_(direction != "input")
    if direction == "forward":
        return tuple, lambda: model(x)
    g = torch.randn_like(model(x))

    def prepare() -> tuple[Any]:
        model.zero_grad()
        x.grad = None
        return (model(x),)

    return prepare, lambda y: y.backward(g)


def _layout(last: bool) -> torch.memory_format:
    return torch.channels_last if last else torch.contiguous_format


def _laid(x: torch.Tensor, last: bool) -> torch.Tensor:
    return x.contiguous(memory_format=_layout(last)) if x.ndim == 4 else x


def _planes(shape: Any) -> tuple[int, ...]:
    batch, height, width, channels = shape
    return batch, channels, height, width


def _images(network: Network, batch: int, last: bool) -> torch.Tensor:
    return _laid(torch.randn(batch, network.channels, network.size, network.size), last)
