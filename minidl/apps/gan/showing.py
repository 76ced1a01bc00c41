"""What a training of `train_gan` leaves to look at: samples, a walk between them, and curves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minidl.analysis.plots import _figure
from minidl.apps.gan.networks import KINDS
from minidl.apps.grids import grid
from minidl.apps.pictures import pixels, save_png
from minidl.io.atomic import atomic_write

__all__ = ["save_curves", "save_samples", "save_walk"]

WALK = 10  # pictures from one sample to another
ROWS = 8  # walks
PANELS = {
    "loss": ("discriminator", "generator"),
    "share that the discriminator tells apart": ("right",),
    "diversity, as a share of the pictures'": ("diversity",),
    "Fréchet distance": ("distance",),
    "share of samples that LeNet-5 is sure of": ("sure",),
}

Draw = Callable[[np.ndarray], np.ndarray]  # random numbers to pictures, from -1 to 1


def save_samples(folder: Path, draw: Draw, z: np.ndarray, told: dict[str, Any]) -> None:
    """Write samples-0001.png and so on, a grid of what is made of `z` after an epoch.

    told: what the picture's metadata tell, the epoch among it.
    """
    picture = grid(pixels((draw(z) + 1) / 2))
    save_png(folder / f"samples-{told['epoch']:04d}.png", picture, told)


def save_walk(folder: Path, draw: Draw, z: np.ndarray, told: dict[str, Any]) -> None:
    """Write walk.png: rows of pictures between two samples of a kind each, along a great circle.

    Source: White 2016, "Sampling generative networks", section 2.1.
    """
    starts, ends = z[:ROWS], z[ROWS : 2 * ROWS].copy()
    ends[:, :KINDS] = starts[:, :KINDS]
    found = [_between(a, b) for a, b in zip(starts, ends, strict=True)]
    picture = grid(pixels((draw(np.concatenate(found)) + 1) / 2), columns=WALK)
    save_png(folder / "walk.png", picture, told)


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(WALK, latent): from a to b."""
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    share = np.linspace(0, 1, WALK, dtype=np.float32)[:, np.newaxis]
    found: np.ndarray = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(
        angle
    )
    return found.astype(np.float32)


def save_curves(folder: Path, history: list[dict[str, float]]) -> None:
    """Write curves.png: what the history has, against epochs. Without matplotlib, do nothing."""
    panels = {title: names for title, names in PANELS.items() if names[0] in history[0]}
    try:
        figure, axes = _figure(1, len(panels))
    except ImportError:
        return
    figure.set_size_inches(4.2 * len(panels), 3.4)
    epochs = [row["epoch"] for row in history]
    for axis, (title, names) in zip(axes.flat, panels.items(), strict=True):
        for name in names:
            axis.plot(epochs, [row[name] for row in history], marker="o", markersize=3, label=name)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_ylim(bottom=0)
        if len(names) > 1:
            axis.legend(frameon=False)
    with atomic_write(folder / "curves.png") as temporary:
        figure.savefig(temporary, format="png", dpi=100)
