"""DCGAN's generator and discriminator."""

import os
from itertools import pairwise
from typing import Any

import numpy as np

import minidl as md
from minidl import nn, ops, random
from minidl.apps.gan.spectral import SpectralConv2d
from minidl.checks import is_whole
from minidl.errors import ArgumentError, FileFormatError, StateError
from minidl.nn import Module

__all__ = ["KINDS", "LATENT", "SIZES", "Discriminator", "Generator", "load_generator"]

SIZES = (32, 64)  # pixels of height and width
LATENT = 64  # random numbers a picture
KINDS = 10  # of them, the largest of which tells a picture's kind
APART = 4.0  # what it becomes, in standard deviations of the others
WIDTH = 32  # channels of the largest maps; at each halving there are twice as many
FIRST = 4  # pixels of the smallest maps
KERNEL = 4  # a multiple of the stride of 2, so that all pixels are made by as many weights
SLOPE, DROPOUT, SPREAD = 0.2, 0.3, 0.02


class Generator(Module):
    """Random numbers to pictures.  (N, 64) -> (N, size, size, channels), from -1 to 1.

    The numbers are normal, of deviation 1. Of the first ten the largest becomes 4, and the others
    0: ten kinds of pictures, which nothing connects. Without them a path of numbers leads from any
    picture to any other, and what is drawn on the way is neither.
    Source: Radford, Metz and Chintala 2016, "Unsupervised representation learning with deep
    convolutional generative adversarial networks", section 3; for why kinds must be apart,
    Khayatkhoei, Singh and Elgammal 2018, "Disconnected manifold learning for generative adversarial
    networks", section 2.
    """

    def __init__(self, size: int = 32, channels: int = 1) -> None:
        steps = _steps("Generator", size)
        widths = [WIDTH * 2**i for i in reversed(range(steps))]
        self.first = widths[0]
        self.apart = nn.Buffer(np.array(APART, np.float32))
        self.project = nn.Linear(LATENT, FIRST**2 * widths[0], bias=False)
        self.norm = nn.BatchNorm2d(widths[0], activation="relu")
        layers: list[Module] = []
        for here, there in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(here, there, KERNEL, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(there, activation="relu"),
            ]
        last = nn.ConvTranspose2d(widths[-1], channels, KERNEL, stride=2, padding=1)
        self.layers = nn.Sequential(*layers, last, nn.Tanh())
        _spread_weights(self)

    def forward(self, z: Any) -> Any:
        kinds = z[:, :KINDS]
        largest = kinds == kinds.max(axis=1, keepdims=True)
        z = ops.concatenate(ops.where(largest, self.apart, 0 * self.apart), z[:, KINDS:], axis=1)
        maps = self.project(z).reshape(-1, FIRST, FIRST, self.first)  # (N, 4 * 4 * C)
        return self.layers(self.norm(maps))


class Discriminator(Module):
    """Whether pictures are of the set.  (N, size, size, channels) -> (N,), logits.

    Strided convolutions and LeakyReLU, dropout before the last layer; batch normalisation but in
    the first, or, if `spectral`, spectral normalisation in its place.
    Source: that of `Generator`; dropout as in Chollet 2021, "Deep learning with Python", 12.5.
    """

    def __init__(self, size: int = 32, channels: int = 1, spectral: bool = False) -> None:
        steps = _steps("Discriminator", size)
        convolution = SpectralConv2d if spectral else nn.Conv2d
        layers: list[Module] = []
        here = channels
        for i in range(steps):
            there = WIDTH * 2**i
            normed = i > 0 and not spectral
            layers.append(convolution(here, there, KERNEL, 2, padding=1, bias=not normed))
            if normed:
                layers.append(nn.BatchNorm2d(there))
            layers.append(nn.LeakyReLU(SLOPE))
            here = there
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(DROPOUT))
        self.last = nn.Linear(FIRST**2 * here, 1)
        _spread_weights(self)

    def forward(self, x: Any) -> Any:
        return self.last(self.layers(x)).reshape(-1)  # (N, 1) -> (N,)


def load_generator(path: str | os.PathLike[str]) -> Generator:
    """Return the generator in a file that `train_gan` made.

    Raises FileFormatError where the file holds another network.
    """
    for size in SIZES:
        for channels in (1, 3):
            made = Generator(size, channels)
            try:
                md.load_weights(made, path)
            except StateError:
                continue
            return made.eval()
    raise FileFormatError(f"{os.fspath(path)}: its weights are of no generator of minidl's")


def _steps(who: str, size: int) -> int:
    """How often maps are halved from `size` to FIRST."""
    if not is_whole(size) or size not in SIZES:
        raise ArgumentError(f"{who}: size must be one of {SIZES}, got {size!r}")
    return int(np.log2(size // FIRST))


def _spread_weights(model: Module) -> None:
    """Weights from a normal distribution of deviation 0.02, scales around 1, as in the paper."""
    generator = random.generator()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.data[...] = generator.normal(0, SPREAD, parameter.shape)
        elif name.endswith("weight"):
            parameter.data[...] = generator.normal(1, SPREAD, parameter.shape)
