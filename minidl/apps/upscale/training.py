"""`train_upscaler`: SRCNN and ESPCN trained on patches of pictures."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minidl as md
from minidl import nn, optim
from minidl.apps.upscale.bicubic import bicubic
from minidl.apps.upscale.measuring import luminance_of, pictures_in, smaller
from minidl.apps.upscale.networks import ESPCN, SRCNN, Upscaler
from minidl.checks import positive, whole
from minidl.data import DataLoader, Dataset, HDF5Dataset, HDF5Writer
from minidl.errors import ArgumentError
from minidl.train import Trainer

__all__ = ["NETWORKS", "Patches", "train_upscaler", "write_patches"]

NETWORKS: dict[str, type[SRCNN] | type[ESPCN]] = {"srcnn": SRCNN, "espcn": ESPCN}
BATCH = 16
LR = 1e-3


def train_upscaler(
    pictures: str | os.PathLike[str],
    output: str | os.PathLike[str],
    network: str = "espcn",
    *,
    scale: int = 3,
    epochs: int = 40,
    seed: int = 0,
    progress: bool = True,
) -> Upscaler:
    """Train a network to make pictures larger, and save it in the file `output`.

    pictures: a folder of them, the sharper the better; the papers take T91.
    network: "srcnn" or "espcn".  scale: how many times as large, 2, 3 or 4.
    epochs: passes over all patches, which are in a hidden folder beside `output` meanwhile.
    seed: of the weights and the order; it is given to `md.manual_seed`.
    Ctrl-C after the first epoch saves the network as it is then, and raises KeyboardInterrupt.
    Raises ArgumentError for a folder without pictures that are large enough for a patch,
    FileNotFoundError where the folder of `output` is missing.
    """
    if network not in NETWORKS:
        raise ArgumentError(
            f"train_upscaler: network must be one of {', '.join(NETWORKS)}, got {network!r}"
        )
    epochs = positive("train_upscaler", "epochs", epochs)
    md.manual_seed(whole("train_upscaler", "seed", seed, 0))
    made = NETWORKS[network](scale=scale)
    optimizer = optim.Adam(made.parameters(), lr=LR)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    trainer = Trainer(made, optimizer, nn.MSELoss(), scheduler=schedule)
    beside = Path(output)
    if not beside.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {beside.parent} to write {beside.name} in")
    with tempfile.TemporaryDirectory(prefix=f".{beside.stem}-", dir=beside.parent) as folder:
        file = Path(folder) / "patches.h5"
        write_patches(file, pictures, made)
        patches = Patches(file, made)
        with patches.rows:
            try:
                loader = DataLoader(patches, BATCH, shuffle=True, seed=seed)
                trainer.fit(loader, epochs, progress=progress)
            except KeyboardInterrupt:
                if trainer.epoch:
                    md.save_weights(made.eval(), output)
                raise
    md.save_weights(made.eval(), output)
    return made


class Patches(Dataset):
    """Patches that `write_patches` wrote: (input (h, w, 1), target), float32 from 0 to 1."""

    def __init__(self, path: str | os.PathLike[str], network: Upscaler) -> None:
        self.rows, self.margin = HDF5Dataset(path), network.margin

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return tuple(part[0] for part in self.batch([index]))

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, ...]:
        """(N, h, w, 1) and what the network is to make of it."""
        both = self.rows.batch(indices)[0].astype(np.float32) / 255
        inside = slice(self.margin, -self.margin)
        return both[..., :1], both[:, inside, inside, 1:]

    def order(self, generator: np.random.Generator) -> np.ndarray:
        """Return the order of the file, which reads neighbours together."""
        return self.rows.order(generator)


def write_patches(
    path: str | os.PathLike[str], pictures: str | os.PathLike[str], network: Upscaler
) -> None:
    """Write patches of all pictures in a folder as rows (h, w, 1 + C) of uint8.

    The first channel is the network's input, the others are the pixels that it is to make.
    """
    scale = 1 if network.interpolated else network.scale
    side, stride = (33, 14) if network.interpolated else (17, 4)
    count = 0
    writer = HDF5Writer(path, (side, side, 1 + scale**2), overwrite=True)
    try:
        for picture in pictures_in(pictures):
            rows = _patches(_stacked(picture, network, scale), side, stride)
            if len(rows):
                writer.add(rows, np.zeros(len(rows), np.int64))
                count += len(rows)
        if not count:
            raise ArgumentError(
                f"the pictures in {os.fspath(pictures)} are too small: expected some of at least "
                f"{side * scale} x {side * scale} pixels"
            )
        writer.close()
    except BaseException:
        writer.discard()
        raise


def _stacked(picture: Path, network: Upscaler, scale: int) -> np.ndarray:
    """(H, W, 1 + C) uint8: the network's input, and beside it what it is to make."""
    truth, small = smaller(luminance_of(picture), network.scale)
    given = bicubic(small, *truth.shape) if network.interpolated and small.size else small
    # (H * s, W * s) -> (H, s, W, s) -> (H, W, s * s)
    squares = truth.reshape(given.shape[0], scale, given.shape[1], scale)
    wanted = squares.transpose(0, 2, 1, 3).reshape(*given.shape, scale**2)
    both = np.concatenate([given[..., np.newaxis], wanted], axis=2)
    return np.rint(both).clip(0, 255).astype(np.uint8)


def _patches(picture: np.ndarray, side: int, stride: int) -> np.ndarray:
    """(N, side, side, C) of a picture (H, W, C)."""
    if min(picture.shape[:2]) < side:
        return np.empty((0, side, side, picture.shape[2]), picture.dtype)
    windows: Any = np.lib.stride_tricks.sliding_window_view(picture, (side, side), axis=(0, 1))
    found = windows[::stride, ::stride]  # (rows, columns, C, side, side)
    return found.reshape(-1, *found.shape[2:]).transpose(0, 2, 3, 1)
