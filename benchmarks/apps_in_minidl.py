"""minidl's side of `benchmarks.apps`."""

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl as md
from minidl import nn, optim
from minidl.apps.bodies import Body, VGG19Start
from minidl.apps.gan.networks import Discriminator, Generator
from minidl.apps.gan.training import Pair
from minidl.apps.style_losses import StyleLosses
from minidl.apps.upscale import ESPCN, SRCNN

SIDE = 384  # pixels of a picture


def style(random: np.random.Generator) -> Callable[[], Any]:
    """The gradient of style, content and total variation."""
    body = Body("benchmarks.apps", VGG19Start().eval())
    losses = StyleLosses("benchmarks.apps", body, None, None)
    content, painting, x = random.random((3, 1, SIDE, SIDE, 3), np.float32)
    losses.aim(content, [painting], [1.0])
    losses.balance(x, {"content": 1.0, "style": 1.0, "tv": 1.0})
    return lambda: losses.gradient(x)


def srcnn(random: np.random.Generator) -> Callable[[], Any]:
    """A step of training on patches that are interpolated already."""
    return _fitting(SRCNN(), random.random((16, 33, 33, 1), np.float32), (16, 21, 21, 1))


def espcn(random: np.random.Generator) -> Callable[[], Any]:
    """A step of training on small patches."""
    return _fitting(ESPCN(), random.random((16, 17, 17, 1), np.float32), (16, 9, 9, 9))


def gan(random: np.random.Generator) -> Callable[[], Any]:
    """A step of both networks, with 64 pictures."""
    pair = Pair(Generator(), Discriminator())
    pair.networks.train()
    real = random.uniform(-1, 1, (64, 32, 32, 1)).astype(np.float32)
    return lambda: pair.step(real)


def _fitting(network: nn.Module, x: np.ndarray, shape: tuple[int, ...]) -> Callable[[], Any]:
    target = np.zeros(shape, np.float32)
    optimizer, loss = optim.Adam(network.parameters(), lr=1e-3), nn.MSELoss()

    def step() -> None:
        optimizer.zero_grad()
        loss(network(x), target).backward()
        optimizer.step()

    compiled: Callable[[], Any] = md.compile(step)
    return compiled
