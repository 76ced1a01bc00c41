"""`train_gan`: a generator and a discriminator trained against each other."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl as md
from minidl import nn, optim, random
from minidl.apps.gan.judging import judge
from minidl.apps.gan.networks import LATENT, SIZES, Discriminator, Generator
from minidl.apps.gan.showing import save_curves, save_samples, save_walk
from minidl.apps.grids import stretched
from minidl.checks import flag, positive, whole
from minidl.data import ArrayDataset, DataLoader
from minidl.errors import ArgumentError, GradError, ShapeError, StateError
from minidl.io.plain_json import save_json
from minidl.nn import Module, functional

__all__ = ["Gan", "train_gan"]

# Of Adam, as DCGAN's paper has them; but for the generator, which is too slow with the same rate:
# the discriminator learns to tell all apart, and its gradients get small
RATES, BETAS = {"generator": 6e-4, "discriminator": 2e-4}, (0.5, 0.999)
NOISE = 0.1  # of the labels: at most as much is taken from 1
DECAY = 0.999  # of the generator's average
SHOWN = 64  # samples of a grid
JUDGED = 2000  # samples that a classifier sees
PART = 250  # pictures that are drawn at once
ROUNDING = 1e-6  # the diversity of copies
ALIKE = 0.3  # of the set's diversity: samples with less are all alike
CHECKPOINT, WEIGHTS, SETTINGS = "checkpoint.h5", "generator.h5", "settings.json"


class Gan(NamedTuple):
    """What a training left: the generator, in evaluation mode, and a row an epoch.

    history: {"epoch", "generator", "discriminator", "right", "diversity"}: the losses, the share
        of pictures and samples that the discriminator tells apart, and the samples' diversity, as
        a share of the pictures'; with `truths` also {"distance", "sure", "digits"}, as in
        `Judgement`, but of the digits how many are named at all.
    """

    generator: Generator
    history: list[dict[str, float]]


def train_gan(
    images: np.ndarray,
    output: str | os.PathLike[str],
    *,
    truths: np.ndarray | None = None,
    epochs: int = 20,
    batch_size: int = 64,
    spectral: bool = False,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Gan:
    """Train a DCGAN on pictures, and save what it draws.

    The generator that draws, and is saved, is the average of those of all steps, the later the
    heavier (`optim.EMA`).
    images: (N, S, S, 1) or (N, S, S, 3), S 32 or 64; their least and largest number become -1, 1.
    output: a folder. It gets generator.h5, samples-0001.png and so on, a grid an epoch, walk.png,
        between two samples, history.json, curves.png of it (extra `plots`; without it there is
        none), and checkpoint.h5 after each epoch.
    truths: digits (M, 32, 32, 1) that aren't among `images`, beside which `judge` sees 2,000
        samples after each epoch; None: it doesn't.
    spectral: spectral normalisation in the discriminator in place of batch normalisation.
    seed: of all random numbers; it is given to `md.manual_seed`.
    resume: go on after the last epoch that checkpoint.h5 in the folder has. Ctrl-C after the first
        epoch saves the generator as it is then, too, and raises KeyboardInterrupt.
    on_epoch: called with each row of the history.
    Raises ShapeError for other pictures, ArgumentError for settings out of range and for pictures
    that are all the same, StateError for the checkpoint of another training,
    GradError where a loss isn't finite.
    Source: that of `Generator`; averages as in Yazici et al. 2019, "The unusual effectiveness of
    averaging in GAN training".
    """
    images = _scaled(images)
    truths = None if truths is None else _scaled(truths)
    epochs, batch_size = (
        positive("train_gan", name, value)
        for name, value in (("epochs", epochs), ("batch_size", batch_size))
    )
    size, channels = images.shape[1], images.shape[3]
    settings = {
        "size": size, "channels": channels, "images": len(images), "batch_size": batch_size,
        "spectral": flag("train_gan", "spectral", spectral),
        "truths": 0 if truths is None else len(truths), "crc32": zlib.crc32(images.data),
        "seed": whole("train_gan", "seed", seed, 0),
    }  # fmt: skip
    md.manual_seed(seed)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    pair = Pair(Generator(size, channels), Discriminator(size, channels, spectral))
    shown = _numbers(SHOWN)
    loader = DataLoader(
        ArrayDataset(images), min(batch_size, len(images)), True, seed=seed, drop_last=True
    )
    measure = _Measure(images, truths, shown, seed)
    if resume:
        pair.resume(folder, settings, loader)
    save_json(folder / SETTINGS, {"command": "gan", **settings}, "train_gan")
    try:
        while len(pair.history) < epochs:
            row = pair.epoch(loader, progress)
            row |= measure(pair.draw)
            pair.history.append(row)
            pair.save(folder, settings, loader)
            save_samples(folder, pair.draw, shown, {**settings, "epoch": row["epoch"]})
            save_curves(folder, pair.history)
            if on_epoch is not None:
                on_epoch(row)
    except KeyboardInterrupt:
        if pair.history:
            pair.finish(folder, settings, shown)
        raise
    pair.finish(folder, settings, shown)
    return Gan(pair.generator, pair.history)


class Pair:
    """Both networks with their optimizers, and the history."""

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.networks = nn.ModuleDict({"generator": generator, "discriminator": discriminator})
        self.optimizers = {
            name: optim.Adam(network.parameters(), lr=RATES[name], betas=BETAS)
            for name, network in self.networks.items()
        }
        self.average = optim.EMA(generator, DECAY)
        self.history: list[dict[str, float]] = []

    def epoch(self, loader: DataLoader, progress: bool) -> dict[str, float]:
        """Train for an epoch; return its row of the history."""
        from tqdm import tqdm

        self.networks.train()
        sums, number = np.zeros(3), len(self.history) + 1
        bar = tqdm(
            loader, f"epoch {number}", leave=False, unit="batch",
            disable=None if progress else True,
        )  # fmt: skip
        for (real,) in bar:
            sums += self.step(real)
            if not np.isfinite(sums).all():
                raise GradError(f"train_gan: a loss of epoch {number} isn't finite any more")
        mean = sums / len(loader)
        names = ("generator", "discriminator", "right")
        return {"epoch": number, **dict(zip(names, map(float, mean), strict=True))}

    def step(self, real: np.ndarray) -> tuple[float, float, float]:
        """A step of the discriminator, then one of the generator; losses, and the share right."""
        z = _numbers(len(real))
        fake = self.generator(z)
        right = 1 - NOISE * random.generator().random(len(real)).astype(np.float32)
        of_real, of_fake = self.discriminator(real), self.discriminator(fake.detach())
        loss = (
            functional.binary_cross_entropy_with_logits(of_real, right)
            + functional.binary_cross_entropy_with_logits(of_fake, np.zeros_like(right))
        ) / 2
        _descend(loss, self.optimizers["discriminator"])
        # Its weights' gradients aren't wanted now
        with _still(self.discriminator):
            told = self.discriminator(fake)
            fooling = functional.binary_cross_entropy_with_logits(told, np.ones_like(right))
            _descend(fooling, self.optimizers["generator"])
        self.average.update()
        share = ((of_real.data > 0).mean() + (of_fake.data < 0).mean()) / 2
        return fooling.item(), loss.item(), float(share)

    def draw(self, z: np.ndarray) -> np.ndarray:
        """Return what the averaged generator makes of (N, 64): (N, S, S, C), from -1 to 1."""
        self.generator.eval()
        with md.no_grad(), self.average.average_parameters():
            parts = [self.generator(z[i : i + PART]).data for i in range(0, len(z), PART)]
        return np.concatenate(parts)

    def save(self, folder: Path, settings: dict[str, Any], loader: DataLoader) -> None:
        """Write checkpoint.h5, whole or not at all, and history.json."""
        states = {name: each.state_dict() for name, each in self.optimizers.items()}
        extra = {
            "optimizers": states, "settings": settings, "history": self.history,
            "average": self.average.state_dict(),
        }  # fmt: skip
        md.save_checkpoint(folder / CHECKPOINT, self.networks, loader=loader, extra=extra)
        save_json(folder / "history.json", {"epochs": self.history}, "train_gan")

    def finish(self, folder: Path, settings: dict[str, Any], shown: np.ndarray) -> None:
        """Write walk.png and generator.h5; the generator is the averaged one from here on."""
        save_walk(folder, self.draw, shown, settings)
        self.average.copy_to()
        md.save_weights(self.generator.eval(), folder / WEIGHTS)

    def resume(self, folder: Path, settings: dict[str, Any], loader: DataLoader) -> None:
        """Go on from checkpoint.h5, if there is one."""
        if not (folder / CHECKPOINT).exists():
            return
        extra = md.load_checkpoint(folder / CHECKPOINT, self.networks, loader=loader)
        known = extra["settings"]
        if other := [name for name, value in settings.items() if known.get(name) != value]:
            told = ", ".join(f"{n}={known.get(n)!r}, not {settings[n]!r}" for n in other)
            raise StateError(
                f"{folder} holds a training begun with {told}: give the same arguments, or another "
                "output"
            )
        for name, state in extra["optimizers"].items():
            self.optimizers[name].load_state_dict(state)
        self.average.load_state_dict(extra["average"])
        self.history = list(extra["history"])


class _Measure:
    """What is told of samples after an epoch: how much they vary, and what a classifier says."""

    def __init__(
        self, images: np.ndarray, truths: np.ndarray | None, shown: np.ndarray, seed: int
    ) -> None:
        self.truths, self.shown, self.seed = truths, shown, seed
        self.diversity = float(images[: 10 * SHOWN].std(axis=0).mean())
        if self.diversity < ROUNDING:
            raise ArgumentError("train_gan: the pictures are all the same")

    def __call__(self, draw: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        found = {"diversity": float(draw(self.shown).std(axis=0).mean()) / self.diversity}
        if self.truths is None:
            return found
        # Apart from the stream of training, which is the same without this
        z = np.random.default_rng(self.seed).standard_normal((JUDGED, LATENT), np.float32)
        told = judge(draw(z), self.truths)
        named = sum(count > 0 for count in told.digits)
        return {**found, "distance": told.distance, "sure": told.sure, "digits": named}


def _descend(loss: Any, optimizer: optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


class _still:
    """Inside, a network's parameters take no gradients."""

    def __init__(self, network: Module) -> None:
        self.parameters = list(network.parameters())

    def __enter__(self) -> None:
        for parameter in self.parameters:
            parameter.requires_grad = False

    def __exit__(self, *error: object) -> None:
        for parameter in self.parameters:
            parameter.requires_grad = True


def _numbers(count: int) -> np.ndarray:
    return random.generator().standard_normal((count, LATENT)).astype(np.float32)


def _scaled(images: Any) -> np.ndarray:
    """(N, S, S, C) float32 from -1 to 1."""
    found = np.asarray(images)
    fits = found.ndim == 4 and found.shape[1] == found.shape[2] and found.shape[3] in (1, 3)
    if not fits or found.shape[1] not in SIZES:
        raise ShapeError(
            f"train_gan expected pictures (N, S, S, 1 or 3) with S of {SIZES}, got shape "
            f"{found.shape}: resize them"
        )
    if len(found) < 2:
        raise ShapeError(f"train_gan expected several pictures, got {len(found)}")
    return stretched("train_gan", found, -1, 1)
