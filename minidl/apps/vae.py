"""A variational autoencoder: pictures told by two numbers, and drawn from them.

The gentle counterpart of the adversarial pair: one network, one loss, and nothing that can
collapse; its pictures are the mean of what they might be, and blurred for that.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl as md
from minidl import nn, optim, random
from minidl.apps.grids import grid, stretched
from minidl.apps.pictures import pixels, save_png
from minidl.checks import positive, whole
from minidl.data import ArrayDataset, DataLoader
from minidl.errors import ShapeError
from minidl.io.plain_json import save_json
from minidl.nn import Module, functional

__all__ = ["VAE", "Trained", "elbo_loss", "train_vae"]

SIZE = 32  # pixels of height and width
LATENT = 2
LR = 1e-3
SIDE = 15  # pictures of a side of the walk
REACH = 2.0  # standard deviations from its middle to its edges
SHOWN = 12


class VAE(Module):
    """(N, 32, 32, 1), from 0 to 1, to logits of the same shape, means and log-variances (N, 2).

    Source: Kingma and Welling 2014, "Auto-encoding variational Bayes", sections 2.3 and 2.4.
    """

    def __init__(self) -> None:
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, padding=1, activation="relu"),
            nn.Conv2d(32, 64, 4, 2, padding=1, activation="relu"),
            nn.Flatten(),
            nn.Linear(8 * 8 * 64, 128, activation="relu"),
            nn.Linear(128, 2 * LATENT),
        )
        self.grow = nn.Sequential(
            nn.Linear(LATENT, 128, activation="relu"), nn.Linear(128, 8 * 8 * 64, activation="relu")
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(64, 32, 4, 2, padding=1, activation="relu"),
            nn.ConvTranspose2d(32, 1, 4, 2, padding=1),
        )

    def encode(self, x: Any) -> tuple[Any, Any]:
        """Return means and log-variances, (N, 2) each, of what tells the pictures."""
        both = self.encoder(x)
        return both[:, :LATENT], both[:, LATENT:]

    def decode(self, z: Any) -> Any:
        """Return logits of the pictures that numbers (N, 2) tell."""
        return self.decoder(self.grow(z).reshape(-1, 8, 8, 64))  # (N, 8 * 8 * 64)

    def forward(self, x: Any) -> tuple[Any, Any, Any]:
        mean, log_variance = self.encode(x)
        z = mean
        if self.training:
            noise = random.generator().standard_normal(mean.shape).astype(mean.dtype)
            z = mean + (log_variance / 2).exp() * noise
        return self.decode(z), mean, log_variance


def elbo_loss(outputs: tuple[Any, Any, Any], pictures: Any) -> Any:
    """Return minus the evidence lower bound, in nats a picture, averaged over the batch.

    outputs: what `VAE` gives of pictures (N, 32, 32, 1) from 0 to 1.
    Source: that of `VAE`, equation 10 and appendix B, with pixels from Bernoulli distributions.
    """
    logits, mean, log_variance = outputs
    told = functional.binary_cross_entropy_with_logits(logits, pictures, reduction="sum")
    apart = (mean * mean + log_variance.exp() - 1 - log_variance).sum() / 2
    return (told + apart) / len(pictures)


class Trained(NamedTuple):
    """The network, in evaluation mode, and {"epoch", "loss"} of each epoch."""

    network: VAE
    history: list[dict[str, float]]


def train_vae(
    images: np.ndarray,
    output: str | os.PathLike[str],
    *,
    epochs: int = 20,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> Trained:
    """Train a VAE on pictures, and save what it draws.

    images: (N, 32, 32, 1); their least and largest number become 0 and 1.
    output: a folder. It gets vae.h5, reconstructions.png, pictures above what is made of them,
        walk.png, what 15 x 15 pairs of numbers tell, and history.json.
    seed: of all random numbers; it is given to `md.manual_seed`.
    Ctrl-C after the first epoch saves all that too, and raises KeyboardInterrupt.
    Raises ShapeError for other pictures.
    """
    images = _scaled(images)
    epochs, batch_size = (
        positive("train_vae", name, value)
        for name, value in (("epochs", epochs), ("batch_size", batch_size))
    )
    md.manual_seed(whole("train_vae", "seed", seed, 0))
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"epochs": epochs, "batch_size": batch_size, "seed": seed, "images": len(images)}
    network = VAE()
    optimizer = optim.Adam(network.parameters(), lr=LR)
    loader = DataLoader(ArrayDataset(images), batch_size, True, seed=seed)
    history: list[dict[str, float]] = []
    try:
        for epoch in range(1, epochs + 1):
            history.append({"epoch": epoch, "loss": _epoch(network, optimizer, loader, progress)})
            save_json(folder / "history.json", {"epochs": history}, "train_vae")
    except KeyboardInterrupt:
        if history:
            _save(folder, network.eval(), images, settings)
        raise
    _save(folder, network.eval(), images, settings)
    return Trained(network, history)


def _save(folder: Path, network: VAE, images: np.ndarray, settings: dict[str, Any]) -> None:
    save_png(folder / "reconstructions.png", _reconstructions(network, images), settings)
    save_png(folder / "walk.png", _walk(network), settings)
    md.save_weights(network, folder / "vae.h5")


def _epoch(network: VAE, optimizer: optim.Optimizer, loader: DataLoader, progress: bool) -> float:
    """Train for an epoch; return the mean loss."""
    from tqdm import tqdm

    network.train()
    total = 0.0
    for (pictures,) in tqdm(loader, leave=False, unit="batch", disable=None if progress else True):
        optimizer.zero_grad()
        loss = elbo_loss(network(pictures), pictures)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(pictures)
    return total / len(loader.dataset)


def _scaled(images: Any) -> np.ndarray:
    """(N, 32, 32, 1) float32 from 0 to 1."""
    found = np.asarray(images)
    if found.ndim != 4 or found.shape[1:] != (SIZE, SIZE, 1) or not len(found):
        raise ShapeError(f"train_vae expected pictures (N, 32, 32, 1), got shape {found.shape}")
    return stretched("train_vae", found, 0, 1)


def _drawn(network: VAE, z: np.ndarray) -> np.ndarray:
    """Pictures (N, 32, 32, 1) uint8."""
    with md.no_grad():
        return pixels(functional.sigmoid(network.decode(z)).data)


def _reconstructions(network: VAE, images: np.ndarray) -> np.ndarray:
    with md.no_grad():
        means = network.encode(images[:SHOWN])[0].data
    return grid(np.concatenate([pixels(images[:SHOWN]), _drawn(network, means)]), columns=SHOWN)


def _walk(network: VAE) -> np.ndarray:
    """What each pair of numbers tells, the first from left to right, the second downwards."""
    steps = np.linspace(-REACH, REACH, SIDE, dtype=np.float32)
    pairs = np.stack(np.meshgrid(steps, steps), axis=2).reshape(-1, LATENT)  # (15, 15, 2)
    return grid(_drawn(network, pairs), columns=SIDE, gap=0)
