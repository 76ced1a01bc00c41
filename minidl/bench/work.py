"""The work of `minidl bench`: what is computed, by minidl and by PyTorch.

Figures of different work can't be compared. So what is here stays as it is; a change of any task
makes WORK another number, and docs/bench.md tells what each was.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl as md
from minidl.bench.captured import captured

__all__ = ["TASKS", "WORK", "minidl_tasks", "torch_tasks"]

WORK = 1
# name: (what it is, images or products a step)
TASKS = {
    "step": ("LeNet-5 training step, batch 64", 64),
    "resnet": ("ResNet-18 training step, batch 8 at 112x112", 8),
    "convolution": ("3x3 convolution 64 to 64 at 56x56, batch 8", 8),
    "inference": ("LeNet-5 inference, batch 1", 1),
    "product": ("matrix product 1024 x 1024", 1),
}
CLASSES = 10
LR = 1e-4  # small: a network that has learnt its batch by heart computes with denormal numbers


def minidl_tasks() -> dict[str, Callable[[], Any]]:
    """Return the tasks as functions without arguments."""
    from minidl import models, nn, optim

    model, loss_function = models.lenet5(), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), LR, momentum=0.9)
    images, labels = _normal(64, 32, 32, 1), np.arange(64) % 10
    trained, convolution = captured(models.lenet5().eval()), nn.Conv2d(64, 64, 3, padding=1)
    pixels, factor = _normal(8, 56, 56, 64), _normal(1024, 1024)
    resnet = models.resnet18(num_classes=CLASSES)
    resnet_optimizer = optim.SGD(resnet.parameters(), LR, momentum=0.9)
    photos = _normal(8, 112, 112, 3)

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_function(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    def resnet_step(images: Any, labels: Any) -> Any:
        resnet_optimizer.zero_grad()
        loss = loss_function(resnet(images), labels)
        loss.backward()
        resnet_optimizer.step()
        return loss

    def without_grad(layer: Any, x: Any) -> None:
        with md.no_grad():
            layer(x)

    run, run_resnet = captured(step), captured(resnet_step)
    return {
        "step": lambda: run(images, labels),
        "resnet": lambda: run_resnet(photos, labels[:8]),
        "convolution": lambda: without_grad(convolution, pixels),
        "product": lambda: md.ops.matmul(factor, factor),
        "inference": lambda: without_grad(trained, images[:1]),
    }


def torch_tasks(last: bool) -> dict[str, Callable[[], Any]]:
    """Return the same by PyTorch; last: channels last in memory."""
    import torch

    nn: Any = torch.nn  # untyped: its stubs don't know to(memory_format=)
    layout = torch.channels_last if last else torch.contiguous_format

    def lenet() -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        ).to(memory_format=layout)  # fmt: skip

    model, loss_function = lenet(), nn.CrossEntropyLoss()
    resnet = torch_resnet18(torch).to(memory_format=layout)
    optimizer, resnet_optimizer = (
        torch.optim.SGD(each.parameters(), LR, momentum=0.9) for each in (model, resnet)
    )
    images = torch.randn(64, 1, 32, 32).contiguous(memory_format=layout)
    labels = torch.arange(64) % 10
    trained = lenet().eval()
    convolution = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=layout)
    pixels = torch.randn(8, 64, 56, 56).contiguous(memory_format=layout)
    factor = torch.randn(1024, 1024)
    photos = torch.randn(8, 3, 112, 112).contiguous(memory_format=layout)

    def step(model: Any, optimizer: Any, images: Any) -> None:
        optimizer.zero_grad()
        loss_function(model(images), labels[: len(images)]).backward()
        optimizer.step()

    def without_grad(layer: Any, x: Any) -> None:
        with torch.inference_mode():
            layer(x)

    return {
        "step": lambda: step(model, optimizer, images),
        "resnet": lambda: step(resnet, resnet_optimizer, photos),
        "convolution": lambda: without_grad(convolution, pixels),
        "product": lambda: without_grad(factor.matmul, factor),
        "inference": lambda: without_grad(trained, images[:1]),
    }


def torch_resnet18(torch: Any) -> Any:
    """Return ResNet-18 in PyTorch, of the layers that `models.resnet18` has."""
    nn = torch.nn

    def conv(inputs: int, outputs: int, size: int, stride: int) -> Any:
        weights = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        return nn.Sequential(weights, nn.BatchNorm2d(outputs))

    class Block(nn.Module):  # type: ignore[name-defined]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.first, self.second = conv(inputs, outputs, 3, stride), conv(outputs, outputs, 3, 1)
            same = inputs == outputs and stride == 1
            self.shortcut = nn.Identity() if same else conv(inputs, outputs, 1, stride)

        def forward(self, x: Any) -> Any:
            y = self.second(torch.relu(self.first(x)))
            return torch.relu(y + self.shortcut(x))

    widths = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
    stages = [
        nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1))
        for inputs, outputs, stride in widths
    ]
    stem = [conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(
        *stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES)
    )


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)
