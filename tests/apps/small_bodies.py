"""Small networks with weights for tests of the applications, and pictures for them."""

import numpy as np

from minidl import models, nn
from minidl.models.sources import IMAGENET, ImageFormat
from minidl.random import manual_seed

__all__ = ["body", "mobilenet", "photo"]


class Small(nn.Module):
    """Three convolutions.  (N, H, W, 3) -> (N, H/4, W/4, 8)."""

    image_format: ImageFormat | None = IMAGENET

    def __init__(self):
        self.first = nn.Conv2d(3, 6, 3, padding=1, activation="relu")
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1, activation="relu")
        self.third = nn.Conv2d(8, 8, 3, stride=2, activation="relu")

    def forward(self, x):
        return self.third(self.second(self.first(x)))


def body(images=IMAGENET):
    manual_seed(3)
    network = Small()
    network.image_format = images
    return network


def mobilenet():
    """A network of minidl.models, for images of 32 x 32 pixels."""
    manual_seed(1)
    network = models.create("mobilenet_v1", width=0.25)
    network.image_format = ImageFormat(32, "RGB", 127.5, (1.0,) * 3, (1.0,) * 3)
    return network


def photo(height=40, width=48, seed=0):
    """Stripes, a disc and noise: (H, W, 3) uint8, with fine detail."""
    rows, columns = np.mgrid[:height, :width]
    x = 0.5 + 0.2 * np.sin(columns / 3)[..., None] * [1, 0.5, -1] + 0.1 * np.sin(rows)[..., None]
    x[(rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (height / 4) ** 2] += 0.2
    x += np.random.default_rng(seed).normal(0, 0.05, x.shape)
    return (x * 255).clip(0, 255).astype(np.uint8)
