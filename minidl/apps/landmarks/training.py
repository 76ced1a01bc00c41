"""`train_landmarks`: a network that finds points, trained on pictures with points."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl as md
from minidl import models, nn, optim
from minidl.apps.landmarks.networks import LandmarkNetwork
from minidl.apps.landmarks.sets import MIRROR, PointSet, moved
from minidl.checks import positive, real, whole
from minidl.data import ArrayDataset, DataLoader
from minidl.errors import ArgumentError, GradError
from minidl.io.plain_json import save_json
from minidl.train import Callback, Checkpoint, Trainer
from minidl.train.pretrained import pretrained
from minidl.train.resuming import CHECKPOINTS, begin_folder, resume_trainer

__all__ = ["Trained", "train_landmarks"]

HELD_OUT = 0.1  # of the pictures, to tell which epoch is best
LEAST = 4  # pictures
WEIGHTS = "landmarks.h5"
BEST = f"{CHECKPOINTS}/best.h5"
# How training moves pictures
MOVES: dict[str, Any] = {"degrees": 15.0, "scale": (0.9, 1.15), "shift": 0.04}


class Trained(NamedTuple):
    """What a training left: the network of the best epoch, in evaluation mode, and a row an epoch.

    history: {"epoch", "lr", "loss", "val_loss", "seconds"}; losses are mean absolute differences of
        coordinates, in shares of the size.
    """

    network: LandmarkNetwork
    history: list[dict[str, float]]


def train_landmarks(
    pictures: PointSet,
    output: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    model: str | None = None,
    arguments: dict[str, Any] | None = None,
    head: str = "heatmap",
    epochs: int = 60,
    batch_size: int = 32,
    lr: float = 2e-3,
    mirror: Sequence[int] | np.ndarray | None = None,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
) -> Trained:
    """Train a network that finds points, and save that of the best epoch.

    pictures: as `read_points` gives; a tenth of them, drawn by `seed`, tells which epoch is best.
    output: a folder. It gets landmarks.h5, settings.json, history.json and checkpoints.
    weights: a file with a pretrained body, as `minidl finetune` takes it; None: a new one.
    model: the body's name in `minidl.models`, "mobilenet_v1" of width 0.25 where neither is given;
    arguments: what else to make it with.
    head: "heatmap" or "direct", see `LandmarkNetwork`.
    mirror: which point is which in a mirror, (P,). Without it pictures are mirrored if they have
        the 68 points of 300-W, and others aren't.
    seed: of all random numbers; it is given to `md.manual_seed`.
    resume: continue after the last epoch that the folder has a checkpoint of.
    Ctrl-C keeps the best epoch so far in landmarks.h5, and raises KeyboardInterrupt.
    Raises ArgumentError for other settings and too few pictures, StateError for a folder with the
    checkpoints of another training, GradError where no epoch's loss is finite.
    """
    who = "train_landmarks"
    epochs, batch_size = positive(who, "epochs", epochs), positive(who, "batch_size", batch_size)
    seed, lr = whole(who, "seed", seed, 0), real(who, "lr", lr)
    if lr <= 0 or len(pictures) < LEAST:
        what = f"lr must be above 0, got {lr}" if lr <= 0 else f"expected {LEAST} pictures or more"
        raise ArgumentError(f"{who}: {what}")
    table = _mirror(mirror, pictures.points.shape[1])
    md.manual_seed(seed)
    network = LandmarkNetwork(
        _body(weights, model, arguments), pictures.points.shape[1], head=head, size=pictures.size
    )
    settings = {
        **network.architecture[1], "weights": weights, "epochs": epochs,
        "batch_size": batch_size, "lr": lr, "mirror": table, "seed": seed,
        "pictures": len(pictures), "checksum": pictures.checksum(), "moves": MOVES,
    }  # fmt: skip
    folder = Path(output)
    begin_folder(folder, settings, resume, who)
    training, held_out = _split(pictures, seed)
    network.head.start_at((training.points / network.size).mean(axis=0))
    loader, validation = _loaders(network, training, held_out, batch_size, seed)
    optimizer = optim.Adam(network.parameters(), lr=lr)
    trainer = Trainer(
        network, optimizer, nn.L1Loss(),
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        callbacks=[Moves(network, table, seed), Checkpoint(folder / CHECKPOINTS, keep=1)],
    )  # fmt: skip
    if resume:
        resume_trainer(trainer, folder / CHECKPOINTS)
    try:
        trainer.fit(loader, epochs, validation, progress=progress)
    finally:  # also after Ctrl-C
        _keep_best(network, folder, trainer)
    if not (folder / BEST).exists():
        raise GradError(
            f"{who}: in no epoch was the loss on the pictures held out finite: lower lr={lr:g}"
        )
    return Trained(network, list(trainer.history))


class Moves(Callback):
    """Moves the pictures of a batch and their points, and prepares both for the network.

    What it draws derives from the seed and the batch's number alone, so that a resumed training
    moves them alike.
    """

    def __init__(self, network: LandmarkNetwork, mirror: np.ndarray | None, seed: int) -> None:
        self.mirror, self.seed, self.size = mirror, seed, network.size
        self.preparation = network.preparation()

    def on_batch_begin(self, trainer: Any, x: Any, target: Any) -> tuple[Any, Any]:
        rng = np.random.default_rng([self.seed, trainer.epoch, trainer.progress.batch])
        x, points = moved(x, target, rng, **MOVES, mirror=self.mirror)
        for transform in self.preparation:
            x = transform(x)
        return x, points / np.float32(self.size)


def _body(
    weights: str | os.PathLike[str] | None, model: str | None, arguments: dict[str, Any] | None
) -> models.Network:
    if weights is not None:
        return pretrained(weights, model, arguments, None, who="train_landmarks")
    if model is None:
        return models.mobilenet_v1(1, **{"width": 0.25, **(arguments or {})})
    return models.create(model, **{"num_classes": 1, **(arguments or {})})


def _mirror(mirror: Sequence[int] | np.ndarray | None, points: int) -> np.ndarray | None:
    if mirror is None:
        return MIRROR if points == len(MIRROR) else None
    table = np.asarray(mirror)
    right = table.shape == (points,) and table.dtype.kind in "iu"
    if not right or sorted(table.tolist()) != list(range(points)):
        raise ArgumentError(
            f"train_landmarks: mirror must have each of the {points} points' numbers once, from 0 "
            f"on, got {mirror!r:.80}"
        )
    if (table[table] != np.arange(points)).any():
        raise ArgumentError("train_landmarks: mirror must be its own inverse: left is right's")
    return table


def _split(pictures: PointSet, seed: int) -> tuple[PointSet, PointSet]:
    order = np.random.default_rng(seed).permutation(len(pictures))
    count = max(1, round(HELD_OUT * len(pictures)))
    return pictures.part(np.sort(order[count:])), pictures.part(np.sort(order[:count]))


def _loaders(
    network: LandmarkNetwork, training: PointSet, held_out: PointSet, batch_size: int, seed: int
) -> tuple[DataLoader, DataLoader]:
    """Pictures as they are, for `Moves`, and prepared ones to measure on."""
    size = min(batch_size, len(training))
    loader = DataLoader(
        ArrayDataset(training.images, training.points), size, True, seed=seed, drop_last=True
    )
    shares = held_out.points / np.float32(network.size)
    validation = DataLoader(
        ArrayDataset(held_out.images, shares), batch_size, transform=network.preparation()
    )
    return loader, validation


def _keep_best(network: LandmarkNetwork, folder: Path, trainer: Trainer) -> None:
    """Load the best epoch into the network, and save it with the history."""
    best = folder / BEST
    if best.exists():
        md.load_weights(network, best)
        network.eval()
        md.save_weights(network, folder / WEIGHTS)
    save_json(folder / "history.json", {"epochs": list(trainer.history)}, "train_landmarks")
