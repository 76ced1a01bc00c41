"""Generative adversarial networks: pictures like those of a set, drawn from random numbers.

`train_gan` does what `minidl gan` does; `judge` tells how good samples of digits are.
"""

from minidl.apps.gan.judging import Judgement, frechet_distance, judge
from minidl.apps.gan.networks import Discriminator, Generator, load_generator
from minidl.apps.gan.training import Gan, train_gan

__all__ = [
    "Discriminator", "Gan", "Generator", "Judgement", "frechet_distance", "judge",
    "load_generator", "train_gan",
]  # fmt: skip
